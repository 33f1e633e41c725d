"""Store the crons that manifests declare, fire due times, trigger and switch by hand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import msgspec
import structlog
from anyio.lowlevel import checkpoint

from kernel.public import (
    APPS,
    JOBS,
    STATEMENTS,
    Actor,
    BadRequest,
    Event,
    KernelError,
    NewJob,
    NotFound,
    ServiceKey,
    Services,
    Transaction,
    Unavailable,
    server_actor,
)

from . import section, store
from .config import CronConfig
from .models import Cron, Declared, NewRun, Shown, Upcoming, Waiting
from .schedule import BadSchedule, Passed, Schedule
from .store import Far, Waiter

TOPIC: Final = "cron"
BUSY: Final = "the job of the run before has not ended"
INVALID_RETRY: Final = 3600.0
"""Seconds until the next check of a cron whose schedule is invalid on this server."""

log = structlog.get_logger("caudex.cron")


class CronService:
    """Stores crons as manifests declare them, and fires each due time once.

    Firing is one transaction: lock the row, advance it to its next due time, enqueue the job, log
    the run. So a second server, or one that dies, neither repeats nor loses a due time.
    """

    def __init__(self, config: CronConfig, services: Services) -> None:
        self._config = config
        self._statements = services.get(STATEMENTS)
        self._apps = services.get(APPS)
        self._jobs = services.get(JOBS)
        self._blocked: dict[str, float] = {}
        """Apps that are skipped, and until when by `time.monotonic`."""

    # Manifests

    async def declare(
        self, tx: Transaction, app_id: str, stamp: int, crons: Sequence[Declared]
    ) -> None:
        """Store the crons of a manifest, unless a later stamp is stored already."""
        if not await store.store_stamp(tx, app_id, stamp):
            return
        now = _moment(await store.read_now(tx))
        due = [Schedule(cron.schedule, cron.timezone).after(now) for cron in crons]
        await store.save(tx, app_id, crons, due)
        await tx.publish(TOPIC)

    async def catch_up(self) -> None:
        """Store what was installed and updated while the plugin was disabled."""
        stored_stamps = await store.list_stamps(self._statements)
        # First the apps: a section that is stored in between has the later stamp, and wins.
        installed = {app.id: (app.version_stamp, None) for app in await self._apps.all()}
        for stored in await self._apps.sections(section.KEY):
            installed[stored.app_id] = (stored.version_stamp, stored.value)
        for app_id, (stamp, value) in installed.items():
            stored_stamp = stored_stamps.get(app_id)
            if stored_stamp is None and not value:
                continue  # an app that never had crons has nothing to store
            if stored_stamp is not None and stored_stamp >= stamp:
                continue
            crons = section.read(value)
            work = partial(self.declare, app_id=app_id, stamp=stamp, crons=crons)
            await self._statements.run(server_actor("cron"), work)

    # Due times

    async def seconds_to_next(self) -> float | None:
        """Return the seconds until a cron is due, or an app no longer skipped; None for never."""
        due = await store.seconds_to_next(self._statements, self._find_skipped())
        checks = [until - time.monotonic() for until in self._blocked.values()]
        return min(checks if due is None else [due, *checks], default=None)

    async def fire_next(self) -> bool:
        """Fire the cron that has been due the longest; False when no unlocked cron is due.

        When its job cannot be enqueued, its app is skipped for a while: others go on.
        """
        app_id = ""

        async def work(tx: Transaction) -> bool:
            nonlocal app_id
            app_id = ""
            cron = await store.claim_due(tx, self._find_skipped())
            if cron is None:
                return False
            app_id = cron.app_id
            await self._fire(tx, cron)
            return True

        try:
            return await self._statements.run(server_actor("cron"), work)
        except Unavailable as error:
            if not app_id:
                raise
            self._skip(app_id, error)
            return True

    def _find_skipped(self) -> list[str]:
        now = time.monotonic()
        self._blocked = {app: until for app, until in self._blocked.items() if until > now}
        return list(self._blocked)

    def _skip(self, app_id: str, error: KernelError) -> None:
        log.warning("crons of an app are skipped for a while", app=app_id, error=error.message)
        self._blocked[app_id] = time.monotonic() + 5

    async def _fire(self, tx: Transaction, cron: Cron) -> None:
        try:
            passed = self._find_passed(cron)
        except BadSchedule as error:
            await store.advance(tx, cron.id, cron.now + INVALID_RETRY)
            await self._log(tx, cron, cron.due, state="failed", detail=str(error))
            return
        await store.advance(tx, cron.id, passed.next.timestamp())
        if passed.latest is None:
            detail = f"no server ran for {self._config.catch_up} s"
            await self._log(tx, cron, cron.due, state="missed", detail=detail)
            return
        due = passed.latest.timestamp()
        if await store.is_logged(tx, cron.id, due):  # a clock was set back
            return
        try:
            await self._start(tx, cron, due, missed=passed.missed)
        except Unavailable:
            raise
        except NotFound:  # the app was removed while this plugin was disabled
            await store.forget(tx, cron.app_id)
        except KernelError as error:
            await self._log(tx, cron, due, state="failed", detail=error.message[:1000])

    async def set_back(self) -> None:
        """Correct due times that are later than the schedule says: the clock was ahead when they
        were computed, and the cron would be silent until then."""
        after = store.FIRST
        while True:
            crons = await store.list_far(self._statements, after)
            if not crons:
                return
            for cron in crons:
                await checkpoint()  # computing a due time takes a while
                await self._set_back_one(cron)
            after = crons[-1].id

    async def _set_back_one(self, cron: Far) -> None:
        try:
            due = _next_due(cron)
        except BadSchedule:
            due = cron.now + INVALID_RETRY
        if due >= cron.due:
            return
        corrected = await store.set_back(self._statements, cron, due)
        if corrected is not None:
            log.warning("a due time from a clock that was ahead is set back", **corrected)

    def _find_passed(self, cron: Cron) -> Passed:
        now = _moment(cron.now)
        oldest = now - timedelta(seconds=self._config.catch_up)
        return Schedule(cron.schedule, cron.timezone).find_passed(_moment(cron.due), now, oldest)

    async def _start(
        self, tx: Transaction, cron: Cron, due: float, *, missed: int = 0, by: str | None = None
    ) -> bytes:
        """Enqueue the job of a due time as the overlap policy says; return the log entry."""
        log_entry = partial(self._log, tx, cron, due, missed=missed, triggered_by=by)
        if cron.waiting >= self._config.max_waiting:
            detail = f"{cron.waiting} runs wait already"
            return await log_entry(state="skipped", detail=detail)
        job_id = None if cron.waiting else await self._enqueue(tx, cron, due)
        if job_id is not None:
            return await log_entry(state="fired", job_id=job_id)
        state = "waiting" if cron.overlap == "queue" else "skipped"
        return await log_entry(state=state, detail=BUSY)

    async def _enqueue(self, tx: Transaction, cron: Cron, due: float) -> str | None:
        """Enqueue a job; None when the policy requires that the previous one ends first.

        The idempotency key ensures that: while a job has it, JOBS returns that job. It contains the
        cron's id, which is not public, so no other job has it.
        """
        about = {"name": cron.name, "due": _moment(due).strftime("%Y-%m-%dT%H:%M:%SZ")}
        payload = msgspec.json.encode({**cron.payload, "cron": about})
        key = None if cron.overlap == "allow" else f"cron:{cron.id}"
        job = NewJob(payload=msgspec.Raw(payload), key=key)
        try:
            job_id = await self._put(tx, cron.app_id, job)
        except NotFound:  # removed, or installed a moment ago on another server
            await self._apps.refresh()
            job_id = await self._put(tx, cron.app_id, job)
        if job_id == cron.last_job:
            return None
        await store.remember(tx, cron.id, job_id)
        return job_id

    async def _put(self, tx: Transaction, app_id: str, job: NewJob) -> str:
        async with tx.savepoint():
            return await self._jobs.enqueue(server_actor("cron"), app_id, job, tx)

    async def _log(self, tx: Transaction, cron: Cron, due: float, **fields: Any) -> bytes:
        run = NewRun(cron_id=cron.id, due=due, **fields)
        if run.state in ("failed", "missed"):
            about = {"app": cron.app_id, "cron": cron.name, "detail": run.detail}
            log.warning("a due time did not fire", state=run.state, **about)
        return await store.log_run(tx, run, self._config.keep_runs)

    # Runs that wait for the previous one

    async def release(self) -> bool:
        """Start runs whose previous job has ended; return whether any runs waited."""
        waiters = await store.list_waiters(self._statements)
        for waiter in waiters:
            if waiter.app_id in self._find_skipped() or await self._is_busy(waiter):
                continue
            try:
                await self._release(waiter.id)
            except Unavailable as error:
                self._skip(waiter.app_id, error)
        return bool(waiters)

    async def _is_busy(self, waiter: Waiter) -> bool:
        """Read the job without a lock; the idempotency key decides."""
        if waiter.last_job is None:
            return False
        try:
            job = await self._jobs.get(waiter.app_id, waiter.last_job)
        except NotFound:
            return False
        return msgspec.json.decode(job, type=_Job).status in ("pending", "running")

    async def _release(self, cron_id: str) -> None:
        async def work(tx: Transaction) -> None:
            cron = await store.claim(tx, cron_id)
            if cron is None:
                return
            run = await store.find_first_waiting(tx, cron_id)
            if run is not None:
                await self._start_waiting(tx, cron, run)

        await self._statements.run(server_actor("cron"), work)

    async def _start_waiting(self, tx: Transaction, cron: Cron, run: Waiting) -> None:
        try:
            job_id = await self._enqueue(tx, cron, run.due)
        except Unavailable:
            raise
        except NotFound:
            await store.forget(tx, cron.app_id)
        except KernelError as error:
            await store.settle(tx, run.id, "failed", None, error.message[:1000])
        else:
            if job_id is not None:
                await store.settle(tx, run.id, "fired", job_id, None)

    # Requests

    async def list(self, app_id: str) -> bytes:
        """Return the crons of an app as JSON, in the manifest's order."""
        await self._apps.app(app_id)
        return await store.list_shown(self._statements, app_id)

    async def upcoming(self, app_id: str, name: str) -> Upcoming:
        """Return the next five due times of a cron. Raises NotFound."""
        raw = await store.list_shown(self._statements, app_id, name)
        crons = msgspec.json.decode(raw, type=list[Shown])
        if not crons:
            raise _not_found(name)
        [cron] = crons
        if cron.next_due is None:
            return Upcoming([])
        first = datetime.fromisoformat(cron.next_due)
        try:
            times = Schedule(cron.schedule, cron.timezone).upcoming(first, 4)
        except BadSchedule:  # this machine lacks a time zone of the installing one
            times = []
        return Upcoming([cron.next_due, *(f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in times)])

    async def runs(self, app_id: str, name: str, limit: int, before: int | None) -> bytes:
        """Return a page of a cron's run log as JSON, newest first. Raises NotFound."""
        cron_id = await store.find_id(self._statements, app_id, name)
        if cron_id is None:
            raise _not_found(name)
        end = 2**63 - 1 if before is None else before
        return await store.list_runs(self._statements, cron_id, limit, end)

    async def trigger(self, actor: Actor, app_id: str, name: str) -> bytes:
        """Run a cron now, as if it were due, and return the log entry. Raises NotFound."""

        async def work(tx: Transaction) -> bytes:
            cron = await self._lock(tx, app_id, name)
            await tx.record(_event(actor, "CRON_TRIGGERED", app_id, name))
            return await self._start(tx, cron, cron.now, by=actor.user_id)

        return await self._statements.run(actor, work)

    async def switch(self, actor: Actor, app_id: str, name: str, enabled: bool) -> bytes:
        """Enable or disable a cron and return it as JSON; missed due times do not fire."""

        async def work(tx: Transaction) -> None:
            cron = await self._lock(tx, app_id, name)
            try:
                due = _next_due(cron) if enabled else cron.due  # a disabled cron is never due
            except BadSchedule as error:  # this machine lacks a time zone of the installing one
                raise BadRequest(str(error)) from None
            if await store.switch(tx, cron.id, enabled, due):
                operation = "CRON_ENABLED" if enabled else "CRON_DISABLED"
                await tx.record(_event(actor, operation, app_id, name))
                await tx.publish(TOPIC)

        await self._statements.run(actor, work)
        crons = await store.list_shown(self._statements, app_id, name)
        [shown] = msgspec.json.decode(crons, type=list[msgspec.Raw])
        return bytes(shown)

    async def _lock(self, tx: Transaction, app_id: str, name: str) -> Cron:
        cron = await store.lock(tx, app_id, name)
        if cron is None:
            raise _not_found(name)
        return cron


class _Job(msgspec.Struct):
    status: str


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _next_due(cron: Cron | Far) -> float:
    """Return the next due time of a cron. Raises BadSchedule."""
    return Schedule(cron.schedule, cron.timezone).after(_moment(cron.now)).timestamp()


def _not_found(name: str) -> NotFound:
    return NotFound(f"cron '{name[:80]}' not found")


def _event(actor: Actor, operation: str, app_id: str, name: str) -> Event:
    detail = {"app": app_id, "cron": name}
    return Event.core("crons", operation, actor, f"{app_id}/{name}", new=detail)


SERVICE = ServiceKey[CronService]("cron")
