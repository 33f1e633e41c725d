"""What holds connections: streams, transactions, and statements on connections of the pool.

A stream or a transaction belongs to the request that opened it, and is closed with it. One that a
plugin leaves open, in a request or in a task, would keep its connection for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from time import monotonic
from typing import Final, Literal

import structlog

from kernel.contracts.base import Services
from kernel.contracts.server import REGISTRY
from kernel.contracts.statements import Held
from kernel.errors.source_lines import Step
from kernel.toolkit.limiter import RateLimiter
from kernel.toolkit.requests import CURRENT_REQUEST

Kind = Literal["stream", "transaction", "statement"]
IDLE_SECONDS: Final = 60.0
"""How long something may be open without a statement. PostgreSQL ends such a transaction then
(`idle_in_transaction_session_timeout`)."""
LOOK_SECONDS: Final = 5.0
MAX_LOGGED: Final = 20
REMEDY: Final[dict[Kind, str]] = {
    "stream": "open it by `async with`, and read it to its end within that",
    "transaction": "await what runs it, and wait for nothing else inside",
}
LOGGED_SECONDS: Final = 10.0
"""Between two lines that say who holds what another one waited for."""

log = structlog.get_logger("caudex.db")


class OpenWorkRegistry:
    """All that is open in this process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._open = set[OpenWork]()
        self._closing = set[asyncio.Task[None]]()
        self._timer: asyncio.TimerHandle | None = None
        self._lines = RateLimiter(1 / LOGGED_SECONDS, burst=LOGGED_SECONDS)

    @contextmanager
    def statement(self) -> Generator[None]:
        """Count a single statement, which ends by itself."""
        work = OpenWork("statement", list, self, _say_never_idle, _close_nothing)
        self._open.add(work)
        try:
            yield
        finally:
            self._open.discard(work)

    def add(self, work: OpenWork) -> None:
        """Count what was opened; its request closes it at the end."""
        self._open.add(work)
        request = work.request
        if request is not None and not request.ended:
            request.opened.add(work)
        if self._timer is None:
            self._start_timer()

    def remove(self, work: OpenWork) -> None:
        """Forget what is closed."""
        self._open.discard(work)
        if work.request is not None:
            work.request.opened.discard(work)

    def held(self) -> list[Held]:
        """Return how many of each kind are open, and for how long the oldest is."""
        now = monotonic()
        kinds = sorted({work.kind for work in self._open})
        result = list[Held]()
        for kind in kinds:
            beginnings = [work.since for work in self._open if work.kind == kind]
            seconds = round(now - min(beginnings), 1)
            result.append(Held(kind=kind, count=len(beginnings), seconds=seconds))
        return result

    def log_refusal(self, error: Exception) -> None:
        """Log who holds what a request has waited for in vain."""
        if self._lines.take("refusal"):
            oldest = sorted(self._open, key=attrgetter("since"))[:MAX_LOGGED]
            holders = [work.describe() for work in oldest]
            log.warning("a request got no connection", error=str(error), holders=holders)

    def find_place(self, steps: Sequence[Step]) -> dict[str, str]:
        """Return the plugin of steps, the innermost first, and its line, as log fields.

        A plugin of another author comes first: it may have used one that comes with Caudex.
        """
        if not steps:
            return {}
        innermost = {"at": steps[0].at}
        registry = self._services.find(REGISTRY)
        if registry is None:
            return innermost
        foreign = {info.name for info in registry.plugins if info.is_foreign}
        lines = [(registry.plugin_of(step.module), step.at) for step in steps]
        lines_of_plugins = [line for line in lines if line[0]]
        foreign_lines = [line for line in lines_of_plugins if line[0] in foreign]
        if not lines_of_plugins:
            return innermost
        innermost_lines = foreign_lines or lines_of_plugins
        plugin, at = innermost_lines[0]
        return {"plugin": plugin, "at": at}

    def _start_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._close_idle)

    def _close_idle(self) -> None:
        """Close what has been open for long without a statement; look again while some is open."""
        self._timer = None
        latest = monotonic() - IDLE_SECONDS
        for work in list(self._open):
            idle_since = work.idle_since()
            if idle_since is not None and idle_since < latest:
                reason = f"nothing was done with it for {IDLE_SECONDS:g} seconds"
                task = asyncio.get_running_loop().create_task(work.end(reason))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
        if self._open:
            self._start_timer()


class OpenWork:
    """A stream or a transaction that is open; see `kernel.toolkit.requests.Opened`."""

    def __init__(
        self,
        kind: Kind,
        code: Callable[[], Sequence[Step]],
        open_work: OpenWorkRegistry,
        idle_since: Callable[[], float | None],
        close: Callable[[], Awaitable[object]],
    ) -> None:
        """`code` returns what opened it, the innermost step first. `idle_since` returns None while
        a statement runs."""
        self.kind: Kind = kind
        self.since = monotonic()
        self.request = CURRENT_REQUEST.get()
        self.idle_since = idle_since
        self._code = code
        self._open_work = open_work
        self._close = close

    def describe(self) -> dict[str, object]:
        """Return what it is and whose it is, as log fields."""
        fields: dict[str, object] = {
            "kind": self.kind,
            "seconds": round(monotonic() - self.since, 1),
            **self._open_work.find_place(self._code()),
        }
        if self.request is not None:
            fields |= {"user": self.request.user_id, "app_id": self.request.app_id}
        return fields

    async def end(self, reason: str) -> None:
        """Close what was left open, and log where that was."""
        self._open_work.remove(self)
        remedy = REMEDY[self.kind]
        log.error(
            "a connection was not given back", reason=reason, remedy=remedy, **self.describe()
        )
        try:
            await self._close()
        except Exception as error:  # it may break while it is read
            log.warning("what was left open failed", kind=self.kind, error=repr(error))


def _say_never_idle() -> None:
    """Be idle at no time."""


async def _close_nothing() -> None:
    """Need no closing."""
