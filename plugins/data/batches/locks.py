"""Locks the records that the operations of a batch name, in one order: by entity and id.

Two batches that name the same records in different orders would block each other. So a batch locks
all of them before its first operation. `docs/adr/0020-one-order-of-locks.md` has the whole order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kernel.public import KernelError, Operation, Transaction
from plugins.data.filters import Conditions
from plugins.data.row_scope import RowScope
from plugins.data.store import FULL_LOCK, Table
from plugins.data.writes.rows import coerced, encode
from plugins.data.writes.upsert import Upsert

from .runs import Prepared, Rights

Kind = Sequence[Prepared]
"""Operations with the same rights."""


async def lock_targets(tx: Transaction, operations: Sequence[Prepared]) -> None:
    """Lock the records that operations change or delete, as far as they say which ones."""
    entities: dict[str, dict[int, list[Prepared]]] = {}
    count = 0
    for operation in operations:
        if operation.given.op != "create":
            kinds = entities.setdefault(operation.given.entity, {})
            kinds.setdefault(id(operation.rights), []).append(operation)
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
    rows = Conditions(table.columns, related=related)
    selections: list[bytes] = []
    changed: set[str] = set()
    deletes = False
    for kind in kinds:
        rights = kind[0].rights
        operations = [operation.given for operation in kind]
        if rights.upsert is None:
            selections += _having_ids(rows, rights, operations)
        else:
            selections += _having_keys(rows, rights.upsert, operations)
        deletes = deletes or operations[0].op == "delete"
        for operation in operations:
            changed.update(_changed_fields(rights, operation))
    if selections:
        lock = FULL_LOCK if deletes else table.lock_to_change(changed)
        await tx.execute(table.lock_all(selections, lock), *rows.params)


def _changed_fields(rights: Rights, operation: Operation) -> set[str]:
    changed = {*(operation.data or ())}
    return changed if rights.upsert is None else changed - {*rights.upsert.on}


def _having_ids(rows: Conditions, rights: Rights, operations: Sequence[Operation]) -> list[bytes]:
    """Select the records that updates or deletes name, as far as the caller may write them."""
    table, scope = rights.scope.table, rights.scope
    ids = [each.id for each in operations if isinstance(each.id, str) and _is_id(table, each.id)]
    if not ids:
        return []
    key = table.columns.id
    conditions = [b"%b = any(%b)" % (key.sql, rows.bind(ids, key.cast + b"[]"))]
    conditions += scope.limits(rows, b"t")
    return [table.within(conditions)]


def _is_id(table: Table, record_id: str) -> bool:
    try:
        table.check_id(record_id)
    except KernelError:  # the operation says what is wrong
        return False
    return True


def _having_keys(rows: Conditions, upsert: Upsert, operations: Sequence[Operation]) -> list[bytes]:
    """Select the records that have the keys of upserts."""
    keys = [key for each in operations if (key := _key(upsert, each)) is not None]
    if not keys:
        return []
    table = upsert.scope.table.full
    return [table.with_keys(upsert.on, rows.bind(encode(keys), b"json"))]


def _key(upsert: Upsert, operation: Operation) -> Mapping[str, Any] | None:
    """Return the key of an upsert, None where it has none or refers to another operation."""
    columns, data = upsert.scope.table.columns, operation.data or {}
    try:
        key = {name: coerced(columns.find(name), data.get(name)) for name in upsert.on}
    except KernelError:  # the operation says what is wrong
        return None
    return None if None in key.values() else key
