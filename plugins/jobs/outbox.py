"""What became of jobs, and how far they are, on the way into the table."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Final

import anyio
import structlog
from anyio.lowlevel import checkpoint
from msgspec.structs import replace

from kernel.public import BadRequest, KernelError, Unavailable

from .models import Outcome, Step
from .runs import ODD_RESULT
from .store import JobsStore

BATCH: Final = 500
BATCH_SIZE: Final = 8_000_000
"""Characters of results in one statement."""

MANY: Final = 10
GATHER: Final = 0.01
"""Seconds that outcomes are gathered where the last statement had many: they come thick then, and
each statement waits for the disk."""

RETRY: Final = 0.5
REPORT_EVERY: Final = 0.5
"""Seconds between two statements that store how far jobs are."""

log = structlog.get_logger("caudex.jobs")


class Outbox:
    """Outcomes of the same moment go in one statement, again and again until they are in: it names
    the lease, so the second time changes nothing."""

    def __init__(self, store: JobsStore, stored: Callable[[Sequence[Outcome]], None]) -> None:
        self._store = store
        self._stored = stored
        self._outcomes: deque[Outcome] = deque()
        self._steps: dict[str, Step] = {}
        self._filled = anyio.Event()
        self.writing = anyio.Lock()
        """Held by whoever updates several of our rows: in two statements at once they could wait
        for each other."""

    def settle(self, outcome: Outcome) -> None:
        """Take an outcome; how far the job was last is stored before it."""
        self._outcomes.append(outcome)
        self._filled.set()

    def report(self, step: Step) -> None:
        """Take word of how far a job is; the latest counts."""
        self._steps[step.id] = step

    async def run(self) -> None:
        """Store outcomes, as long as the server lives."""
        many = False
        while True:
            await self._filled.wait()
            if many:
                await anyio.sleep(GATHER)
            else:
                await checkpoint()  # what this turn of the event loop still brings
            taken = self._take()
            many = len(taken) >= MANY
            await self._store_some(taken)

    async def run_reports(self) -> None:
        """Store how far jobs are, as long as the server lives."""
        while True:
            await anyio.sleep(REPORT_EVERY)
            async with self.writing:
                await self._report(list(self._steps.values()))

    async def flush(self) -> None:
        """Store what is left, once."""
        while taken := self._take():
            await self._settle(taken)

    def _take(self) -> list[Outcome]:
        taken, size = list[Outcome](), 0
        while self._outcomes and len(taken) < BATCH and size < BATCH_SIZE:
            taken.append(one := self._outcomes.popleft())
            size += one.size
        if not self._outcomes:
            self._filled = anyio.Event()
        return taken

    async def _store_some(self, taken: Sequence[Outcome]) -> None:
        try:
            left = await self._unsent(taken)
        except BaseException:  # the server stops: they are for `flush`
            self._outcomes.extendleft(reversed(taken))
            raise
        if left:  # behind what came meanwhile
            self._outcomes.extend(left)
            self._filled.set()
            await anyio.sleep(RETRY)

    async def _unsent(self, taken: Sequence[Outcome]) -> Sequence[Outcome]:
        """Send outcomes, and return those that have to be sent again."""
        try:
            await self._settle(taken)
        except Unavailable:
            parts = by_app(taken)
            if len(parts) == 1:
                return taken
            # Somebody may hold a row of one app, as its removal does: no matter of the others.
            return [one for part in parts for one in await self._unsent(part)]
        except Exception as error:
            if len(taken) > 1:
                return [left for one in taken for left in await self._unsent([one])]
            if taken[0].result is not None and isinstance(error, BadRequest):
                return await self._unsent([_unfit(taken[0])])
            log.error("the end of a job cannot be stored", job=taken[0].id, exc_info=error)
            self._stored(taken)
        return []

    async def _settle(self, taken: Sequence[Outcome]) -> None:
        async with self.writing:
            await self._report([self._steps[one.id] for one in taken if one.id in self._steps])
            await self._store.settle(taken)
            self._stored(taken)

    async def _report(self, steps: Sequence[Step]) -> None:
        """Store how far jobs are; what the database cannot take now is kept for the next time."""
        try:
            if steps:
                await self._store.report(steps)
        except Unavailable:
            return
        except Exception as error:
            if len(steps) > 1:  # one of them is not JSON: which?
                for step in steps:
                    await self._report([step])
                return
            tell = log.debug if isinstance(error, KernelError) else log.error
            tell("progress of a job is not stored", job=steps[0].id, error=str(error))
        for step in steps:
            if self._steps.get(step.id) is step:
                del self._steps[step.id]


def by_app(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    """Part outcomes by their apps."""
    found = defaultdict[str, list[Outcome]](list)
    for one in outcomes:
        found[one.app_id].append(one)
    return [*found.values()]


def _unfit(outcome: Outcome) -> Outcome:
    """In place of a result that PostgreSQL does not take for JSON."""
    return replace(outcome, status="failed", result=None, error=ODD_RESULT)
