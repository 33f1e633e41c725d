"""Store how runs ended, and the progress of those that run, in batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import anyio
import structlog
from msgspec.structs import replace

from kernel.public import BadRequest, Batcher, BatchLimits, KernelError, Retry, Unavailable
from plugins.jobs.models import Outcome, Progress

from .outcome import INVALID_RESULT
from .store import RunsStore

log = structlog.get_logger("caudex.jobs")


class ResultBatcher:
    """Store the outcomes of one moment in one statement, and repeat it until it succeeds.

    The statement names the lease, so a second time changes nothing. Each statement waits for the
    disk, hence the 10 ms between two.
    """

    def __init__(self, store: RunsStore, stored: Callable[[Sequence[Outcome]], None]) -> None:
        self._store = store
        self._stored = stored
        self._progress: dict[str, Progress] = {}
        self._outcomes = Batcher[Outcome, None](
            self._flush,
            BatchLimits(bytes=8_000_000, waiting=1_000_000),
            size=lambda outcome: 500 + len(outcome.result or "") + len(outcome.error or ""),
            linger=0.01,
            retry=Retry(longest=0.5),
        )
        self.running = self._outcomes.running
        self.put = self._outcomes.add
        self.writing = anyio.Lock()
        """Held while a statement updates several rows of this process: two of them at once could
        deadlock."""

    def report(self, progress: Progress) -> None:
        """Take the progress of a job; the latest counts."""
        self._progress[progress.id] = progress

    async def store_progress(self) -> None:
        """Store the progress of running jobs."""
        async with self.writing:
            await self._report(list(self._progress.values()))

    async def _flush(self, outcomes: Sequence[Outcome]) -> list[Exception | None]:
        """Store outcomes; return Unavailable for those that need another try."""
        try:
            await self._settle(outcomes)
            return [None] * len(outcomes)
        except Unavailable as error:
            # The rows of one app may be locked, as by its removal: store those of the others.
            result = error
            parts = _group_by_app(outcomes)
        except Exception as error:
            if len(outcomes) == 1:
                return [await self._store_invalid(outcomes[0], error)]
            result = error
            parts = [[position] for position in range(len(outcomes))]
        results: list[Exception | None] = [result] * len(outcomes)
        if len(parts) > 1:
            for part in parts:
                part_results = await self._flush([outcomes[position] for position in part])
                for position, part_result in zip(part, part_results, strict=True):
                    results[position] = part_result
        return results

    async def _store_invalid(self, outcome: Outcome, error: Exception) -> Exception | None:
        """Fail a job whose result PostgreSQL refuses as JSON."""
        if outcome.result is not None and isinstance(error, BadRequest):
            failed = replace(outcome, status="failed", result=None, error=INVALID_RESULT)
            [result] = await self._flush([failed])
            return result
        log.error("the end of a job cannot be stored", job=outcome.id, exc_info=error)
        self._stored([outcome])
        return None

    async def _settle(self, outcomes: Sequence[Outcome]) -> None:
        """Store outcomes, and before them the last progress of their jobs."""
        async with self.writing:
            reports = [
                self._progress[outcome.id] for outcome in outcomes if outcome.id in self._progress
            ]
            await self._report(reports)
            await self._store.settle(outcomes)
            self._stored(outcomes)

    async def _report(self, reports: Sequence[Progress]) -> None:
        """Store progress; keep it for the next time while the database is unavailable."""
        try:
            if reports:
                await self._store.report(reports)
        except Unavailable:
            return
        except Exception as error:
            if len(reports) > 1:  # one of them is invalid JSON
                for report in reports:
                    await self._report([report])
                return
            write = log.debug if isinstance(error, KernelError) else log.error
            write("progress of a job is not stored", job=reports[0].id, error=str(error))
        for report in reports:
            if self._progress.get(report.id) is report:
                del self._progress[report.id]


def _group_by_app(outcomes: Sequence[Outcome]) -> list[list[int]]:
    """Group positions by app."""
    positions = defaultdict[str, list[int]](list)
    for position, outcome in enumerate(outcomes):
        positions[outcome.app_id].append(position)
    return [*positions.values()]
