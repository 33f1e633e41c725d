"""Writes that hooks take part in: the same statements, within a transaction."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import Action, Change, Event, HookBus, Transaction, hookspecs

from .reach import Reach, missing
from .rendering import id_of, records_in
from .store import Table
from .weight import encoded, readable
from .writing import Row, alike, aside, row_of

NO_SETTINGS = b"{}"
"""What the statements are given in place of settings: a transaction has them from its begin."""


class HookedWrites:
    """Creates, updates and deletes with `record_writing` before and `event_recorded` after."""

    def __init__(self, bus: HookBus) -> None:
        self._bus = bus

    def concern(self, table: Table) -> bool:
        """Whether anybody takes part in the writes of an entity."""
        subject = table.entity.subject
        return self._bus.has_listeners(
            hookspecs.record_writing, subject
        ) or self._bus.has_listeners(hookspecs.event_recorded, subject)

    async def create(self, tx: Transaction, table: Table, rows: Sequence[Row]) -> list[bytes]:
        """Create records and return them in order."""
        changed = [await self._changed(tx, table, "create", None, row) for row in rows]
        same = await aside(changed, alike, table.columns, changed)
        statement = table.insert_many(tuple(same[0]))
        raw = await tx.execute(
            statement, NO_SETTINGS, encoded(table.columns, same), tx.actor.user_id
        )
        records = records_in(table.rendering.array(raw or b"[]"))
        for record in records:
            await tx.record(_event(tx, table, "INSERT", id_of(record), new=record))
        return records

    async def update(self, tx: Transaction, reach: Reach, record_id: str, row: Row) -> bytes | None:
        """Change a record and return it, or None where nothing is left to change."""
        table = reach.table
        old = await self._locked(tx, reach, record_id)
        changed = await self._changed(tx, table, "update", record_id, row)
        if not changed:
            return None
        rows = reach.record(record_id, NO_SETTINGS, encoded(table.columns, changed))
        raw = await tx.execute(table.update(tuple(changed), rows), *rows.params)
        if raw is None:
            raise missing(record_id)
        new = table.rendering.record(raw)
        await tx.record(_event(tx, table, "UPDATE", record_id, old=old, new=new))
        return new

    async def delete(self, tx: Transaction, reach: Reach, record_id: str) -> None:
        """Delete a record."""
        old = await self._locked(tx, reach, record_id)
        await self._changed(tx, reach.table, "delete", record_id, {})
        rows = reach.record(record_id, NO_SETTINGS)
        if await tx.execute(reach.table.delete(rows), *rows.params) is None:
            raise missing(record_id)
        await tx.record(_event(tx, reach.table, "DELETE", record_id, old=old))

    async def _locked(self, tx: Transaction, reach: Reach, record_id: str) -> bytes:
        rows = reach.record(record_id)
        raw = await tx.execute(reach.table.one(rows, lock=True), *rows.params)
        if raw is None:
            raise missing(record_id)
        return reach.table.rendering.record(readable(raw, record_id))

    async def _changed(
        self, tx: Transaction, table: Table, action: Action, record_id: str | None, row: Row
    ) -> Row:
        """Let the hooks change a copy of the row: a transaction may be run anew."""
        entity = table.entity
        change = Change(
            app_id=entity.app_id,
            entity=entity.name,
            action=action,
            actor=tx.actor,
            record_id=record_id,
            values=dict(row),
        )
        await self._bus.emit(hookspecs.record_writing, tx=tx, change=change)
        if action == "delete" or change.values == row:
            return row
        return row_of(entity, table.columns, change.values, creating=action == "create")


def _event(
    tx: Transaction,
    table: Table,
    operation: str,
    record_id: str | None,
    *,
    old: bytes | None = None,
    new: bytes | None = None,
) -> Event:
    """Describe a write that was made."""
    return Event(
        app_id=table.entity.app_id,
        entity=table.entity.name,
        operation=operation,
        actor=tx.actor,
        record_id=record_id,
        old=old,
        new=new,
    )
