"""The runs of this process whose outcome is not in the table yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import anyio

from plugins.jobs.models import Outcome, Status

from .outcome import Run


class HeldRuns:
    """Runs by the id of their job: each has a lease until its outcome is stored."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._any = anyio.Event()
        """Set while there are runs."""
        self.outcomes = Counter[Status]()
        """Runs that ended since the start, by the status of the job."""

    def __iter__(self) -> Iterator[Run]:
        """Iterate over the runs of this moment: others may come and go meanwhile."""
        return iter(list(self._runs.values()))

    def add(self, run: Run) -> None:
        """Hold a run; one before it of the same job is held no longer."""
        self._runs[run.job.id] = run
        self._any.set()

    def find(self, job_id: str) -> Run | None:
        """Return the run of a job."""
        return self._runs.get(job_id)

    def holds(self, run: Run) -> bool:
        """Whether this very run of its job is held."""
        return self._runs.get(run.job.id) is run

    def drop(self, run: Run) -> None:
        """Hold a run no longer."""
        if self.holds(run):
            del self._runs[run.job.id]

    def note_stored(self, outcome: Outcome) -> None:
        """Drop a run whose outcome is stored, and its lease with it."""
        self.outcomes[outcome.status] += 1
        run = self._runs.get(outcome.id)
        if run is not None and run.token == outcome.token and (run.ended or not run.settled):
            del self._runs[outcome.id]

    async def wait_for_any(self) -> None:
        """Wait until there are runs: an idle server does nothing."""
        if self._runs:
            return
        if self._any.is_set():
            self._any = anyio.Event()
        await self._any.wait()
