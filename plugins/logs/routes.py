"""The log of an app as a stream of events."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any, Final, NamedTuple

from kernel.public import (
    APPS,
    LOGS,
    LOGS_READ,
    BadRequest,
    ConcurrencyLimiter,
    EventStream,
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
from .sse import Guard

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
        return [
            Route(
                "GET", PATH, self.stream, LOGS_READ, query=LogsQuery, openapi=STREAM,
                app_hosts=True,
            )
        ]  # fmt: skip

    async def stream(self, request: Request) -> Response:
        """Follow the log of an app: its last lines, then each new one as an event.

        `since` begins at a time, and `Last-Event-ID` behind a line, however many come then.
        """
        app = await self._services.get(APPS).app(request.path("app_id"))
        position = _read_position(request)
        logs = self._services.get(LOGS)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._readers.hold((app.id, request.actor.user_id)))

            lines: list[LogLine] = []
            if position.after is not None:
                after = position.after
            elif position.since is not None:
                after = await logs.before(app.id, position.since)
            elif position.tail:
                lines = await logs.tail(app.id, position.tail)
                after = 0
                if lines:
                    after = lines[-1].id
            else:
                after = sys.maxsize  # only lines behind any that is there

            following = await stack.enter_async_context(logs.follow(app.id, after))
            guard = Guard(self._services, request)
            return EventStream(_events(deque(lines), following), stack.pop_all(), guard.refusal)
        raise AssertionError  # the stack above swallows nothing


async def _events(
    tail: deque[LogLine], following: AsyncIterator[LogBatch | None]
) -> AsyncIterator[bytes]:
    yield b": the log follows\n\n"
    for batch in batches(_take_all(tail)):
        yield _encode(batch)
    async for batch in following:
        if batch is None:
            yield b": nothing new\n\n"
        else:
            yield _encode(batch)


def _take_all(lines: deque[LogLine]) -> Iterator[LogLine]:
    """Yield lines that are not kept: the stream may last for days."""
    while lines:
        yield lines.popleft()


def _encode(batch: LogBatch) -> bytes:
    """Return the events of a batch; a provider of LOGS may leave it to this stream to encode."""
    if batch.events is not None:
        return batch.events
    return b"".join(map(event, batch.lines))


class _Position(NamedTuple):
    """Where a stream begins: the first of these that is there.

    `after` is the id behind which a broken stream goes on, `since` a time, `tail` a number of old
    lines.
    """

    after: int | None
    since: str | None
    tail: int


def _read_position(request: Request) -> _Position:
    query = request.query()
    unknown = query.keys() - set(LogsQuery.__struct_fields__)
    if unknown:
        raise BadRequest(f"unknown parameter {min(unknown)!r}")
    tail = whole_number("tail", query.get("tail", str(LogsQuery().tail)))
    since: str | None = coerce_value("timestamp", query.get("since"), "since")
    after = None
    last_event_id = request.headers.get("last-event-id", "")
    if last_event_id:
        after = whole_number("Last-Event-ID", last_event_id)
    return _Position(after, since, min(tail, MAX_TAIL))
