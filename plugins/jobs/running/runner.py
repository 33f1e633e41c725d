"""Run jobs in this process, in workers and by plugins: start, time out, cancel, renew leases,
release."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup
from structlog.contextvars import bind_contextvars, clear_contextvars

from kernel.public import (
    HandlerFailed,
    HandlerUnavailable,
    NotFound,
    Tasks,
    Unavailable,
    WorkerLost,
    WorkerState,
    WorkerStopped,
    failure,
)
from plugins.jobs.config import JobsConfig
from plugins.jobs.models import Claimed, Outcome, Progress, Renewed, Status
from plugins.jobs.store import JobsStore

from .callers import Callers
from .claimer import Claimer, Slots
from .handlers import Handlers
from .outcome import Ending, Run
from .results import ResultBatcher

RETRY_PAUSE: Final = 0.5
"""Seconds after the database, or a worker, was unavailable."""

log = structlog.get_logger("caudex.jobs")


class Runner:
    """Exists once in each server process. `notify_pending` notifies the others of an app's jobs."""

    def __init__(
        self,
        config: JobsConfig,
        store: JobsStore,
        workers: Handlers,
        callers: Callers,
        notify_pending: Callable[[str], None],
    ) -> None:
        self._config = config
        self._store = store
        self._workers = workers
        self._callers = callers
        self._notify_pending = notify_pending
        self._slots = Slots(config.concurrency)
        self.claimer = Claimer(
            config,
            store,
            self._slots,
            running=self._running,
            start=self._start,
            notify_pending=notify_pending,
        )
        self._results = ResultBatcher(store, self._drop_stored)
        self._held: dict[str, Run] = {}
        """Runs whose outcome is not in the table yet, by job id."""
        self.outcomes = Counter[Status]()
        """Runs that ended since the start, by the status of the job."""
        self._idle: list[asyncio.Future[Run]] = []
        """Tasks that wait for a run: as many as there were runs at once, less those that run."""
        self._replacing: set[str] = set()
        self._busy = anyio.Event()
        """Set while this process has runs."""
        self._recheck = anyio.Event()
        self._next_renewal = 0.0
        self._closing = False
        self._group: TaskGroup | None = None

    @asynccontextmanager
    async def working(self, tasks: Tasks) -> AsyncGenerator[None]:
        """Run jobs until the server stops; then wait for runs to end, and release the others."""
        self._workers.on_change(self._on_change)
        tasks.every(0, self._claim, "claim jobs")
        tasks.every(0.25, lambda: self._when_busy(self._watch), "watch time limits")
        tasks.every(0, self._renew_when_due, "renew leases")
        store_progress = self._results.store_progress
        tasks.every(0.5, lambda: self._when_busy(store_progress), "store progress")
        async with self._results.running(drain=3), anyio.create_task_group() as self._group:
            try:
                yield
                await self._drain()
            finally:
                self._closing = True
                with anyio.move_on_after(3, shield=True):
                    await self._release_all()
                self._group.cancel_scope.cancel()

    # Notifications

    def recheck(self, job_id: str | None = None, app_id: str | None = None) -> None:
        """A notification says that a job, those of an app, or any, were cancelled. Any database
        login can send one, so the rows are read again."""
        if job_id is None and app_id is None:
            self._recheck.set()
        for run in self._held.values():
            if run.job.id == job_id or run.job.app_id == app_id:
                self._recheck.set()

    async def _on_change(self, app_id: str, state: WorkerState) -> None:
        if state == "running":
            self.claimer.poll_in(0)

    # Running

    async def _claim(self) -> float | None:
        try:
            await self.claimer.step()
        except Unavailable:
            return RETRY_PAUSE
        return None

    def _running(self) -> Sequence[str]:
        """Apps whose workers take jobs, and plugins that handle their own."""
        if self._closing:
            return ()
        return [app for app in self._workers.running() if app not in self._replacing]

    def _start(self, job: Claimed, token: str, *, busy_delay: float = 5.0) -> None:
        """Run a job, after `busy_delay` seconds if its earlier run has not ended here yet."""
        run = Run(job, token)
        earlier = self._held.get(job.id)
        is_busy = earlier is not None and not earlier.ended
        if is_busy or self._closing or self._group is None:
            self._results.put(run.released(unstarted=True, delay=busy_delay if is_busy else 0))
            return
        self._held[job.id] = run
        self._busy.set()
        if self._slots.take(run):
            if self._idle:
                self._idle.pop().set_result(run)
            else:
                self._group.start_soon(self._work, run)

    async def _work(self, run: Run | None) -> None:
        """Run a job, then those that wait for its slot, then those that start later.

        A task for each took about a tenth of the server's time for a job.
        """
        while True:
            with anyio.CancelScope() as scope:
                while not scope.cancel_called:
                    run = run or await self._wait_for_run()
                    clear_contextvars()  # those of the job before
                    bind_contextvars(request_id=run.job.id)
                    run.begin(scope)
                    run = self._finish(run, await self._outcome(run))
            if scope.cancelled_caught and run is not None:
                run = self._finish(run, run.interrupted())

    async def _wait_for_run(self) -> Run:
        future = asyncio.Future[Run]()
        self._idle.append(future)
        return await future

    def _take_next(self, app_id: str) -> Run | None:
        while (run := self._slots.take_ready(app_id)) is not None:
            if run.ending is None and not self._closing and app_id not in self._replacing:
                self._slots.take(run)
                return run
            self._requeue(run)
        return None

    def _requeue(self, run: Run) -> None:
        """Return a run that had no slot yet to the table."""
        self._settle(run, run.released(unstarted=True))

    def _finish(self, run: Run, outcome: Outcome) -> Run | None:
        """Free the slot of a run that has ended; return the run that has the slot now."""
        self._slots.remove(run, time.monotonic() - run.began_at)
        self._settle(run, outcome)
        following = self._take_next(run.job.app_id)
        if self._slots.needs_claim(run.job.app_id):
            self.claimer.wake()
        return following

    def _settle(self, run: Run, outcome: Outcome) -> None:
        run.ended = True
        if not run.settled:
            self._results.put(outcome)
        elif self._held.get(run.job.id) is run:
            del self._held[run.job.id]

    async def _outcome(self, run: Run) -> Outcome:
        job = run.job

        async def progress(value: bytes) -> None:
            if len(value) <= 64 * 1024 and not run.settled:
                self._results.report(Progress(job.id, run.token, value.decode(errors="replace")))

        try:
            caller = await self._callers.find(job)
            if run.ending is Ending.TIMEOUT:
                return run.interrupted()
            if run.ending is not None:  # the worker has not received it yet
                return run.released(unstarted=True)
            payload = bytes(job.payload)
            return run.completed(
                await self._workers.run_job(job.app_id, job.id, payload, caller, progress)
            )
        except HandlerFailed as error:
            return run.failed(error.message)
        except HandlerUnavailable as error:
            return run.postponed(error.message)
        except WorkerStopped:
            return run.interrupted()
        except WorkerLost:
            return run.crashed()
        except (Unavailable, NotFound):
            self._slots.hold(job.app_id, RETRY_PAUSE)
            return run.released(unstarted=True)
        except Exception as error:
            log.error("a job cannot be run", job=job.id, app_id=job.app_id, exc_info=error)
            return run.failed("the server could not run it")

    def _drop_stored(self, outcomes: Sequence[Outcome]) -> None:
        """Drop runs whose outcomes are stored, and their leases with them."""
        for outcome in outcomes:
            self.outcomes[outcome.status] += 1
            run = self._held.get(outcome.id)
            if run is not None and run.token == outcome.token and (run.ended or not run.settled):
                del self._held[outcome.id]
            if outcome.status == "pending" and outcome.delay:
                self.claimer.poll_in(outcome.delay)
            elif outcome.status == "pending":
                self.claimer.notify_pending([outcome.app_id])
                self._notify_pending(outcome.app_id)

    # Watching

    async def _when_busy(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait until this process has runs, then work: an idle server does nothing."""
        if not self._held:
            if self._busy.is_set():
                self._busy = anyio.Event()
            await self._busy.wait()
        await work()

    async def _watch(self) -> None:
        """End runs that take too long, and replace workers that do not end them."""
        now = time.monotonic()
        grace = self._config.cancel_grace
        for run in self._slots.take_stale():
            self._requeue(run)
        for run in self._slots.runs():
            if run.ending is None and now >= run.deadline:
                await self._end(run, Ending.TIMEOUT)
            elif run.is_overdue(grace):
                self._replace(run.job.app_id)
            elif (
                run.ending is Ending.CANCELLED
                and now >= run.end_requested_at + grace
                and not run.settled
            ):
                run.settled = True  # it goes on, and keeps its slot until it ends
                self._results.put(run.cancelled())

    async def _end(self, run: Run, ending: Ending) -> None:
        run.request_end(ending)
        run.settled = run.settled or ending is Ending.LEASE_LOST
        await self._cancel_in_worker(run)

    async def _cancel_in_worker(self, run: Run) -> None:
        try:
            await self._workers.cancel_job(run.job.app_id, run.job.id)
        except Exception as error:
            log.warning("a worker cannot be asked to end a job", job=run.job.id, error=str(error))

    def _replace(self, app_id: str) -> None:
        """Restart a worker in which a run does not end: otherwise its slot is lost."""
        if app_id in self._replacing or self._group is None or self._closing:
            return
        self._replacing.add(app_id)
        grace = self._config.cancel_grace
        stuck = [run for run in self._slots.runs(app_id) if run.is_overdue(grace)]
        log.warning("a worker is replaced: jobs in it do not end", app_id=app_id, jobs=len(stuck))
        self._group.start_soon(self._restart, app_id, stuck)

    async def _restart(self, app_id: str, stuck: Sequence[Run], seconds: float = 90.0) -> None:
        try:
            with anyio.move_on_after(seconds):  # its last calls included
                await self._workers.restart(app_id)
                while any(run in stuck for run in self._slots.runs(app_id)):  # noqa: ASYNC110
                    await anyio.sleep(0.02)
        except Exception as error:
            log.error("a worker cannot be replaced", app_id=app_id, exc_info=error)
        for run in stuck:
            if run.scope is not None and not run.ended:  # else another run has its slot
                run.scope.cancel()
        self._replacing.discard(app_id)
        self.claimer.notify_pending([app_id])

    # Leases

    async def _renew_when_due(self) -> float | None:
        """Renew leases when a third of their time is over, or when a recheck is requested."""
        with anyio.move_on_after(self._next_renewal - time.monotonic()):
            await self._recheck.wait()
        self._recheck = anyio.Event()
        self._next_renewal = 0.0  # at once if this one fails
        try:
            await self._renew()
        except Unavailable:
            return RETRY_PAUSE
        self._next_renewal = time.monotonic() + self._config.lease / 3
        return None

    async def _renew(self) -> None:
        async with self._results.writing:
            held = [run for run in self._held.values() if not run.settled]
            renewed = await self._renew_leases(held) if held else []
        for run, lease in renewed:
            if self._held.get(run.job.id) is not run:
                continue
            if lease is None:
                log.warning("the lease of a job is lost", job=run.job.id, app_id=run.job.app_id)
                await self._end(run, Ending.LEASE_LOST)
            elif lease.cancelled and run.ending is None:
                await self._end(run, Ending.CANCELLED)

    async def _renew_leases(self, runs: Sequence[Run]) -> list[tuple[Run, Renewed | None]]:
        """Return the runs that the database answered for, each with its lease if that holds."""
        tokens = {run.job.id: run.token for run in runs}
        try:
            leases = await self._store.renew(tokens, self._config.lease)
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

    # Stopping

    async def _drain(self) -> None:
        """Wait `drain` seconds for runs to end. The tasks have ended, so do their work here."""
        self._closing = True
        self._requeue_ready()
        with anyio.move_on_after(self._config.drain):
            while not all(run.settled for run in self._held.values()):
                try:
                    await self._watch()
                    if self._recheck.is_set() or time.monotonic() >= self._next_renewal:
                        await self._renew_when_due()
                except Exception as error:
                    log.warning("running jobs cannot be checked", **failure(error))
                await anyio.sleep(0.02)

    def _requeue_ready(self) -> None:
        for app_id in {run.job.app_id for run in self._held.values()}:
            self._take_next(app_id)  # none of them starts while the server stops

    async def _release_all(self) -> None:
        """Release runs that have not ended: other servers need not wait for their leases then."""
        self._requeue_ready()
        for run in self._slots.runs():
            if not run.settled:
                await self._cancel_in_worker(run)
                self._results.put(run.released())
                run.settled = True
        try:
            await self.claimer.release_unanswered()
        except Exception as error:
            log.warning("jobs could not be released", **failure(error))
