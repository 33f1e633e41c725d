"""Positions in what PostgreSQL has written: `Caudex-Position`, and `Prefer: freshness=any`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import Final, NamedTuple

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kernel.public import BadRequest, Middleware, Statements, Unavailable, headers_of

WRITTEN: Final = b"select pg_current_wal_insert_lsn()::text"
END: Final = b"FFFFFFFF/FFFFFFFF"
"""The position of a write whose own could not be read: no replica gets there."""
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_POSITION: Final = re.compile(rb"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


class Accepted(NamedTuple):
    """What a request accepts from the replica: the position that it must have, and whether every
    read may go there."""

    position: int
    any: bool


ACCEPTED: Final = ContextVar[Accepted | None]("accepted", default=None)
"""None outside of a request, as for a worker, which must see its own writes."""


def to_number(position: bytes | None) -> int:
    """Return PostgreSQL's notation of a position (`16/B374D848`) as a number. Raises BadRequest."""
    match = _POSITION.fullmatch(position or b"")
    if match is None:
        raise BadRequest("Caudex-Position must be the one of an earlier reply")
    file, offset = match.groups()
    return int(file, 16) << 32 | int(offset, 16)


def _read_headers(headers: Mapping[bytes, bytes]) -> Accepted:
    position = headers.get(b"caudex-position")
    prefer = headers.get(b"prefer", b"")
    preferences = [preference.strip().lower() for preference in prefer.split(b",")]
    return Accepted(
        position=0 if position is None else to_number(position), any=b"freshness=any" in preferences
    )


class PositionMiddleware:
    """Reads what a request accepts, and adds the position of a write to its reply."""

    def __init__(self, app: ASGIApp, statements: Callable[[], Statements]) -> None:
        self._app = app
        self._statements = statements

    @classmethod
    def make(cls, statements: Callable[[], Statements]) -> Middleware:
        """Return the middleware; the service is there once requests arrive."""
        return lambda app: cls(app, statements)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, in a context of its own."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        token = ACCEPTED.set(_read_headers(headers_of(scope)))
        try:
            is_read = scope["method"] in READING
            await self._app(scope, receive, send if is_read else self._add_position(send))
        finally:
            ACCEPTED.reset(token)

    def _add_position(self, send: Send) -> Send:
        """Return a `send` that adds the position to the head of a reply."""

        async def send_with_position(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 500:
                position = (b"caudex-position", await self._read_position())
                headers = [*message.get("headers", ()), position]
                message = {**message, "headers": headers}
            await send(message)

        return send_with_position

    async def _read_position(self) -> bytes:
        """Return a position that is after every commit of the request.

        Any connection to the primary will do: a position only grows, and a new primary begins at
        the end of all commits that it has. A former primary must be off by then in any case.
        """
        with suppress(Unavailable), anyio.move_on_after(1.0):
            return await self._statements().fetch(WRITTEN) or END
        return END
