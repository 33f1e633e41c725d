"""The requests of the last hour, as core admins see them."""

from __future__ import annotations

import msgspec

from kernel.public import TrafficMinute


class StoredMinute(msgspec.Struct, frozen=True, kw_only=True):
    """The minute of one process, as the table has it."""

    process: str
    content: TrafficMinute


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests, and how long they took until their reply began; null without one.

    Durations are exact to a fifth. `refusals` have a status of 400 to 499, `errors` one from 500
    on.
    """

    requests: int
    refusals: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None


class MinuteFigures(Figures, frozen=True, kw_only=True):
    """The requests of a minute that begins at this RFC 3339 time."""

    at: str


class RouteFigures(Figures, frozen=True, kw_only=True):
    """The requests of a route in the last hour; `route` is its template, or `none`."""

    method: str
    route: str


class FailureView(msgspec.Struct, frozen=True, kw_only=True):
    """A request that ended with a status from 500 on. Its id leads to its lines in the log."""

    at: str
    request_id: str
    method: str
    route: str
    status: int


class TrafficView(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of the last hour, of all server processes of the database.

    The process that answers is exact; others are behind by up to a minute.
    """

    processes: int
    total: Figures
    minutes: list[MinuteFigures]
    routes: list[RouteFigures]
    failed: list[FailureView]
