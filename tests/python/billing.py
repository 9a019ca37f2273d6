#!/usr/bin/env -S python3 -B
"""A billing system in Python at the admin listener, which wants a token; prints what it is told."""

from collections.abc import Callable
from typing import Any

import sidecar
from sidecar import grpc, shown, tell


def attempt(name: str, call: Callable[[], Any]) -> bool:
    """Tells what a call brought, or why it was refused; and which of the two."""
    try:
        tell(name, call())
        return True
    except grpc.RpcError as error:
        tell(name, {"refused": sidecar.refused(error)})
        return False


def main() -> None:
    parser = sidecar.arguments_of(__doc__)
    parser.add_argument("--token", help="the token itself, as tests have no secrets")
    arguments = parser.parse_args()
    with sidecar.channel(arguments, arguments.token) as channel:
        contract = sidecar.Contract(channel)
        attempt("health", lambda: sidecar.health(channel, "tollgate.v1.AccountService"))
        if attempt("services", contract.services):
            attempt("ListTeams", lambda: shown(contract.call("AccountService/ListTeams")))
        else:
            # Who has the contract from elsewhere gets no further: a request that asks for nothing special is no bytes.
            attempt("ListTeams", lambda: channel.unary_unary("/tollgate.v1.AccountService/ListTeams")(b"").hex())


if __name__ == "__main__":
    main()
