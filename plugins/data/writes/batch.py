"""Batches: writes of several entities in one transaction, all of them or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn, TypeGuard, cast

import msgspec

from kernel.public import (
    Action,
    Actor,
    BadRequest,
    Grant,
    KernelError,
    Operation,
    Tagged,
    Transaction,
    nearest,
)
from plugins.data.errors import PreconditionFailed
from plugins.data.reads.tables import on_new_schema
from plugins.data.rendering import id_of
from plugins.data.row_scope import RowScope
from plugins.data.store import Table

from .conditional import ConditionalWrites
from .records import at, placed, row_for
from .rows import Row, encode
from .tags import Condition
from .upsert import Upsert, upserted_row

MAX_OPERATIONS: Final = 1000
NEEDED: Final[Mapping[str, tuple[Action, ...]]] = {
    "create": ("create",),
    "update": ("update",),
    "delete": ("delete",),
    "upsert": ("create", "update"),
}
"""Permissions that an operation needs; the first one's grant says which records it reaches."""
_NONE: Final = frozenset[str]()
_record = msgspec.json.Decoder(dict[str, Any]).decode


class Prepared(msgspec.Struct, frozen=True):
    """An operation that its caller may do."""

    place: int
    given: Operation
    grant: Grant
    scope: RowScope
    condition: Condition
    upsert: Upsert | None = None
    refers_to: frozenset[str] = _NONE
    """Names of operations before it whose values its data has."""


class Done(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an operation did, as replies have it."""

    op: str
    result: str | msgspec.UnsetType
    id: str | None
    record: msgspec.Raw
    etag: str | None = None


class DryRun(Exception):
    """Everything succeeded. Raised to roll it back."""

    def __init__(self, results: list[bytes]) -> None:
        super().__init__()
        self.results = results


class Batches(ConditionalWrites):
    """Adds batches to the writes."""

    async def batch(
        self, actor: Actor, app_id: str, operations: Sequence[Operation], *, dry_run: bool = False
    ) -> bytes:
        """See `Collections.batch`."""
        if not 1 <= len(operations) <= MAX_OPERATIONS:
            raise BadRequest(f"1 to {MAX_OPERATIONS} operations are wanted, not {len(operations)}")
        return await self._batch(actor, Grant(), app_id, operations, dry_run)

    @on_new_schema
    async def _batch(
        self, actor: Actor, _: Grant, app_id: str, operations: Sequence[Operation], dry_run: bool
    ) -> bytes:
        known: dict[tuple[str, str], tuple[Grant, RowScope]] = {}
        prepared = [
            await self._prepared(actor, app_id, place, given, known)
            for place, given in enumerate(operations)
        ]
        try:
            results = await self._batched(actor, prepared, dry_run=dry_run, grouped=True)
        except DryRun as done:
            results = done.results
        return b'{"results": [%b]}' % b",\n".join(results)

    async def _batched(
        self, actor: Actor, prepared: Sequence[Prepared], *, dry_run: bool, grouped: bool
    ) -> list[bytes]:
        async def work(tx: Transaction) -> list[bytes]:
            results = await _Run(self, tx).run(prepared, grouped=grouped)
            if dry_run:
                raise DryRun(results)
            return results

        try:
            return await self._run(actor, work, *{each.scope.table: None for each in prepared})
        except _Failed as failed:
            if failed.group:  # PostgreSQL does not say which of them it was
                return await self._batched(actor, prepared, dry_run=dry_run, grouped=False)
            await self._raise(actor, failed)

    async def _raise(self, actor: Actor, failed: _Failed) -> NoReturn:
        error, operation = failed.error, failed.operation
        table, record_id = operation.scope.table, str(operation.given.id)
        if isinstance(error, PreconditionFailed):
            error = await self._precondition_failed(actor, table, record_id)
        elif isinstance(error, BadRequest):
            deleted = record_id if operation.given.op == "delete" else None
            error = await self._describe(error, table, deleted)
        raise placed(error, operation.place) from None

    async def _prepared(
        self,
        actor: Actor,
        app_id: str,
        place: int,
        given: Operation,
        known: dict[tuple[str, str], tuple[Grant, RowScope]],
    ) -> Prepared:
        """Check the rights of an operation, and what can be said of it at once.

        `known` has the rights of the operations before it.
        """
        what, action = (given.entity, given.op), NEEDED[given.op][0]
        try:
            grant, scope = known.get(what) or (None, None)
            if grant is None:
                grant = await self._granted(actor, app_id, given.entity, action)
            _check_members(given)
            condition = await self._condition(actor, app_id, given.entity, given.if_match)
            upsert = None
            if given.op == "upsert":
                upsert = await self._upsert_plan(
                    actor, grant, app_id, given.entity, given.on or "", given.then
                )
            if scope is None:
                scope = await self._scope(actor, grant, app_id, given.entity, action)
                known[what] = grant, scope
        except KernelError as error:
            raise placed(error, place) from None
        return Prepared(place, given, grant, scope, condition, upsert, _targets(given))

    async def shown(
        self, operation: Prepared, made: Tagged, sent: Sequence[str], tx: Transaction, *, own: bool
    ) -> Tagged:
        """Return what the caller may see of a record that an operation wrote."""
        table = operation.scope.table
        return await self._answer(tx.actor, table, made, sent, own=own, reader=tx)

    async def create_all(self, tx: Transaction, table: Table, rows: Sequence[Row]) -> list[Tagged]:
        """Create records of one entity, and return what the caller may see of each."""
        made = await self._transactional.create(tx, table, rows)
        if await self._sees_whole(tx.actor, table):
            return made
        return [
            await self._answer(tx.actor, table, record, row, own=True, reader=tx)
            for record, row in zip(made, rows, strict=True)
        ]

    async def change_one(
        self, tx: Transaction, operation: Prepared, record_id: str, row: Row
    ) -> Tagged:
        """Change the record of an operation."""
        scope = operation.scope
        made = await self._change_in(tx, scope, record_id, row, operation.condition)
        return made or await self._unchanged(tx.actor, scope.table, record_id, tx)

    async def remove_one(self, tx: Transaction, operation: Prepared, record_id: str) -> None:
        """Delete the record of an operation."""
        await self._remove_in(tx, operation.scope, record_id, operation.condition)

    async def upsert_one(self, tx: Transaction, plan: Upsert, row: Row) -> tuple[str, Tagged]:
        """Create, change or leave a record; return which, and the record that is shown."""
        [outcome] = await self._upsert_in(tx, plan, [row], None)
        own = outcome.result == "created" or plan.scope.own_only
        table = plan.scope.table
        shown = await self._answer(
            tx.actor, table, outcome.record, outcome.sent, own=own, reader=tx
        )
        return outcome.result, shown


class _Failed(Exception):
    def __init__(self, error: KernelError, operation: Prepared, *, group: bool) -> None:
        super().__init__(error.message)
        self.error = error
        self.operation = operation
        self.group = group


class _Run:
    """One attempt to run the operations of a batch."""

    def __init__(self, writes: Batches, tx: Transaction) -> None:
        self._writes = writes
        self._tx = tx
        self._named: dict[str, dict[str, Any]] = {}
        self._results: list[bytes] = []

    async def run(self, operations: Sequence[Prepared], *, grouped: bool) -> list[bytes]:
        group: list[Prepared] = []
        for operation in operations:
            if group and not (grouped and _joins(group, operation)):
                await self._create(group)
                group = []
            if operation.given.op == "create":
                group.append(operation)
            else:
                await self._guarded([operation], self._one(operation))
        if group:
            await self._create(group)
        return self._results

    async def _guarded(self, group: Sequence[Prepared], work: Any) -> None:
        try:
            await work
        except KernelError as error:
            if error.status >= 500:
                raise
            raise _Failed(error, group[0], group=len(group) > 1) from error

    async def _create(self, group: Sequence[Prepared]) -> None:
        rows: list[Row] = []
        for each in group:
            table, values = each.scope.table, self._resolved(each)
            rows.append(at(each.place, row_for, table, each.grant, values, creating=True))
        await self._guarded(group, self._created(group, rows))

    async def _created(self, group: Sequence[Prepared], rows: Sequence[Row]) -> None:
        shown = await self._writes.create_all(self._tx, group[0].scope.table, rows)
        for each, record in zip(group, shown, strict=True):
            self._note(each, record)

    async def _one(self, operation: Prepared) -> None:
        given, table = operation.given, operation.scope.table
        if given.op == "upsert":
            assert operation.upsert is not None
            row = upserted_row(operation.upsert, self._resolved(operation))
            result, shown = await self._writes.upsert_one(self._tx, operation.upsert, row)
            return self._note(operation, shown, result)
        record_id = self._id(operation)
        if given.op == "delete":
            await self._writes.remove_one(self._tx, operation, record_id)
            text = msgspec.json.encode(record_id)
            self._results.append(b'{"op": "delete", "id": %b}' % text)
            return None
        row = row_for(table, operation.grant, self._resolved(operation), creating=False)
        made = await self._writes.change_one(self._tx, operation, record_id, row)
        own = operation.scope.own_only
        shown = await self._writes.shown(operation, made, tuple(row), self._tx, own=own)
        return self._note(operation, shown)

    def _note(self, operation: Prepared, shown: Tagged, result: str = "") -> None:
        if (name := operation.given.as_) is not None:
            self._named[name] = _record(shown.record)
        op, key = operation.given.op, id_of(shown.record)
        done = Done(op, result or msgspec.UNSET, key, msgspec.Raw(shown.record), shown.etag)
        self._results.append(encode(done))

    def _id(self, operation: Prepared) -> str:
        found = self._value(operation.given.id, "id")
        if not isinstance(found, str):
            raise BadRequest("id: a text is wanted")
        return found

    def _resolved(self, operation: Prepared) -> Mapping[str, Any]:
        """Return the data of an operation with the values that it refers to."""
        data, columns = operation.given.data or {}, operation.scope.table.columns
        if not operation.refers_to:
            return data

        def value(name: str, given: Any) -> Any:
            if name in columns and columns.find(name).kind == "json":
                return given
            return self._value(given, name)

        try:
            return {name: value(name, given) for name, given in data.items()}
        except BadRequest as error:
            raise _Failed(error, operation, group=False) from None

    def _value(self, given: Any, where: str) -> Any:
        if not _is_reference(given):
            return given
        name, _, field = given["$ref"].partition(".")
        record = self._named.get(name)
        if record is None:
            known = nearest(name, self._named) if self._named else "no operation before has a name"
            raise BadRequest(f"{where}: no operation before is called {name[:80]!r}; {known}")
        if field not in record:
            raise BadRequest(
                f"{where}: {name!r} has no field {field[:80]!r}; {nearest(field, record)}"
            )
        return record[field]


def _joins(group: Sequence[Prepared], operation: Prepared) -> bool:
    """Whether a create can be one statement with those before it: it refers to none of them."""
    given = operation.given
    if given.op != "create" or given.entity != group[0].given.entity:
        return False
    names = operation.refers_to
    return not names or names.isdisjoint(each.given.as_ for each in group)


def _targets(given: Operation) -> frozenset[str]:
    """Return the names of operations whose values the data of an operation has."""
    values = given.data.values() if given.data else ()
    found = [value["$ref"] for value in values if _is_reference(value)]
    return frozenset(name.partition(".")[0] for name in found) if found else _NONE


def _is_reference(value: Any) -> TypeGuard[Mapping[str, str]]:
    if not isinstance(value, dict):
        return False
    found = cast("dict[str, Any]", value)
    return len(found) == 1 and isinstance(found.get("$ref"), str)


def _check_members(given: Operation) -> None:
    """Raise BadRequest where an operation lacks a member that it needs."""
    if given.op in ("update", "delete") and given.id is None:
        raise BadRequest(f"id is required for {given.op}")
    if given.op != "delete" and given.data is None:
        raise BadRequest(f"data is required for {given.op}")
    if given.op == "upsert" and not given.on:
        raise BadRequest("on is required for upsert")
    if given.if_match is not None and given.op not in ("update", "delete"):
        raise BadRequest(f"ifMatch does not go with {given.op}")
