"""Reads and writes of records that a worker asks for."""

from __future__ import annotations

from typing import Any, Final

import anyio
import msgspec
import structlog

from kernel.public import (
    ACCESS,
    APPS,
    CALLER_SQL,
    MAX_PAGE,
    RECORDS,
    Action,
    Actor,
    App,
    BadRequest,
    Grant,
    KernelError,
    NotFound,
    Page,
    Records,
    Services,
    Target,
    Unavailable,
    WorkerOperation,
    forget_frames,
    limits_of,
    on_behalf_of,
)
from plugins.workers.child.process import Child
from plugins.workers.child.protocol import (
    MAX_PARAMS,
    CollectionOp,
    InvalidOp,
    OpResult,
    encode_message,
    join_lines,
)
from plugins.workers.host import Background
from plugins.workers.models import Installation

from .attempt import Attempt
from .calls import Call, Calls
from .followed import ChangeOperations

MAX_WAITING: Final = 64
"""Operations that wait, above which the worker is not read until half of them are done."""

_ACTIONS: Final[dict[str, Action]] = {
    "insert": "create", "update": "update", "delete": "delete", "find": "read", "findOne": "read",
    "changes": "read", "sql": "read",
}  # fmt: skip
_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode

log = structlog.get_logger("caudex.workers")


class SqlRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `data` of the operation `sql`: a statement, and the values of `$1`, `$2` ..."""

    query: str
    values: list[Any] = []


class OperationQueue:
    """The operations of one attempt, carried out in the background.

    `connect` names the child that gets the answers.
    """

    def __init__(
        self, attempt: Attempt, operations: RecordOperations, background: Background
    ) -> None:
        self._attempt = attempt
        self._operations = operations
        self._background = background
        self._child: Child | None = None
        self._waiting = 0

    def connect(self, child: Child) -> None:
        """Answer this child from now on."""
        self._child = child

    def add(self, op: CollectionOp | InvalidOp) -> None:
        """Carry an operation out, and answer it."""
        self._waiting += 1
        if self._waiting >= MAX_WAITING and self._child is not None:
            self._child.output.hold("operations")
        self._background.spawn(self._run, op)

    async def _run(self, op: CollectionOp | InvalidOp) -> None:
        try:
            answer = await self._find_answer(op)
        finally:
            self._waiting -= 1
        if self._child is not None:
            self._child.input.write(encode_message(answer))
            if self._waiting < MAX_WAITING // 2:
                self._child.output.release("operations")

    async def _find_answer(self, op: CollectionOp | InvalidOp) -> OpResult:
        if isinstance(op, InvalidOp):
            return OpResult(id=op.id, error=f"collection_op: {op.why}")
        if self._attempt.is_disowned:
            return OpResult(id=op.id, error="collection_op: the app is gone")
        return await self._operations.answer(op)


class RecordOperations:
    """Carries out the `collection_op` messages of one worker, with the rights of their callers.

    They are for this installation of the app, and for no later one of its name.
    """

    def __init__(self, services: Services, app: Installation, calls: Calls) -> None:
        self._services = services
        self._app = app
        self._calls = calls
        self._changes = ChangeOperations(services, app.app_id)
        self._turns = anyio.CapacityLimiter(4)  # each holds a database connection

    async def answer(self, op: CollectionOp) -> OpResult:
        """Carry an operation out and return its outcome; never raises."""
        try:
            async with self._turns:
                result = await self._run(op)
        except Exception as error:
            refusal = self._refuse(op, error)
            forget_frames(error)  # they hold the message
            return refusal
        if len(result) > MAX_PARAMS:
            return OpResult(id=op.id, error="the result is over 10 MB")
        return OpResult(id=op.id, result=join_lines(result))

    def _refuse(self, op: CollectionOp, error: Exception) -> OpResult:
        if isinstance(error, Unavailable):
            # A statement that may have had an effect has no Retry-After.
            is_unchanged = "retry-after" in error.headers
            effect = "unchanged" if is_unchanged else "unknown"
            return OpResult(id=op.id, error=error.message, status=error.status, unavailable=effect)
        if isinstance(error, KernelError):
            current = error.members.get("current", msgspec.UNSET)
            return OpResult(id=op.id, error=error.message, status=error.status, current=current)
        log.error("a collection_op failed", app_id=self._app.app_id, exc_info=error)
        return OpResult(id=op.id, error="an unexpected error happened")

    async def _run(self, op: CollectionOp) -> bytes:
        records = self._services.find(RECORDS)
        if records is None:
            raise BadRequest("this server keeps no records")
        actor = self._find_actor(op)
        app_id = self._app.app_id
        app = await self._services.get(APPS).app(app_id)
        if app.key != self._app.key:
            raise NotFound(f"app '{app_id}' not found: it is another one's name now")
        action = _ACTIONS.get(op.op)
        is_marked = op.key is not None or op.if_match is not None
        if is_marked and action == "read":
            raise BadRequest("key and if_match go with writes")
        async with on_behalf_of(user_id=actor.user_id, app_id=app_id, plugin="workers"):
            if is_marked or action is None:
                operation = WorkerOperation(
                    entity=op.entity, op=op.op, data=op.data, key=op.key, if_match=op.if_match
                )
                return await records.operate(actor, app_id, operation)
            if op.op == "changes":
                return await self._changes.read(actor, op)
            if op.op == "sql":
                return await self._query(actor, app, op)
            grant = Grant()
            if not actor.is_server:
                access = self._services.get(ACCESS)
                user_id = actor.user_id
                limits = limits_of(actor)
                grant = await access.grant(user_id, app_id, op.entity, action, **limits)
            return await _operate(records, Target(actor, grant, app_id, op.entity), op)

    async def _query(self, actor: Actor, app: App, op: CollectionOp) -> bytes:
        """Run SQL that sees what the caller may read. Raises KernelError."""
        try:
            request = msgspec.convert(op.data, SqlRequest)
        except msgspec.ValidationError as error:
            raise BadRequest(f"sql: {error}") from None
        queries = self._services.find(CALLER_SQL)
        if queries is None:
            raise BadRequest("this server runs no SQL of workers (plugin app_logins)")
        return await queries.query(actor, app, request.query, request.values)

    def _find_actor(self, op: CollectionOp) -> Actor:
        """Return the caller that the operation names, else the app itself.

        A call that has ended lends no rights, rather than the app's. Raises BadRequest.
        """
        app = f"app {self._app.app_id}"
        if op.call is None:
            return Actor(user_id=None, username=app, request_id="")
        call: Call | None = self._calls.find(op.call)
        if call is None:
            raise BadRequest("the call that this operation serves has ended")
        caller = call.caller
        if caller is None:
            return Actor(user_id=None, username=app, request_id=call.request_id)
        return Actor(
            user_id=caller.user_id,
            username=caller.username,
            request_id=call.request_id,
            limits=caller.limits or None,
        )


async def _operate(records: Records, target: Target, op: CollectionOp) -> bytes:
    data = op.data
    match op.op:
        case "insert":
            created = await records.create(target, data)
            return created.record
        case "update":
            values = {name: value for name, value in data.items() if name != "id"}
            updated = await records.update(target, _find_id(data), values)
            return updated.record
        case "delete":
            await records.delete(target, _find_id(data))
            return b"null"
        case "find":
            return await records.page(target, Page(where=data or None, limit=MAX_PAGE))
        case "findOne":
            page = await records.page(target, Page(where=data or None, limit=1))
            rows = _decode_rows(page)
            return bytes(rows[0]) if rows else b"null"
        case _:
            raise BadRequest(f"unknown operation {op.op[:80]!r}")


def _find_id(data: dict[str, Any]) -> str:
    record_id = data.get("id")
    if not isinstance(record_id, str):
        raise BadRequest("id is required, as text")
    return record_id
