"""The one-time token that the first account of a public server needs."""

from __future__ import annotations

import base64
import hmac
import socket
from ipaddress import ip_address
from typing import Final

from kernel.public import Forbidden, Statements, Transaction

from .store import create_setup, end_setup, setup_nonce

REFUSAL: Final = "the first account needs the setup token that the server printed at its start"


class SetupToken:
    """Derives the token from the signing key and a random nonce in the database.

    So all servers of a database agree on it, and a reader of the database cannot compute it. The
    first account deletes the nonce, which makes the token invalid.
    """

    def __init__(self, statements: Statements, key: bytes) -> None:
        self._statements = statements
        self._key = hmac.digest(key, b"caudex setup token", "sha256")

    async def issue(self) -> str | None:
        """Return the token, the same on every server; None where there is an account."""
        nonce = await create_setup(self._statements)
        if nonce is None:
            return None
        return self._derive_token(nonce)

    async def check(self, token: str | None) -> None:
        """Raise Forbidden for another text than the token. Spends nothing."""
        self._compare(token, await setup_nonce(self._statements))

    async def spend(self, tx: Transaction, token: str | None) -> None:
        """Make the token invalid in the transaction that creates the account. Raises Forbidden."""
        self._compare(token, await end_setup(tx))

    def _compare(self, token: str | None, nonce: bytes | None) -> None:
        if token is None or nonce is None:
            raise Forbidden(REFUSAL)
        expected = self._derive_token(nonce)
        if not hmac.compare_digest(token.encode(), expected.encode()):
            raise Forbidden(REFUSAL)

    def _derive_token(self, nonce: bytes) -> str:
        """Return 32 characters with 192 bits."""
        link = hmac.digest(self._key, nonce, "sha256")
        return base64.urlsafe_b64encode(link[:24]).decode("ascii")


def setup_notice(host: str, port: int, token: str) -> str:
    """Return the line that shows the operator where to create the first account."""
    return f"Create the first account: {write_origin(host, port)}/console/#setup={token}"


def write_origin(host: str, port: int) -> str:
    """Return what addresses of this server begin with, for an operator.

    A server that listens on every address is named by the machine's own name.
    """
    machine = host
    try:
        address = ip_address(host)
    except ValueError:
        pass  # it is a name
    else:
        if address.is_unspecified:
            machine = socket.gethostname()
        elif address.version == 6:
            machine = f"[{host}]"
    return f"http://{machine}:{port}"
