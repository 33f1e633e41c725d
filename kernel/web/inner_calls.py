"""Calls of routes from within another one, with the guard that every call has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import anyio
import msgspec
import starlette.requests
from starlette.types import Message, Scope

from kernel.contracts.base import Actor
from kernel.contracts.server import InnerCall, InnerReply, Route
from kernel.contracts.server.routes import Request
from kernel.errors import BadRequest
from kernel.web.replies import JSON
from kernel.web.routing import Exchange, RouteTable
from kernel.web.scope import ARRIVAL, CALL, arrival_of

PASSED_ON: Final = (b"host", b"user-agent")
"""Headers of the outer request that a route may need: for addresses in replies, and for the log."""
_PARAMETER: Final = re.compile(r"\{(\w+)\*?\}")


class InnerCalls:
    """Provides ROUTES."""

    def __init__(self, table: RouteTable) -> None:
        self._table = table

    def find(self, method: str, route: str) -> Route | None:
        """See `Routes.find`."""
        return self._table.find((method, route))

    async def call(self, request: Request, caller: Actor, call: InnerCall) -> InnerReply:
        """See `Routes.call`."""
        assert isinstance(request, starlette.requests.Request)
        reply = ReplyCollector(call.max_reply)
        body = InnerBody(call.body or b"", request)
        exchange = Exchange(_make_scope(request.scope, call), body.receive, reply.send)
        with reply.room:
            await self._table.handle_inner((call.method, call.route), caller, exchange)
        return reply.read()


class InnerBody:
    """Gives the body of an inner call, and then waits for the end of the outer request."""

    def __init__(self, body: bytes, request: starlette.requests.Request) -> None:
        self._body: bytes | None = body
        self._request = request

    async def receive(self) -> Message:
        """Return the next message of ASGI."""
        body = self._body
        if body is None:
            return await self._request.receive()
        self._body = None
        return {"type": "http.request", "body": body, "more_body": False}


class ReplyCollector:
    """Collects a reply, up to a number of bytes. Beyond it `room` is cancelled."""

    def __init__(self, limit: int) -> None:
        self.room = anyio.CancelScope()
        self._limit = limit
        self._status = 500
        self._headers: Mapping[str, str] = {}
        self._pieces: list[bytes] = []
        self._size = 0

    async def send(self, message: Any) -> None:
        """Take a message of ASGI."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = {
                name.decode("latin-1").lower(): value.decode("latin-1")
                for name, value in message["headers"]
            }
            return
        piece: bytes = message.get("body", b"")
        self._size += len(piece)
        if self._size > self._limit:
            self._pieces.clear()
            self.room.cancel()
            return
        self._pieces.append(piece)

    def read(self) -> InnerReply:
        """Return the reply."""
        if self._size > self._limit:
            return InnerReply(self._status, self._headers, b"", is_whole=False)
        return InnerReply(self._status, self._headers, b"".join(self._pieces))


def _make_scope(outer: Scope, call: InnerCall) -> Scope:
    """Return the scope of an inner call. Raises BadRequest for an empty part of the path."""

    def fill_in(match: re.Match[str]) -> str:
        value = call.path[match[1]]
        if not value:
            raise BadRequest(f"{match[1]} must not be empty")
        return value

    arrival = arrival_of(outer)
    headers = {name: arrival.headers[name] for name in PASSED_ON if name in arrival.headers}
    for name, value in call.headers.items():
        headers[name.lower().encode("latin-1")] = value.encode("latin-1")
    if call.body is not None:
        headers[b"content-type"] = JSON
        headers[b"content-length"] = b"%d" % len(call.body)
    raw_path = _PARAMETER.sub(lambda match: quote(fill_in(match), safe=""), call.route)
    scope = {
        **outer,
        "method": call.method,
        "path": _PARAMETER.sub(fill_in, call.route),
        "raw_path": raw_path.encode("ascii"),
        "path_params": dict(call.path),
        "query_string": urlencode(call.query).encode("ascii"),
        "headers": list(headers.items()),
        ARRIVAL: msgspec.structs.replace(arrival, headers=headers),
    }
    scope.pop(CALL, None)
    return scope
