"""One running worker: its start, the calls it answers, its stop."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextvars import ContextVar, copy_context
from typing import Any, Final

import anyio
import msgspec
from structlog.contextvars import STRUCTLOG_KEY_PREFIX

from kernel.public import Caller, WorkerLost
from plugins.workers.child.process import Bounds, Child, Program
from plugins.workers.child.protocol import (
    BatchedJob,
    Hello,
    Job,
    JobCancel,
    Rpc,
    Shutdown,
    describe_caller,
    encode_message,
    join_lines,
)
from plugins.workers.host import Host
from plugins.workers.models import Release

from .attempt import Attempt
from .calls import Call, Calls, Progress
from .handlers import Handlers
from .inbox import Inbox
from .operations import OperationQueue, RecordOperations
from .output import Output

_bound: Final = dict[str, ContextVar[Any]]()
"""The variables of the log's context that were found, by their names."""


class StartFailed(Exception):
    """A worker did not come up; `lines` are its last lines. `hung` if it was still running."""

    def __init__(self, why: str, lines: Sequence[str], *, hung: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.lines = lines
        self.hung = hung

    def __str__(self) -> str:
        return "\n".join([self.why, *self.lines])


class ReplicaSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is started from; `interpreter` is the program that runs its code."""

    release: Release
    interpreter: str
    program: Program
    hello: Hello
    bounds: Bounds
    ports: tuple[int, ...] = ()


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that a worker has to end: for its calls, after the message, and after TERM."""

    drain: float = 0.0
    shutdown: float
    term: float


class Replica:
    """A worker process of this server. It is started once, as its `attempt` shows."""

    def __init__(self, spec: ReplicaSpec, host: Host) -> None:
        release = spec.release
        background = host.background
        self.spec = spec
        self.attempt = Attempt()
        self._calls = Calls()
        self._output = Output(
            self.attempt, release.app_id, spec.hello.credentials.values(), host.logs
        )
        operations = RecordOperations(host.services, release.app, self._calls)
        self._operations = OperationQueue(self.attempt, operations, background)
        self._inbox = Inbox(self.attempt, self._calls, self._operations, self._output, background)
        self._child: Child | None = None

    @property
    def release(self) -> Release:
        """The code that it runs."""
        return self.spec.release

    @property
    def is_running(self) -> bool:
        """Whether it has a process."""
        return self.attempt.is_running

    @property
    def is_usable(self) -> bool:
        """Whether calls may go to it."""
        return self.attempt.state == "up"

    @property
    def handlers(self) -> Handlers:
        """What its code declares of its handlers."""
        return self._inbox.handlers

    # Start and stop

    async def start(self, seconds: float) -> None:
        """Start it and wait until it has answered `discover`.

        Raises StartFailed after it is dead.
        """
        child = await self._spawn()
        try:
            if self.attempt.is_disowned:
                raise StartFailed("the app is gone", ())
            child.input.write(encode_message(self.spec.hello))
            with anyio.move_on_after(seconds):
                await self.attempt.wait_decided()
            if self.attempt.state == "ended":
                why = f"the worker ended at once ({self.describe_end()})"
                raise StartFailed(why, [*self._output.tail])
            if self.attempt.state != "up":
                why = f"the worker did not answer within {seconds:g} s"
                raise StartFailed(why, [*self._output.tail], hung=True)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.kill()
            raise

    async def _spawn(self) -> Child:
        """Start its process. Raises StartFailed."""
        self.attempt.become("starting")
        try:
            child = await Child.spawn(self._inbox, self.spec.program, self.spec.bounds)
        except (OSError, ValueError) as error:
            self.attempt.become("ended")
            reason = getattr(error, "strerror", None) or str(error)
            raise StartFailed(f"the worker cannot be started: {reason}", ()) from None
        except BaseException:  # it was given up
            self.attempt.become("ended")
            raise
        self._child = child
        self._operations.connect(child)
        return child

    async def stop(self, waits: Waits) -> None:
        """Send the shutdown message, then TERM, then KILL to the whole group."""
        self.attempt.become("stopping")
        child = self._child
        if child is None:
            return
        try:
            child.input.write(encode_message(Shutdown()))
            if await child.wait_gone(waits.shutdown):
                return
            child.send_signal(signal.SIGTERM)
            await child.wait_gone(waits.term)
        finally:
            with anyio.CancelScope(shield=True):
                await self.kill()

    async def retire(self, waits: Waits) -> None:
        """Let it answer its pending calls, then stop it."""
        self.attempt.become("stopping")
        with anyio.move_on_after(waits.drain):
            await self._calls.wait_idle()
        await self.stop(waits)

    async def kill(self) -> None:
        """End it, and all processes that it started, at once."""
        self.attempt.become("stopping")
        if self._child is not None and not self._child.gone.is_set():
            self._child.send_signal(signal.SIGKILL)
            await self._child.wait_gone(5)

    def disown(self) -> None:
        """End it at once because its app is uninstalled, and ignore what it sends until it is dead.

        That could concern another app of the same name.
        """
        self.attempt.is_disowned = True
        self.attempt.become("stopping")
        if self._child is not None:
            self._child.send_signal(signal.SIGKILL)

    def describe_end(self) -> str:
        """Describe how it ended."""
        return "not running" if self._child is None else self._child.describe_end()

    # Calls

    async def rpc(self, method: str, params: bytes, caller: Caller, seconds: float) -> bytes:
        """Call a method. Raises HandlerFailed, NotFound, WorkerLost, Unavailable."""
        calls = self._calls
        request_id = find_request_id()
        call_id = calls.make_id()
        call = Call(calls.make_future(), caller, request_id)
        calls.add(call_id, call)
        try:
            child = self._child
            if child is None or not child.input.is_ready:
                child = await self._wait_ready()
            request = Rpc(
                id=call_id, method=method, params=join_lines(params),
                caller=describe_caller(caller), request_id=request_id,
            )  # fmt: skip
            child.input.write(encode_message(request))
            calls.limit_time(call, seconds)
            return await call.future
        finally:
            calls.remove(call_id, call)
            del call  # its future holds the error, whose traceback holds this frame

    async def run_job(
        self, job_id: str, payload: bytes, caller: Caller | None, progress: Progress
    ) -> bytes:
        """Run a job, however long it takes. Raises HandlerFailed, WorkerLost, Unavailable."""
        call = Call(self._calls.make_future(), caller, job_id, progress)
        shown = None if caller is None else describe_caller(caller)
        self._calls.add(job_id, call)
        try:
            data = join_lines(payload)
            child = self._child
            if child is None or not child.input.is_ready:
                child = await self._wait_ready()
            if self._inbox.reads_batches:
                child.input.write_job(BatchedJob(id=job_id, payload=data, caller=shown))
            else:
                child.input.write(encode_message(Job(id=job_id, payload=data, caller=shown)))
            if call.is_cancelled:  # before the worker had it
                self.cancel_job(job_id)
            try:
                return await call.future
            finally:
                if call.latest is not None:
                    await progress(call.latest)  # the task that reports it may be pausing
        finally:
            self._calls.remove(job_id, call)
            del call  # as above

    def cancel_job(self, job_id: str) -> None:
        """Ask it to end a job."""
        call = self._calls.find(job_id)
        if self._child is not None and call is not None:
            call.is_cancelled = True
            self._child.input.write(encode_message(JobCancel(id=job_id)))

    async def _wait_ready(self) -> Child:
        """Wait until it reads its input. Raises WorkerLost, Unavailable."""
        if self._child is None:
            raise WorkerLost("the worker is gone")
        await self._child.input.wait_ready()
        return self._child


def find_request_id() -> str:
    """Return the id of the request. Its variable is found once, since all of the context is read
    for it."""
    variable = _bound.get("request_id")
    if variable is None:
        for candidate in copy_context():
            if candidate.name == f"{STRUCTLOG_KEY_PREFIX}request_id":
                variable = candidate
                _bound["request_id"] = candidate
                break
    if variable is None:
        return ""
    request_id = variable.get("")
    return request_id if isinstance(request_id, str) else ""
