"""Crons as manifests declare them, as the table stores them, and as REST shows them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Overlap = Literal["skip", "queue", "allow"]
State = Literal["fired", "waiting", "skipped", "missed", "failed"]


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """A cron as a manifest declares it, with defaults applied; `payload` is the job's."""

    name: str
    schedule: str
    timezone: str
    overlap: Overlap
    payload: dict[str, Any]
    enabled: bool


class Cron(msgspec.Struct, frozen=True, kw_only=True):
    """A locked row; `due` and `now` in seconds since 1970, by the database's clock."""

    id: str
    app_id: str
    name: str
    schedule: str
    timezone: str
    overlap: Overlap
    payload: dict[str, Any]
    last_job: str | None
    due: float
    now: float
    waiting: int


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A run that waits for the end of the previous run's job."""

    id: int
    due: float


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a due time; `due` in seconds since 1970."""

    cron_id: str
    due: float
    state: State
    job_id: str | None = None
    missed: int = 0
    detail: str | None = None
    triggered_by: str | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the run log; times are RFC 3339 text in UTC."""

    id: int
    due: str
    at: str
    state: State
    job_id: str | None
    missed: int
    detail: str | None
    triggered_by: str | None


class Shown(Declared, frozen=True, kw_only=True):
    """A cron with its next due time (null while it is disabled) and its latest run."""

    next_due: str | None
    last_run: Run | None


class Upcoming(msgspec.Struct, frozen=True):
    """The next due times of a cron, RFC 3339 text in UTC; none while it is disabled."""

    due: list[str]


class Switch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Enables or disables a cron until the manifest changes `enabled`."""

    enabled: bool


class RunQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of GET …/runs."""

    limit: int = 100
    before: int | None = None
