"""The workers of apps and the handlers of plugins, which run jobs in this process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
import msgspec
import structlog

from kernel.public import (
    Caller,
    HandlerFailed,
    HandlerUnavailable,
    KernelError,
    Unavailable,
    Workers,
    WorkerState,
    WorkerStopped,
    failure,
    plugin_jobs,
)

Handle = Callable[[bytes], Awaitable[object]]
Blame = Callable[[BaseException, str], Mapping[str, str]]
OnChange = Callable[[str, WorkerState], Awaitable[None]]

log = structlog.get_logger("caudex.jobs")


class _Handler:
    """The handler of a plugin, and its jobs under way."""

    def __init__(self, plugin: str, handle: Handle, blame: Blame) -> None:
        self.plugin = plugin
        self._blame = blame
        self.handle = handle
        self.scopes: dict[str, anyio.CancelScope] = {}
        self.ended = anyio.Event()
        """Set when one of its jobs ends."""
        self.closing = False

    async def run(self, job_id: str, payload: bytes) -> bytes:
        """Run a job and return its result as JSON. Raises as `Workers.run_job`."""
        if self.closing:
            raise Unavailable("the plugin stops")
        with anyio.CancelScope() as scope:
            self.scopes[job_id] = scope
            try:
                return msgspec.json.encode(await self.handle(payload))
            except Unavailable as error:
                raise HandlerUnavailable(error.message) from error
            except Exception as error:
                raise self._describe_failure(job_id, error) from error
            finally:
                del self.scopes[job_id]
                self.ended.set()
        raise WorkerStopped("the job was asked to end")

    async def end(self, seconds: float) -> None:
        """Take no more jobs, wait for those that run, then cancel the others."""
        self.closing = True
        with anyio.move_on_after(seconds, shield=True):
            await self._wait_until_idle()
        for scope in self.scopes.values():
            scope.cancel()
        with anyio.move_on_after(1, shield=True):
            await self._wait_until_idle()

    async def _wait_until_idle(self) -> None:
        while self.scopes:
            self.ended = anyio.Event()
            await self.ended.wait()

    def _describe_failure(self, job_id: str, error: Exception) -> HandlerFailed:
        is_expected = isinstance(error, KernelError)
        blamed = dict[str, str]() if is_expected else self._blame(error, self.plugin)
        log.warning("a job of a plugin failed", job=job_id, **failure(error),
                    **{"plugin": self.plugin, **blamed})  # fmt: skip
        if isinstance(error, KernelError):
            return HandlerFailed(error.message)
        return HandlerFailed(f"{type(error).__name__}: {error}")


class Handlers:
    """Runs a job by the worker of its app, or by the handler of its plugin.

    It is what a `Runner` needs of WORKERS; without a provider of that only plugins run jobs.
    """

    def __init__(self, drain: float, blame: Blame) -> None:
        """`blame` is `Registry.blame`."""
        self.workers: Workers | None = None
        self._blame = blame
        self._drain = drain
        self._handlers: dict[str, _Handler] = {}
        self._callbacks: list[OnChange] = []

    @asynccontextmanager
    async def handling(self, plugin: str, handle: Handle) -> AsyncGenerator[None]:
        """See `Jobs.handling`."""
        queue = plugin_jobs(plugin)
        if queue in self._handlers:
            raise RuntimeError(f"the plugin {plugin} handles its jobs already")
        handler = _Handler(plugin, handle, self._blame)
        self._handlers[queue] = handler
        await self._announce(queue, "running")
        try:
            yield
        finally:
            await handler.end(self._drain)
            del self._handlers[queue]

    def running(self) -> Sequence[str]:
        """Return the apps and the plugins whose jobs this process runs."""
        handled = [queue for queue, handler in self._handlers.items() if not handler.closing]
        return [*handled, *(self.workers.running() if self.workers else ())]

    def on_change(self, callback: OnChange) -> None:
        """Call `callback` when a worker or a handler starts."""
        self._callbacks.append(callback)
        if self.workers is not None:
            self.workers.on_change(callback)

    async def run_job(
        self,
        app_id: str,
        job_id: str,
        payload: bytes,
        caller: Caller | None,
        progress: Callable[[bytes], Awaitable[None]],
    ) -> bytes:
        """See `Workers.run_job`."""
        handler = self._handlers.get(app_id)
        if handler is not None:
            return await handler.run(job_id, payload)
        if self.workers is None:
            raise Unavailable("nothing in this process runs the job")
        return await self.workers.run_job(app_id, job_id, payload, caller, progress)

    async def cancel_job(self, app_id: str, job_id: str) -> None:
        """Cancel a job of a plugin, or notify the worker."""
        handler = self._handlers.get(app_id)
        if handler is not None:
            scope = handler.scopes.get(job_id)
            if scope is not None:
                scope.cancel()
        elif self.workers is not None:
            await self.workers.cancel_job(app_id, job_id)

    async def restart(self, app_id: str) -> None:
        """Replace a worker; a handler that ignores its cancellation cannot be replaced."""
        if self.workers is not None and app_id not in self._handlers:
            await self.workers.restart(app_id)

    async def _announce(self, queue: str, state: WorkerState) -> None:
        for callback in self._callbacks:
            await callback(queue, state)
