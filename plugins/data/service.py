"""Records that are written: one statement each, a transaction where hooks take part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kernel.public import (
    Access,
    Actor,
    Apps,
    BadRequest,
    ConstraintViolation,
    Event,
    Grant,
    HookBus,
    Statements,
    entity,
    hookspecs,
)

from . import weight
from .breaches import in_words
from .culprits import plugin_at_fault
from .hooked import HookedWrites
from .reach import Reach, missing
from .reads import RecordReads, on_new_schema
from .rendering import id_of, records_in
from .store import Table
from .weight import encoded
from .writing import Row, alike, aside, row_of

MAX_BULK: Final = 1000


class RecordsService(RecordReads):
    """Provides RECORDS: the reads, and every write."""

    def __init__(
        self, statements: Statements, apps: Apps, bus: HookBus, access: Callable[[], Access]
    ) -> None:
        super().__init__(statements, apps, bus)
        self._access = access
        self._hooked = HookedWrites(bus)

    @on_new_schema
    async def create(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, values: Mapping[str, Any]
    ) -> bytes:
        """See `Records.create`."""
        table = await self._table(app_id, entity)
        row = await _coerced(table, values, creating=True)
        try:
            if self._hooked.concern(table):
                made = await self._statements.run(
                    actor, lambda tx: self._hooked.create(tx, table, [row])
                )
                return made[0]
            record = table.rendering.record(await self._insert(actor, table, row))
        except BadRequest as error:
            raise await self._in_words(error, table) from None
        await self._tell(actor, table, "INSERT", [record])
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
        coerced = await aside(rows, _rows_of, table, rows)
        try:
            return await self._create_many(actor, table, coerced)
        except ConstraintViolation as breach:
            raise await self._blamed(actor, table, coerced, breach) from None
        except BadRequest as error:
            raise weight.in_words(error, len(rows)) from None

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
        reach = await self._reach(actor, grant, app_id, entity, "update")
        table = reach.table
        row = await _coerced(table, values, creating=False)
        try:
            if self._hooked.concern(table):
                changed = await self._statements.run(
                    actor, lambda tx: self._hooked.update(tx, reach, record_id, row)
                )
                return changed or await self._unchanged(actor, reach, record_id)
            if not row:  # nothing but what is the server's own
                await self._get(reach, record_id)
                return await self._unchanged(actor, reach, record_id)
            rows = reach.record(
                record_id, self._statements.settings(actor), encoded(table.columns, row)
            )
            raw = await self._statements.execute(table.update(tuple(row), rows), *rows.params)
        except BadRequest as error:
            raise await self._in_words(error, table) from None
        if raw is None:
            raise missing(record_id)
        record = table.rendering.record(raw)
        await self._tell(actor, table, "UPDATE", [record])
        return record

    @on_new_schema
    async def delete(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, record_id: str
    ) -> None:
        """See `Records.delete`."""
        reach = await self._reach(actor, grant, app_id, entity, "delete")
        try:
            if self._hooked.concern(reach.table):
                return await self._statements.run(
                    actor, lambda tx: self._hooked.delete(tx, reach, record_id)
                )
            rows = reach.record(record_id, self._statements.settings(actor))
            gone = await self._statements.execute(reach.table.delete(rows), *rows.params)
        except ConstraintViolation as breach:
            raise await self._in_words(breach, reach.table, record_id) from None
        if gone is None:
            raise missing(record_id)
        await self._tell(actor, reach.table, "DELETE", [None], gone.decode())

    # What the methods above are made of.

    async def _unchanged(self, actor: Actor, reach: Reach, record_id: str) -> bytes:
        """Show a record that an update left as it is: it is read then, and no trace tells it."""
        app_id, name = reach.table.entity.app_id, reach.table.entity.name
        grant = Grant()  # of a worker that acts for nobody
        if actor.user_id is not None:
            place = {"app_id": app_id, "entity": name}
            grant = await self._access().authorize(actor, entity("read"), place)
        return await self.get(actor, grant, app_id, name, record_id)

    async def _insert(self, actor: Actor, table: Table, row: Row) -> bytes:
        settings = self._statements.settings(actor)
        raw = await self._statements.execute(
            table.insert(tuple(row)), settings, encoded(table.columns, row), actor.user_id
        )
        return raw or b""

    async def _create_many(self, actor: Actor, table: Table, rows: Sequence[Row]) -> bytes:
        if self._hooked.concern(table):
            made = await self._statements.run(
                actor, lambda tx: self._hooked.create(tx, table, rows)
            )
            return b"[" + b",\n".join(made) + b"]"
        alike_rows = await aside(rows, alike, table.columns, rows)
        statement = table.insert_many(tuple(alike_rows[0]))
        settings = self._statements.settings(actor)
        raw = await self._statements.execute(
            statement, settings, encoded(table.columns, alike_rows), actor.user_id
        )
        records = table.rendering.array(raw or b"[]")
        if self._is_told(table):
            await self._tell(actor, table, "INSERT", records_in(records))
        return records

    async def _tell(
        self,
        actor: Actor,
        table: Table,
        operation: str,
        records: Sequence[bytes | None],
        record_id: str | None = None,
    ) -> None:
        """Tell observers of a write that was one statement."""
        if not self._is_told(table):
            return
        for record in records:
            event = Event(
                app_id=table.entity.app_id,
                entity=table.entity.name,
                operation=operation,
                actor=actor,
                record_id=record_id if record is None else id_of(record),
                new=record,
            )
            await self._bus.notify(hookspecs.event_committed, event=event)

    def _is_told(self, table: Table) -> bool:
        return self._bus.has_listeners(hookspecs.event_committed, table.entity.subject)

    async def _in_words(
        self, breach: BadRequest, table: Table, deleted: str | None = None
    ) -> BadRequest:
        if not isinstance(breach, ConstraintViolation):
            return weight.in_words(breach)
        app = await self._apps.app(table.entity.app_id)
        return in_words(breach, app, table.entity, deleted)

    async def _blamed(
        self, actor: Actor, table: Table, rows: Sequence[Row], breach: ConstraintViolation
    ) -> BadRequest:
        found = await plugin_at_fault(self._statements, actor, table, rows)
        at, breach = ("", breach) if found is None else (f"[{found.index}] ", found.breach)
        return BadRequest(at + (await self._in_words(breach, table)).message)


async def _coerced(table: Table, values: Mapping[str, Any], *, creating: bool) -> Row:
    return await aside((values,), row_of, table.entity, table.columns, values, creating=creating)


def _rows_of(table: Table, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    return [_row_at(index, table, values) for index, values in enumerate(rows)]


def _row_at(index: int, table: Table, values: Mapping[str, Any]) -> Row:
    try:
        return row_of(table.entity, table.columns, values, creating=True)
    except BadRequest as error:
        raise BadRequest(f"[{index}] {error.message}") from None
