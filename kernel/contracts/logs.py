"""Log lines of apps, stored and followed live, and the audit trail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta

from kernel.contracts.base import ServiceKey

__all__ = ["AUDIT", "LOGS", "Audit", "AuditFilter", "LogBatch", "LogLevel", "LogLine", "Logs"]

LogLevel = Literal["debug", "info", "warn", "error", "stdout", "stderr", "system", "event"]
"""Where a line comes from: a call of the log, a stream of the worker, or the server itself."""


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line; `id` grows within an app, `ts` is RFC 3339 text ending in Z."""

    id: int
    level: LogLevel
    message: str
    ts: str


class LogBatch(msgspec.Struct, frozen=True):
    """Lines that came together, the oldest first.

    `events` are the same lines as server-sent events, if the provider has encoded them once for
    all readers; else each reader's stream encodes them.
    """

    lines: Sequence[LogLine]
    events: bytes | None = None


class Logs(Protocol):
    """Stores lines of workers and sends them to readers on every server process."""

    def write(self, app_id: str, level: LogLevel, message: str, request_id: str = "") -> None:
        """Store a line, as it is: the caller hides secrets, as WORKERS does.

        Never blocks: excess lines are dropped and counted in a `system` line. `request_id` is the
        request or job that it was written for, where that is known.
        """
        ...

    async def tail(self, app_id: str, count: int) -> list[LogLine]:
        """The last `count` lines, oldest first."""
        ...

    async def before(self, app_id: str, since: str) -> int:
        """The id before the first line of a time (RFC 3339) or later; 0 for all lines."""
        ...

    def follow(
        self, app_id: str, after: int
    ) -> AbstractAsyncContextManager[AsyncIterator[LogBatch | None]]:
        """Lines with an id above `after`, then live ones; None every 15 s when nothing happens.

        A reader that is too slow gets one `system` line that counts what it missed.
        """
        ...


LOGS = ServiceKey[Logs]("logs")


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """A query for rows of the trail, newest first; `before` is the id of the last row seen."""

    app_id: Annotated[str | None, Meta(description="rows of this app, or `core`")] = None
    entity: Annotated[str | None, Meta(description="rows of this table")] = None
    record_id: Annotated[str | None, Meta(description="rows about this record")] = None
    operation: Annotated[str | None, Meta(description="INSERT, UPDATE, LOGIN and so on")] = None
    actor_id: Annotated[str | None, Meta(description="what this user did")] = None
    request_id: Annotated[str | None, Meta(description="what this request did")] = None
    before: Annotated[int | None, Meta(description="id of the last row seen")] = None
    current: Annotated[
        bool,
        Meta(description="true: nothing of a former app of this name; app admins see no other"),
    ] = False
    limit: Annotated[int, Meta(ge=1, description="above 1000 it is 1000")] = 100


class Audit(Protocol):
    """Reads the trail; rows are written by triggers and by `event_recorded`."""

    async def search(self, criteria: AuditFilter) -> bytes:
        """Return a JSON array of audit rows."""
        ...


AUDIT = ServiceKey[Audit]("audit")
