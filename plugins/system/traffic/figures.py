"""Adds up minutes of traffic, and finds quantiles in buckets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any, Final

import msgspec

from kernel.public import RouteTraffic, TrafficMinute

from .models import FailureView, Figures, MinuteFigures, RouteFigures, TrafficView

MAX_FAILED: Final = 50
MAX_ROUTES: Final = 200


class Sum:
    """Requests that are added up."""

    def __init__(self) -> None:
        self.durations = Counter[int]()
        self.refusals = 0
        self.errors = 0

    def add(self, traffic: RouteTraffic) -> None:
        """Add the requests of a route within a minute."""
        self.durations.update(traffic.durations)
        self.refusals += traffic.refusals
        self.errors += traffic.errors

    @property
    def figures(self) -> Figures:
        """The figures of what was added."""
        return Figures(
            requests=self.durations.total(),
            refusals=self.refusals,
            errors=self.errors,
            p50_ms=find_quantile(self.durations, 0.5),
            p95_ms=find_quantile(self.durations, 0.95),
        )


def find_quantile(durations: Counter[int], share: float) -> float | None:
    """Return the milliseconds that this share of requests did not exceed; the middle of a bucket.

    Bucket n ends at 2^(n/2) microseconds.
    """
    total = durations.total()
    if not total:
        return None
    rank = max(1, ceil(share * total))
    for bucket in sorted(durations):
        rank -= durations[bucket]
        if rank <= 0:
            return round(2 ** ((bucket - 0.5) / 2) / 1000, 3)
    return None


def add_up(minutes: Sequence[TrafficMinute], processes: int) -> TrafficView:
    """Return the sums of minutes of several processes."""
    total = Sum()
    by_minute = dict[int, Sum]()
    by_route = dict[tuple[str, str], Sum]()
    for minute in minutes:
        start = minute.at // 60 * 60
        of_minute = by_minute.setdefault(start, Sum())
        for traffic in minute.routes:
            of_route = by_route.setdefault((traffic.method, traffic.route), Sum())
            for part in (total, of_minute, of_route):
                part.add(traffic)
    return TrafficView(
        processes=processes,
        total=total.figures,
        minutes=[
            MinuteFigures(at=_write_time(start), **_as_members(by_minute[start].figures))
            for start in sorted(by_minute)
        ],
        routes=_describe_routes(by_route),
        failed=_list_failed(minutes),
    )


def _describe_routes(by_route: dict[tuple[str, str], Sum]) -> list[RouteFigures]:
    """Return the routes with the most requests."""
    routes = [
        RouteFigures(method=method, route=route, **_as_members(of_route.figures))
        for (method, route), of_route in by_route.items()
    ]
    routes.sort(key=lambda figures: (-figures.requests, figures.route, figures.method))
    return routes[:MAX_ROUTES]


def _list_failed(minutes: Iterable[TrafficMinute]) -> list[FailureView]:
    failed = [request for minute in minutes for request in minute.failed]
    failed.sort(key=lambda request: -request.at)
    return [
        FailureView(
            at=_write_time(request.at),
            request_id=request.request_id,
            method=request.method,
            route=request.route,
            status=request.status,
        )
        for request in failed[:MAX_FAILED]
    ]


def _as_members(figures: Figures) -> dict[str, Any]:
    return msgspec.structs.asdict(figures)


def _write_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
