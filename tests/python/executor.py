#!/usr/bin/env -S python3 -B
"""One block of one run, as a flow executor in Python takes it through a sidecar; prints what it is told.

Each call is made once, so that a test sees what becomes of it. An executor repeats it by the rule in docs/integrating.md.
"""

import sys
import uuid

import sidecar
from sidecar import grpc, shown, tell

HEALTH = ["", "readiness", "tollgate.v1.QuotaService"]


def look_around(channel: grpc.Channel, contract: sidecar.Contract) -> None:
    """What an executor asks before it starts: whether the sidecar is ready, and what it can do."""
    tell("health", {service: sidecar.health(channel, service) for service in HEALTH})
    tell("watched", sidecar.watched_health(channel, "readiness"))
    tell("services", contract.services())


def run_a_block(contract: sidecar.Contract, team: str) -> None:
    """The executor's loop, for a block whose model answers at once."""
    # Ids of one's own make calls safe to repeat.
    run, reservation = {"team_id": team, "run_id": str(uuid.uuid4())}, str(uuid.uuid4())
    tell("BeginRun", shown(contract.call("QuotaService/BeginRun", flow_id="flow", **run)))
    reserved = contract.call(
        "QuotaService/CheckAndReserve",
        flow_id="flow", block_id="block", reservation_id=reservation, model="gpt-4o", **run,
    )  # fmt: skip
    tell("CheckAndReserve", shown(reserved))
    if reserved.WhichOneof("decision") == "proceed":
        # Here the model is called. The second commit is what an executor does that did not hear the answer to the first.
        for _ in range(2):
            grant = reserved.proceed.grant
            committed = contract.call("QuotaService/Commit", team_id=team, reservation_id=reservation, grant=grant)
            tell("Commit", shown(committed))
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
