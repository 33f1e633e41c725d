"""Run jobs in this process, in workers and by plugins: start, time out, cancel, release."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

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
from plugins.jobs.models import Claimed, Outcome, Progress, Status

from .callers import Callers
from .claimer import Claimer, Slots
from .handlers import Handlers
from .held import HeldRuns
from .leases import RETRY_PAUSE, LeaseRenewal
from .outcome import Ending, Run
from .replacement import WorkerReplacement
from .results import ResultBatcher
from .store import RunsStore

log = structlog.get_logger("caudex.jobs")


class Runner:
    """Exists once in each server process. `notify_pending` notifies the others of an app's jobs."""

    def __init__(
        self,
        config: JobsConfig,
        store: RunsStore,
        workers: Handlers,
        callers: Callers,
        notify_pending: Callable[[str], None],
    ) -> None:
        self._config = config
        self._workers = workers
        self._callers = callers
        self._slots = Slots(config.concurrency)
        self.claimer = Claimer(
            config,
            store,
            self._slots,
            running=self._running,
            start=self._start,
            notify_pending=notify_pending,
        )
        self._held = HeldRuns()
        self._results = ResultBatcher(store, self._drop_stored)
        self._leases = LeaseRenewal(store, config.lease, self._held, self._results, self._end)
        self._replacements = WorkerReplacement(
            workers, self._slots, config.cancel_grace, self.claimer.notify_pending
        )
        self._idle: list[asyncio.Future[Run]] = []
        """Tasks that wait for a run: as many as there were runs at once, less those that run."""
        self._closing = False
        self._group: TaskGroup | None = None

    @property
    def outcomes(self) -> Counter[Status]:
        """Runs that ended since the start, by the status of the job."""
        return self._held.outcomes

    @asynccontextmanager
    async def working(self, tasks: Tasks) -> AsyncGenerator[None]:
        """Run jobs until the server stops; then wait for runs to end, and release the others."""
        self._workers.on_change(self._on_change)
        tasks.every(0, self._claim, "claim jobs")
        tasks.every(0.25, lambda: self._work_when_busy(self._watch), "watch time limits")
        tasks.every(0, self._leases.renew_when_due, "renew leases")
        store_progress = self._results.store_progress
        tasks.every(0.5, lambda: self._work_when_busy(store_progress), "store progress")
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
        """Look which runs are to end: a job, those of an app, or any, were cancelled."""
        self._leases.recheck(job_id, app_id)

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
        return [app for app in self._workers.running() if not self._replacements.includes(app)]

    def _start(self, job: Claimed, token: str, *, busy_delay: float = 5.0) -> None:
        """Run a job, after `busy_delay` seconds if its earlier run has not ended here yet."""
        run = Run(job, token)
        earlier = self._held.find(job.id)
        is_busy = earlier is not None and not earlier.ended
        if is_busy or self._closing or self._group is None:
            self._results.put(run.released(unstarted=True, delay=busy_delay if is_busy else 0))
            return
        self._held.add(run)
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
                    run = self._finish(run, await self._find_outcome(run))
            if scope.cancelled_caught and run is not None:
                run = self._finish(run, run.interrupted())

    async def _wait_for_run(self) -> Run:
        future = asyncio.Future[Run]()
        self._idle.append(future)
        return await future

    def _take_next(self, app_id: str) -> Run | None:
        while (run := self._slots.take_ready(app_id)) is not None:
            can_start = not self._closing and not self._replacements.includes(app_id)
            if can_start and run.ending is None:
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
        else:
            self._held.drop(run)

    async def _find_outcome(self, run: Run) -> Outcome:
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
            self._held.note_stored(outcome)
            if outcome.status != "pending":
                continue
            if outcome.delay:
                self.claimer.poll_in(outcome.delay)
            else:
                self.claimer.notify_pending_everywhere(outcome.app_id)

    # Watching

    async def _work_when_busy(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait until this process has runs, then work: an idle server does nothing."""
        await self._held.wait_for_any()
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
        if self._group is not None and not self._closing:
            self._replacements.begin(app_id, self._group)

    # Stopping

    async def _drain(self) -> None:
        """Wait `drain` seconds for runs to end. The tasks have ended, so do their work here."""
        self._closing = True
        self._requeue_ready()
        with anyio.move_on_after(self._config.drain):
            while not all(run.settled for run in self._held):
                try:
                    await self._watch()
                    if self._leases.is_due:
                        await self._leases.renew_when_due()
                except Exception as error:
                    log.warning("running jobs cannot be checked", **failure(error))
                await anyio.sleep(0.02)

    def _requeue_ready(self) -> None:
        for app_id in {run.job.app_id for run in self._held}:
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
