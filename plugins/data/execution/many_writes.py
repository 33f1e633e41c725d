"""Writes of several records by one statement within a transaction."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import Tagged, Transaction
from plugins.data.filters.conditions import Conditions
from plugins.data.rendering import id_of
from plugins.data.rights.row_scope import RowScope, record_not_found
from plugins.data.statements.write_statements import NO_SETTINGS
from plugins.data.values.encoding import encode

from .changes import RecordChange


async def update_many(
    tx: Transaction, scope: RowScope, changes: Sequence[RecordChange]
) -> Sequence[Tagged]:
    """Change different records in the same fields, and return them in order. Raises NotFound."""
    table = scope.table.full
    field_names = tuple(changes[0].row)
    has_tags = _have_tags(changes)
    conditions = _select_changed(scope, changes, has_tags=has_tags)
    statement = table.writes.update_many_statement(
        field_names, conditions, tagged=has_tags, write_value=scope.link_values(conditions)
    )
    raw = await tx.execute(statement, *conditions.params)
    records = table.rendering.split_tagged(raw or b"")
    records_by_id = {id_of(record.record): record for record in records}
    for change in changes:
        if change.record_id not in records_by_id:
            raise record_not_found(change.record_id)
    return [records_by_id[change.record_id] for change in changes]


async def delete_many(tx: Transaction, scope: RowScope, changes: Sequence[RecordChange]) -> None:
    """Delete records. Raises NotFound."""
    has_tags = _have_tags(changes)
    conditions = _select_changed(scope, changes, has_tags=has_tags)
    statement = scope.table.writes.delete_many_statement(conditions, tagged=has_tags)
    deleted = await tx.execute(statement, *conditions.params)
    if int(deleted or 0) < len(changes):
        raise record_not_found(changes[0].record_id)


def _have_tags(changes: Sequence[RecordChange]) -> bool:
    return any(change.condition.tags is not None for change in changes)


def _select_changed(
    scope: RowScope, changes: Sequence[RecordChange], *, has_tags: bool
) -> Conditions:
    """Begin the conditions of a statement about several records, with their new values."""
    rows: list[dict[str, object]] = []
    for change in changes:
        scope.table.check_id(change.record_id)
        row: dict[str, object] = {"_id": change.record_id}
        if has_tags:
            row["_tags"] = change.condition.tags
        row |= change.row
        rows.append(row)
    return scope.begin_conditions(NO_SETTINGS, encode(rows))
