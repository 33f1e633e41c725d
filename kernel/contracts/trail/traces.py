"""What a request caused: changes, events, jobs, calls of workers, lines of logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from kernel.contracts.base import ServiceKey

__all__ = [
    "TRACES", "EndedCall", "RequestTrace", "TracedCall", "TracedChanges", "TracedEvent",
    "TracedJob", "Traces",
]  # fmt: skip


class TracedChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What a user changed in the name of a request: `count` records of an entity, and when.

    `current` is False for those of a former app of the same name.
    """

    app: str
    entity: str
    operation: str
    count: int
    actor: str | None
    first: str
    last: str
    current: bool = True


class TracedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What the system recorded of itself; `id` is that of the row in the trail."""

    id: int
    entity: str
    operation: str
    record_id: str | None
    actor: str | None
    at: str


class TracedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a request enqueued. What its runs do is recorded under its own id."""

    app: str
    id: str
    state: str
    at: str


class TracedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a worker; it took `ms` milliseconds. `error` is null where it succeeded."""

    app: str
    method: str
    at: str
    ms: float
    error: str | None


class RequestTrace(msgspec.Struct, frozen=True, kw_only=True):
    """What one plugin knows of a request. `logs` counts lines by app.

    `parent` is the request that caused this one, and `app` the app of the job that it is.
    """

    request_id: str
    parent: str | None = None
    app: str | None = None
    changes: Sequence[TracedChanges] = ()
    events: Sequence[TracedEvent] = ()
    jobs: Sequence[TracedJob] = ()
    calls: Sequence[TracedCall] = ()
    logs: Mapping[str, int] = {}


class EndedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a worker that has ended.

    `at` is its begin, in seconds since 1970; it took `ms` milliseconds.
    """

    request_id: str
    app_id: str
    method: str
    at: float
    ms: float
    error: str | None = None


class Traces(Protocol):
    """Remembers calls, and finds what requests caused."""

    def note_call(self, call: EndedCall) -> None:
        """Remember a call. Never blocks: excess calls are left out."""
        ...

    async def find_children(self, request_id: str) -> Sequence[str]:
        """Return the ids under which a request's jobs, and theirs, did what they did.

        Raises BadRequest where there are more than can be listed: it returns all, or none.
        """
        ...


TRACES = ServiceKey[Traces]("traces")
