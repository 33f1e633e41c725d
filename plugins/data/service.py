"""Writes of records: one statement each, or a transaction where plugins take part in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kernel.public import (
    Access,
    Action,
    Actor,
    Apps,
    BadRequest,
    Change,
    ConstraintViolation,
    Event,
    Grant,
    HookBus,
    Identity,
    Statements,
    Transaction,
    entity,
    hookspecs,
)

from .reads.records import RecordReads, on_new_schema
from .rendering import check_readable, describe_size_error, id_of, records_in
from .scope import RowScope, record_not_found
from .store import NO_SETTINGS, Table
from .writes.rows import Row, encode, row_of, run_in_thread_if_large, unify_columns
from .writes.violations import describe_violation, find_failed_row

MAX_BULK: Final = 1000


class RecordsService(RecordReads):
    """Provides RECORDS."""

    def __init__(
        self,
        statements: Statements,
        apps: Apps,
        bus: HookBus,
        access: Callable[[], Access],
        identity: Callable[[], Identity | None] = lambda: None,
    ) -> None:
        super().__init__(statements, apps, bus, access, identity)
        self._transactional = TransactionalWrites(bus)

    @on_new_schema
    async def create(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, values: Mapping[str, Any]
    ) -> bytes:
        """See `Records.create`."""
        table = await self._table(app_id, entity)
        row = await _coerced(table, values, creating=True)
        try:
            if self._transactional.has_listeners(table):
                made = await self._statements.run(
                    actor, lambda tx: self._transactional.create(tx, table, [row])
                )
                return made[0]
            record = table.rendering.record(await self._insert(actor, table, row))
        except BadRequest as error:
            raise await self._describe(error, table) from None
        await self._notify(actor, table, "INSERT", [record])
        return record

    @on_new_schema
    async def create_many(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        rows: Sequence[Mapping[str, Any]],
    ) -> bytes:
        """See `Records.create_many`; an error names the index of the row."""
        table = await self._table(app_id, entity)
        if not 1 <= len(rows) <= MAX_BULK:
            raise BadRequest(f"1 to {MAX_BULK} objects are wanted, not {len(rows)}")
        coerced = await run_in_thread_if_large(rows, _rows_of, table, rows)
        try:
            return await self._create_many(actor, table, coerced)
        except ConstraintViolation as violation:
            raise await self._describe_row(actor, table, coerced, violation) from None
        except BadRequest as error:
            raise describe_size_error(error, len(rows)) from None

    @on_new_schema
    async def update(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        record_id: str,
        values: Mapping[str, Any],
    ) -> bytes:
        """See `Records.update`."""
        scope = await self._scope(actor, grant, app_id, entity, "update")
        table = scope.table
        row = await _coerced(table, values, creating=False)
        try:
            if self._transactional.has_listeners(table):
                changed = await self._statements.run(
                    actor, lambda tx: self._transactional.update(tx, scope, record_id, row)
                )
                return changed or await self._unchanged(actor, scope, record_id)
            if not row:  # the body names only what the server sets
                await self._get(scope, record_id)
                return await self._unchanged(actor, scope, record_id)
            rows = scope.record(record_id, self._statements.settings(actor), encode(row))
            raw = await self._statements.execute(table.update(tuple(row), rows), *rows.params)
        except BadRequest as error:
            raise await self._describe(error, table) from None
        if raw is None:
            raise record_not_found(record_id)
        record = table.rendering.record(raw)
        await self._notify(actor, table, "UPDATE", [record])
        return record

    @on_new_schema
    async def delete(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, record_id: str
    ) -> None:
        """See `Records.delete`."""
        scope = await self._scope(actor, grant, app_id, entity, "delete")
        try:
            if self._transactional.has_listeners(scope.table):
                return await self._statements.run(
                    actor, lambda tx: self._transactional.delete(tx, scope, record_id)
                )
            rows = scope.record(record_id, self._statements.settings(actor))
            deleted = await self._statements.execute(scope.table.delete(rows), *rows.params)
        except ConstraintViolation as violation:
            raise await self._describe(violation, scope.table, record_id) from None
        if deleted is None:
            raise record_not_found(record_id)
        await self._notify(actor, scope.table, "DELETE", [None], deleted.decode())

    async def _unchanged(self, actor: Actor, scope: RowScope, record_id: str) -> bytes:
        """Return a record that an update did not change. No event records it, so it is a read."""
        app_id, name = scope.table.entity.app_id, scope.table.entity.name
        grant = Grant()  # of a worker that acts on behalf of no user
        if actor.user_id is not None:
            path = {"app_id": app_id, "entity": name}
            grant = await self._access().authorize(actor, entity("read"), path)
        return await self.get(actor, grant, app_id, name, record_id)

    async def _insert(self, actor: Actor, table: Table, row: Row) -> bytes:
        settings = self._statements.settings(actor)
        raw = await self._statements.execute(
            table.insert(tuple(row)), settings, encode(row), actor.user_id
        )
        return raw or b""

    async def _create_many(self, actor: Actor, table: Table, rows: Sequence[Row]) -> bytes:
        if self._transactional.has_listeners(table):
            made = await self._statements.run(
                actor, lambda tx: self._transactional.create(tx, table, rows)
            )
            return b"[" + b",\n".join(made) + b"]"
        unified = await run_in_thread_if_large(rows, unify_columns, table.columns, rows)
        statement = table.insert_many(tuple(unified[0]))
        settings = self._statements.settings(actor)
        raw = await self._statements.execute(statement, settings, encode(unified), actor.user_id)
        records = table.rendering.array(raw or b"[]")
        if self._has_observers(table):
            await self._notify(actor, table, "INSERT", records_in(records))
        return records

    async def _notify(
        self,
        actor: Actor,
        table: Table,
        operation: str,
        records: Sequence[bytes | None],
        record_id: str | None = None,
    ) -> None:
        """Notify observers of a write that was one statement."""
        if not self._has_observers(table):
            return
        for record in records:
            key = record_id if record is None else id_of(record)
            event = _event(table, operation, actor, key, new=record)
            await self._bus.notify(hookspecs.event_committed, event=event)

    def _has_observers(self, table: Table) -> bool:
        return self._bus.has_listeners(hookspecs.event_committed, table.entity.subject)

    async def _describe(
        self, error: BadRequest, table: Table, deleted: str | None = None
    ) -> BadRequest:
        if not isinstance(error, ConstraintViolation):
            return describe_size_error(error)
        app = await self._apps.app(table.entity.app_id)
        return describe_violation(error, app, table.entity, deleted)

    async def _describe_row(
        self, actor: Actor, table: Table, rows: Sequence[Row], violation: ConstraintViolation
    ) -> BadRequest:
        prefix = ""
        if (failed := await find_failed_row(self._statements, actor, table, rows)) is not None:
            prefix, violation = f"[{failed.index}] ", failed.violation
        return BadRequest(prefix + (await self._describe(violation, table)).message)


async def _coerced(table: Table, values: Mapping[str, Any], *, creating: bool) -> Row:
    return await run_in_thread_if_large(
        (values,), row_of, table.entity, table.columns, values, creating=creating
    )


def _rows_of(table: Table, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    return [_row_at(index, table, values) for index, values in enumerate(rows)]


def _row_at(index: int, table: Table, values: Mapping[str, Any]) -> Row:
    try:
        return row_of(table.entity, table.columns, values, creating=True)
    except BadRequest as error:
        raise BadRequest(f"[{index}] {error.message}") from None


class TransactionalWrites:
    """Writes of entities that have listeners: `record_writing` before, `event_recorded` after."""

    def __init__(self, bus: HookBus) -> None:
        self._bus = bus

    def has_listeners(self, table: Table) -> bool:
        """Whether a plugin takes part in the writes of an entity."""
        subject, listening = table.entity.subject, self._bus.has_listeners
        return listening(hookspecs.record_writing, subject) or listening(
            hookspecs.event_recorded, subject
        )

    async def create(self, tx: Transaction, table: Table, rows: Sequence[Row]) -> list[bytes]:
        """Create records and return them in order."""
        changed = [await self._changed(tx, table, "create", None, row) for row in rows]
        unified = await run_in_thread_if_large(changed, unify_columns, table.columns, changed)
        statement = table.insert_many(tuple(unified[0]))
        raw = await tx.execute(statement, NO_SETTINGS, encode(unified), tx.actor.user_id)
        records = records_in(table.rendering.array(raw or b"[]"))
        for record in records:
            await tx.record(_event(table, "INSERT", tx.actor, id_of(record), new=record))
        return records

    async def update(
        self, tx: Transaction, scope: RowScope, record_id: str, row: Row
    ) -> bytes | None:
        """Change a record and return it, or None where the hooks left nothing to change."""
        table = scope.table
        old = await self._locked(tx, scope, record_id)
        changed = await self._changed(tx, table, "update", record_id, row)
        if not changed:
            return None
        rows = scope.record(record_id, NO_SETTINGS, encode(changed))
        raw = await tx.execute(table.update(tuple(changed), rows), *rows.params)
        if raw is None:
            raise record_not_found(record_id)
        new = table.rendering.record(raw)
        await tx.record(_event(table, "UPDATE", tx.actor, record_id, old=old, new=new))
        return new

    async def delete(self, tx: Transaction, scope: RowScope, record_id: str) -> None:
        """Delete a record."""
        old = await self._locked(tx, scope, record_id)
        await self._changed(tx, scope.table, "delete", record_id, {})
        rows = scope.record(record_id, NO_SETTINGS)
        if await tx.execute(scope.table.delete(rows), *rows.params) is None:
            raise record_not_found(record_id)
        await tx.record(_event(scope.table, "DELETE", tx.actor, record_id, old=old))

    async def _locked(self, tx: Transaction, scope: RowScope, record_id: str) -> bytes:
        rows = scope.record(record_id)
        raw = await tx.execute(scope.table.one(rows, lock=True), *rows.params)
        if raw is None:
            raise record_not_found(record_id)
        return scope.table.rendering.record(check_readable(raw, record_id))

    async def _changed(
        self, tx: Transaction, table: Table, action: Action, record_id: str | None, row: Row
    ) -> Row:
        """Let the hooks change a copy of the row: a transaction may be run again."""
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
    table: Table,
    operation: str,
    actor: Actor,
    record_id: str | None,
    *,
    old: bytes | None = None,
    new: bytes | None = None,
) -> Event:
    """Describe a completed write."""
    return Event(
        app_id=table.entity.app_id,
        entity=table.entity.name,
        operation=operation,
        actor=actor,
        record_id=record_id,
        old=old,
        new=new,
    )
