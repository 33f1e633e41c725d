"""Enqueue, show, list and cancel jobs; start and stop their execution."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import cast

import msgspec

from kernel.public import (
    APPS,
    IDENTITY,
    MAX_PAGE_BYTES,
    NOTIFICATIONS,
    REGISTRY,
    STATEMENTS,
    Actor,
    BadRequest,
    Measure,
    NewJob,
    NotFound,
    Services,
    Tasks,
    Transaction,
    Workers,
    one_of,
    plugin_jobs,
    server_actor,
)

from . import store
from .config import JobsConfig
from .enqueue import (
    CANCEL,
    PENDING,
    REMOVED,
    TOPIC,
    NewJobs,
    PendingNotifier,
    check_id,
    parse_time,
    validate,
)
from .inserts import insert_within
from .maintenance import Maintenance
from .models import STATUSES, Cursor, NewRow, Portion, PortionDone, Status
from .running.callers import Callers
from .running.handlers import Handlers
from .running.runner import Runner
from .running.store import RunsStore, forget_app
from .store import MAX_COUNT, JobsStore

PLUGIN = plugin_jobs("")
"""Prefix of the plugins that jobs belong to."""


class JobsService:
    """Provides JOBS."""

    def __init__(self, config: JobsConfig, services: Services) -> None:
        self._config = config
        self._apps = services.get(APPS)
        self._registry = services.get(REGISTRY)
        self._statements = services.get(STATEMENTS)
        self._store = JobsStore(self._statements)
        self._runs = RunsStore(self._statements)
        self._new_jobs = NewJobs(self._store.insert)
        notifications = services.get(NOTIFICATIONS)
        self._notifier = PendingNotifier(notifications, self._statements)
        self._callers = Callers(services.get(IDENTITY), notifications)
        self._owners: set[str] = set()
        """Plugins whose row is known to be there."""
        self._handlers = Handlers(config.drain / 3, services.get(REGISTRY).blame)
        self._runner: Runner | None = None

    async def enqueue(
        self, actor: Actor, app_id: str, job: NewJob, tx: Transaction | None = None
    ) -> str:
        """See `Jobs.enqueue`."""
        if await self._is_plugin(app_id):
            actor = server_actor(actor.request_id)
            await self._add_owner(app_id, tx)
        row = validate(actor, app_id, job)
        if tx is not None:
            return await self._enqueue_within(tx, row)
        if row.key is None:
            await self._new_jobs.insert(row)
        else:
            job_id = await self._store.insert_keyed(row)
            if job_id != row.id:
                return job_id
        self._wake(row)
        return row.id

    async def _add_owner(self, app_id: str, tx: Transaction | None) -> None:
        """Have the row that jobs of a plugin reference. That of a transaction may be undone."""
        if app_id not in self._owners:
            await self._store.add_owner(app_id, tx)
            if tx is None:
                self._owners.add(app_id)

    async def _enqueue_within(self, tx: Transaction, row: NewRow) -> str:
        job_id = await insert_within(tx, row)

        async def wake() -> None:
            self._wake(row)

        if job_id == row.id:
            tx.after_commit(wake)
        return job_id

    async def get(self, app_id: str, job_id: str, *, user_id: str | None = None) -> bytes:
        """See `Jobs.get`."""
        job = await self._store.get(app_id, check_id(job_id), user_id)
        if job is None:
            raise _not_found(job_id)
        return job

    async def list(
        self,
        app_id: str,
        *,
        status: str | None,
        limit: int,
        before: str | None,
        user_id: str | None = None,
    ) -> bytes:
        """See `Jobs.list`. Raises BadRequest for a page that is too large."""
        await self._is_plugin(app_id)  # raises where neither is there
        checked = None if status is None else cast("Status", one_of("status", status, STATUSES))
        cursor = None if before is None else await self._find_cursor(app_id, before, user_id)
        page = await self._store.page(app_id, checked, limit, cursor, user_id)
        if page is None:
            size = MAX_PAGE_BYTES // 1_000_000
            raise BadRequest(f"these jobs have over {size} MB together: ask for fewer by limit")
        return page

    async def cancel(
        self, actor: Actor, app_id: str, job_id: str, *, user_id: str | None = None
    ) -> None:
        """See `Jobs.cancel`."""
        check_id(job_id)

        async def write(tx: Transaction) -> None:
            status = await store.cancel(tx, app_id, job_id, user_id)
            if status is None:
                ended = await store.status(tx, app_id, job_id, user_id)
                if ended is None:
                    raise _not_found(job_id)
                raise BadRequest(f"job '{job_id}' has ended already: it is {ended}")
            if status == "running":
                await tx.publish(TOPIC, CANCEL + job_id.lower())

        await self._statements.run(actor, write)

    # All of a state: see `ManyJobs`

    async def counts(self, app_id: str, *, user_id: str | None = None) -> Mapping[Status, int]:
        """See `ManyJobs.counts`."""
        await self._apps.app(app_id)
        return await self._store.counts(app_id, user_id, MAX_COUNT // 10)

    async def attempts(self, app_id: str, job_id: str, *, user_id: str | None = None) -> bytes:
        """See `ManyJobs.attempts`."""
        attempts = await self._store.attempts(app_id, check_id(job_id), user_id)
        if attempts is None:
            raise _not_found(job_id)
        return attempts

    async def cancel_many(
        self, actor: Actor, app_id: str, portion: Portion, *, user_id: str | None = None
    ) -> PortionDone:
        """See `ManyJobs.cancel_many`."""
        app = await self._apps.app(app_id)
        cursor = await self._find_start(app.id, portion, user_id)

        async def write(tx: Transaction) -> PortionDone:
            done = await store.cancel_many(tx, app.id, portion, cursor, user_id)
            if portion.status == "running":
                await tx.publish(TOPIC, REMOVED + app.id)
            return done

        return await self._statements.run(actor, write)

    async def retry_many(
        self, actor: Actor, app_id: str, portion: Portion, *, user_id: str | None = None
    ) -> PortionDone:
        """See `ManyJobs.retry_many`."""
        app = await self._apps.app(app_id)
        empty_job = NewJob(payload=msgspec.Raw(b"null"))
        templates = [validate(actor, app.id, empty_job) for _ in range(portion.limit)]
        cursor = await self._find_start(app.id, portion, user_id)

        async def write(tx: Transaction) -> PortionDone:
            return await store.retry_many(tx, templates, portion, cursor, user_id)

        done = await self._statements.run(actor, write)
        if done.done:
            self._wake(templates[0])
        return done

    async def _find_start(
        self, app_id: str, portion: Portion, user_id: str | None
    ) -> Cursor | None:
        if portion.before is None:
            return None
        return await self._find_cursor(app_id, portion.before, user_id)

    # Plugins

    def handling(
        self, plugin: str, handler: Callable[[bytes], Awaitable[object]]
    ) -> AbstractAsyncContextManager[None]:
        """See `Jobs.handling`."""
        return self._handlers.handling(plugin, handler)

    # Apps

    async def _is_plugin(self, app_id: str) -> bool:
        """Whether jobs are a plugin's. Raises NotFound for an app or a plugin that is not there."""
        if not app_id.startswith(PLUGIN):
            await self._apps.app(app_id)
            return False
        name = app_id.removeprefix(PLUGIN)
        if not any(info.name == name and info.state == "on" for info in self._registry.plugins):
            raise NotFound(f"plugin '{name}' is not on")
        return True

    async def remove_app(self, tx: Transaction, app_id: str) -> None:
        """Delete the jobs of an app, and end those that run."""
        await forget_app(tx, app_id)
        await tx.publish(TOPIC, REMOVED + app_id)

    # Numbers

    async def measure(self) -> list[Measure]:
        """Return unfinished jobs by state, and runs that ended in this process."""
        text = f"Unfinished jobs; {MAX_COUNT} means at least that many."
        counts = await self._store.count()
        unfinished = [
            Measure(
                name="caudex_jobs", help=text, value=count, labels={"state": state}, shared=True
            )
            for state, count in counts.items()
        ]
        outcomes = Counter[Status]() if self._runner is None else self._runner.outcomes
        return unfinished + [
            Measure(
                name="caudex_jobs_runs",
                help="Runs that ended, by the status of the job.",
                value=outcomes[status],
                labels={"status": status},
                kind="counter",
            )
            for status in STATUSES
            if status != "running"
        ]

    # Start and stop

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[JobsService]:
        """Accept jobs."""
        async with self._notifier.running(drain=1), self._new_jobs.running(drain=1):
            yield self

    @asynccontextmanager
    async def working(self, tasks: Tasks, workers: Workers | None) -> AsyncGenerator[None]:
        """Run jobs in the workers and plugins of this process, and maintain the table."""
        Maintenance(self._config, self._runs, self._notifier.notify_pending).start(tasks)
        self._handlers.workers = workers
        runner = Runner(
            self._config, self._runs, self._handlers, self._callers, self._notifier.notify_pending
        )
        self._runner = runner
        async with runner.working(tasks):
            yield

    async def on_notification(self, payload: str | None) -> None:
        """Handle a notification of any server process; None when some may be lost."""
        runner = self._runner
        if runner is None:
            return
        if payload is None:
            runner.claimer.notify_pending(None)
            runner.recheck()
        elif payload.startswith(CANCEL):
            runner.recheck(job_id=payload.removeprefix(CANCEL))
        elif payload.startswith(REMOVED):
            runner.recheck(app_id=payload.removeprefix(REMOVED))
        elif payload.startswith(PENDING):
            names = payload.removeprefix(PENDING)
            runner.claimer.notify_pending(names.split(",") if names else None)

    def _wake(self, row: NewRow) -> None:
        """Have a job claimed at once, or when it becomes due."""
        seconds = 0.0
        if row.run_at is not None:
            seconds = (parse_time(row.run_at) - datetime.now(UTC)).total_seconds()
        if seconds > 0:
            if self._runner is not None:
                self._runner.claimer.poll_in(seconds)
            return
        if self._runner is not None:
            self._runner.claimer.notify_pending([row.app_id])
        self._notifier.notify_pending(row.app_id)

    async def _find_cursor(self, app_id: str, job_id: str, user_id: str | None) -> Cursor:
        cursor = await self._store.cursor(app_id, check_id(job_id, "before"), user_id)
        if cursor is None:
            raise BadRequest(f"before: job '{job_id}' not found")
        return cursor


def _not_found(job_id: str) -> NotFound:
    return NotFound(f"job '{job_id}' not found")
