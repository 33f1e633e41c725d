"""Fakes of background services: jobs, workers, notifications."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from kernel.contracts.apps import App
from kernel.contracts.base import Actor
from kernel.contracts.jobs import NewJob
from kernel.contracts.statements import Transaction, Writer
from kernel.contracts.workers import Caller, WorkerState, WorkerStatus
from kernel.errors import BadRequest, NotFound, Unavailable

Method = Callable[[Any, Caller], Awaitable[Any]]
JobHandler = Callable[[Any, Caller | None], Awaitable[Any]]
OnChange = Callable[[str, WorkerState], Awaitable[None]]
ENDED = ("completed", "failed", "cancelled")


class FakeJobs:
    """JOBS in memory: `jobs` by app, oldest first. Nothing runs them: `end` ends one.

    `handlers` has the handlers of plugins (`handling`), for a test to call.
    """

    def __init__(self) -> None:
        self.jobs = defaultdict[str, list[dict[str, Any]]](list)
        self.handlers: dict[str, Callable[[bytes], Awaitable[object]]] = {}

    def end(self, job_id: str, result: Any = None, *, error: str | None = None) -> None:
        """End a job as completed, or as failed with `error`."""
        [job] = [job for jobs in self.jobs.values() for job in jobs if job["id"] == job_id]
        job |= {"status": "failed" if error else "completed", "result": result, "error": error}

    async def enqueue(
        self, actor: Actor, app_id: str, job: NewJob, tx: Transaction | None = None
    ) -> str:
        """See `Jobs.enqueue`; a rollback of `tx` does not remove the job."""
        for other in self.jobs[app_id]:
            if job.key is not None and other["key"] == job.key and other["status"] not in ENDED:
                return other["id"]
        job_id = str(uuid.uuid4())
        row: dict[str, Any] = {
            "id": job_id, "app_id": app_id, "status": "pending",
            "payload": msgspec.json.decode(job.payload), "result": None, "error": None,
            "priority": job.priority, "max_attempts": job.max_attempts, "key": job.key,
            "run_at": job.run_at, "user_id": actor.user_id,
        }  # fmt: skip
        self.jobs[app_id].append(row)
        return job_id

    async def get(self, app_id: str, job_id: str, *, user_id: str | None = None) -> bytes:
        return msgspec.json.encode(self._job(app_id, job_id, user_id))

    async def list(
        self,
        app_id: str,
        *,
        status: str | None,
        limit: int,
        before: str | None,
        user_id: str | None = None,
    ) -> bytes:
        newest_first = self.jobs[app_id][::-1]
        jobs = [job for job in newest_first if user_id in (None, job["user_id"])]
        if before is not None:
            cursor = self._job(app_id, before, user_id)
            jobs = jobs[jobs.index(cursor) + 1 :]
        if status is not None:
            jobs = [job for job in jobs if job["status"] == status]
        return msgspec.json.encode(jobs[:limit])

    async def cancel(
        self, actor: Actor, app_id: str, job_id: str, *, user_id: str | None = None
    ) -> None:
        job = self._job(app_id, job_id, user_id)
        if job["status"] in ENDED:
            raise BadRequest(f"job '{job_id}' has ended already: it is {job['status']}")
        job["status"] = "cancelled"

    @asynccontextmanager
    async def handling(
        self, plugin: str, handler: Callable[[bytes], Awaitable[object]]
    ) -> AsyncGenerator[None]:
        """See `Jobs.handling`; nothing calls the handler."""
        self.handlers[plugin] = handler
        yield
        del self.handlers[plugin]

    def _job(self, app_id: str, job_id: str, user_id: str | None = None) -> dict[str, Any]:
        for job in self.jobs[app_id]:
            if job["id"] == job_id and user_id in (None, job["user_id"]):
                return job
        raise NotFound(f"job '{job_id}' not found")


class FakeWorkers:
    """WORKERS in memory: each app's methods and job handler are coroutine functions of the test.

    `FakeWorkers({"crm": {"pipeline": pipeline}}, jobs={"crm": report})`, with `async def
    pipeline(params, caller)` and `async def report(payload, caller)`.
    """

    def __init__(
        self,
        methods: Mapping[str, Mapping[str, Method]] | None = None,
        jobs: Mapping[str, JobHandler] | None = None,
    ) -> None:
        self.methods = {app_id: dict(by_name) for app_id, by_name in (methods or {}).items()}
        self.jobs = dict(jobs or {})
        self.states: dict[str, WorkerState] = dict.fromkeys({*self.methods, *self.jobs}, "running")
        self.versions = dict.fromkeys(self.states, 1)
        self.cancelled: list[str] = []
        self.refreshed: list[str] = []
        self._callbacks: list[OnChange] = []

    async def deploy(self, actor: Actor, app_id: str, archive: Path) -> int:
        """See `Workers.deploy`; the archive is not read."""
        self.versions[app_id] = self.versions.get(app_id, 0) + 1
        await self._become(app_id, "running")
        return self.versions[app_id]

    async def start(self, actor: Actor, app_id: str) -> None:
        self._require_worker(app_id)
        await self._become(app_id, "running")

    async def stop(self, actor: Actor, app_id: str) -> None:
        self._require_worker(app_id)
        await self._become(app_id, "stopped")

    async def status(self, app_id: str) -> WorkerStatus:
        self._require_worker(app_id)
        state = self.states[app_id]
        version = self.versions[app_id]
        replicas = int(state == "running")
        return WorkerStatus(app_id=app_id, status=state, replicas=replicas, version=version)

    async def rpc(self, app_id: str, method: str, params: bytes, caller: Caller) -> bytes:
        """See `Workers.rpc`: calls the method of the test."""
        self._must_run(app_id)
        handler = self.methods.get(app_id, {}).get(method)
        if handler is None:
            raise NotFound(f"method '{method}' not found")
        return msgspec.json.encode(await handler(msgspec.json.decode(params), caller))

    async def run_job(
        self,
        app_id: str,
        job_id: str,
        payload: bytes,
        caller: Caller | None,
        progress: Callable[[bytes], Awaitable[None]],
    ) -> bytes:
        """See `Workers.run_job`: calls the handler of the test."""
        self._must_run(app_id)
        if app_id not in self.jobs:
            raise NotFound("the worker has no job handler")
        return msgspec.json.encode(await self.jobs[app_id](msgspec.json.decode(payload), caller))

    async def cancel_job(self, app_id: str, job_id: str) -> None:
        """See `Workers.cancel_job`; appends the id to `cancelled`."""
        self.cancelled.append(job_id)

    async def restart(self, app_id: str) -> None:
        if self.states.get(app_id) == "running":
            await self._become(app_id, "starting")
            await self._become(app_id, "running")

    async def refresh(self, app_id: str) -> None:
        """See `Workers.refresh`; appends the app to `refreshed`."""
        self.refreshed.append(app_id)

    def running(self) -> Sequence[str]:
        return [app_id for app_id, state in self.states.items() if state == "running"]

    def on_change(self, callback: OnChange) -> None:
        self._callbacks.append(callback)

    async def _become(self, app_id: str, state: WorkerState) -> None:
        self.states[app_id] = state
        self.versions.setdefault(app_id, 1)
        for callback in self._callbacks:
            await callback(app_id, state)

    def _require_worker(self, app_id: str) -> None:
        if app_id not in self.states:
            raise NotFound(f"app '{app_id}' has no worker")

    def _must_run(self, app_id: str) -> None:
        if self.states.get(app_id) != "running":
            raise Unavailable("the worker is not running")


class FakeAppLogins:
    """APP_LOGINS in memory: `urls` by app. `shut` holds the apps whose login is shut."""

    def __init__(self, urls: Mapping[str, str] | None = None) -> None:
        self.urls = dict(urls or {})
        self.shut = set[str]()
        self.exhausted = list[Callable[[], Awaitable[None]]]()

    async def url(self, app: App) -> str | None:
        return None if app.id in self.shut else self.urls.get(app.id)

    async def reopen(self, tx: Transaction, app_id: str) -> None:
        """See `AppLogins.reopen`; a rollback of `tx` does not shut the login again."""
        self.shut.discard(app_id)

    async def notes(self, app_id: str) -> Sequence[str]:
        return ["the database login is shut"] if app_id in self.shut else []

    def on_exhausted(self, callback: Callable[[], Awaitable[None]]) -> None:
        """See `AppLogins.on_exhausted`; a test calls what `exhausted` holds."""
        self.exhausted.append(callback)


class FakeNotifications:
    """NOTIFICATIONS in one process: `await notify(topic, payload)` calls the subscribers."""

    def __init__(self) -> None:
        self._subscribers = defaultdict[str, list[Callable[[str | None], Awaitable[None]]]](list)

    def subscribe(self, topic: str, callback: Callable[[str | None], Awaitable[None]]) -> None:
        self._subscribers[topic].append(callback)

    async def publish(
        self, tx: Transaction, messages: Sequence[tuple[str, str | None]]
    ) -> Callable[[], Awaitable[None]]:
        """See `Notifications.publish`; the messages are sent when the result is called."""

        async def deliver() -> None:
            for message in messages:
                await self.notify(*message)

        return deliver

    async def announce(self, writer: Writer, topic: str, payload: str | None) -> None:
        """See `Notifications.announce`."""
        await self.notify(topic, payload)

    async def notify(self, topic: str, payload: str | None = None) -> None:
        """Call the subscribers of a topic; None means that a notification may be lost."""
        for callback in self._subscribers[topic]:
            await callback(payload)
