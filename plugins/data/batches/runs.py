"""Runs the operations of a batch in order: neighbours that are alike as one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeGuard, cast

import msgspec

from kernel.public import (
    App,
    BadRequest,
    Grant,
    KernelError,
    Operation,
    Tagged,
    Transaction,
    nearest,
)
from plugins.data.rendering import id_text
from plugins.data.row_scope import RowScope
from plugins.data.store import Table
from plugins.data.writes.rows import Row, encode, row_for
from plugins.data.writes.tags import Condition
from plugins.data.writes.upsert import Upsert, key_of, upserted_row

if TYPE_CHECKING:
    from .batch import Batches

_NONE: Final = frozenset[str]()
_UUID: Final = slice(len(b'{"id":'), len(b'{"id":"01234567-89ab-7def-8123-456789abcdef"'))
_record = msgspec.json.Decoder(dict[str, Any]).decode

Shown = tuple[Tagged | None, str]
"""What the caller may see of a record that was written, and what became of an upsert."""


class Rights(msgspec.Struct, frozen=True):
    """What a caller may do by the operations of a batch that are alike.

    `grouped` says whether several of them in one statement do the same as one after the other.
    """

    grant: Grant
    scope: RowScope
    upsert: Upsert | None = None
    grouped: bool = True


class Prepared(msgspec.Struct, frozen=True):
    """An operation that its caller may do."""

    place: int
    given: Operation
    rights: Rights
    condition: Condition
    refers_to: frozenset[str]
    """Names of operations before it whose values it has."""


class Write(msgspec.Struct, frozen=True):
    """An operation with the values that it refers to.

    No two writes of a group have the same `key`; None goes with every other.
    """

    operation: Prepared
    record_id: str
    row: Row
    key: str | bytes | None = None


class Failed(Exception):
    """An operation that failed, or one of a group whose statement did."""

    def __init__(self, error: KernelError, operation: Prepared, record_id: str, *, in_group: bool):
        super().__init__(error.message)
        self.error = error
        self.operation = operation
        self.record_id = record_id
        self.in_group = in_group


class Run:
    """One attempt to run the operations of a batch, each alone or `grouped`."""

    def __init__(self, writes: Batches, tx: Transaction, *, grouped: bool) -> None:
        self._writes = writes
        self._tx = tx
        self._grouped = grouped
        self._group: list[Write] = []
        self._keys: set[object] = set()
        self._pending: set[str | None] = set()
        """Names of the operations in the group."""
        self._named: dict[str, bytes | dict[str, Any]] = {}
        """Records by the names of their operations, decoded when they are referred to."""
        self._results: list[bytes] = []

    async def run(self, operations: Sequence[Prepared]) -> list[bytes]:
        """Return the results in order. Raises Failed."""
        for operation in operations:
            if self._group and not self._may_join(operation):
                await self._flush()
            write = self._write(operation)
            if self._group and not self._joins(write):
                await self._flush()
            self._group.append(write)
            if write.key is not None:
                self._keys.add(write.key)
            if operation.given.as_ is not None:
                self._pending.add(operation.given.as_)
        await self._flush()
        return self._results

    def _may_join(self, operation: Prepared) -> bool:
        rights = operation.rights
        if not (self._grouped and rights.grouped and rights is self._group[0].operation.rights):
            return False
        return not operation.refers_to or self._pending.isdisjoint(operation.refers_to)

    def _joins(self, write: Write) -> bool:
        if write.key is not None and write.key in self._keys:
            return False
        if write.operation.given.op != "update":
            return True
        fields = write.row.keys()
        unique = write.operation.rights.scope.table.unique_fields
        return fields == self._group[0].row.keys() and bool(fields) and not fields & unique

    async def _flush(self) -> None:
        group = self._group
        self._group, self._keys, self._pending = [], set(), set()
        try:
            written = await self._writes.write(self._tx, group)
        except KernelError as error:
            if error.status >= 500:  # as it is: after a deadlock the whole transaction runs again
                raise
            first = group[0]
            in_group = len(group) > 1
            raise Failed(error, first.operation, first.record_id, in_group=in_group) from error
        for write, (record, result) in zip(group, written, strict=True):
            self._note(write, record, result)

    def _write(self, operation: Prepared) -> Write:
        given, rights, record_id, key = operation.given, operation.rights, "", None
        row: Row = {}
        try:
            if given.op in ("update", "delete"):
                record_id = key = self._id(given)
            if rights.upsert is not None:
                row = upserted_row(rights.upsert, self._resolved(operation))
                key = key_of(rights.upsert, row)
            elif given.op != "delete":
                values, creating = self._resolved(operation), given.op == "create"
                row = row_for(rights.scope.table, rights.grant, values, creating=creating)
        except KernelError as error:
            in_group = bool(self._group)
            raise Failed(error, operation, record_id, in_group=in_group) from None
        return Write(operation, record_id, row, key)

    def _note(self, write: Write, record: Tagged | None, result: str) -> None:
        given = write.operation.given
        if record is None:
            self._results.append(b'{"op": "delete", "id": %b}' % encode(write.record_id))
            return
        if given.as_ is not None:
            self._named[given.as_] = record.record
        self._results.append(result_of(given.op, record, result))

    def _id(self, given: Operation) -> str:
        found = self._value(given.id, "id")
        if not isinstance(found, str):
            raise BadRequest("id: a text is wanted")
        return found

    def _resolved(self, operation: Prepared) -> Mapping[str, Any]:
        """Return the data of an operation with the values that it refers to."""
        data, columns = operation.given.data or {}, operation.rights.scope.table.columns
        if not operation.refers_to:
            return data

        def value(name: str, given: Any) -> Any:
            if name in columns and columns.find(name).kind == "json":
                return given
            return self._value(given, name)

        return {name: value(name, given) for name, given in data.items()}

    def _value(self, given: Any, where: str) -> Any:
        if not _is_reference(given):
            return given
        name, _, field = given["$ref"].partition(".")
        record = self._named.get(name)
        if record is None:
            known = nearest(name, self._named) if self._named else "no operation before has a name"
            raise BadRequest(f"{where}: no operation before is called {name[:80]!r}; {known}")
        if isinstance(record, bytes):
            record = self._named[name] = _record(record)
        if field not in record:
            raise BadRequest(
                f"{where}: {name!r} has no field {field[:80]!r}; {nearest(field, record)}"
            )
        return record[field]


def result_of(op: str, record: Tagged, became: str = "") -> bytes:
    """Return the result of an operation: what it was, and the record as its caller may see it."""
    result = b',"result":"%b"' % became.encode() if became else b""
    parts = (op.encode(), result, id_text(record.record), record.record, _etag(record.etag))
    return b'{"op":"%b"%b,"id":%b,"record":%b%b}' % parts


def results_of_creates(table: Table, etag: str, records: Sequence[bytes]) -> list[bytes]:
    """Return the results of creates of one entity by one statement, to a caller who sees all."""
    if table.entity.id_type != "uuid":
        return [result_of("create", Tagged(each, etag)) for each in records]
    end = _etag(etag)
    return [b'{"op":"create","id":%b,"record":%b%b}' % (each[_UUID], each, end) for each in records]


def _etag(tag: str | None) -> bytes:
    return b"" if tag is None else b',"etag":%b' % encode(tag)


def can_be_one(op: str, app: App, scope: RowScope, upsert: Upsert | None) -> bool:
    """Whether no write of several that are alike can depend on one before it."""
    entity = scope.table.entity
    if scope.links is not None and any(each.trees for each in scope.links.targets.values()):
        return False
    if op == "create":
        return True
    if scope.trees:  # they may look at records that were written before
        return False
    links = [
        (other.name == entity.name, field.on_delete)
        for other in app.entities.values()
        for field in other.fields
        if field.references is not None and field.references.entity == entity.name
    ]
    if op == "delete":  # of a record that is gone by then, or that has changed
        return not any(own or on_delete == "cascade" for own, on_delete in links)
    if upsert is not None:
        chosen = entity.id_declared and any(own for own, _ in links)
        keys = {frozenset(key) for key in entity.unique} - {frozenset({"id"})}
        return not chosen and keys <= {frozenset(upsert.on)}
    return True


def targets(given: Operation) -> frozenset[str]:
    """Return the names of operations whose values an operation has."""
    values = [*given.data.values(), given.id] if given.data else [given.id]
    if dict not in map(type, values):  # nearly always
        return _NONE
    return frozenset(each["$ref"].partition(".")[0] for each in values if _is_reference(each))


def _is_reference(value: Any) -> TypeGuard[Mapping[str, str]]:
    if not isinstance(value, dict):
        return False
    found = cast("dict[str, Any]", value)
    return len(found) == 1 and isinstance(found.get("$ref"), str)
