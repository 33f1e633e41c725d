"""Writes of records: one statement each, or a transaction where plugins take part."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import msgspec

from kernel.public import (
    Actor,
    BadRequest,
    ConstraintViolation,
    Grant,
    NotFound,
    Param,
    Reader,
    Tagged,
    Transaction,
    Work,
    hookspecs,
)
from plugins.data.errors import PreconditionFailed
from plugins.data.filters import Conditions
from plugins.data.reads.tables import (
    JOINED,
    Dependencies,
    check_reentry,
    on_new_schema,
    taking_part,
)
from plugins.data.rendering import describe_size_error, id_of, records_in, split_version
from plugins.data.row_scope import RowScope, record_not_found
from plugins.data.store import NO_SETTINGS, Table

from .inserts import Insert, NotInserted, insert_one, insert_rows
from .links import LinkRights
from .once import KeyedWrites
from .refusals import Refusals, RowsRefused
from .rows import Row, encode, new_rows, params_of, row_for, run_in_thread_if_large, with_id
from .tags import NO_CONDITION, Condition
from .transactional import TransactionalWrites, event_of
from .violations import (
    Deletion,
    describe_reference,
    describe_violation,
    find_failed_row,
    is_reference,
)

MAX_BULK: Final = 1000


class Change(msgspec.Struct, frozen=True):
    """What a write does to a record, if that meets a condition."""

    record_id: str
    row: Row
    condition: Condition = NO_CONDITION


class RecordWrites(KeyedWrites):
    """The writes of RECORDS; see `kernel.contracts.records.Collections`."""

    def __init__(self, services: Dependencies) -> None:
        super().__init__(services)
        self._transactional = TransactionalWrites(services.bus)
        self._refusals = Refusals(self._related)
        self._links = LinkRights(self._access, self._bus, self._related)

    async def create(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        values: Mapping[str, Any],
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        """See `Records.create`."""
        if tx is not None:
            async with taking_part(tx):
                return await self.create(actor, grant, app_id, entity, values)
        return (await self.add(actor, grant, app_id, entity, values)).record

    @on_new_schema
    async def add(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, values: Mapping[str, Any]
    ) -> Tagged:
        """See `Collections.add`."""
        table = await self._table(app_id, entity, grant.hidden)
        row = await self._coerced(table, grant, values, creating=True)
        links = None
        if not table.checked_links.keys().isdisjoint(row):
            links = await self._links.limits(actor, table, row)
        insert = Insert(table.full, [row], links=links)
        try:
            if self._is_transactional(table):
                [made] = await self._run(
                    actor, lambda tx: self._transactional.create(tx, insert), table
                )
            else:
                made = await self._insert(actor, insert)
                await self._notify(actor, table, "INSERT", [made.record])
        except BadRequest as error:
            raise await self._describe(error, table) from None
        return await self._answer(actor, table, made, row, own=True)

    @on_new_schema
    async def create_many(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        rows: Sequence[Mapping[str, Any]],
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        """See `Records.create_many`; an error names the index of the row."""
        if tx is not None:
            async with taking_part(tx):
                return await self.create_many(actor, grant, app_id, entity, rows)
        table = await self._table(app_id, entity, grant.hidden)
        if not 1 <= len(rows) <= MAX_BULK:
            raise BadRequest(f"1 to {MAX_BULK} objects are wanted, not {len(rows)}")
        coerced = await run_in_thread_if_large(table.columns, rows, new_rows, table, grant, rows)
        links = None
        if table.checked_links:
            links = await self._links.limits(actor, table, {*chain.from_iterable(coerced)})
        insert = Insert(table.full, coerced, links=links)
        try:
            made = await self._create_many(actor, table, insert)
        except ConstraintViolation as violation:
            raise await self._describe_row(actor, table, violation) from None
        except BadRequest as error:
            raise describe_size_error(error, len(rows)) from None
        if await self._sees_whole(actor, table):
            return made
        answers = [
            (await self._answer(actor, table, Tagged(record, ""), row, own=True)).record
            for record, row in zip(records_in(made), coerced, strict=True)
        ]
        return b"[" + b",\n".join(answers) + b"]"

    async def update(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        record_id: str,
        values: Mapping[str, Any],
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        """See `Records.update`."""
        if tx is not None:
            async with taking_part(tx):
                return await self.update(actor, grant, app_id, entity, record_id, values)
        return (await self.change(actor, grant, app_id, entity, record_id, values)).record

    @on_new_schema
    async def change(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        record_id: str,
        values: Mapping[str, Any],
        if_match: str | None = None,
    ) -> Tagged:
        """See `Collections.change`."""
        condition = await self._condition(actor, app_id, entity, if_match)
        scope = await self._scope(actor, grant, app_id, entity, "update")
        table = scope.table
        row = await self._coerced(table, grant, values, creating=False)
        scope = await self._linking(actor, scope, row)
        try:
            if self._is_transactional(table):
                changed = await self._run(
                    actor,
                    lambda tx: self._transactional.update(tx, scope, record_id, row, condition),
                    table,
                )
            elif row:
                changed = await self._update(actor, scope, record_id, row, condition)
                await self._notify(actor, table, "UPDATE", [changed.record])
            else:  # the body names only what the server sets
                condition.check(record_id, await self._get(scope, record_id))
                changed = None
        except PreconditionFailed:
            raise await self._precondition_failed(actor, table, record_id) from None
        except BadRequest as error:
            raise await self._describe(error, table) from None
        if changed is None:
            return await self._unchanged(actor, table, record_id)
        return await self._answer(actor, table, changed, row, own=grant.own_only)

    @on_new_schema
    async def delete(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        record_id: str,
        *,
        tx: Transaction | None = None,
    ) -> None:
        """See `Records.delete`."""
        if tx is not None:
            async with taking_part(tx):
                return await self.delete(actor, grant, app_id, entity, record_id)
        await self.remove(actor, grant, app_id, entity, record_id)

    @on_new_schema
    async def remove(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        record_id: str,
        if_match: str | None = None,
    ) -> None:
        """See `Collections.remove`."""
        condition = await self._condition(actor, app_id, entity, if_match)
        scope = await self._scope(actor, grant, app_id, entity, "delete")
        try:
            if self._is_transactional(scope.table):
                return await self._run(
                    actor,
                    lambda tx: self._transactional.delete(tx, scope, record_id, condition),
                    scope.table,
                )
            deleted = await self._delete(actor, scope, record_id, condition)
        except PreconditionFailed:
            raise await self._precondition_failed(actor, scope.table, record_id) from None
        except ConstraintViolation as violation:
            deletion = Deletion(actor, record_id)
            raise await self._describe(violation, scope.table, deletion) from None
        await self._notify(actor, scope.table, "DELETE", [None], deleted)

    # --- single statements

    async def _insert(self, actor: Actor, insert: Insert) -> Tagged:
        """Create the only record of an insert by one statement of its own."""
        table = insert.table
        settings = self._statements.settings(actor)
        row = with_id(insert.rows[0])
        values = await params_of(table.columns, row)
        statement, params = insert_one(insert, tuple(row), [settings, *values, actor.user_id])
        raw = await self._write("", None, statement, *params)
        record, etag = split_version(raw or b"")
        return Tagged(table.rendering.record(record), etag)

    async def _update(
        self,
        actor: Actor,
        scope: RowScope,
        record_id: str,
        row: Row,
        condition: Condition,
        tx: Transaction | None = None,
    ) -> Tagged:
        """Change a record by one statement, in a transaction or as one of its own."""
        table = scope.table.full
        settings = NO_SETTINGS if tx else self._statements.settings(actor)
        rows = scope.record(record_id, settings, *await params_of(table.columns, row))
        condition.narrow(rows)
        statement = table.update(tuple(row), rows, scope.written(rows))
        raw = await self._write(record_id, tx, statement, *rows.params)
        if raw is None:
            raise await self._missed(scope, record_id, condition, tx or self._statements)
        record, etag = split_version(raw)
        return Tagged(table.rendering.record(record), etag)

    async def _delete(
        self,
        actor: Actor,
        scope: RowScope,
        record_id: str,
        condition: Condition,
        tx: Transaction | None = None,
    ) -> str:
        """Delete a record by one statement; see `_update`."""
        settings = NO_SETTINGS if tx else self._statements.settings(actor)
        rows = scope.record(record_id, settings)
        condition.narrow(rows)
        writer = tx or self._statements
        deleted = await writer.execute(scope.table.delete(rows), *rows.params)
        if deleted is None:
            raise await self._missed(scope, record_id, condition, writer)
        return deleted.decode()

    async def _write(
        self, record_id: str, tx: Transaction | None, query: bytes, *params: Param
    ) -> bytes | None:
        """Run a statement that creates or changes a record; it may share a commit with others."""
        # Settings of plugins can differ between callers, and would last for the next statement.
        if tx or self._bus.implementations(hookspecs.session_settings):
            return await (tx or self._statements).execute(query, *params)
        return await self._statements.execute_grouped(record_id.lower(), query, *params)

    async def _missed(
        self, scope: RowScope, record_id: str, condition: Condition, reader: Reader
    ) -> NotFound | PreconditionFailed:
        """Say why a write met no record."""
        if condition.tags is not None:
            await self._get(scope, record_id, reader)
            return PreconditionFailed(record_id, None)
        return record_not_found(record_id)

    # --- the same within a transaction of several writes

    def _is_transactional(self, table: Table) -> bool:
        """Whether a write is part of a transaction, not a statement of its own."""
        if JOINED.get() is not None:
            return True
        check_reentry()
        return self._transactional.has_listeners(table)

    def _takes_part(self, table: Table) -> bool:
        """Whether a plugin needs the records before and after each write."""
        writes = self._transactional
        return writes.has_listeners(table) or writes.has_observers(table)

    async def _change_in(
        self, tx: Transaction, scope: RowScope, record_id: str, row: Row, condition: Condition
    ) -> Tagged | None:
        if self._takes_part(scope.table):
            return await self._transactional.update(tx, scope, record_id, row, condition)
        if not row:
            condition.check(record_id, await self._get(scope, record_id, tx))
            return None
        return await self._update(tx.actor, scope, record_id, row, condition, tx)

    async def _remove_in(
        self, tx: Transaction, scope: RowScope, record_id: str, condition: Condition
    ) -> None:
        if self._takes_part(scope.table):
            await self._transactional.delete(tx, scope, record_id, condition)
        else:
            await self._delete(tx.actor, scope, record_id, condition, tx)

    async def _change_all(
        self, tx: Transaction, scope: RowScope, changes: Sequence[Change]
    ) -> list[Tagged | None]:
        """Change records, which are different ones, in the same fields.

        Several are changed by one statement, where no plugin takes part in it.
        """
        if len(changes) == 1 or self._takes_part(scope.table):
            return [
                await self._change_in(tx, scope, each.record_id, each.row, each.condition)
                for each in changes
            ]
        table, (rows, tagged) = scope.table.full, _given(scope, changes)
        names, written = tuple(changes[0].row), scope.written(rows)
        statement = table.update_many(names, rows, tagged=tagged, written=written)
        raw = await tx.execute(statement, *rows.params)
        made = {id_of(each.record): each for each in table.rendering.tagged(raw or b"")}
        for each in changes:
            if each.record_id not in made:
                raise record_not_found(each.record_id)
        return [made[each.record_id] for each in changes]

    async def _remove_all(
        self, tx: Transaction, scope: RowScope, changes: Sequence[Change]
    ) -> None:
        """Delete records; see `_change_all`."""
        if len(changes) == 1:
            [each] = changes
            return await self._remove_in(tx, scope, each.record_id, each.condition)
        rows, tagged = _given(scope, changes)
        raw = await tx.execute(scope.table.delete_many(rows, tagged=tagged), *rows.params)
        if int(raw or 0) < len(changes):
            raise record_not_found(changes[0].record_id)

    async def _create_many(self, actor: Actor, table: Table, insert: Insert) -> bytes:
        if self._is_transactional(table):
            made = await self._run(actor, lambda tx: self._transactional.create(tx, insert), table)
            return b"[" + b",\n".join(each.record for each in made) + b"]"
        settings = self._statements.settings(actor)
        inserted = await insert_rows(self._statements, settings, insert, actor)
        array = table.full.rendering.array(inserted.raw)
        if inserted.places is not None:
            records = inserted.in_order(records_in(array))
            array = b"[" + b",\n".join(records) + b"]"
        if self._transactional.has_observers(table):
            await self._notify(actor, table, "INSERT", records_in(array))
        return array

    async def _notify(
        self,
        actor: Actor,
        table: Table,
        operation: str,
        records: Sequence[bytes | None],
        record_id: str | None = None,
    ) -> None:
        """Notify observers of a write that was one statement."""
        if not self._transactional.has_observers(table):
            return
        for record in records:
            key = record_id if record is None else id_of(record)
            event = event_of(table, operation, actor, key, new=record)
            await self._bus.notify(hookspecs.event_committed, event=event)

    # --- bodies and errors

    async def _linking(self, actor: Actor, scope: RowScope, names: Collection[str]) -> RowScope:
        """Add to rows that will change the limits of the links among the fields `names`."""
        if scope.table.checked_links.keys().isdisjoint(names):
            return scope
        links = await self._links.limits(actor, scope.table, names, changing=True)
        return scope if links is None else msgspec.structs.replace(scope, links=links)

    async def _coerced(
        self, table: Table, grant: Grant, values: Mapping[str, Any], *, creating: bool
    ) -> Row:
        return await run_in_thread_if_large(
            table.columns, (values,), row_for, table, grant, values, creating=creating
        )

    async def _describe(
        self, error: BadRequest, table: Table, deletion: Deletion | None = None
    ) -> BadRequest:
        if not isinstance(error, ConstraintViolation):
            return describe_size_error(error)
        if deletion is None or not is_reference(error):
            return describe_violation(error, table.shown)
        referrer = await self._as_read(deletion.actor, table.entity.app_id, error.table)
        return describe_reference(error, table.shown, referrer, deletion.record_id)

    async def _try(self, actor: Actor, work: Work[None]) -> None:
        """Run what raises, which undoes it: in the transaction that is joined, or in its own."""
        tx = JOINED.get()
        if tx is None:
            await self._statements.run(actor, work)
        else:
            async with tx.savepoint():
                await work(tx)

    async def _describe_row(
        self, actor: Actor, table: Table, violation: ConstraintViolation
    ) -> BadRequest:
        """Describe what several rows violate, with the index of the first that does."""
        if not isinstance(violation, NotInserted):
            return await self._describe(violation, table)
        insert = violation.insert
        problems = await self._refusals.find(JOINED.get() or self._statements, insert, table.shown)
        if problems:
            return RowsRefused(problems, numbers=True)
        prefix = ""
        failed = await find_failed_row(self._try, actor, insert)
        if failed is not None:
            prefix = f"[{insert.number(failed.index)}] "
            violation = failed.violation
        return BadRequest(prefix + (await self._describe(violation, table)).message)


def _given(scope: RowScope, changes: Sequence[Change]) -> tuple[Conditions, bool]:
    """Begin the conditions of a statement about several records; return whether it has tags."""
    tagged = any(each.condition.tags is not None for each in changes)
    rows = [
        {"_id": each.record_id, **({"_tags": each.condition.tags} if tagged else {}), **each.row}
        for each in changes
    ]
    for each in changes:
        scope.table.check_id(each.record_id)
    return scope.rows(NO_SETTINGS, encode(rows)), tagged
