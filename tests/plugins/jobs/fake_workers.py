"""Workers that are coroutines of the test: no process, every way to end a job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import msgspec

from kernel.public import (
    WORKERS,
    Caller,
    HandlerFailed,
    Plugin,
    Provider,
    Services,
    Unavailable,
    WorkerLost,
    WorkerStopped,
    hookimpl,
    provide,
)


class Job:
    """What a handler sees of a job."""

    def __init__(self, app_id: str, job_id: str, payload: bytes, caller: Caller | None, progress):
        self.app_id = app_id
        self.id = job_id
        self.payload = msgspec.json.decode(payload)
        self.raw = payload
        self.caller = caller
        self.progress = progress
        self.cancelled = anyio.Event()
        self.lost = anyio.Event()
        self.why: type[WorkerLost] = WorkerLost


class FakeWorkers:
    def __init__(self) -> None:
        self.apps: set[str] = set()
        self.handler: Callable[[Job], Awaitable[Any]] = self.nothing
        self.under_way: dict[str, Job] = {}
        self.started: list[str] = []
        self.most = 0
        self.restarts = 0
        self.callbacks: list[Callable[..., Awaitable[None]]] = []
        self.refusing = False

    async def nothing(self, job: Job) -> None:
        """A handler that does nothing."""

    async def run_job(
        self, app_id: str, job_id: str, payload: bytes, caller: Caller | None, progress: Any
    ) -> bytes:
        if self.refusing or app_id not in self.apps:
            raise Unavailable("the worker is not running")
        job = Job(app_id, job_id, payload, caller, progress)
        self.started.append(job_id)
        self.under_way[job_id] = job
        self.most = max(self.most, len(self.under_way))
        result: list[Any] = []
        failure: list[Exception] = []
        try:
            async with anyio.create_task_group() as tasks:

                async def handle() -> None:
                    try:
                        result.append(await self.handler(job))
                    except Exception as error:
                        failure.append(error)
                    tasks.cancel_scope.cancel()

                async def die() -> None:
                    await job.lost.wait()
                    failure.append(job.why("the worker is gone"))
                    tasks.cancel_scope.cancel()

                tasks.start_soon(handle)
                tasks.start_soon(die)
        finally:
            self.under_way.pop(job_id, None)
        if failure:
            raise failure[0]
        return result[0] if isinstance(result[0], bytes) else msgspec.json.encode(result[0])

    async def cancel_job(self, app_id: str, job_id: str) -> None:
        if job_id in self.under_way:
            self.under_way[job_id].cancelled.set()

    async def restart(self, app_id: str) -> None:
        self.restarts += 1
        self.die(app_id, WorkerStopped)

    def die(self, app_id: str, why: type[WorkerLost] = WorkerLost) -> None:
        """What a crash of the process does to the jobs in it."""
        for job in list(self.under_way.values()):
            if job.app_id == app_id:
                job.why = why
                job.lost.set()

    def running(self) -> Sequence[str]:
        return sorted(self.apps)

    def on_change(self, callback: Callable[..., Awaitable[None]]) -> None:
        self.callbacks.append(callback)

    async def become(self, app_id: str, state: str) -> None:
        """A worker changes its state."""
        if state == "running":
            self.apps.add(app_id)
        else:
            self.apps.discard(app_id)
        for callback in self.callbacks:
            await callback(app_id, state)


class FakeWorkersPlugin(Plugin):
    name = "fake_workers"

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        return [provide(WORKERS, self._make)]

    def _make(self, services: Services) -> Any:
        return FakeWorkers()


def fail(message: str) -> Exception:
    """What a handler raises."""
    return HandlerFailed(message)
