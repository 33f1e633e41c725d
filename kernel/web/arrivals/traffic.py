"""Counts requests by minute and route. Each request pays half a microsecond for it."""

from __future__ import annotations

import time
from collections import deque
from time import perf_counter
from typing import Final

from kernel.contracts.server import FailedRequest, Route, RouteTraffic, TrafficMinute

SECONDS: Final = 60.0
MINUTES: Final = 60
"""Minutes that are kept until they are taken."""
MAX_ROUTES: Final = 1000
"""Routes that are counted apart within a minute."""
FAILED: Final = 20
"""Failed requests that a minute keeps."""
BUCKETS: Final = 60
REFUSALS: Final = BUCKETS
ERRORS: Final = BUCKETS + 1
NO_ROUTE: Final = ("", "none")
"""The key of requests that no route has served, and of those beyond `MAX_ROUTES`."""

Key = tuple[str, str]


class TrafficCounter:
    """Provides TRAFFIC. Times are those of the process's own clock until a minute is over."""

    def __init__(self) -> None:
        self._minute = perf_counter() // SECONDS
        self._counts = dict[Key, list[int]]()
        self._failed = deque[FailedRequest](maxlen=FAILED)
        self._finished = deque[TrafficMinute](maxlen=MINUTES)

    def count(self, route: Route | None, status: int, began: float, answered: float) -> None:
        """Count a request whose reply began at `answered`; times are those of `perf_counter`."""
        minute = answered // SECONDS
        if minute > self._minute:
            self._turn(minute)
        key = NO_ROUTE if route is None else (route.method, route.path)
        counts = self._counts.get(key)
        if counts is None:
            counts = self._add(key)
        microseconds = int((answered - began) * 1e6)
        bucket = (microseconds * microseconds).bit_length()
        if bucket >= BUCKETS:
            bucket = BUCKETS - 1
        counts[bucket] += 1
        if status >= 400:
            counts[ERRORS if status >= 500 else REFUSALS] += 1

    def note_failure(self, request_id: str, route: Route | None, status: int) -> None:
        """Remember a request that failed, for those who look for the reason in the log."""
        method, path = NO_ROUTE
        if route is not None:
            method = route.method
            path = route.path
        failed = FailedRequest(
            at=time.time(), request_id=request_id, method=method, route=path, status=status
        )
        self._failed.append(failed)

    def take_minutes(self) -> list[TrafficMinute]:
        """See `Traffic.take_minutes`."""
        self._turn_over()
        minutes = list(self._finished)
        self._finished.clear()
        return minutes

    def read_present(self) -> TrafficMinute | None:
        """See `Traffic.read_present`."""
        self._turn_over()
        return self._describe()

    def _add(self, key: Key) -> list[int]:
        if len(self._counts) >= MAX_ROUTES:
            key = NO_ROUTE
        return self._counts.setdefault(key, [0] * (BUCKETS + 2))

    def _turn_over(self) -> None:
        minute = perf_counter() // SECONDS
        if minute > self._minute:
            self._turn(minute)

    def _turn(self, minute: float) -> None:
        """Begin a minute."""
        finished = self._describe()
        if finished is not None:
            self._finished.append(finished)
        self._counts.clear()
        self._failed.clear()
        self._minute = minute

    def _describe(self) -> TrafficMinute | None:
        if not self._counts:
            return None
        began_ago = perf_counter() - self._minute * SECONDS
        return TrafficMinute(
            at=int(time.time() - began_ago),
            routes=[_describe_route(key, counts) for key, counts in self._counts.items()],
            failed=list(self._failed),
        )


def _describe_route(key: Key, counts: list[int]) -> RouteTraffic:
    method, path = key
    durations = {bucket: count for bucket, count in enumerate(counts[:BUCKETS]) if count}
    return RouteTraffic(
        method=method,
        route=path,
        durations=durations,
        refusals=counts[REFUSALS],
        errors=counts[ERRORS],
    )
