"""Store how runs ended, and the progress of those that run, in batches."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence

import anyio
import structlog
from anyio.lowlevel import checkpoint
from msgspec.structs import replace

from kernel.public import BadRequest, KernelError, Unavailable

from .models import Outcome, Progress
from .run import INVALID_RESULT
from .store import JobsStore

log = structlog.get_logger("caudex.jobs")


class ResultBatcher:
    """Store the outcomes of one moment in one statement, and repeat it until it succeeds.

    The statement names the lease, so a second time changes nothing.
    """

    def __init__(self, store: JobsStore, stored: Callable[[Sequence[Outcome]], None]) -> None:
        self._store = store
        self._stored = stored
        self._outcomes: deque[Outcome] = deque()
        self._progress: dict[str, Progress] = {}
        self._filled = anyio.Event()
        self.writing = anyio.Lock()
        """Held while a statement updates several rows of this process: two of them at once could
        deadlock."""

    def put(self, outcome: Outcome) -> None:
        """Take an outcome; the job's last progress is stored before it."""
        self._outcomes.append(outcome)
        self._filled.set()

    def report(self, progress: Progress) -> None:
        """Take the progress of a job; the latest counts."""
        self._progress[progress.id] = progress

    async def run(self) -> None:
        """Store outcomes until the server stops."""
        many = False
        while True:
            await self._filled.wait()
            if many:  # each statement waits for the disk: gather more outcomes for the next
                await anyio.sleep(0.01)
            else:
                await checkpoint()  # more outcomes may come in this turn of the event loop
            taken = self._take()
            many = len(taken) >= 10
            await self._store_some(taken)

    async def run_reports(self) -> None:
        """Store progress until the server stops."""
        while True:
            await anyio.sleep(0.5)
            async with self.writing:
                await self._report(list(self._progress.values()))

    async def flush(self) -> None:
        """Store what is left, once."""
        while taken := self._take():
            await self._settle(taken)

    def _take(self) -> list[Outcome]:
        taken, size = list[Outcome](), 0
        while self._outcomes and len(taken) < 500 and size < 8_000_000:
            taken.append(one := self._outcomes.popleft())
            size += one.size
        if not self._outcomes:
            self._filled = anyio.Event()
        return taken

    async def _store_some(self, taken: Sequence[Outcome]) -> None:
        try:
            left = await self._try(taken)
        except BaseException:  # the server stops: `flush` stores them
            self._outcomes.extendleft(reversed(taken))
            raise
        if left:  # behind the newer ones
            self._outcomes.extend(left)
            self._filled.set()
            await anyio.sleep(0.5)

    async def _try(self, taken: Sequence[Outcome]) -> Sequence[Outcome]:
        """Store outcomes, and return those that need another try."""
        try:
            await self._settle(taken)
        except Unavailable:
            parts = by_app(taken)
            if len(parts) == 1:
                return taken
            # The rows of one app may be locked, as by its removal: store those of the others.
            return [one for part in parts for one in await self._try(part)]
        except Exception as error:
            if len(taken) > 1:
                return [left for one in taken for left in await self._try([one])]
            if taken[0].result is not None and isinstance(error, BadRequest):
                return await self._try([_with_invalid_result(taken[0])])
            log.error("the end of a job cannot be stored", job=taken[0].id, exc_info=error)
            self._stored(taken)
        return []

    async def _settle(self, taken: Sequence[Outcome]) -> None:
        async with self.writing:
            await self._report(
                [self._progress[one.id] for one in taken if one.id in self._progress]
            )
            await self._store.settle(taken)
            self._stored(taken)

    async def _report(self, reports: Sequence[Progress]) -> None:
        """Store progress; keep it for the next time while the database is unavailable."""
        try:
            if reports:
                await self._store.report(reports)
        except Unavailable:
            return
        except Exception as error:
            if len(reports) > 1:  # one of them is invalid JSON
                for one in reports:
                    await self._report([one])
                return
            write = log.debug if isinstance(error, KernelError) else log.error
            write("progress of a job is not stored", job=reports[0].id, error=str(error))
        for one in reports:
            if self._progress.get(one.id) is one:
                del self._progress[one.id]


def by_app(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    """Group outcomes by app."""
    found = defaultdict[str, list[Outcome]](list)
    for one in outcomes:
        found[one.app_id].append(one)
    return [*found.values()]


def _with_invalid_result(outcome: Outcome) -> Outcome:
    """Return the outcome to store when PostgreSQL refuses the result as JSON."""
    return replace(outcome, status="failed", result=None, error=INVALID_RESULT)
