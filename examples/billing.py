#!/usr/bin/env -S python3 -B
"""A billing system in Python: lists the teams on an admin listener that needs a token, and prints every answer.

    examples/billing.py 127.0.0.1:50052 --ca ca.crt --token "$(cat token)"
"""

from collections.abc import Callable
from typing import Any

import sidecar
from sidecar import grpc, shown, tell


def attempt(name: str, call: Callable[[], Any]) -> bool:
    """Prints the answer to a call, or why it was refused, and returns whether it was answered."""
    try:
        tell(name, call())
        return True
    except grpc.RpcError as error:
        tell(name, {"refused": sidecar.refused(error)})
        return False


def main() -> None:
    parser = sidecar.arguments_of(__doc__)
    parser.add_argument("--token", help="bearer token; a real program reads it from a file")
    arguments = parser.parse_args()
    with sidecar.channel(arguments, arguments.token) as channel:
        contract = sidecar.Contract(channel)
        attempt("health", lambda: sidecar.health(channel, "tollgate.v1.AccountService"))
        if attempt("services", contract.services):
            attempt("ListTeams", lambda: shown(contract.call("AccountService/ListTeams")))
        else:
            # Reflection needs the token as well. A client that has the contract already gets no further: this request
            # has no fields, so its encoding is empty.
            attempt("ListTeams", lambda: channel.unary_unary("/tollgate.v1.AccountService/ListTeams")(b"").hex())


if __name__ == "__main__":
    main()
