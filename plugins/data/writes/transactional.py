"""Writes in a transaction: `record_writing` before each one, `event_recorded` after it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kernel.public import (
    Action,
    Actor,
    BadRequest,
    Change,
    Event,
    HookBus,
    HookFailed,
    Tagged,
    Transaction,
    Writer,
    hookspecs,
)
from plugins.data.rendering import check_readable, id_of, split_version
from plugins.data.row_scope import RowScope, record_not_found
from plugins.data.store import NO_SETTINGS, Table

from .rows import Row, arrays, params_of, row_of, run_in_thread_if_large
from .tags import Condition


class TransactionalWrites:
    """Writes of records that take part in a transaction, with every field of them."""

    def __init__(self, bus: HookBus) -> None:
        self._bus = bus

    def has_listeners(self, table: Table) -> bool:
        """Whether a plugin takes part in the writes of an entity."""
        subject, listening = table.entity.subject, self._bus.listeners
        return bool(
            listening(hookspecs.record_writing, subject)
            or listening(hookspecs.event_recorded, subject)
            or self._asked_for_old(subject)
        )

    def _asked_for_old(self, subject: str) -> bool:
        """Whether an observer wants the record before a change: a transaction reads it."""
        observers = self._bus.listeners(hookspecs.event_committed, subject)
        return bool(observers) and any(observer.old for observer in observers)

    def has_observers(self, table: Table) -> bool:
        """Whether a plugin wants to know of committed writes of an entity."""
        return bool(self._bus.listeners(hookspecs.event_committed, table.entity.subject))

    async def create(self, tx: Transaction, table: Table, rows: Sequence[Row]) -> list[Tagged]:
        """Create records and return them in order."""
        table = table.full
        if not self.has_listeners(table) and not self.has_observers(table):
            raw = await insert_rows(tx, NO_SETTINGS, table, rows, tx.actor, versioned=True)
            return table.rendering.tagged(raw)
        written = [await self._changed(tx, table, "create", None, row) for row in rows]
        changed = [row for row, _ in written]
        raw = await insert_rows(tx, NO_SETTINGS, table, changed, tx.actor, versioned=True)
        records = table.rendering.tagged(raw)
        for each, (_, change) in zip(records, written, strict=True):
            new = each.record
            event = event_of(table, "INSERT", tx.actor, id_of(new), new=new, change=change)
            await tx.record(event)
        return records

    async def update(
        self, tx: Transaction, scope: RowScope, record_id: str, row: Row, condition: Condition
    ) -> Tagged | None:
        """Change a record and return it, or None where the hooks left nothing to change."""
        table = scope.table.full
        old = await self._locked(tx, scope, record_id)
        condition.check(record_id, old)
        changed, change = await self._changed(tx, table, "update", record_id, row, old.record)
        if not changed:
            return None
        rows = scope.record(record_id, NO_SETTINGS, *await params_of(table.columns, changed))
        raw = await tx.execute(table.update(tuple(changed), rows), *rows.params)
        if raw is None:
            raise record_not_found(record_id)
        record, etag = split_version(raw)
        new = table.rendering.record(record)
        event = event_of(
            table, "UPDATE", tx.actor, record_id, old=old.record, new=new, change=change
        )
        await tx.record(event)
        return Tagged(new, etag)

    async def delete(
        self, tx: Transaction, scope: RowScope, record_id: str, condition: Condition
    ) -> None:
        """Delete a record."""
        table = scope.table.full
        old = await self._locked(tx, scope, record_id)
        condition.check(record_id, old)
        _, change = await self._changed(tx, table, "delete", record_id, {}, old.record)
        rows = scope.record(record_id, NO_SETTINGS)
        if await tx.execute(table.delete(rows), *rows.params) is None:
            raise record_not_found(record_id)
        event = event_of(table, "DELETE", tx.actor, record_id, old=old.record, change=change)
        await tx.record(event)

    async def _locked(self, tx: Transaction, scope: RowScope, record_id: str) -> Tagged:
        rows, table = scope.record(record_id), scope.table.full
        raw = await tx.execute(table.one(rows, lock=True), *rows.params)
        if raw is None:
            raise record_not_found(record_id)
        record, etag = split_version(check_readable(raw, record_id))
        return Tagged(table.rendering.record(record), etag)

    async def _changed(
        self,
        tx: Transaction,
        table: Table,
        action: Action,
        record_id: str | None,
        row: Row,
        old: bytes | None = None,
    ) -> tuple[Row, Change | None]:
        """Let the hooks change a copy of the row: a transaction may be run again."""
        entity = table.entity
        if not (hooks := self._bus.listeners(hookspecs.record_writing, entity.subject)):
            return row, None
        change = Change(
            app_id=entity.app_id,
            entity=entity.name,
            action=action,
            actor=tx.actor,
            record_id=record_id,
            values=dict(row),
            old=old,
        )
        for hook in hooks:
            before = dict(change.values)
            await hook.call({"tx": tx, "change": change})
            if action != "delete" and change.values != before:
                creating = action == "create"
                try:
                    row = row_of(entity, table.columns, change.values, creating=creating)
                except BadRequest as error:  # the plugin's mistake, not the caller's
                    raise hook.failed(HookFailed(f"its values are wrong: {error}")) from error
        return row, change


async def insert_rows(
    writer: Writer,
    settings: bytes,
    table: Table,
    rows: Sequence[Row],
    actor: Actor,
    *,
    versioned: bool = False,
) -> bytes:
    """Create records by one statement; see `Table.insert_many`."""
    columns = table.columns
    names, values = await run_in_thread_if_large(columns, rows, arrays, columns, rows)
    size = sum(map(len, values))
    statement = table.insert_many(names, size, len(rows), versioned=versioned)
    return await writer.execute(statement, settings, actor.user_id, *values) or b"[]"


def event_of(
    table: Table,
    operation: str,
    actor: Actor,
    record_id: str | None,
    *,
    old: bytes | None = None,
    new: bytes | None = None,
    change: Change | None = None,
) -> Event:
    """Describe a completed write, with the id of the change before it."""
    event = Event(
        app_id=table.entity.app_id,
        entity=table.entity.name,
        operation=operation,
        actor=actor,
        record_id=record_id,
        old=old,
        new=new,
    )
    return event if change is None else msgspec.structs.replace(event, id=change.id)
