"""Jobs that do what their payloads say, in workers and plugins of the kit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import anyio
import msgspec

from kernel.contracts.base import server_actor
from kernel.contracts.jobs import JOBS, NewJob, plugin_jobs
from kernel.contracts.workers import WORKERS, Caller, HandlerFailed, WorkerLost, WorkerStopped
from kernel.errors import Unavailable
from kernel.testing import FakeWorkers, Server
from kernel.testing.conformance.kit import eventually, install

ACTOR = server_actor("conformance")
ENDED = ("completed", "failed", "cancelled")


class ScriptedWorkers(FakeWorkers):
    """Workers that follow a job's payload: `{"do": "fail", "value": "why"}`."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[str] = []
        self.callers: dict[str, Caller | None] = {}
        self._running_jobs: dict[str, tuple[str, anyio.Event, anyio.Event]] = {}

    async def run_job(
        self,
        app_id: str,
        job_id: str,
        payload: bytes,
        caller: Caller | None,
        progress: Callable[[bytes], Awaitable[None]],
    ) -> bytes:
        """Follow the payload; a job that hangs ends when the worker restarts."""
        self._must_run(app_id)
        cancelled = anyio.Event()
        restarted = anyio.Event()
        self.started.append(job_id)
        self.callers[job_id] = caller
        self._running_jobs[job_id] = (app_id, cancelled, restarted)
        try:
            return await self._do(job_id, msgspec.json.decode(payload), progress)
        finally:
            del self._running_jobs[job_id]

    async def cancel_job(self, app_id: str, job_id: str) -> None:
        """Set the event that a handler may wait for."""
        await super().cancel_job(app_id, job_id)
        if job_id in self._running_jobs:
            self._running_jobs[job_id][1].set()

    async def restart(self, app_id: str) -> None:
        """End all running jobs of the app."""
        for running_app, _, restarted in list(self._running_jobs.values()):
            if running_app == app_id:
                restarted.set()
        await super().restart(app_id)

    async def become(self, app_id: str, running: bool) -> None:
        """Start or stop an app's worker in this process."""
        await self._become(app_id, "running" if running else "stopped")

    async def _do(
        self, job_id: str, payload: Any, progress: Callable[[bytes], Awaitable[None]]
    ) -> bytes:
        first = self.started.count(job_id) == 1
        match payload:
            case {"do": "return", "value": value}:
                return msgspec.json.encode(value)
            case {"do": "progress", "value": value}:
                await progress(msgspec.json.encode(value))
                await self._hang(job_id, obeys=True)
            case {"do": "fail", "value": why} | {"do": "fail once", "value": why} if (
                first or payload["do"] == "fail"
            ):
                raise HandlerFailed(why)
            case {"do": "die once"} if first:
                raise WorkerLost("the worker is gone")
            case {"do": "hang"}:
                await self._hang(job_id, obeys=True)
            case {"do": "hang and ignore cancel"}:
                await self._hang(job_id, obeys=False)
            case _:
                pass
        return b"null"

    async def _hang(self, job_id: str, *, obeys: bool) -> None:
        _, cancelled, restarted = self._running_jobs[job_id]
        if obeys:
            await cancelled.wait()
            raise HandlerFailed("asked to end")
        await restarted.wait()
        raise WorkerStopped("the worker was restarted")


def workers(server: Server) -> ScriptedWorkers:
    """Return the workers of a server."""
    return cast("ScriptedWorkers", server.services.get(WORKERS))


class AppJobs:
    """The jobs of one app by the engine of one server; without an id an app is installed. Methods
    raise what the engine raises."""

    def __init__(self, server: Server, app_id: str = "") -> None:
        self._server = server
        self._engine = server.services.get(JOBS)
        self.id = app_id or install(server.admin)

    def start(self) -> None:
        """Start the app's worker on this server."""
        self._server.run(workers(self._server).become, self.id, True)

    def enqueue(self, do: str, value: object = None, **more: Any) -> str:
        """Enqueue a job and return its id; `more` are other members of `NewJob`."""
        return self.put({"do": do, "value": value}, **more)

    def put(self, value: object, **more: Any) -> str:
        """Enqueue a job with any payload."""
        job = NewJob(payload=msgspec.Raw(msgspec.json.encode(value)), **more)
        return self._server.run(self._engine.enqueue, ACTOR, self.id, job)

    def look(self, job_id: str) -> dict[str, Any]:
        """Return the current state of a job."""
        return msgspec.json.decode(self._server.run(self._engine.get, self.id, job_id))

    def list_ids(
        self, *, status: str | None = None, limit: int = 100, before: str | None = None
    ) -> Sequence[str]:
        """Return the ids of the app's jobs."""
        page = partial(self._engine.list, status=status, limit=limit, before=before)
        return [job["id"] for job in msgspec.json.decode(self._server.run(page, self.id))]

    def cancel(self, job_id: str) -> None:
        self._server.run(self._engine.cancel, ACTOR, self.id, job_id)

    def wait_ended(self, job_id: str, seconds: float = 30) -> dict[str, Any]:
        """Wait until a job has ended, and return it."""

        def probe() -> dict[str, Any] | None:
            job = self.look(job_id)
            return job if job["status"] in ENDED else None

        return cast("dict[str, Any]", eventually(probe, seconds))


class PluginJobs(AppJobs):
    """The jobs of the plugin that provides JOBS on a server, which is on for certain."""

    def __init__(self, server: Server) -> None:
        self.plugin = server.kernel.services.provider(JOBS.name) or ""
        super().__init__(server, plugin_jobs(self.plugin))
        self.seen: list[Any] = []
        self.cancelled: list[Any] = []

    def enqueue(self, payload: object, **more: Any) -> str:  # type: ignore[override]
        """Enqueue a job that `handle` understands."""
        return self.put(payload, **more)

    @contextmanager
    def handled(self) -> Generator[None]:
        """Handle the jobs on this server for as long as the context lasts."""
        context = self._engine.handling(self.plugin, self.handle)
        self._server.run(context.__aenter__)
        try:
            yield
        finally:
            self._server.run(context.__aexit__, None, None, None)

    async def handle(self, raw: bytes) -> object:
        """Return the payload, or do what it says."""
        payload = msgspec.json.decode(raw)
        self.seen.append(payload)
        try:
            match payload:
                case {"fails": why}:
                    raise ValueError(why)
                case {"away": why} if self.seen.count(payload) == 1:
                    raise Unavailable(why)
                case {"away": _}:
                    return "later"
                case {"hangs": _}:
                    await anyio.sleep_forever()
                case _:
                    pass
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(payload)
            raise
        return payload
