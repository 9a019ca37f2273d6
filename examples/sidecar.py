"""How the Python examples reach a sidecar: channels, calls without generated files, repeats, and the health."""

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

# tests/tools installs grpcio here. With grpcio installed elsewhere, this line changes nothing.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "target/tools/python/grpcio-1.85.1"))

try:
    import grpc
    from google.protobuf import json_format
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
except ImportError as error:
    sys.exit(
        "This needs Python 3.10 or later with grpcio, grpcio-health-checking and grpcio-reflection."
        f" In a clone, tests/tools provides them. {error}"
    )

OPTIONS = [
    # A timeout for every call, including the calls that the libraries make themselves.
    ("grpc.service_config", json.dumps({"methodConfig": [{"name": [{}], "timeout": "10s"}]})),
    # A sidecar runs beside its executor, so no proxy of the machine applies.
    ("grpc.enable_http_proxy", 0),
]

# The outcome is unknown, or the sidecar asks for a repeat. Every other error needs a change of the request.
REPEATED_CODES = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


def arguments_of(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser of the arguments that every example takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", help="host:port, or unix:/path")
    parser.add_argument("--ca", type=pathlib.Path, metavar="FILE", help="use TLS, and trust these authorities")
    parser.add_argument("--certificate", type=pathlib.Path, metavar="FILE", help="client certificate to present")
    parser.add_argument("--key", type=pathlib.Path, metavar="FILE", help="private key of that certificate")
    return parser


def channel(arguments: argparse.Namespace, token: str | None = None) -> grpc.Channel:
    """Returns a channel, which connects with its first call. The library sends a token over TLS only."""
    if arguments.ca is None:
        # By default the library sends the path of a unix socket as the authority, which HTTP/2 does not allow.
        authority = [("grpc.default_authority", "localhost")] if arguments.target.startswith("unix:") else []
        return grpc.insecure_channel(arguments.target, OPTIONS + authority)
    ca, key, certificate = (file and file.read_bytes() for file in (arguments.ca, arguments.key, arguments.certificate))
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    if token is not None:
        credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))
    return grpc.secure_channel(arguments.target, credentials, OPTIONS)


class Contract:
    """Calls by the contract that the sidecar itself serves by reflection, so that no generated files are needed."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._database = ProtoReflectionDescriptorDatabase(channel)
        self._pool = DescriptorPool(self._database)

    def services(self) -> list[str]:
        """Returns the services of this listener."""
        return sorted(self._database.get_services())

    def call(self, name: str, **fields: Any) -> Any:
        """Makes one attempt to call `Service/Method`, with a request of these fields."""
        service, method = f"tollgate.v1.{name}".split("/")
        described = self._pool.FindServiceByName(service).FindMethodByName(method)
        request, response = GetMessageClass(described.input_type), GetMessageClass(described.output_type)
        rpc = self._channel.unary_unary(f"/{service}/{method}", request.SerializeToString, response.FromString)
        return rpc(request(**fields))


def repeated(call: Callable[[], Any], attempts: float = float("inf")) -> Any:
    """Repeats a call with the same content until it is answered, or fails in a way that a repeat does not change."""
    delay = 0.1
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            attempts -= 1
            if error.code() not in REPEATED_CODES or attempts <= 0:
                raise
        time.sleep(delay)
        delay = min(2 * delay, 10)


def health(channel: grpc.Channel, service: str) -> str:
    """Returns the current health of a service."""
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def watched_health(channel: grpc.Channel, service: str) -> str:
    """Returns the first answer of a watch of a service's health."""
    answers = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service))
    first = next(answers)
    answers.cancel()
    return health_pb2.HealthCheckResponse.ServingStatus.Name(first.status)


def shown(message: Any) -> Any:
    """Returns a message as JSON data, with the names of the contract."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def refused(error: Any) -> dict[str, str]:
    """Returns the code and the message of an error."""
    return {"code": error.code().name, "message": error.details()}


def tell(name: str, what: Any) -> None:
    """Prints a result at once, as one line of JSON."""
    print(json.dumps({name: what}), flush=True)
