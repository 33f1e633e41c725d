"""Jobs as REST shows them, as the table stores them, and as a server process runs them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from kernel.public import Limits

Status = Literal["pending", "running", "completed", "failed", "cancelled"]
STATUSES: tuple[Status, ...] = get_args(Status)


class JobsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of GET …/jobs."""

    status: Annotated[Status | None, Meta(description="jobs in this state only")] = None
    limit: Annotated[int, Meta(ge=1, description="above 1000 it is 1000")] = 100
    before: (
        Annotated[
            str,
            Meta(
                description="id of the last job of the previous page",
                extra_json_schema={"format": "uuid"},
            ),
        ]
        | None
    ) = None


Ended = Literal["failed", "cancelled", "completed"]
Unfinished = Literal["pending", "running"]
Size = Annotated[int, Meta(ge=1, le=1000, description="jobs of one request")]
Before = Annotated[str | None, Meta(description="`next` of the previous reply")]


class CancelJobs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which jobs to cancel, newest first."""

    status: Unfinished
    before: Before = None
    limit: Size = 1000


class RetryJobs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which jobs to enqueue once more, newest first."""

    status: Ended
    before: Before = None
    limit: Size = 1000


Portion = CancelJobs | RetryJobs


class PortionDone(msgspec.Struct, frozen=True):
    """How many jobs of a portion were cancelled or enqueued.

    `next` is the `before` of the next request; null after the last portion.
    """

    done: int
    next: str | None


class Attempt(msgspec.Struct, frozen=True):
    """A start of a job. `ended_at` is null while it runs; `error` is null where it has no message.

    Of the attempts before the last one, twenty are kept.
    """

    started_at: str | None
    ended_at: str | None
    error: str | None


class Accepted(msgspec.Struct, frozen=True):
    """The reply to a new job; `warning` only where nothing runs jobs."""

    job_id: str
    warning: str | msgspec.UnsetType = msgspec.UNSET


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as REST shows it, built by PostgreSQL (`caudex_jobs.shown`). Times end in `Z`."""

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
    """An accepted job. `payload` is JSON text; `run_at` is RFC 3339 text, None means at once.

    `delegation_ends` (seconds since 1970) and `delegation_epoch` come from the worker that enqueues
    the job. When a user enqueues it, the job's delegation begins with its first start. `request_id`
    is the request that enqueues it.
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
    delegation_ends: float | None = None
    delegation_epoch: str = ""
    limits: Limits | None = None
    request_id: str | None = None


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A job that this process has leased. `run_at` (seconds since 1970) serves for ordering only.

    Its handlers may act for the user until `delegation_ends` (seconds since 1970).
    """

    id: str
    app_id: str
    payload: msgspec.Raw
    user_id: str | None
    timeout_s: float
    failures: int
    max_attempts: int
    quarantined: bool
    worker_crashes: int
    unavailable: int
    priority: int
    run_at: float
    delegation_ends: float
    delegation_epoch: str
    limits: Limits | None = None


class ClaimRequest(msgspec.Struct, frozen=True):
    """How many jobs of an app to claim; `idle` when none of its jobs runs in this process."""

    app_id: str
    free: int
    idle: bool


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended. Pending with a `delay` (seconds) is a retry, without one the job is due at
    once; `unstarted` takes back the attempt that the claim counted."""

    id: str
    token: str
    app_id: str
    status: Status = "pending"
    failures: int
    worker_crashes: int = 0
    unavailable: int = 0
    quarantined: bool = False
    delay: float = 0
    unstarted: bool = False
    result: str | None = None
    error: str | None = None


class Progress(msgspec.Struct, frozen=True):
    """Progress that a handler reported; `value` is JSON text."""

    id: str
    token: str
    value: str


class Renewed(msgspec.Struct, frozen=True):
    """A lease that still holds."""

    id: str
    cancelled: bool


class Promoted(msgspec.Struct, frozen=True):
    """Apps with jobs that became due, and the seconds until the next scheduled job, if any."""

    apps: list[str]
    next: float | None


class Cursor(msgspec.Struct, frozen=True):
    """Position of a job in a list."""

    created_at: str
    id: str
