"""What the requests of a server process cost, as the kernel measures them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from kernel.contracts.base import ServiceKey

__all__ = ["TRAFFIC", "FailedRequest", "RouteTraffic", "Traffic", "TrafficMinute"]


class RouteTraffic(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of a route within a minute. `route` is the template, or `none`; never a path.

    `durations` counts requests by bucket: bucket n holds those of at least 2^((n-1)/2) and less
    than 2^(n/2) microseconds until the reply begins; bucket 0 those of less than one. `refusals`
    have a status of 400 to 499, `errors` one from 500 on.
    """

    method: str
    route: str
    durations: Mapping[int, int]
    refusals: int
    errors: int


class FailedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that ended with a status from 500 on; `at` in seconds since 1970."""

    at: float
    request_id: str
    method: str
    route: str
    status: int


class TrafficMinute(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of a process within a minute, which begins `at` so many seconds since 1970."""

    at: int
    routes: Sequence[RouteTraffic]
    failed: Sequence[FailedRequest]
    """The last of them, a few."""


class Traffic(Protocol):
    """Counts the requests of this process. Health checks are left out."""

    def take_minutes(self) -> Sequence[TrafficMinute]:
        """Return the minutes that are over, the oldest first, and forget them: the last hour."""
        ...

    def read_present(self) -> TrafficMinute | None:
        """Return the minute that is not over; None where it has no request."""
        ...


TRAFFIC = ServiceKey[Traffic]("traffic")
