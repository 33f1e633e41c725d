"""Runs the operations of a batch in order: neighbours that are alike as one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kernel.public import BadRequest, KernelError, Operation, Transaction, nearest
from plugins.data.values.rows import Row, coerce_row
from plugins.data.values.threads import WorkOnRows

from .groups import GroupWriter, ShownWrite
from .operations import OperationWrite, PreparedOperation, is_reference
from .reply import result_of, result_of_delete

_decode_record = msgspec.json.Decoder(dict[str, Any]).decode


class Failed(Exception):
    """An operation that failed, or one of a group whose statement did."""

    def __init__(
        self, error: KernelError, prepared: PreparedOperation, record_id: str, *, in_group: bool
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.prepared = prepared
        self.record_id = record_id
        self.in_group = in_group


class BatchRun:
    """One attempt to run the operations of a batch, each alone or `grouped`."""

    def __init__(self, writer: GroupWriter, tx: Transaction, *, grouped: bool) -> None:
        self._writer = writer
        self._tx = tx
        self._grouped = grouped
        self._group: list[OperationWrite] = []
        self._keys_in_group: set[object] = set()
        self._names_in_group: set[str] = set()
        self._references = References()
        self._results: list[bytes] = []
        self._coercion = WorkOnRows()

    async def run(self, operations: Sequence[PreparedOperation]) -> list[bytes]:
        """Return the results in order. Raises Failed."""
        for prepared in operations:
            if self._group and not self._may_join(prepared):
                await self._write_group()
            write = await self._resolve(prepared)
            if self._group and not self._joins(write):
                await self._write_group()
            self._add(write)
        await self._write_group()
        return self._results

    def _may_join(self, prepared: PreparedOperation) -> bool:
        """Whether an operation is of the group's kind, and needs no record of it."""
        rights = prepared.rights
        if not self._grouped or not rights.grouped:
            return False
        if rights is not self._group[0].prepared.rights:
            return False
        return self._names_in_group.isdisjoint(prepared.refers_to)

    def _joins(self, write: OperationWrite) -> bool:
        """Whether a write of the group's kind can be in one statement with the others."""
        if write.key is not None and write.key in self._keys_in_group:
            return False
        if write.prepared.operation.op != "update":
            return True
        field_names = write.row.keys()
        unique_fields = write.prepared.rights.scope.table.writes.unique_fields
        has_same_fields = field_names == self._group[0].row.keys()
        return has_same_fields and bool(field_names) and unique_fields.isdisjoint(field_names)

    def _add(self, write: OperationWrite) -> None:
        self._group.append(write)
        if write.key is not None:
            self._keys_in_group.add(write.key)
        name = write.prepared.operation.as_
        if name is not None:
            self._names_in_group.add(name)

    async def _write_group(self) -> None:
        group = self._group
        self._group = []
        self._keys_in_group = set()
        self._names_in_group = set()
        try:
            shown_writes = await self._writer.write(self._tx, group)
        except KernelError as error:
            if error.status >= 500:  # as it is: after a deadlock the whole transaction runs again
                raise
            first = group[0]
            in_group = len(group) > 1
            raise Failed(error, first.prepared, first.record_id, in_group=in_group) from error
        for write, shown in zip(group, shown_writes, strict=True):
            self._note_result(write, shown)

    async def _resolve(self, prepared: PreparedOperation) -> OperationWrite:
        """Coerce an operation with the values that it refers to. Raises Failed."""
        operation = prepared.operation
        rights = prepared.rights
        record_id = ""
        row: Row = {}
        key: str | bytes | None = None
        try:
            if operation.op in ("update", "delete"):
                record_id = self._references.resolve_id(operation)
                key = record_id
            if operation.op != "delete":
                row = await self._coerce(prepared, self._references.resolve_data(prepared))
            if rights.upsert is not None:
                key = rights.upsert.key_of(row)
        except KernelError as error:
            in_group = bool(self._group)
            raise Failed(error, prepared, record_id, in_group=in_group) from None
        return OperationWrite(prepared, record_id, row, key)

    async def _coerce(self, prepared: PreparedOperation, values: Mapping[str, Any]) -> Row:
        """Coerce the data of an operation. Raises BadRequest, Forbidden."""
        rights = prepared.rights
        table = rights.scope.table
        run = self._coercion.run
        if rights.upsert is not None:
            return await run(table.columns, values, rights.upsert.coerce_row, values)
        creating = prepared.operation.op == "create"
        return await run(
            table.columns, values, coerce_row, table, rights.grant, values, creating=creating
        )

    def _note_result(self, write: OperationWrite, shown: ShownWrite) -> None:
        operation = write.prepared.operation
        record = shown.record
        if record is None:
            self._results.append(result_of_delete(write.record_id))
            return
        if operation.as_ is not None:
            self._references.add(operation.as_, record.record)
        self._results.append(result_of(operation.op, record, shown.upsert_result))


class References:
    """The records that operations have named, for the values of those after them."""

    def __init__(self) -> None:
        self._records: dict[str, bytes | dict[str, Any]] = {}
        """Records by the names of their operations, decoded when they are referred to."""

    def add(self, name: str, record: bytes) -> None:
        """Name a record."""
        self._records[name] = record

    def resolve_id(self, operation: Operation) -> str:
        """Return the id that an operation names. Raises BadRequest."""
        record_id = self._resolve_value(operation.id, "id")
        if not isinstance(record_id, str):
            raise BadRequest("id: a text is wanted")
        return record_id

    def resolve_data(self, prepared: PreparedOperation) -> Mapping[str, Any]:
        """Return the data of an operation with the values that it refers to. Raises BadRequest."""
        data = prepared.operation.data or {}
        if not prepared.refers_to:
            return data
        columns = prepared.rights.scope.columns
        resolved: dict[str, Any] = {}
        for name, value in data.items():
            is_json = name in columns and columns.find(name).kind == "json"
            resolved[name] = value if is_json else self._resolve_value(value, name)
        return resolved

    def _resolve_value(self, value: Any, where: str) -> Any:
        if not is_reference(value):
            return value
        name, _, field = value["$ref"].partition(".")
        record = self._find(name, where)
        if field not in record:
            hint = nearest(field, record)
            raise BadRequest(f"{where}: {name!r} has no field {field[:80]!r}; {hint}")
        return record[field]

    def _find(self, name: str, where: str) -> dict[str, Any]:
        record = self._records.get(name)
        if record is None:
            hint = "no operation before has a name"
            if self._records:
                hint = nearest(name, self._records)
            raise BadRequest(f"{where}: no operation before is called {name[:80]!r}; {hint}")
        if isinstance(record, bytes):
            record = _decode_record(record)
            self._records[name] = record
        return record
