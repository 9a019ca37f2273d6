#!/usr/bin/env -S python3 -B
"""A flow executor in Python: runs one block of one run, and prints every answer of the sidecar.

    examples/executor.py 127.0.0.1:50051 demo-basic
"""

import sys
import uuid

import sidecar
from sidecar import grpc, repeated, shown, tell

HEALTH = ["", "readiness", "tollgate.v1.QuotaService"]


def look_around(channel: grpc.Channel, contract: sidecar.Contract) -> None:
    """Asks whether the sidecar is ready, and which services it has."""
    tell("health", {service: sidecar.health(channel, service) for service in HEALTH})
    tell("watched", sidecar.watched_health(channel, "readiness"))
    tell("services", contract.services())


def run_a_block(contract: sidecar.Contract, team: str) -> None:
    """Reserves credits, calls the model, and commits what was used."""
    # Ids of the executor's own make calls safe to repeat: a repeat returns the first result.
    run, reservation = {"team_id": team, "run_id": str(uuid.uuid4())}, str(uuid.uuid4())
    tell("BeginRun", shown(contract.call("QuotaService/BeginRun", flow_id="flow", **run)))
    block = {"flow_id": "flow", "block_id": "block", "reservation_id": reservation, "model": "gpt-4o"}
    # The executor may give this call up. Credits that were held all the same come back when the hold runs out.
    reserved = repeated(lambda: contract.call("QuotaService/CheckAndReserve", **block, **run), attempts=5)
    tell("CheckAndReserve", shown(reserved))
    if reserved.WhichOneof("decision") == "proceed":
        # Here the model is called. If that fails, Release gives the credits back.
        settled = {"team_id": team, "reservation_id": reservation, "grant": reserved.proceed.grant}
        # A commit is repeated until it is answered, because the model has run. It is charged once: the second of these
        # calls stands for a repeat after a lost answer.
        for _ in range(2):
            tell("Commit", shown(repeated(lambda: contract.call("QuotaService/Commit", **settled))))
    tell("EndRun", shown(contract.call("QuotaService/EndRun", **run)))


def main() -> int:
    parser = sidecar.arguments_of(__doc__)
    parser.add_argument("team")
    arguments = parser.parse_args()
    with sidecar.channel(arguments) as channel:
        contract = sidecar.Contract(channel)
        try:
            look_around(channel, contract)
            run_a_block(contract, arguments.team)
        except grpc.RpcError as error:
            tell("refused", sidecar.refused(error))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
