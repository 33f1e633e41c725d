"""Crons on their way from manifests into the table, and what people are shown of them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Overlap = Literal["skip", "queue", "allow"]
State = Literal["fired", "waiting", "skipped", "missed", "failed"]


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """A cron as a manifest declares it, spellings resolved; `payload` is the job's."""

    name: str
    schedule: str
    timezone: str
    overlap: Overlap
    payload: dict[str, Any]
    enabled: bool


class Cron(msgspec.Struct, frozen=True, kw_only=True):
    """A row that is locked; `due` and `now` in seconds since 1970, by the database's clock."""

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
    """A run that waits for the job of the one before it."""

    id: int
    due: float


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a due time; `due` in seconds since 1970."""

    cron_id: str
    due: float
    state: State
    job_id: str | None = None
    missed: int = 0
    detail: str | None = None
    triggered_by: str | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the run log; times are RFC 3339 text in UTC."""

    id: int
    due: str
    at: str
    state: State
    job_id: str | None
    missed: int
    detail: str | None
    triggered_by: str | None


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A cron with its next due time, null while it is off, and its latest run."""

    name: str
    schedule: str
    timezone: str
    overlap: Overlap
    payload: dict[str, Any]
    enabled: bool
    next_due: str | None
    last_run: Run | None


class Switch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Switches a cron on or off until the manifest says otherwise."""

    enabled: bool


class RunQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of the run log."""

    limit: int = 100
    before: int | None = None
