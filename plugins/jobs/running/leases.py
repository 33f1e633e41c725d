"""Renew the leases of the jobs that run here, and learn from them which were cancelled."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import anyio
import structlog

from kernel.public import Unavailable
from plugins.jobs.models import Renewed

from .held import HeldRuns
from .outcome import Ending, Run
from .results import ResultBatcher
from .store import RunsStore

RETRY_PAUSE: Final = 0.5
"""Seconds after the database, or a worker, was unavailable."""

log = structlog.get_logger("caudex.jobs")


class LeaseRenewal:
    """Renews all leases at once. `end_run` asks the worker of a run to end it."""

    def __init__(
        self,
        store: RunsStore,
        lease_seconds: float,
        runs: HeldRuns,
        results: ResultBatcher,
        end_run: Callable[[Run, Ending], Awaitable[None]],
    ) -> None:
        self._store = store
        self._lease_seconds = lease_seconds
        self._runs = runs
        self._results = results
        self._end_run = end_run
        self._recheck = anyio.Event()
        self._next_renewal = 0.0

    @property
    def is_due(self) -> bool:
        """Whether a renewal would not wait."""
        return self._recheck.is_set() or time.monotonic() >= self._next_renewal

    def recheck(self, job_id: str | None = None, app_id: str | None = None) -> None:
        """A notification says that a job, those of an app, or any, were cancelled.

        Any database login can send one, so the rows are read again.
        """
        names_any = job_id is None and app_id is None
        if names_any or any(run.job.id == job_id or run.job.app_id == app_id for run in self._runs):
            self._recheck.set()

    async def renew_when_due(self) -> float | None:
        """Renew when a third of the leases' time is over, or when a recheck is requested.

        Returns the seconds after which to try again, where the database was unavailable.
        """
        with anyio.move_on_after(self._next_renewal - time.monotonic()):
            await self._recheck.wait()
        self._recheck = anyio.Event()
        self._next_renewal = 0.0  # at once if this one fails
        try:
            await self._renew()
        except Unavailable:
            return RETRY_PAUSE
        self._next_renewal = time.monotonic() + self._lease_seconds / 3
        return None

    async def _renew(self) -> None:
        renewed = list[tuple[Run, Renewed | None]]()
        async with self._results.writing:
            unsettled = [run for run in self._runs if not run.settled]
            if unsettled:
                renewed = await self._renew_leases(unsettled)
        for run, lease in renewed:
            if not self._runs.holds(run):
                continue
            if lease is None:
                log.warning("the lease of a job is lost", job=run.job.id, app_id=run.job.app_id)
                await self._end_run(run, Ending.LEASE_LOST)
            elif lease.cancelled and run.ending is None:
                await self._end_run(run, Ending.CANCELLED)

    async def _renew_leases(self, runs: Sequence[Run]) -> list[tuple[Run, Renewed | None]]:
        """Return the runs that the database answered for, each with its lease if that holds."""
        tokens = {run.job.id: run.token for run in runs}
        try:
            leases = await self._store.renew(tokens, self._lease_seconds)
            lease_by_job = {lease.id: lease for lease in leases}
            return [(run, lease_by_job.get(run.job.id)) for run in runs]
        except Unavailable:
            app_ids = {run.job.app_id for run in runs}
            if len(app_ids) < 2:
                raise
        # The rows of one app may be locked, as by its removal: renew those of the others.
        renewed = list[tuple[Run, Renewed | None]]()
        for app_id in app_ids:
            runs_of_app = [run for run in runs if run.job.app_id == app_id]
            with suppress(Unavailable):
                renewed += await self._renew_leases(runs_of_app)
        if not renewed:
            raise Unavailable("the database is not available")
        return renewed
