"""The rules: what enqueueing, looking at and cancelling a job mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast

import anyio

from kernel.public import (
    APPS,
    IDENTITY,
    STATEMENTS,
    Actor,
    App,
    BadRequest,
    Measure,
    NewJob,
    NotFound,
    Services,
    Transaction,
    Workers,
    one_of,
)

from . import store
from .announcer import CANCEL, DUE, GONE, TOPIC, Announcer
from .callers import Callers
from .config import JobsConfig
from .ids import is_id
from .intake import Intake
from .models import STATUSES, NewRow, Place, Status
from .rules import accepted, moment
from .runner import Runner
from .store import MAX_COUNT, JobsStore
from .upkeep import Upkeep


class JobsService:
    """Provides JOBS."""

    def __init__(self, config: JobsConfig, services: Services) -> None:
        self._config = config
        self._apps = services.get(APPS)
        self._statements = services.get(STATEMENTS)
        self._store = JobsStore(self._statements)
        self._intake = Intake(self._store)
        self._announcer = Announcer(self._statements)
        self._callers = Callers(services.get(IDENTITY))
        self._runner: Runner | None = None

    async def enqueue(
        self, actor: Actor, app_id: str, job: NewJob, tx: Transaction | None = None
    ) -> str:
        """See `Jobs.enqueue`."""
        app = await self._apps.app(app_id)
        row = accepted(actor, app.id, job)
        if tx is not None:
            return await self._enqueue_within(tx, row)
        if row.key is None:
            await self._intake.put(row)
        elif (other := await self._store.insert_keyed(row)) != row.id:
            return other
        self._wake(row)
        return row.id

    async def _enqueue_within(self, tx: Transaction, row: NewRow) -> str:
        job_id = await store.insert_within(tx, row)

        async def wake() -> None:
            self._wake(row)

        if job_id == row.id:
            tx.after_commit(wake)
        return job_id

    async def get(self, app_id: str, job_id: str) -> bytes:
        """See `Jobs.get`."""
        job = await self._store.get(app_id, _checked(job_id))
        if job is None:
            raise _missing(job_id)
        return job

    async def list(
        self, app_id: str, *, status: str | None, limit: int, before: str | None
    ) -> bytes:
        """See `Jobs.list`. Raises BadRequest for a page that is too large."""
        await self._apps.app(app_id)
        wanted = None if status is None else cast("Status", one_of("status", status, STATUSES))
        last = None if before is None else await self._place(app_id, before)
        page = await self._store.page(app_id, wanted, limit, last)
        if page is None:
            size = store.MAX_PAGE_BYTES // 1_000_000
            raise BadRequest(f"these jobs have over {size} MB together: ask for fewer by limit")
        return page

    async def cancel(self, actor: Actor, app_id: str, job_id: str) -> None:
        """See `Jobs.cancel`."""
        _checked(job_id)

        async def write(tx: Transaction) -> None:
            status = await store.cancel(tx, app_id, job_id)
            if status is None:
                ended = await store.status(tx, app_id, job_id)
                if ended is None:
                    raise _missing(job_id)
                raise BadRequest(f"job '{job_id}' has ended already: it is {ended}")
            if status == "running":
                await tx.publish(TOPIC, CANCEL + job_id.lower())

        await self._statements.run(actor, write)

    # Apps that come and go

    async def installed(self, tx: Transaction, app: App, *, first: bool) -> None:
        """An app that was not there cannot have jobs: what was enqueued for a former one of its
        name, or while that was removed, is not its own."""
        await store.LIVES.begin(tx, app.id, app.born, first=first)

    async def removed(self, tx: Transaction, app_id: str) -> None:
        """Delete the jobs of an app, and let workers know."""
        await store.LIVES.end(tx, app_id)
        await tx.publish(TOPIC, GONE + app_id)

    # Numbers

    async def measured(self) -> list[Measure]:
        """Jobs that have not ended by state, and what became of those that ran here."""
        words = f"Jobs that have not ended; {MAX_COUNT} means at least so many."
        found = [
            Measure(name="caudex_jobs", help=words, value=n, labels={"state": state}, shared=True)
            for state, n in (await self._store.count()).items()
        ]
        outcomes = Counter[Status]() if self._runner is None else self._runner.outcomes
        return found + [
            Measure(
                name="caudex_jobs_runs",
                help="Runs of jobs that ended, by what the job is then.",
                value=outcomes[status],
                labels={"status": status},
                kind="counter",
            )
            for status in STATUSES
            if status != "running"
        ]

    # Life

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[JobsService]:
        """Accept jobs."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._intake.run)
            tasks.start_soon(self._announcer.run)
            yield self
            tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def working(self, workers: Workers | None) -> AsyncGenerator[None]:
        """Run jobs in the workers of this process, and keep the table in order."""
        async with Upkeep(self._config, self._store, self._announcer.announce).running():
            if workers is None:
                yield
                return
            runner = self._runner = Runner(
                self._config, self._store, workers, self._callers, self._announcer.announce
            )
            async with runner.working():
                yield

    async def withdrawn(self, news: str | None) -> None:
        """Forget tokens of a user, or of all, that no longer hold."""
        await self._callers.hear(news)

    async def heard(self, news: str | None) -> None:
        """Take news of any server process; None where some may be lost."""
        runner = self._runner
        if runner is None:
            return
        if news is None:
            runner.claimer.feed(None)
            runner.doubt()
        elif news.startswith(CANCEL):
            runner.doubt(job_id=news.removeprefix(CANCEL))
        elif news.startswith(GONE):
            runner.doubt(app_id=news.removeprefix(GONE))
        elif news.startswith(DUE):
            names = news.removeprefix(DUE)
            runner.claimer.feed(names.split(",") if names else None)

    def _wake(self, row: NewRow) -> None:
        """Let a job be picked up at once, or when its time comes."""
        now = datetime.now(UTC)
        wait = 0.0 if row.run_at is None else (moment(row.run_at) - now).total_seconds()
        if wait > 0:
            if self._runner is not None:
                self._runner.claimer.look_in(wait)
            return
        if self._runner is not None:
            self._runner.claimer.feed([row.app_id])
        self._announcer.announce(row.app_id)

    async def _place(self, app_id: str, job_id: str) -> Place:
        place = await self._store.place(app_id, _checked(job_id, "before"))
        if place is None:
            raise BadRequest(f"before: job '{job_id}' not found")
        return place


def _checked(job_id: str, name: str = "job id") -> str:
    if not is_id(job_id):
        shown = job_id if len(job_id) <= 40 else f"{job_id[:37]}..."
        raise BadRequest(f"{name}: a UUID is wanted, not {shown!r}")
    return job_id


def _missing(job_id: str) -> NotFound:
    return NotFound(f"job '{job_id}' not found")
