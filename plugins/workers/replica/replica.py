"""One running worker: its start, the calls it answers, its stop."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Mapping, Sequence
from contextvars import ContextVar, copy_context
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec
from structlog.contextvars import STRUCTLOG_KEY_PREFIX

from kernel.public import Caller, LogLevel, WorkerLost
from plugins.workers.host import Host
from plugins.workers.models import Release

from .calls import Call, Calls, Collections, Progress
from .listener import Listener
from .masking import Mask, mask_json, mask_text
from .process import Bounds, Child
from .protocol import (
    EDGE,
    NOTHING,
    AppEvent,
    BatchedJob,
    CollectionOp,
    Discovered,
    Hello,
    InvalidOp,
    Job,
    JobCancel,
    JobProgress,
    JobResult,
    Log,
    NoOutcome,
    OpResult,
    Rpc,
    Settled,
    Shutdown,
    describe_value,
    frame,
    ids_in,
    read,
    single_line,
    text_of,
)

LEVELS: Final[Mapping[str, LogLevel]] = {
    "debug": "debug", "info": "info", "warn": "warn", "warning": "warn", "error": "error",
    "stdout": "stdout", "stderr": "stderr",
}  # fmt: skip

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
    """What a worker is started from."""

    release: Release
    program: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    hello: Hello
    bounds: Bounds
    ports: tuple[int, ...] = ()


class Replica(Listener):
    """A worker process of this server."""

    def __init__(self, spec: ReplicaSpec, host: Host) -> None:
        self.spec = spec
        self.stopping = False
        self._host = host
        self._calls = Calls()
        release = spec.release
        self._ops = Collections(host.services, release.app_id, release.key, self._calls)
        self._waiting_ops = 0
        self._batches = False
        """Whether it reads many jobs in one message."""
        self._up = anyio.Event()
        self._gone = anyio.Event()
        self._comes_up = True
        self._tail: deque[str] = deque(maxlen=30)
        """Its last lines while it came up, for the message when it does not."""
        self._child: Child | None = None
        self._detached = False

    @cached_property
    def _mask(self) -> Mask:
        """Hides the secrets that it was started with, from whichever plugin.

        Made for the first output that may have one: it takes time.
        """
        return Mask(self.spec.hello.credentials.values())

    @property
    def release(self) -> Release:
        """The code that it runs."""
        return self.spec.release

    @property
    def gone(self) -> bool:
        """Whether it has ended."""
        return self._child is None or self._child.gone.is_set()

    @property
    def usable(self) -> bool:
        """Whether calls may go to it."""
        child = self._child
        return not (child is None or self.stopping or child.gone.is_set())

    async def wait_gone(self) -> None:
        """Wait for its end."""
        await self._gone.wait()

    # Start and stop

    async def start(self, seconds: float) -> None:
        """Start it and wait until it has answered `discover`.

        Raises StartFailed after it is dead.
        """
        spec, secrets = self.spec, self.spec.hello.credentials
        try:
            self._child = await Child.spawn(
                self, spec.argv, spec.environment, spec.folder, spec.bounds, secrets
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise StartFailed(f"the worker cannot be started: {reason}", ()) from None
        try:
            if self._detached:
                raise StartFailed("the app is gone", ())
            self._child.write(frame(spec.hello))
            with anyio.move_on_after(seconds):
                await self._up.wait()
            if self._child.gone.is_set():
                raise StartFailed(f"the worker ended at once ({self.ending()})", [*self._tail])
            if not self._up.is_set():
                why = f"the worker did not answer within {seconds:g} s"
                raise StartFailed(why, [*self._tail], hung=True)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.kill()
            raise
        finally:
            self._comes_up = False

    async def stop(self, shutdown_wait: float, term_wait: float) -> None:
        """Send the shutdown message, then TERM, then KILL to the whole group."""
        self.stopping = True
        child = self._child
        if child is None:
            return
        try:
            child.write(frame(Shutdown()))
            if await child.exits_within(shutdown_wait):
                return
            child.signal(signal.SIGTERM)
            await child.exits_within(term_wait)
        finally:
            with anyio.CancelScope(shield=True):
                await self.kill()

    async def retire(self, drain: float, shutdown_wait: float, term_wait: float) -> None:
        """Let it answer its pending calls, then stop it."""
        self.stopping = True
        with anyio.move_on_after(drain):
            await self._calls.idle()
        await self.stop(shutdown_wait, term_wait)

    async def kill(self) -> None:
        """End it, and all processes that it started, at once."""
        self.stopping = True
        if self._child is not None and not self._child.gone.is_set():
            self._child.signal(signal.SIGKILL)
            await self._child.exits_within(5)

    def detach(self) -> None:
        """End it at once because its app is uninstalled, and ignore what it sends until it is dead.

        That could concern another app of the same name.
        """
        self._detached = self.stopping = True
        if self._child is not None:
            self._child.signal(signal.SIGKILL)

    def _write_log(self, level: LogLevel, text: str) -> None:
        """Write a text without secrets into the log."""
        if not self._detached:
            self._host.write_log(self.release.app_id, level, text)

    def ending(self) -> str:
        """Describe how it ended."""
        status = self._child.status if self._child else None
        if status is None:
            return "not running"
        if status < 0:
            return f"signal {signal.Signals(-status).name}"
        return f"exit status {status}"

    # Calls

    async def rpc(self, method: str, params: bytes, caller: Caller, seconds: float) -> bytes:
        """Call a method. Raises HandlerFailed, NotFound, WorkerLost, Unavailable."""
        calls, request_id = self._calls, _request_id()
        call_id, call = calls.next_id(), Call(calls.future(), caller, request_id)
        calls.add(call_id, call)
        try:
            child = self._child
            if child is None or not child.is_ready:
                child = await self._wait_ready()
            request = Rpc(
                id=call_id, method=method, params=single_line(params), caller=caller,
                request_id=request_id,
            )  # fmt: skip
            child.write(frame(request))
            calls.limit(call, seconds)
            return await call.future
        finally:
            calls.remove(call_id, call)
            del call  # its future holds the error, whose traceback holds this frame

    async def run_job(
        self, job_id: str, payload: bytes, caller: Caller | None, progress: Progress
    ) -> bytes:
        """Run a job, however long it takes. Raises HandlerFailed, WorkerLost, Unavailable."""
        call = Call(self._calls.future(), caller, job_id, progress)
        self._calls.add(job_id, call)
        try:
            data, child = single_line(payload), self._child
            if child is None or not child.is_ready:
                child = await self._wait_ready()
            if self._batches:
                child.write_job(BatchedJob(id=job_id, payload=data, caller=caller))
            else:
                child.write(frame(Job(id=job_id, payload=data, caller=caller)))
            if call.unwanted:  # it was cancelled before the worker had it
                self.cancel_job(job_id)
            try:
                return await call.future
            finally:
                if call.latest is not None:
                    await progress(call.latest)  # `_report` may be pausing
        finally:
            self._calls.remove(job_id, call)
            del call  # as above

    def cancel_job(self, job_id: str) -> None:
        """Ask it to end a job."""
        call = self._calls.find(job_id)
        if self._child is not None and call is not None:
            call.unwanted = True
            self._child.write(frame(JobCancel(id=job_id)))

    async def _wait_ready(self) -> Child:
        """Wait until it reads its input. Raises WorkerLost, Unavailable."""
        if (child := self._child) is None:
            raise WorkerLost("the worker is gone")
        await child.ready()
        return child

    # Messages from the worker

    def on_line(self, line: bytes) -> None:
        """See `Listener`."""
        message = read(line)
        if isinstance(message, Settled):
            self._settle(message)
        elif message is None:
            if line.startswith(b"{"):
                edges = line[:EDGE] + b"\n" + line[-EDGE:]
                self.on_unreadable(list(ids_in(edges)), "the reply is not valid JSON")
            super().on_line(line)
        else:
            self._handle(message)

    def on_noise(self, level: LogLevel, text: str) -> None:
        """See `Listener`."""
        text = self._hide(text)
        if self._comes_up:
            self._tail.append(text[:400])
        self._write_log(level, text)

    def on_unreadable(self, ids: list[str], why: str) -> None:
        """See `Listener`."""
        for call_id in ids:
            if call := self._calls.find(call_id):
                call.fail(why)

    def on_gone(self) -> None:
        """See `Listener`."""
        why = f"the worker ended ({self.ending()}) before it answered"
        self._calls.lose_all(why, on_purpose=self.stopping)
        self._up.set()
        self._gone.set()

    def _handle(self, message: NoOutcome) -> None:
        """Handle any message but an outcome."""
        match message:
            case CollectionOp() | InvalidOp():
                self._queue(message)
            case Log():
                level = LEVELS.get(message.level, "info")
                text = self._describe(message.message).encode("utf-8", "replace")
                self.on_noise(level, text_of(text))
            case AppEvent():
                event = msgspec.json.encode({"name": message.name, "data": message.data})
                hidden = mask_json(msgspec.Raw(event), self._mask)
                self._write_log("event", self._hide(text_of(bytes(hidden))))
            case JobProgress():
                self._progress(message)
            case Discovered():
                self._batches = message.batches is True
                self._up.set()

    def _settle(self, outcome: Settled) -> None:
        call = self._calls.find(outcome.id)
        if call is None or call.is_job != isinstance(outcome, JobResult):
            return
        if outcome.error is NOTHING or not outcome.failed:
            call.succeed(bytes(outcome.result))
        else:
            text = mask_text(self._describe(outcome.error), self._mask)
            away = bytes(outcome.unavailable) == b"true"
            call.fail(text or "the handler failed", unavailable=away)

    def _hide(self, text: str) -> str:
        return self._mask.hide(text) if self._mask else text

    def _describe(self, value: msgspec.Raw) -> str:
        """Make a text of a value, with secrets hidden in the texts within it."""
        return describe_value(mask_json(value, self._mask))

    def _progress(self, message: JobProgress) -> None:
        call = self._calls.find(message.id)
        if call is None or call.progress is None:
            return
        idle, call.latest = call.latest is None, bytes(message.value)
        if idle:
            self._host.spawn(_report, call, call.progress)

    def _queue(self, op: CollectionOp | InvalidOp) -> None:
        """Carry an operation out in the background.

        While 64 of them wait, the worker is not read until half of them are done.
        """
        self._waiting_ops += 1
        if self._waiting_ops >= 64 and self._child is not None:
            self._child.hold("operations")
        self._host.spawn(self._operate, op)

    async def _operate(self, op: CollectionOp | InvalidOp) -> None:
        try:
            if isinstance(op, InvalidOp):
                answer = OpResult(id=op.id, error=f"collection_op: {op.why}")
            elif self._detached:
                answer = OpResult(id=op.id, error="collection_op: the app is gone")
            else:
                answer = await self._ops.answer(op)
        finally:
            self._waiting_ops -= 1
        if self._child is not None:
            self._child.write(frame(answer))
            if self._waiting_ops < 32:
                self._child.release("operations")


async def _report(call: Call, progress: Progress) -> None:
    """Pass on the latest progress of a job, five times a second at most."""
    while (value := call.latest) is not None and not call.future.done():
        await progress(value)
        await anyio.sleep(0.2)
        if call.latest is value:
            call.latest = None


def _request_id() -> str:
    """Return the id of the request. Its variable is found once, since all of the context is read
    for it."""
    if (variable := _bound.get("request_id")) is None:
        for variable in copy_context():
            if variable.name == f"{STRUCTLOG_KEY_PREFIX}request_id":
                _bound["request_id"] = variable
                break
        else:
            return ""
    found = variable.get("")
    return found if isinstance(found, str) else ""
