"""A sidecar as a program in Python meets it: how to reach it, and its contract as it tells it itself."""

import argparse
import json
import pathlib
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "target/tools/python/grpcio-1.85.1"))

try:
    import grpc
    from google.protobuf import json_format
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
except ImportError as error:
    sys.exit(f"Python 3.10 or later is needed, and grpcio, which tests/tools gets: {error}")

OPTIONS = [
    # A bound for every call, so that those are bounded too that the libraries make by themselves.
    ("grpc.service_config", json.dumps({"methodConfig": [{"name": [{}], "timeout": "10s"}]})),
    # A sidecar is beside its executor, whatever proxy the machine has for the rest of the world.
    ("grpc.enable_http_proxy", 0),
]


def arguments_of(description: str | None) -> argparse.ArgumentParser:
    """What every client has to be told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("target", help="host:port, or unix:/path")
    parser.add_argument("--ca", type=pathlib.Path, metavar="FILE", help="speak TLS, and trust these authorities")
    parser.add_argument("--certificate", type=pathlib.Path, metavar="FILE", help="show this certificate")
    parser.add_argument("--key", type=pathlib.Path, metavar="FILE", help="the key of that certificate")
    return parser


def channel(arguments: argparse.Namespace, token: str | None = None) -> grpc.Channel:
    """A channel, which connects when it is first used. A token travels over TLS only: the library refuses all else."""
    if arguments.ca is None:
        # Left to itself, the library names the socket's path as the authority, which HTTP/2 does not allow.
        authority = [("grpc.default_authority", "localhost")] if arguments.target.startswith("unix:") else []
        return grpc.insecure_channel(arguments.target, OPTIONS + authority)
    ca, key, certificate = (file and file.read_bytes() for file in (arguments.ca, arguments.key, arguments.certificate))
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    if token is not None:
        credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))
    return grpc.secure_channel(arguments.target, credentials, OPTIONS)


class Contract:
    """The contract by reflection: no generated file could be older than the sidecar."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._database = ProtoReflectionDescriptorDatabase(channel)
        self._pool = DescriptorPool(self._database)

    def services(self) -> list[str]:
        """The services that are on this listener."""
        return sorted(self._database.get_services())

    def call(self, name: str, **fields: Any) -> Any:
        """Calls `Service/Method` of the contract, once, with a request of these fields."""
        service, method = f"tollgate.v1.{name}".split("/")
        described = self._pool.FindServiceByName(service).FindMethodByName(method)
        request, response = GetMessageClass(described.input_type), GetMessageClass(described.output_type)
        rpc = self._channel.unary_unary(f"/{service}/{method}", request.SerializeToString, response.FromString)
        return rpc(request(**fields))


def health(channel: grpc.Channel, service: str) -> str:
    """What the sidecar says of a service now."""
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def watched_health(channel: grpc.Channel, service: str) -> str:
    """What it says first to who wants to hear of every change."""
    answers = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service))
    first = next(answers)
    answers.cancel()
    return health_pb2.HealthCheckResponse.ServingStatus.Name(first.status)


def shown(message: Any) -> Any:
    """A message for people and tests, by the contract's names."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def refused(error: Any) -> dict[str, str]:
    """Why there is no answer."""
    return {"code": error.code().name, "message": error.details()}


def tell(name: str, what: Any) -> None:
    """Says what was seen once it was seen, a line of JSON each, so that one also sees how far a client came."""
    print(json.dumps({name: what}), flush=True)
