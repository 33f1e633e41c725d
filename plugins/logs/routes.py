"""The log of an app as a stream of events."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any, Final

from kernel.public import (
    APPS,
    LOGS,
    LOGS_READ,
    BadRequest,
    ConcurrencyLimiter,
    LogBatch,
    LogLine,
    Request,
    Response,
    Route,
    Services,
    coerce_value,
    whole_number,
)

from .events import batches, event
from .models import MAX_TAIL, LogsQuery
from .sse import EventStream, Guard

PATH: Final = "/api/v1/apps/{app_id}/logs"
STREAM: Final[dict[str, Any]] = {
    "responses": {
        "200": {
            "description": 'Events with an `id` and `data: {"level", "message", "ts"}`.',
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    }
}


class LogsRoutes:
    """The handlers; the provider of LOGS answers.

    `readers` may follow one log here, and one user has half of these places.
    """

    def __init__(self, services: Services, readers: int) -> None:
        self._services = services
        self._readers = ConcurrencyLimiter(
            per_key=(readers + 1) // 2, message="too many readers of this log", retry_after=5
        )

    def routes(self) -> list[Route]:
        """Every route with what it needs."""
        return [Route("GET", PATH, self.stream, LOGS_READ, query=LogsQuery, openapi=STREAM)]

    async def stream(self, request: Request) -> Response:
        """Follow the log of an app: its last lines, then each new one as an event.

        `since` begins at a time, and `Last-Event-ID` behind a line, however many come then.
        """
        app = await self._services.get(APPS).app(request.path("app_id"))
        tail, since, after = _position(request)
        logs = self._services.get(LOGS)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._readers.hold((app.id, request.actor.user_id)))
            if after is None and since is not None:
                after = await logs.before(app.id, since)
            lines = [] if after is not None else await logs.tail(app.id, tail)
            if after is None:  # without a tail, only lines behind any that is there
                after = lines[-1].id if lines else 0 if tail else sys.maxsize
            following = await stack.enter_async_context(logs.follow(app.id, after))
            guard = Guard(self._services, request)
            return EventStream(_events(deque(lines), following), stack.pop_all(), guard.refusal)
        raise AssertionError  # the stack above swallows nothing


async def _events(
    tail: deque[LogLine], following: AsyncIterator[LogBatch | None]
) -> AsyncIterator[bytes]:
    yield b": the log follows\n\n"
    for batch in batches(_taken(tail)):
        yield _encoded(batch)
    async for batch in following:
        yield b": nothing new\n\n" if batch is None else _encoded(batch)


def _taken(lines: deque[LogLine]) -> Iterator[LogLine]:
    """Yield lines that are not kept: the stream may last for days."""
    while lines:
        yield lines.popleft()


def _encoded(batch: LogBatch) -> bytes:
    """Return the events of a batch; a provider of LOGS may leave it to this stream to encode."""
    if batch.events is not None:
        return batch.events
    return b"".join(map(event, batch.lines))


def _position(request: Request) -> tuple[int, str | None, int | None]:
    """How many old lines are wanted, since when, or behind which id a broken stream goes on."""
    query = request.query()
    if unknown := query.keys() - set(LogsQuery.__struct_fields__):
        raise BadRequest(f"unknown parameter {min(unknown)!r}")
    tail = min(whole_number("tail", query.get("tail", str(LogsQuery().tail))), MAX_TAIL)
    last = request.headers.get("last-event-id", "")
    since: str | None = coerce_value("timestamp", query.get("since"), "since")
    return tail, since, whole_number("Last-Event-ID", last) if last else None
