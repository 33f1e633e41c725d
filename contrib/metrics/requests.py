"""Counts requests: pure ASGI, within the kernel's edge, so that each has its route."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kernel.public import KernelError, route_of

from .library import CollectorRegistry, Counter, Gauge, Histogram

METHODS: Final = ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS")
OTHER: Final = "other"
NO_ROUTE: Final = "none"
BUCKETS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
CLIENT_WENT: Final = 499
"""What nginx says of a client that did not wait."""


class Requests:
    """How many, how long, how many at once.

    A request is measured until its reply begins: a stream lasts as long as its reader likes.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.active = 0
        active = Gauge("caudex_http_requests_active", "Requests under way.", registry=registry)
        active.set_function(lambda: self.active)
        self._total = Counter(
            "caudex_http_requests", "Requests by route and status.",
            ("method", "route", "status"), registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "caudex_http_request_duration_seconds", "Seconds until a reply begins.",
            ("method", "route"), buckets=BUCKETS, registry=registry,
        )  # fmt: skip
        # Looking children up in the library takes longer than counting. As many as there are
        # routes, methods and statuses: nothing of it is what a client wrote.
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        key = method, route, status
        children = self._children.get(key)
        if children is None:
            if method not in METHODS:
                method = OTHER
            children = (
                self._total.labels(method, route, str(status)),
                self._seconds.labels(method, route),
            )
            self._children[method, route, status] = children
        total, duration = children
        total.inc()
        duration.observe(seconds)


class Meter:
    """The middleware."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        status = 0
        seconds = 0.0

        async def counting(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status = message["status"]
                seconds = perf_counter() - began
            await send(message)

        self._requests.active += 1
        try:
            await self._app(scope, receive, counting)
        except BaseException as error:
            status = status or _status(error)
            raise
        finally:
            self._requests.active -= 1
            route = route_of(scope)
            path = NO_ROUTE
            if route is not None:
                path = route.path
            seconds = seconds or perf_counter() - began
            self._requests.count(scope["method"], path, status or CLIENT_WENT, seconds)


def _status(error: BaseException) -> int:
    """What the kernel's edge makes of an error."""
    if isinstance(error, KernelError):
        return error.status
    if isinstance(error, ClientDisconnect):
        return CLIENT_WENT
    if isinstance(error, asyncio.CancelledError):
        return 503
    return 500
