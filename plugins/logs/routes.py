"""The log of an app as a stream of events."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Final

from kernel.public import (
    ACCESS,
    APP_USER,
    APPS,
    HOOKS,
    LOGS,
    BadRequest,
    KernelError,
    LogLine,
    Request,
    Response,
    Route,
    Services,
    hookspecs,
    whole_number,
)

from .models import DEFAULT_TAIL, MAX_TAIL, LogsQuery
from .sse import EventStream, event

PATH: Final = "/api/v1/apps/{app_id}/logs"
LIVE_ONLY: Final = 2**62
"""An id behind every line there is."""
STREAM: Final[dict[str, Any]] = {
    "responses": {
        "200": {
            "description": 'Events with an `id` and `data: {"level", "message", "ts"}`.',
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    }
}
CHECK_EVERY: Final = 60.0
"""Seconds after which a reader must still be allowed to read."""


class LogsRoutes:
    """The handlers; whoever provides LOGS answers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """Every route with what it needs."""
        return [Route("GET", PATH, self.stream, APP_USER, query=LogsQuery, openapi=STREAM)]

    async def stream(self, request: Request) -> Response:
        """Follow the log of an app: its last lines, then each new one as an event.

        `Last-Event-ID` resumes behind a line instead.
        """
        app = await self._services.get(APPS).app(request.path("app_id"))
        tail, after = _position(request)
        logs = self._services.get(LOGS)
        lines = [] if after is not None else await logs.tail(app.id, tail)
        if after is None:
            after = lines[-1].id if lines else LIVE_ONLY if not tail else 0
        stack = AsyncExitStack()
        following = await stack.enter_async_context(logs.follow(app.id, after))
        return EventStream(self._events(request, lines, following), stack)

    async def _events(
        self, request: Request, lines: list[LogLine], following: AsyncIterator[LogLine | None]
    ) -> AsyncIterator[bytes]:
        yield b": the log follows\n\n"
        for line in lines:
            yield event(line)
        checked = time.monotonic()
        async for line in following:
            if time.monotonic() - checked > CHECK_EVERY:
                if not await self._still_allowed(request):
                    return
                checked = time.monotonic()
            yield event(line)

    async def _still_allowed(self, request: Request) -> bool:
        """Whether the token has not ended and the role is still held."""
        try:
            actor = await self._services.get(HOOKS).first(hookspecs.authenticate, request=request)
            if actor is None:
                return False
            path = request.scope["path_params"]
            await self._services.get(ACCESS).authorize(actor, APP_USER, path)
        except KernelError:
            return False
        return True


def _position(request: Request) -> tuple[int, int | None]:
    """How many old lines are wanted, or behind which id a broken stream goes on."""
    query = request.query()
    if unknown := query.keys() - set(LogsQuery.__struct_fields__):
        raise BadRequest(f"unknown parameter {min(unknown)!r}")
    tail = min(whole_number("tail", query.get("tail", str(DEFAULT_TAIL))), MAX_TAIL)
    last = request.headers.get("last-event-id", "")
    return tail, whole_number("Last-Event-ID", last) if last else None
