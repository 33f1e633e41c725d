"""Runs jobs in the workers of this process: claims, hands over, watches, gives back."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup
from structlog.contextvars import bind_contextvars

from kernel.public import (
    HandlerFailed,
    NotFound,
    Unavailable,
    WorkerLost,
    Workers,
    WorkerState,
    WorkerStopped,
    failure,
)

from .callers import Callers
from .claimer import Claimer
from .config import JobsConfig
from .models import Claimed, Outcome, Renewed, Status, Step
from .outbox import Outbox
from .runs import Ending, Run
from .slots import Slots
from .store import JobsStore

RETRY: Final = 0.5
"""Seconds after the database, or a worker, could not be asked."""

WATCH: Final = 0.25
GLANCE: Final = 0.02
REPLACING: Final = 90.0
"""Seconds that the replacement of a worker may take, its last calls included."""

BUSY: Final = 5.0
"""Seconds until a job is tried again whose earlier run has not ended here yet."""

LEAVING: Final = 3.0
MAX_PROGRESS: Final = 64 * 1024

log = structlog.get_logger("caudex.jobs")


class Runner:
    """One for each server process. `announce` tells the others that an app has jobs due."""

    def __init__(
        self,
        config: JobsConfig,
        store: JobsStore,
        workers: Workers,
        callers: Callers,
        announce: Callable[[str], None],
    ) -> None:
        self._config = config
        self._store = store
        self._workers = workers
        self._callers = callers
        self._announce = announce
        self._slots = Slots(config.concurrency)
        self.claimer = Claimer(
            config,
            store,
            self._slots,
            running=self._running,
            start=self._start,
            announce=announce,
        )
        self._outbox = Outbox(store, self._stored)
        self._held: dict[str, Run] = {}
        """Runs whose outcome is not in the table yet, by job."""
        self.outcomes = Counter[Status]()
        """How many runs ended so since the start."""
        self._replacing: set[str] = set()
        self._doubt = anyio.Event()
        self._next_renewal = 0.0
        self._closing = False
        self._tasks: TaskGroup | None = None

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        """Work while the server runs; at its end let runs end, and give back what does not."""
        self._workers.on_change(self._changed)
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                async with anyio.create_task_group() as loops:
                    for step in (self.claimer.step, self._watch, self._renew_when_due):
                        loops.start_soon(self._always, step)
                    loops.start_soon(self._outbox.run)
                    loops.start_soon(self._outbox.run_reports)
                    yield
                    await self._drain()
                    loops.cancel_scope.cancel()
            finally:
                self._closing = True
                with anyio.move_on_after(LEAVING, shield=True):
                    await self._leave()
                tasks.cancel_scope.cancel()

    # What others tell

    def doubt(self, job_id: str | None = None, app_id: str | None = None) -> None:
        """Somebody says that a job, those of an app, or any, are not wanted any more. Who says so
        could be anybody, so the rows are asked."""
        if job_id is None and app_id is None:
            self._doubt.set()
        for run in self._held.values():
            if run.job.id == job_id or run.job.app_id == app_id:
                self._doubt.set()

    async def _changed(self, app_id: str, state: WorkerState) -> None:
        if state == "running":
            self.claimer.look_in(0)

    # Running

    def _running(self) -> Sequence[str]:
        """Apps whose workers take jobs."""
        if self._closing:
            return ()
        return [app for app in self._workers.running() if app not in self._replacing]

    def _start(self, job: Claimed, token: str) -> None:
        run, earlier = Run(job, token), self._held.get(job.id)
        busy = earlier is not None and not earlier.ended
        if busy or self._closing or self._tasks is None:
            self._outbox.settle(run.given_back(unstarted=True, delay=BUSY if busy else 0))
            return
        self._held[job.id] = run
        if self._slots.take(run):
            self._tasks.start_soon(self._work, run)

    async def _work(self, run: Run | None) -> None:
        """Run a job, and in its place those that wait for one."""
        while run is not None:
            # One scope for all of them: to make each its own took a quarter of a run's time.
            with anyio.CancelScope() as scope:
                while run is not None and not scope.cancel_called:
                    bind_contextvars(request_id=run.job.id)
                    run.begin(scope)
                    run = self._over(run, await self._outcome(run))
            if scope.cancelled_caught and run is not None:
                run = self._over(run, run.abandoned())

    def _next(self, app_id: str) -> Run | None:
        while (run := self._slots.next(app_id)) is not None:
            if run.ending is None and not self._closing and app_id not in self._replacing:
                self._slots.take(run)
                return run
            self._send_back(run)
        return None

    def _send_back(self, run: Run) -> None:
        """A run that had no place yet goes back to the table."""
        run.ended = True
        if not run.settled:
            self._outbox.settle(run.given_back(unstarted=True))
        elif self._held.get(run.job.id) is run:
            del self._held[run.job.id]

    def _over(self, run: Run, outcome: Outcome) -> Run | None:
        """A run has ended; returns the one that has its place now."""
        run.ended = True
        if self._slots.remove(run, time.monotonic() - run.began_at):
            self.claimer.wake()
        if not run.settled:
            self._outbox.settle(outcome)
        elif self._held.get(run.job.id) is run:
            del self._held[run.job.id]
        return self._next(run.job.app_id)

    async def _outcome(self, run: Run) -> Outcome:
        job = run.job

        async def progress(value: bytes) -> None:
            if len(value) <= MAX_PROGRESS and not run.settled:
                self._outbox.report(Step(job.id, run.token, value.decode(errors="replace")))

        try:
            caller = await self._callers.of(job)
            if run.ending is Ending.TIMEOUT:
                return run.abandoned()
            if run.ending is not None:  # the worker could not be told of what it has not got yet
                return run.given_back(unstarted=True)
            payload = bytes(job.payload)
            return run.completed(
                await self._workers.run_job(job.app_id, job.id, payload, caller, progress)
            )
        except HandlerFailed as error:
            return run.failed(error.message)
        except WorkerStopped:
            return run.abandoned()
        except WorkerLost:
            return run.lost()
        except (Unavailable, NotFound):
            self._slots.hold(job.app_id, RETRY)
            return run.given_back(unstarted=True)
        except Exception as error:
            log.error("a job cannot be run", job=job.id, app_id=job.app_id, exc_info=error)
            return run.failed("the server could not run it")

    def _stored(self, outcomes: Sequence[Outcome]) -> None:
        """Outcomes are in the table: the leases are no longer ours."""
        for one in outcomes:
            self.outcomes[one.status] += 1
            run = self._held.get(one.id)
            if run is not None and run.token == one.token and (run.ended or not run.settled):
                del self._held[one.id]
            if one.status == "pending" and one.delay:
                self.claimer.look_in(one.delay)
            elif one.status == "pending":
                self.claimer.feed([one.app_id])
                self._announce(one.app_id)

    # Watching

    async def _watch(self) -> None:
        """End what takes too long, and what does not end when it is told."""
        await anyio.sleep(WATCH)
        now = time.monotonic()
        for run in self._slots.stale():
            self._send_back(run)
        for run in self._slots.runs():
            if run.ending is None and now >= run.deadline:
                await self._end(run, Ending.TIMEOUT)
            elif run.overdue(self._config.grace):
                self._replace(run.job.app_id)
            elif run.ending is Ending.CANCELLED and now >= run.told_at + self._config.grace:
                self._give_up(run)

    async def _end(self, run: Run, ending: Ending) -> None:
        run.end(ending)
        run.settled = run.settled or ending is Ending.LEASE_LOST
        await self._tell(run)

    async def _tell(self, run: Run) -> None:
        try:
            await self._workers.cancel_job(run.job.app_id, run.job.id)
        except Exception as error:
            log.warning("a worker cannot be told", job=run.job.id, error=str(error))

    def _give_up(self, run: Run) -> None:
        """It is cancelled, whatever it does; its place it keeps until it ends."""
        if not run.settled:
            run.settled = True
            self._outbox.settle(run.cancelled())

    def _replace(self, app_id: str) -> None:
        """Start a worker anew in which a run does not end, or its place is lost."""
        if app_id in self._replacing or self._tasks is None or self._closing:
            return
        self._replacing.add(app_id)
        stuck = [run for run in self._slots.runs(app_id) if run.overdue(self._config.grace)]
        log.warning("a worker is replaced: jobs in it do not end", app_id=app_id, jobs=len(stuck))
        self._tasks.start_soon(self._restart, app_id, stuck)

    async def _restart(self, app_id: str, stuck: Sequence[Run]) -> None:
        try:
            with anyio.move_on_after(REPLACING):
                await self._workers.restart(app_id)
                await _until(lambda: not any(run in stuck for run in self._slots.runs(app_id)))
        except Exception as error:
            log.error("a worker cannot be replaced", app_id=app_id, exc_info=error)
        for run in stuck:
            if run.scope is not None and not run.ended:  # else another run has its place
                run.scope.cancel()
        self._replacing.discard(app_id)
        self.claimer.feed([app_id])

    # Leases

    async def _renew_when_due(self) -> None:
        with anyio.move_on_after(self._next_renewal - time.monotonic()):
            await self._doubt.wait()
        self._doubt = anyio.Event()
        self._next_renewal = 0.0  # at once, should this one fail
        await self._renew()
        self._next_renewal = time.monotonic() + self._config.lease / 3

    async def _renew(self) -> None:
        async with self._outbox.writing:
            held = {job_id: run.token for job_id, run in self._held.items() if not run.settled}
            if not held:
                return
            asked, found = await self._renewed(held)
            renewed = {one.id: one for one in found}
        for job_id, token in asked.items():
            run = self._held.get(job_id)
            if run is None or run.token != token:
                continue
            if job_id not in renewed:
                log.warning("the lease of a job is lost", job=job_id, app_id=run.job.app_id)
                await self._end(run, Ending.LEASE_LOST)
            elif renewed[job_id].cancelled and run.ending is None:
                await self._end(run, Ending.CANCELLED)

    async def _renewed(self, held: dict[str, str]) -> tuple[dict[str, str], list[Renewed]]:
        """Renew leases, and return those that could be asked for with those that hold."""
        try:
            return held, await self._store.renew(held, self._config.lease)
        except Unavailable:
            apps = {run.job.app_id for run in self._held.values()}
            if len(apps) < 2:
                raise
        # Somebody may hold a row of one app, as its removal does: no matter of the others.
        asked, found = dict[str, str](), list[Renewed]()
        for app_id in apps:
            theirs = {i for i, run in self._held.items() if run.job.app_id == app_id}
            part = {job_id: token for job_id, token in held.items() if job_id in theirs}
            with suppress(Unavailable):
                found += await self._store.renew(part, self._config.lease)
                asked |= part
        if not asked:
            raise Unavailable("the database is not available")
        return asked, found

    async def _always(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except Unavailable:
                await anyio.sleep(RETRY)
            except Exception as error:
                log.error("jobs: a step failed", step=step.__name__, exc_info=error)
                await anyio.sleep(RETRY)

    # The end

    async def _drain(self) -> None:
        """Claim nothing more, and wait for what runs, for a bounded time."""
        self._closing = True
        self._return_ready()
        with anyio.move_on_after(self._config.drain):
            await _until(lambda: all(run.settled for run in self._held.values()))

    def _return_ready(self) -> None:
        for app_id in {run.job.app_id for run in self._held.values()}:
            self._next(app_id)  # as we are closing, none is to be run

    async def _leave(self) -> None:
        """Give back what has not ended, so that others need not wait for its lease to end."""
        self._return_ready()
        for run in self._slots.runs():
            if not run.settled:
                await self._tell(run)
                self._outbox.settle(run.given_back())
                run.settled = True
        try:
            await self._outbox.flush()
            await self.claimer.give_back()
        except Exception as error:
            log.warning("jobs could not be given back", **failure(error))


async def _until(condition: Callable[[], bool]) -> None:
    """Wait until something is so; looked at now and then, since only ends wait for anything."""
    while True:
        if condition():
            return
        await anyio.sleep(GLANCE)
