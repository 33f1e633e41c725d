"""Operations of workers: what the routes do, with JSON in and JSON out."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final, cast

import msgspec

from kernel.public import Action, Actor, Answer, BadRequest, Collections, Grant, Operation, nearest
from plugins.data.batches.batch import NEEDED
from plugins.data.models import (
    Batch,
    DeleteWhere,
    ExportBody,
    ImportBody,
    QueryBody,
    Rows,
    UpdateWhere,
    UpsertRows,
)
from plugins.data.reads.pages import answer
from plugins.data.statements.lists import MAX_PAGE_BYTES

from .groups import grouped_file
from .imports import Imports

Needed = list[tuple[str, Action]]


class Kind(msgspec.Struct, frozen=True):
    """What an operation takes, and the permissions that it needs; it gets the first one's grant."""

    body: type[Any]
    needs: tuple[Action, ...]


KINDS: Final[Mapping[str, Kind]] = {
    "query": Kind(QueryBody, ("read",)),
    "export": Kind(ExportBody, ("read",)),
    "insert": Kind(dict, ("create",)),
    "insertMany": Kind(Rows, ("create",)),
    "import": Kind(ImportBody, ("create",)),
    "upsert": Kind(UpsertRows, ("create", "update")),
    "update": Kind(dict, ("update",)),
    "delete": Kind(dict, ("delete",)),
    "updateWhere": Kind(UpdateWhere, ("update", "read")),
    "deleteWhere": Kind(DeleteWhere, ("delete", "read")),
    "batch": Kind(Batch, ()),
}
_sorted = msgspec.json.Encoder(order="sorted").encode


class Operations(Imports):
    """Adds the operations of workers."""

    async def operate(
        self,
        actor: Actor,
        app_id: str,
        entity: str,
        op: str,
        data: Mapping[str, Any],
        *,
        key: str | None = None,
        if_match: str | None = None,
    ) -> bytes:
        """See `Collections.operate`."""
        kind = KINDS.get(op)
        if kind is None:
            raise BadRequest(f"unknown operation {op[:80]!r}; {nearest(op, KINDS)}")
        if if_match is not None and op not in ("update", "delete"):
            raise BadRequest(f"ifMatch does not go with {op}")
        if key is not None and kind.needs == ("read",):
            raise BadRequest("key goes with writes: reads may be repeated without one")
        body = _read(op, kind, data)
        needed = _needed(entity, kind, body)
        grants = [await self._granted(actor, app_id, *each) for each in needed]
        target = (actor, grants[0] if grants else Grant(), app_id, entity)

        async def work() -> Answer:
            if isinstance(body, dict):
                return Answer(200, await self._single(target, op, data, if_match))
            return Answer(200, await self._many(target, body))

        if key is None:
            return (await work()).body
        request = (f"collection_op {op} {entity}", key, _sorted([data, if_match]))
        return (await self.once(actor, app_id, request, needed, work)).body

    async def _single(
        self,
        target: tuple[Actor, Grant, str, str],
        op: str,
        data: Mapping[str, Any],
        if_match: str | None,
    ) -> bytes:
        if op == "insert":
            return await self.create(*target, data)
        record_id = data.get("id")
        if not isinstance(record_id, str):
            raise BadRequest("id is required, as text")
        if op == "delete":
            await self.remove(*target, record_id, if_match)
            return b"null"
        values = {name: value for name, value in data.items() if name != "id"}
        return (await self.change(*target, record_id, values, if_match)).record

    async def _many(self, target: tuple[Actor, Grant, str, str], body: object) -> bytes:
        match body:
            case ExportBody():
                return await self._export_text(target, body)
            case QueryBody(aggregates=True):
                return await self.aggregate(*target, body.aggregation)
            case QueryBody():
                records = cast("Collections", self)
                return await answer(records, *target, body.page, total=body.total is not False)
            case UpsertRows():
                return await self.upsert(*target, body.rows, body.on, body.then)
            case Rows():
                return await self.create_many(*target, body.rows)
            case UpdateWhere():
                done = await self.update_where(
                    *target, body.where, body.set, expect=body.expect, at_most=body.max
                )
                return msgspec.json.encode({"updated": done})
            case DeleteWhere():
                done = await self.delete_where(
                    *target, body.where, expect=body.expect, at_most=body.max
                )
                return msgspec.json.encode({"deleted": done})
            case ImportBody():
                return await self._import_text(target, body)
            case _:
                batch = cast("Batch", body)
                actor, _, app_id, _ = target
                return await self.batch(actor, app_id, batch.operations, dry_run=batch.dry_run)

    async def _export_text(self, target: tuple[Actor, Grant, str, str], body: ExportBody) -> bytes:
        if body.aggregates:
            aggregate = partial(self.aggregate, *target)
            file = await grouped_file(aggregate, body, body.format, raw=body.raw)
            return msgspec.json.encode(file.decode())
        pieces, size = list[bytes](), 0
        export = self.export(*target, body.page, body.format, limit=body.limit, raw=body.raw)
        async with export as found:
            async for piece in found:
                pieces.append(piece)
                size += len(piece)
                if size > MAX_PAGE_BYTES:
                    most = MAX_PAGE_BYTES // 1_000_000
                    raise BadRequest(f"these records have over {most} MB: ask for fewer by limit")
        return msgspec.json.encode(b"".join(pieces).decode())

    async def _import_text(self, target: tuple[Actor, Grant, str, str], body: ImportBody) -> bytes:
        return await self.import_file(
            *target,
            io.BytesIO(body.text.encode()),
            body.format,
            mode=body.mode,
            on=body.on,
            dry_run=body.dry_run,
            raw=body.raw,
            preview=body.preview,
        )


def needs_of(operations: Sequence[Operation]) -> Needed:
    """Return the permissions that the operations of a batch need."""
    kinds = dict.fromkeys(map(attrgetter("entity", "op"), operations))
    return [(entity, action) for entity, op in kinds for action in NEEDED[op]]


def _read(op: str, kind: Kind, data: Mapping[str, Any]) -> Any:
    try:
        return msgspec.convert(data, kind.body)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{op}: {error}") from None


def _needed(entity: str, kind: Kind, body: object) -> Needed:
    if isinstance(body, Batch):
        return needs_of(body.operations)
    needed: Needed = [(entity, action) for action in kind.needs]
    if isinstance(body, ImportBody) and body.on is not None:
        needed.append((entity, "update"))
    return needed
