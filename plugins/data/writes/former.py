"""Puts records and fields back as they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from kernel.public import BadRequest, Forbidden, FormerRecord, Grant, Target, Transaction, ValueKind
from plugins.data.execution.changes import RecordChange
from plugins.data.execution.inserts import Insert
from plugins.data.execution.statement_or_transaction import WriteExecution
from plugins.data.rights.links import LinkLimitFinder
from plugins.data.rights.row_scope import LinkLimits
from plugins.data.rights.scopes import RowScopes
from plugins.data.statements.entity_table import Table
from plugins.data.statements.tables import Tables
from plugins.data.values.encoding import encode
from plugins.data.values.rows import Row, row_of
from plugins.data.values.threads import run_in_thread_if_large

from .descriptions import ErrorDescriptions
from .records import MAX_BULK

LARGEST_EXACT: Final = 2**53
"""Every whole number up to here has a double."""


class FormerWrites:
    """Writes former values by the rights of their writer; the files among them need no right."""

    def __init__(
        self,
        tables: Tables,
        scopes: RowScopes,
        links: LinkLimitFinder,
        execution: WriteExecution,
        descriptions: ErrorDescriptions,
    ) -> None:
        self._tables = tables
        self._scopes = scopes
        self._links = links
        self._execution = execution
        self._descriptions = descriptions

    async def restore(
        self, target: Target, records: Sequence[FormerRecord], tx: Transaction
    ) -> None:
        """See `Records.restore`."""
        _check_number(len(records))
        if len({record.owner for record in records}) > 1:
            raise BadRequest("the records of one restore have one owner")
        table = await self._tables.find(target.app_id, target.entity, target.grant.hidden)
        values = [record.values for record in records]
        rows = await self._coerce(table, target.grant, values, creating=True)
        limits = await self._links.find_limits_of_rows(target.actor, table, rows)
        other_limits = _allow_files(table, limits)
        insert = Insert(table.full, rows, links=other_limits, former=records)
        try:
            await self._execution.create_within(tx, insert)
        except BadRequest as error:
            if len(records) > 1:  # the caller divides them, to learn which of them it is
                raise
            raise await self._descriptions.describe(error, table) from None

    async def revert(
        self, target: Target, changes: Mapping[str, Mapping[str, Any]], tx: Transaction
    ) -> None:
        """See `Records.revert`."""
        _check_number(len(changes))
        actor = target.actor
        scope = await self._scopes.resolve(target, "update")
        table = scope.table
        rows = await self._coerce(table, target.grant, [*changes.values()], creating=False)
        if len({tuple(row) for row in rows}) > 1:
            raise BadRequest("the changes of one revert name the same fields")
        if not rows[0]:
            return
        scope = await self._links.limit_changes(actor, scope, rows[0])
        scope = msgspec.structs.replace(scope, links=_allow_files(table, scope.links))
        record_changes = [
            RecordChange(record_id, row) for record_id, row in zip(changes, rows, strict=True)
        ]
        try:
            await self._execution.update_all(tx, scope, record_changes)
        except BadRequest as error:
            if len(changes) > 1:
                raise
            raise await self._descriptions.describe(error, table) from None

    async def _coerce(
        self, table: Table, grant: Grant, bodies: Sequence[Mapping[str, Any]], *, creating: bool
    ) -> list[Row]:
        return await run_in_thread_if_large(
            table.full.columns, bodies, _coerce_all, table, grant, bodies, creating=creating
        )


def _coerce_all(
    table: Table, grant: Grant, bodies: Sequence[Mapping[str, Any]], *, creating: bool
) -> list[Row]:
    return [_coerce_former(table, grant, values, creating=creating) for values in bodies]


def _coerce_former(table: Table, grant: Grant, values: Mapping[str, Any], *, creating: bool) -> Row:
    """Return the row of former values. Raises BadRequest, Forbidden."""
    entity = table.entity
    body: dict[str, Any] = {}
    for column in table.full.columns.fields:
        field = column.field
        if field is None or field.generated is not None or column.name not in values:
            continue
        value = values[column.name]
        is_new_null = creating and value is None and field.default is None
        if column.name in table.hidden and not is_new_null:
            raise Forbidden(f"{entity.name} has fields that you may not write")
        if column.name in grant.locked and not is_new_null:
            raise Forbidden(f"the permission '{entity.name}.{column.name}.write' is needed")
        body[column.name] = _as_sent(column.kind, value)
    if not body:  # every field of them is gone
        return {}
    return row_of(entity, table.full.columns, body, creating=creating)


def _as_sent(kind: ValueKind, value: Any) -> Any:
    """Return a value in the form of bodies: PostgreSQL writes all digits of a large number.

    A field can have had another type when the value was recorded.
    """
    if kind == "text" and isinstance(value, (bool, int, float)):
        return encode(value).decode()
    if kind == "number":
        return _as_double(value)
    if kind == "numbers" and isinstance(value, list):
        return [_as_double(item) for item in cast("list[Any]", value)]
    return value


def _as_double(value: Any) -> Any:
    is_large = isinstance(value, int) and abs(value) > LARGEST_EXACT
    return float(value) if is_large else value


def _allow_files(table: Table, limits: LinkLimits | None) -> LinkLimits | None:
    """Return limits without those of files: the records held these before."""
    return None if limits is None else limits.without(table.limited.files)


def _check_number(count: int) -> None:
    if not 1 <= count <= MAX_BULK:
        raise BadRequest(f"1 to {MAX_BULK} records are wanted, not {count}")
