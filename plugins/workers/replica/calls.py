"""Calls and jobs that a worker has not answered yet, and the records that it asks for meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any, Final

import anyio
import msgspec
import structlog

from kernel.public import (
    ACCESS,
    APPS,
    MAX_PAGE,
    RECORDS,
    Action,
    Actor,
    BadRequest,
    Caller,
    Grant,
    HandlerFailed,
    HandlerUnavailable,
    KernelError,
    NotFound,
    Page,
    Records,
    Services,
    Unavailable,
    WorkerLost,
    WorkerStopped,
    forget_frames,
    on_behalf_of,
)
from kernel.public import Collections as WholeRecords

from .protocol import MAX_PARAMS, CollectionOp, OpResult, single_line

Progress = Callable[[bytes], Awaitable[None]]
_ACTIONS: Final[dict[str, Action]] = {
    "insert": "create", "update": "update", "delete": "delete", "find": "read", "findOne": "read",
}  # fmt: skip
_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode

log = structlog.get_logger("caudex.workers")


class Call:
    """A call or a job; audit rows of its writes carry `request_id`."""

    __slots__ = (
        "caller", "deadline", "future", "is_job", "latest", "progress", "request_id", "seconds",
        "unwanted",
    )  # fmt: skip

    def __init__(
        self,
        future: asyncio.Future[bytes],
        caller: Caller | None,
        request_id: str,
        progress: Progress | None = None,
    ) -> None:
        self.future = future
        self.caller = caller
        self.request_id = request_id
        self.progress = progress
        self.latest: bytes | None = None
        """The progress of the job that is not passed on yet."""
        self.unwanted = False
        """Whether it was cancelled; a worker that has not received it ignores that."""
        self.is_job = progress is not None
        self.seconds, self.deadline = 0.0, math.inf
        """How long it may take, and until when; see `Calls.limit`."""

    def succeed(self, result: bytes) -> None:
        """Settle it with its result."""
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, message: str, *, unavailable: bool = False) -> None:
        """Settle it with an error of the app's code, or one that replaces its answer."""
        unknown = not self.is_job and message.strip().lower().startswith("unknown method")
        if unavailable:
            self.fail_with(HandlerUnavailable(message))
        else:
            self.fail_with(NotFound(message) if unknown else HandlerFailed(message))

    def fail_with(self, error: Exception) -> None:
        """Settle it with an error."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # marks it as seen, although the caller may be gone


class Calls:
    """The pending calls of one worker, by ids of our own: no worker can settle another's."""

    def __init__(self) -> None:
        self._pending: dict[str, Call] = {}
        self._jobs = 0
        self.find = self._pending.get
        """Return the call with an id, or None if none is pending."""
        self._numbers = itertools.count(1)
        self._idle: asyncio.Event | None = None
        """Set when no rpc is pending any more, for those that wait for that."""
        self._lost = False
        self._sweep_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    # Kept, because before Python 3.12 each look for it is a system call.
    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def future(self) -> asyncio.Future[bytes]:
        """Make the future of a call."""
        return self._loop.create_future()

    def next_id(self) -> str:
        """Make an id for an rpc."""
        return f"r{next(self._numbers)}"

    def add(self, call_id: str, call: Call) -> None:
        """Keep a call until `remove`. Raises Unavailable."""
        if self._lost:
            raise Unavailable("the worker is gone")
        same = self._jobs if call.is_job else len(self._pending) - self._jobs
        if same >= 64:  # calls at once, and as many jobs
            raise Unavailable("the worker has too many calls to answer already")
        if call_id in self._pending:
            raise Unavailable("the worker is at this job already")
        self._pending[call_id] = call
        self._jobs += call.is_job

    def limit(self, call: Call, seconds: float) -> None:
        """Fail a pending call that is not settled in this time. One timer serves all calls."""
        loop = self._loop
        call.seconds, call.deadline = seconds, loop.time() + seconds
        if call.deadline < self._sweep_at:
            self._stop_timer()
            self._sweep_at = call.deadline
            self._timer = loop.call_later(seconds, self._sweep)

    def _sweep(self) -> None:
        """Fail what is late, and look again when the next call may be."""
        now, self._timer, self._sweep_at = self._loop.time(), None, math.inf
        running = [call for call in self._pending.values() if not call.future.done()]
        for call in sorted(running, key=lambda call: call.deadline):
            if call.deadline <= now:
                call.fail_with(HandlerFailed(f"rpc timeout ({call.seconds:g}s)"))
            elif call.deadline < math.inf:
                self._sweep_at = call.deadline
                self._timer = self._loop.call_later(call.deadline - now, self._sweep)
                break

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def remove(self, call_id: str, call: Call) -> None:
        """Drop a call that has ended, or whose caller is gone."""
        del self._pending[call_id]
        if not call.future.done():
            call.future.cancel()
        self._jobs -= call.is_job
        if self._idle is not None and len(self._pending) == self._jobs:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until no rpc is pending. Jobs may take long, and run again elsewhere."""
        self._idle = self._idle or asyncio.Event()
        if len(self._pending) > self._jobs:
            self._idle.clear()
            await self._idle.wait()

    def lose_all(self, why: str, *, on_purpose: bool) -> None:
        """Fail every call, because the worker is gone, and accept none any more."""
        self._lost = True
        self._stop_timer()
        for call in self._pending.values():
            call.fail_with((WorkerStopped if on_purpose else WorkerLost)(why))


class Collections:
    """Carries out the `collection_op` messages of one worker, with the rights of their callers.

    They are for the app with this `key`, and for no later one of its name.
    """

    def __init__(self, services: Services, app_id: str, key: int, calls: Calls) -> None:
        self._services = services
        self._app_id = app_id
        self._key = key
        self._calls = calls
        self._turns = anyio.CapacityLimiter(4)  # each holds a database connection

    async def answer(self, op: CollectionOp) -> OpResult:
        """Carry an operation out and return its outcome; never raises."""
        try:
            async with self._turns:
                result = await self._run(op)
        except Exception as error:
            refusal = self._refusal(op, error)
            forget_frames(error)  # they hold the message
            return refusal
        if len(result) > MAX_PARAMS:
            return OpResult(id=op.id, error="the result is over 10 MB")
        return OpResult(id=op.id, result=single_line(result))

    def _refusal(self, op: CollectionOp, error: Exception) -> OpResult:
        if isinstance(error, Unavailable):
            # A statement that may have had an effect has no Retry-After.
            effect = "unchanged" if "retry-after" in error.headers else "unknown"
            return OpResult(id=op.id, error=error.message, status=error.status, unavailable=effect)
        if isinstance(error, KernelError):
            current = error.members.get("current", msgspec.UNSET)
            return OpResult(id=op.id, error=error.message, status=error.status, current=current)
        log.error("a collection_op failed", app_id=self._app_id, exc_info=error)
        return OpResult(id=op.id, error="an unexpected error happened")

    async def _run(self, op: CollectionOp) -> bytes:
        records = self._services.find(RECORDS)
        if records is None:
            raise BadRequest("this server keeps no records")
        actor = self._actor(op)
        if (await self._services.get(APPS).app(self._app_id)).key != self._key:
            raise NotFound(f"app '{self._app_id}' not found: it is another one's name now")
        action, marked = _ACTIONS.get(op.op), op.key is not None or op.if_match is not None
        if marked and action == "read":
            raise BadRequest("key and if_match go with writes")
        async with on_behalf_of(user_id=actor.user_id, app_id=self._app_id, plugin="workers"):
            if marked or action is None:
                return await _operate_whole(records, actor, self._app_id, op)
            grant = Grant()
            if actor.user_id is not None:
                access = self._services.get(ACCESS)
                grant = await access.grant(actor.user_id, self._app_id, op.entity, action)
            return await _operate(records, actor, grant, self._app_id, op)

    def _actor(self, op: CollectionOp) -> Actor:
        """Return the caller that the operation names, else the app itself.

        A call that has ended lends no rights, rather than the app's. Raises BadRequest.
        """
        call = None
        if op.call is not None and (call := self._calls.find(op.call)) is None:
            raise BadRequest("the call that this operation serves has ended")
        request_id = call.request_id if call else ""
        if call is None or call.caller is None:
            username = f"app {self._app_id}"
            return Actor(user_id=None, username=username, request_id=request_id)
        caller = call.caller
        return Actor(user_id=caller.user_id, username=caller.username, request_id=request_id)


async def _operate_whole(records: Records, actor: Actor, app_id: str, op: CollectionOp) -> bytes:
    if not isinstance(records, WholeRecords):
        raise BadRequest("the provider of records does not offer this")
    return await records.operate(
        actor, app_id, op.entity, op.op, op.data, key=op.key, if_match=op.if_match
    )


async def _operate(
    records: Records, actor: Actor, grant: Grant, app_id: str, op: CollectionOp
) -> bytes:
    target, data = (actor, grant, app_id, op.entity), op.data
    match op.op:
        case "insert":
            return await records.create(*target, data)
        case "update":
            values = {name: value for name, value in data.items() if name != "id"}
            return await records.update(*target, _id_in(data), values)
        case "delete":
            await records.delete(*target, _id_in(data))
            return b"null"
        case "find":
            return await records.page(*target, Page(where=data or None, limit=MAX_PAGE))
        case "findOne":
            page = await records.page(*target, Page(where=data or None, limit=1))
            rows = _rows(page)
            return bytes(rows[0]) if rows else b"null"
        case _:
            raise BadRequest(f"unknown operation {op.op[:80]!r}")


def _id_in(data: dict[str, Any]) -> str:
    record_id = data.get("id")
    if not isinstance(record_id, str):
        raise BadRequest("id is required, as text")
    return record_id
