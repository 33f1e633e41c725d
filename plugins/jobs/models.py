"""Jobs on their way into the table, out of it, and back."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta

Status = Literal["pending", "running", "completed", "failed", "cancelled"]
STATUSES: tuple[Status, ...] = get_args(Status)
DEFAULT_LIMIT: Final = 100


class JobsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of GET …/jobs."""

    status: Annotated[Status | None, Meta(description="jobs in this state only")] = None
    limit: Annotated[int, Meta(ge=1, description="above 1000 it is 1000")] = DEFAULT_LIMIT
    before: Annotated[str | None, Meta(description="id of the last job seen")] = None


class Accepted(msgspec.Struct, frozen=True):
    """The reply to a new job."""

    job_id: str


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as REST shows it; PostgreSQL writes it (`caudex_jobs.shown`). Times end in `Z`."""

    id: str
    app_id: str
    status: Status
    payload: Any
    result: Any
    error: str | None
    attempts: int
    created_at: str
    updated_at: str
    run_at: str
    progress: Any


class NewRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is accepted; `payload` is its JSON as text, `run_at` RFC 3339 text or at once.

    `until` (seconds since 1970) and `mark` are of the delegation of a worker that enqueues it;
    where users do so themselves, theirs begins with the first start.
    """

    id: str
    app_id: str
    payload: str
    run_at: str | None
    max_attempts: int
    timeout_s: float
    priority: int
    user_id: str | None
    key: str | None
    until: float | None = None
    mark: str = ""


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is ours to run; `run_at` in seconds since 1970, for the order only.

    Its handlers may act for the user before `until` (seconds since 1970), by the delegation `mark`.
    """

    id: str
    app_id: str
    payload: msgspec.Raw
    user_id: str | None
    timeout_s: float
    failures: int
    max_attempts: int
    suspect: bool
    losses: int
    priority: int
    run_at: float
    until: float
    mark: str


class Asked(msgspec.Struct, frozen=True):
    """How many jobs of an app may be claimed; `idle` where it has none under way here."""

    app_id: str
    free: int
    idle: bool


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a run. Pending with a `delay` (seconds) is a retry, without one it is due at
    once; `unstarted` takes the start back that the claim counted."""

    id: str
    token: str
    app_id: str
    status: Status
    failures: int
    losses: int
    suspect: bool
    delay: float = 0
    unstarted: bool = False
    result: str | None = None
    error: str | None = None

    @property
    def size(self) -> int:
        """About what it takes to send."""
        return 500 + len(self.result or "") + len(self.error or "")


class Step(msgspec.Struct, frozen=True):
    """How far a job is; `value` is JSON text."""

    id: str
    token: str
    value: str


class Renewed(msgspec.Struct, frozen=True):
    """A lease that still holds."""

    id: str
    cancelled: bool


class Ripened(msgspec.Struct, frozen=True):
    """Apps some of whose jobs have become due, and the seconds until more do, if any wait."""

    apps: list[str]
    next: float | None


class Place(msgspec.Struct, frozen=True):
    """Where a job stands in the order of a list."""

    created_at: str
    id: str
