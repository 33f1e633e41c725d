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


class Wanted(NamedTuple):
    """What a request accepts from the replica: the position that it must have, and whether every
    read may go there."""

    position: int
    any: bool


WANTED: Final = ContextVar[Wanted | None]("wanted", default=None)
"""None outside of a request, as for a worker, which must see its own writes."""


def number(position: bytes | None) -> int:
    """Return PostgreSQL's notation of a position (`16/B374D848`) as a number. Raises BadRequest."""
    found = _POSITION.fullmatch(position or b"")
    if found is None:
        raise BadRequest("Caudex-Position must be the one of an earlier reply")
    return int(found[1], 16) << 32 | int(found[2], 16)


def _wanted(headers: Mapping[bytes, bytes]) -> Wanted:
    position, prefer = headers.get(b"caudex-position"), headers.get(b"prefer", b"")
    preferences = (each.strip().lower() for each in prefer.split(b","))
    return Wanted(0 if position is None else number(position), b"freshness=any" in preferences)


class PositionMiddleware:
    """Reads what a request accepts, and adds the position of a write to its reply."""

    def __init__(self, app: ASGIApp, statements: Callable[[], Statements]) -> None:
        self._app = app
        self._statements = statements

    @classmethod
    def around(cls, statements: Callable[[], Statements]) -> Middleware:
        """Return the middleware; the service is there once requests arrive."""
        return lambda app: cls(app, statements)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, in a context of its own."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        token = WANTED.set(_wanted(headers_of(scope)))
        try:
            reads = scope["method"] in READING
            await self._app(scope, receive, send if reads else self._marked(send))
        finally:
            WANTED.reset(token)

    def _marked(self, send: Send) -> Send:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 500:
                position = (b"caudex-position", await self._position())
                headers = [*message.get("headers", ()), position]
                message = {**message, "headers": headers}
            await send(message)

        return marked

    async def _position(self) -> bytes:
        """Return a position that is after every commit of the request.

        Any connection to the primary will do: a position only grows, and a new primary begins at
        the end of all commits that it has. A former primary must be off by then in any case.
        """
        with suppress(Unavailable), anyio.move_on_after(1.0):
            return await self._statements().fetch(WRITTEN) or END
        return END
