"""Locks the records that the operations of a batch name, in one order: by entity and id.

Two batches that name the same records in different orders would block each other. So a batch locks
all of them before its first operation. `docs/adr/0020-one-order-of-locks.md` has the whole order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kernel.public import KernelError, Operation, Transaction
from plugins.data.filters.conditions import Conditions
from plugins.data.rights.row_scope import RowScope
from plugins.data.statements.entity_table import Table
from plugins.data.statements.locking import (
    FULL_LOCK,
    lock_all_statement,
    lock_to_change,
    select_ids,
    select_ids_by_keys,
)
from plugins.data.upserts.plan import UpsertPlan
from plugins.data.values.encoding import encode
from plugins.data.values.rows import coerce_field

from .operations import OperationRights, PreparedOperation

Kind = Sequence[PreparedOperation]
"""Operations with the same rights."""


async def lock_named_records(tx: Transaction, operations: Sequence[PreparedOperation]) -> None:
    """Lock the records that operations change or delete, as far as they say which ones."""
    entities: dict[str, dict[int, list[PreparedOperation]]] = {}
    count = 0
    for prepared in operations:
        if prepared.operation.op != "create":
            kinds = entities.setdefault(prepared.operation.entity, {})
            kinds.setdefault(id(prepared.rights), []).append(prepared)
            count += 1
    if count < 2 or _is_one_upsert(entities):
        return
    for entity in sorted(entities):
        await _lock_records(tx, [*entities[entity].values()])


def _is_one_upsert(entities: Mapping[str, Mapping[int, Kind]]) -> bool:
    """Whether one upsert of several rows is all that locks records: it keeps the order itself."""
    kinds = [kind for entity in entities.values() for kind in entity.values()]
    rights = kinds[0][0].rights
    return len(kinds) == 1 and rights.upsert is not None and rights.grouped


async def _lock_records(tx: Transaction, kinds: Sequence[Kind]) -> None:
    """Lock records of one entity by one statement."""
    table = kinds[0][0].rights.scope.table.full
    related: dict[str, RowScope] = {}
    for kind in kinds:
        related |= kind[0].rights.scope.related
    conditions = Conditions(table.columns, related=related)
    selections: list[bytes] = []
    changed_fields: set[str] = set()
    has_deletes = False
    for kind in kinds:
        rights = kind[0].rights
        operations = [prepared.operation for prepared in kind]
        if rights.upsert is None:
            selections += _select_by_ids(conditions, rights, operations)
        else:
            selections += _select_by_keys(conditions, rights.upsert, operations)
        has_deletes = has_deletes or operations[0].op == "delete"
        for operation in operations:
            changed_fields.update(_changed_fields(rights, operation))
    if not selections:
        return
    lock = FULL_LOCK if has_deletes else lock_to_change(table, changed_fields)
    await tx.execute(lock_all_statement(table, selections, lock), *conditions.params)


def _changed_fields(rights: OperationRights, operation: Operation) -> set[str]:
    field_names = {*(operation.data or ())}
    if rights.upsert is None:
        return field_names
    return field_names - {*rights.upsert.on}


def _select_by_ids(
    conditions: Conditions, rights: OperationRights, operations: Sequence[Operation]
) -> list[bytes]:
    """Select the records that updates or deletes name, as far as the caller may write them."""
    scope = rights.scope
    table = scope.table
    ids = [
        operation.id
        for operation in operations
        if isinstance(operation.id, str) and _is_id(table, operation.id)
    ]
    if not ids:
        return []
    key = table.columns.id
    limits = [b"%b = any(%b)" % (key.sql, conditions.bind(ids, key.cast + b"[]"))]
    limits += scope.write_conditions(conditions, b"t")
    return [select_ids(table, limits)]


def _is_id(table: Table, record_id: str) -> bool:
    try:
        table.check_id(record_id)
    except KernelError:  # the operation says what is wrong
        return False
    return True


def _select_by_keys(
    conditions: Conditions, upsert: UpsertPlan, operations: Sequence[Operation]
) -> list[bytes]:
    """Select the records that have the keys of upserts."""
    keys = [_find_key(upsert, operation) for operation in operations]
    complete_keys = [key for key in keys if key is not None]
    if not complete_keys:
        return []
    table = upsert.scope.table.full
    return [select_ids_by_keys(table, upsert.on, conditions.bind(encode(complete_keys), b"json"))]


def _find_key(upsert: UpsertPlan, operation: Operation) -> Mapping[str, Any] | None:
    """Return the key of an upsert, None where it has none or refers to another operation."""
    columns = upsert.scope.columns
    data = operation.data or {}
    try:
        key = {name: coerce_field(columns.find(name), data.get(name)) for name in upsert.on}
    except KernelError:  # the operation says what is wrong
        return None
    return None if None in key.values() else key
