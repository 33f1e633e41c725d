"""What a client gets to see of a request."""

from __future__ import annotations

from typing import Final

import msgspec

from kernel.public import TracedCall, TracedEvent, TracedJob

MAX_DEPTH: Final = 5
"""Levels of requests below the one that is asked for."""
MAX_REQUESTS: Final = 1000
"""Requests of one tree."""


class ChangeCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many records of an entity a request changed."""

    app: str
    entity: str
    operation: str
    count: int


class Cause(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a child is: a job, by its id."""

    job: str


class ShownRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a request caused, as far as the caller administers the apps.

    `first` and `last` are the times of its rows, jobs and calls. `logs` is the number of lines. A
    child has `parent` and `by`: what it did was recorded under an id of its own. A job has a
    `parent` as well where a request enqueued it.
    """

    id: str
    first: str | None
    last: str | None
    actors: list[str]
    changes: list[ChangeCount]
    jobs: list[TracedJob]
    calls: list[TracedCall]
    events: list[TracedEvent]
    logs: int
    children: list[ShownRequest]
    parent: str | msgspec.UnsetType = msgspec.UNSET
    by: Cause | msgspec.UnsetType = msgspec.UNSET
