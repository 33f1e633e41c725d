"""What each part of a request cost, in the reply's header `Server-Timing` (W3C Server Timing).

Without `[server] server_timing` nothing is wrapped, so requests cost nothing more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial, wraps
from time import perf_counter
from typing import Any, Final, ParamSpec, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kernel.public import ACCESS, HOOKS, REGISTRY, STATEMENTS, Middleware, Services

P = ParamSpec("P")
R = TypeVar("R")
MAX_HEADER: Final = 2000
"""Bytes; what is left out is the cheapest, summed up."""
MAX_NAMES: Final = 200
OTHERS: Final = "others"


class Timings:
    """What one request spent so far: calls and seconds by name."""

    def __init__(self) -> None:
        self._began = perf_counter()
        self._spent: dict[str, tuple[int, float]] = {}

    def add(self, name: str, seconds: float) -> None:
        """Count a call; beyond so many names they share one."""
        if name not in self._spent and len(self._spent) >= MAX_NAMES:
            name = OTHERS
        calls, spent = self._spent.get(name, (0, 0.0))
        self._spent[name] = calls + 1, spent + seconds

    def header(self) -> bytes:
        """In milliseconds, the costliest first; what has no room is summed up."""
        parts = [_entry("total", 1, perf_counter() - self._began)]
        size = len(parts[0])
        unlisted_calls, unlisted_seconds = self._spent.get(OTHERS, (0, 0.0))
        for name, (calls, seconds) in sorted(self._spent.items(), key=lambda item: -item[1][1]):
            part = _entry(name, calls, seconds)
            size += len(part) + 2
            if name == OTHERS:
                continue
            if size <= MAX_HEADER - 100:
                parts.append(part)
            else:
                unlisted_calls += calls
                unlisted_seconds += seconds
        if unlisted_calls:
            parts.append(_entry(OTHERS, unlisted_calls, unlisted_seconds))
        return ", ".join(parts).encode("latin-1", "replace")


def _entry(name: str, calls: int, seconds: float) -> str:
    entry = f"{name};dur={seconds * 1000:.3f}"
    if calls > 1:
        entry += f';desc="{name}, {calls} calls"'
    return entry


current: Final[ContextVar[Timings | None]] = ContextVar("caudex_timings", default=None)
"""Those of the request under way, also in tasks that it starts."""


def spent(name: str, seconds: float) -> None:
    """Count a call for the request under way, if any."""
    timings = current.get()
    if timings is not None:
        timings.add(name, seconds)


def timed(function: Callable[P, Awaitable[R]], name: str) -> Callable[P, Awaitable[R]]:
    """Count the calls of an async function under a name."""

    @wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        began = perf_counter()
        try:
            return await function(*args, **kwargs)
        finally:
            spent(name, perf_counter() - began)

    return call


def time_plugins(services: Services) -> None:
    """Time every hook, handler and middleware. Called once all plugins are loaded."""
    registry = services.get(REGISTRY)
    kernels, *middleware_of_plugins = registry.middleware
    timers = [
        (plugin, partial(_timed_middleware, wrap, plugin)) for plugin, wrap in middleware_of_plugins
    ]
    registry.middleware[:] = [("system", ServerTiming), kernels, *timers]
    registry.wrap_handlers(lambda plugin, handler: timed(handler, f"{plugin}.handler"))
    for implementation in services.get(HOOKS).all_implementations():
        name = f"{implementation.plugin}.{implementation.hook}"
        implementation.statistics.observe = partial(spent, name)


def time_services(services: Services) -> None:
    """Time the methods of services. Called once they are built."""
    statements = services.get(STATEMENTS)
    _time(statements, "db", "fetch", "fetch_all", "execute", "execute_all")
    _time(statements, "tx", "run")
    _time(services.find(ACCESS), "access", "authorize")


def _time(service: Any, name: str, *methods: str) -> None:
    for method in methods:
        with suppress(AttributeError):  # the method is missing, or the class has slots
            setattr(service, method, timed(getattr(service, method), name))


def _timed_middleware(wrap: Middleware, plugin: str, app: ASGIApp) -> ASGIApp:
    """Wrap an application, and count what the middleware does before it passes the request on."""
    began: ContextVar[float] = ContextVar("began")

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        spent(f"{plugin}.middleware", perf_counter() - began.get(perf_counter()))
        await app(scope, receive, send)

    wrapped = wrap(inner)

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        token = began.set(perf_counter())
        try:
            await wrapped(scope, receive, send)
        finally:
            began.reset(token)

    return outer


class ServerTiming:
    """Outermost middleware: starts to count, and adds the header when a reply begins."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        timings = Timings()
        token = current.set(timings)

        async def sender(message: Message) -> None:
            if message["type"] == "http.response.start":
                header = (b"server-timing", timings.header())
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        try:
            await self._app(scope, receive, sender)
        finally:
            current.reset(token)
