"""Records for workers: `collection_op` with the rights of the caller that it serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
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
    Grant,
    KernelError,
    NotFound,
    Page,
    Records,
    Services,
    Unavailable,
)

from .calls import Calls
from .protocol import MAX_FRAME, CollectionOp, OpResult, single_line

AT_ONCE: Final = 4
"""Operations of one worker that hold a database connection at the same moment."""

_ACTIONS: Final[dict[str, Action]] = {
    "insert": "create", "update": "update", "delete": "delete", "find": "read", "findOne": "read",
}  # fmt: skip
_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode

log = structlog.get_logger("caudex.workers")


class Collections:
    """The operations of one worker, on the app with this `key` and on no later one of its
    name."""

    def __init__(self, services: Services, app_id: str, key: int, calls: Calls) -> None:
        self._services = services
        self._app_id = app_id
        self._key = key
        self._calls = calls
        self._turns = anyio.CapacityLimiter(AT_ONCE)

    async def answer(self, op: CollectionOp) -> OpResult:
        """Carry an operation out and say what became of it; never raises."""
        try:
            async with self._turns:
                result = await self._run(op)
        except KernelError as error:
            return OpResult(id=op.id, error=error.message)
        except Exception as error:
            log.error("a collection_op failed", app_id=self._app_id, exc_info=error)
            return OpResult(id=op.id, error="an unexpected error happened")
        if len(result) > MAX_FRAME - 1024:
            return OpResult(id=op.id, error=f"the result is over {MAX_FRAME // 2**20} MB")
        return OpResult(id=op.id, result=single_line(result))

    async def _run(self, op: CollectionOp) -> bytes:
        records = self._services.find(RECORDS)
        if records is None:
            raise Unavailable("this server keeps no records")
        actor, grant = await self._rights(op)
        if (await self._services.get(APPS).app(self._app_id)).key != self._key:
            raise NotFound(f"app '{self._app_id}' not found: it is another one's name now")
        return await _OPERATIONS[op.op](records, actor, grant, self._app_id, op.entity, op.data)

    async def _rights(self, op: CollectionOp) -> tuple[Actor, Grant]:
        """Those of the caller that the operation names, else the app's own.

        A call that has ended gives none, rather than the app's.
        """
        call = None
        if op.call is not None and (call := self._calls.find(op.call)) is None:
            raise BadRequest("the call that this operation serves has ended")
        request_id = call.request_id if call else ""
        if call is None or call.caller is None:
            username = f"app {self._app_id}"
            return Actor(user_id=None, username=username, request_id=request_id), Grant()
        caller = call.caller
        access = self._services.get(ACCESS)
        grant = await access.grant(caller.user_id, self._app_id, op.entity, _ACTIONS[op.op])
        actor = Actor(user_id=caller.user_id, username=caller.username, request_id=request_id)
        return actor, grant


_Operation = Callable[[Records, Actor, Grant, str, str, dict[str, Any]], Awaitable[bytes]]


async def _insert(
    records: Records, actor: Actor, grant: Grant, app_id: str, entity: str, data: dict[str, Any]
) -> bytes:
    return await records.create(actor, grant, app_id, entity, data)


async def _update(
    records: Records, actor: Actor, grant: Grant, app_id: str, entity: str, data: dict[str, Any]
) -> bytes:
    values = {name: value for name, value in data.items() if name != "id"}
    return await records.update(actor, grant, app_id, entity, _id_in(data), values)


async def _delete(
    records: Records, actor: Actor, grant: Grant, app_id: str, entity: str, data: dict[str, Any]
) -> bytes:
    await records.delete(actor, grant, app_id, entity, _id_in(data))
    return b"null"


async def _find(
    records: Records, actor: Actor, grant: Grant, app_id: str, entity: str, data: dict[str, Any]
) -> bytes:
    page = Page(where=data or None, limit=MAX_PAGE)
    return await records.page(actor, grant, app_id, entity, page)


async def _find_one(
    records: Records, actor: Actor, grant: Grant, app_id: str, entity: str, data: dict[str, Any]
) -> bytes:
    page = Page(where=data or None, limit=1)
    rows = _rows(await records.page(actor, grant, app_id, entity, page))
    return bytes(rows[0]) if rows else b"null"


def _id_in(data: dict[str, Any]) -> str:
    record_id = data.get("id")
    if not isinstance(record_id, str):
        raise BadRequest("id is required, as text")
    return record_id


_OPERATIONS: Final[dict[str, _Operation]] = {
    "insert": _insert, "update": _update, "delete": _delete, "find": _find, "findOne": _find_one,
}  # fmt: skip
