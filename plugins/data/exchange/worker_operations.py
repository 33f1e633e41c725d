"""Operations of workers: what the routes do, with JSON in and JSON out."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final

import msgspec

from kernel.public import (
    MAX_PAGE_BYTES,
    Action,
    Actor,
    Answer,
    BadRequest,
    FileDialect,
    Grant,
    ImportOptions,
    KeyedRequest,
    Operation,
    Records,
    Target,
    Transaction,
    WorkerOperation,
    nearest,
)
from plugins.data.batches.operations import NEEDED
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
from plugins.data.reads.totals import answer_page
from plugins.data.rights.permissions import Permissions

from .group_files import grouped_file

NeededPermissions = list[tuple[str, Action]]


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
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class WorkerOperations:
    """Checks the permissions of an operation, and calls RECORDS as the routes do."""

    def __init__(self, records: Records, permissions: Permissions) -> None:
        self._records = records
        self._permissions = permissions

    async def run(self, actor: Actor, app_id: str, operation: WorkerOperation) -> bytes:
        """See `Records.operate`."""
        op = operation.op
        kind = KINDS.get(op)
        if kind is None:
            raise BadRequest(f"unknown operation {op[:80]!r}; {nearest(op, KINDS)}")
        if operation.if_match is not None and op not in ("update", "delete"):
            raise BadRequest(f"ifMatch does not go with {op}")
        if operation.key is not None and kind.needs == ("read",):
            raise BadRequest("key goes with writes: reads may be repeated without one")
        body = _read_body(op, kind, operation.data)
        needed = _permissions_of(operation.entity, kind, body)
        grants = [
            await self._permissions.require(actor, app_id, entity, action)
            for entity, action in needed
        ]
        grant = grants[0] if grants else Grant()
        target = Target(actor, grant, app_id, operation.entity)

        async def work(tx: Transaction | None) -> Answer:
            if isinstance(body, dict):
                return Answer(200, await self._run_single(target, operation, tx))
            return Answer(200, await self._run_many(target, body, tx))

        if operation.key is None:
            answer = await work(None)
        else:
            raw_body = _encode_sorted([operation.data, operation.if_match])
            route = f"collection_op {op} {operation.entity}"
            request = KeyedRequest(route, operation.key, raw_body)
            answer = await self._records.run_once(actor, app_id, request, needed, work)
        return answer.body

    async def _run_single(
        self, target: Target, operation: WorkerOperation, tx: Transaction | None
    ) -> bytes:
        data = operation.data
        if operation.op == "insert":
            created = await self._records.create(target, data, tx=tx)
            return created.record
        record_id = data.get("id")
        if not isinstance(record_id, str):
            raise BadRequest("id is required, as text")
        if_match = operation.if_match
        if operation.op == "delete":
            await self._records.delete(target, record_id, if_match=if_match, tx=tx)
            return b"null"
        values = {name: value for name, value in data.items() if name != "id"}
        updated = await self._records.update(target, record_id, values, if_match=if_match, tx=tx)
        return updated.record

    async def _run_many(self, target: Target, body: object, tx: Transaction | None) -> bytes:
        records = self._records
        match body:
            case ExportBody():
                return await self._export_text(target, body)
            case QueryBody(aggregates=True):
                return await records.aggregate(target, body.aggregation)
            case QueryBody():
                return await answer_page(records, target, body.page, total=body.total is not False)
            case UpsertRows():
                return await records.upsert(target, body.rows, body.on, body.then, tx=tx)
            case Rows():
                return await records.create_many(target, body.rows, tx=tx)
            case UpdateWhere():
                updated = await records.update_where(
                    target, body.where, body.set, expect=body.expect, at_most=body.max, tx=tx
                )
                return msgspec.json.encode({"updated": updated})
            case DeleteWhere():
                deleted = await records.delete_where(
                    target, body.where, expect=body.expect, at_most=body.max, tx=tx
                )
                return msgspec.json.encode({"deleted": deleted})
            case ImportBody():
                file = io.BytesIO(body.text.encode())
                return await records.import_file(target, file, _import_options(body), tx=tx)
            case Batch():
                return await records.batch(
                    target.actor, target.app_id, body.operations, dry_run=body.dry_run, tx=tx
                )
            case _:
                raise TypeError(f"no operation has a {type(body).__name__}")

    async def _export_text(self, target: Target, body: ExportBody) -> bytes:
        if body.aggregates:
            aggregate = partial(self._records.aggregate, target)
            file = await grouped_file(aggregate, body, body.format, raw=body.raw)
            return msgspec.json.encode(file.decode())
        pieces = list[bytes]()
        size = 0
        export = self._records.export(
            target, body.page, body.format, limit=body.limit, raw=body.raw
        )
        async with export as file_pieces:
            async for piece in file_pieces:
                pieces.append(piece)
                size += len(piece)
                if size > MAX_PAGE_BYTES:
                    megabytes = MAX_PAGE_BYTES // 1_000_000
                    raise BadRequest(
                        f"these records have over {megabytes} MB: ask for fewer by limit"
                    )
        return msgspec.json.encode(b"".join(pieces).decode())


def permissions_of_batch(operations: Sequence[Operation]) -> NeededPermissions:
    """Return the permissions that the operations of a batch need."""
    kinds = dict.fromkeys(map(attrgetter("entity", "op"), operations))
    return [(entity, action) for entity, op in kinds for action in NEEDED[op]]


def _import_options(body: ImportBody) -> ImportOptions:
    dialect = FileDialect(
        delimiter=body.delimiter, decimal=body.decimal, dates=body.dates, null=body.null
    )
    return ImportOptions(
        file_format=body.format,
        dialect=dialect,
        create_ids=body.create == "ids",
        mode=body.mode,
        on=body.on,
        dry_run=body.dry_run,
        raw=body.raw,
        preview=body.preview,
    )


def _read_body(op: str, kind: Kind, data: Mapping[str, Any]) -> Any:
    try:
        return msgspec.convert(data, kind.body)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{op}: {error}") from None


def _permissions_of(entity: str, kind: Kind, body: object) -> NeededPermissions:
    if isinstance(body, Batch):
        return permissions_of_batch(body.operations)
    needed: NeededPermissions = [(entity, action) for action in kind.needs]
    if isinstance(body, ImportBody) and body.on is not None:
        needed.append((entity, "update"))
    return needed
