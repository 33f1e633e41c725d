"""Writes of one record by one statement, as a commit of its own or within a transaction."""

from __future__ import annotations

from kernel.public import (
    Actor,
    HookBus,
    NotFound,
    Param,
    Reader,
    Statements,
    Tagged,
    Transaction,
    hookspecs,
)
from plugins.data.errors import PreconditionFailed
from plugins.data.reads.record_reader import RecordReader
from plugins.data.rights.row_scope import RowScope, record_not_found
from plugins.data.statements.write_statements import NO_SETTINGS
from plugins.data.values.arrays import ensure_id, params_of

from .changes import RecordChange
from .inserts import Insert, insert_one


class SingleWrites:
    """Creates, changes and deletes one record, without hooks."""

    def __init__(self, statements: Statements, bus: HookBus, reader: RecordReader) -> None:
        self._statements = statements
        self._bus = bus
        self._reader = reader

    async def insert(self, actor: Actor, insert: Insert) -> Tagged:
        """Create the only record of an insert by a statement of its own."""
        table = insert.table
        settings = self._statements.settings(actor)
        row = ensure_id(insert.rows[0])
        values = await params_of(table.columns, row)
        params = [settings, *values, actor.user_id]
        statement, params = insert_one(insert, tuple(row), params)
        raw = await self._execute("", None, statement, params)
        return table.rendering.finish_tagged(raw or b"")

    async def update(
        self, actor: Actor, scope: RowScope, change: RecordChange, tx: Transaction | None = None
    ) -> Tagged:
        """Change a record. Raises NotFound, PreconditionFailed."""
        table = scope.table.full
        values = await params_of(table.columns, change.row)
        conditions = scope.begin_conditions_of_record(
            change.record_id, self._choose_settings(actor, tx), *values
        )
        change.condition.narrow(conditions)
        statement = table.writes.update_statement(
            tuple(change.row), conditions, scope.link_values(conditions)
        )
        raw = await self._execute(change.record_id, tx, statement, conditions.params)
        if raw is None:
            raise await self._explain_miss(scope, change, tx or self._statements)
        return table.rendering.finish_tagged(raw)

    async def delete(
        self, actor: Actor, scope: RowScope, change: RecordChange, tx: Transaction | None = None
    ) -> str:
        """Delete a record and return its id. Raises NotFound, PreconditionFailed."""
        conditions = scope.begin_conditions_of_record(
            change.record_id, self._choose_settings(actor, tx)
        )
        change.condition.narrow(conditions)
        writer = tx or self._statements
        raw_id = await writer.execute(
            scope.table.writes.delete_statement(conditions), *conditions.params
        )
        if raw_id is None:
            raise await self._explain_miss(scope, change, writer)
        return raw_id.decode()

    def _choose_settings(self, actor: Actor, tx: Transaction | None) -> bytes:
        """Return the settings of a statement; a transaction has them since it began."""
        return self._statements.settings(actor) if tx is None else NO_SETTINGS

    async def _execute(
        self, record_id: str, tx: Transaction | None, query: bytes, params: list[Param]
    ) -> bytes | None:
        """Run a statement that creates or changes a record; it may share a commit with others."""
        if tx is not None:
            return await tx.execute(query, *params)
        # Settings of plugins can differ between callers, and would last for the next statement.
        if self._bus.implementations(hookspecs.session_settings):
            return await self._statements.execute(query, *params)
        return await self._statements.execute_grouped(record_id.lower(), query, *params)

    async def _explain_miss(
        self, scope: RowScope, change: RecordChange, reader: Reader
    ) -> NotFound | PreconditionFailed:
        """Say why a write met no record."""
        if change.condition.tags is not None:
            await self._reader.read(scope, change.record_id, reader)
            return PreconditionFailed(change.record_id, None)
        return record_not_found(change.record_id)
