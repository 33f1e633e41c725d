"""Batches that only create records of one entity: one statement, without a transaction around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from kernel.public import Actor, KernelError, Operation, Statements, forget_frames
from plugins.data.execution.inserts import Insert, Inserted, insert_rows
from plugins.data.execution.statement_or_transaction import WriteExecution
from plugins.data.rights.links import LinkLimitFinder
from plugins.data.rights.permissions import Permissions
from plugins.data.statements.entity_table import Table
from plugins.data.statements.tables import Tables
from plugins.data.values.rows import Row, coerce_bodies
from plugins.data.writes.replies import Replies, WrittenRecord

from .reply import result_of, results_of_creates


class CreateBatches:
    """Creates the records of a batch at once, where it is of this kind."""

    def __init__(
        self,
        statements: Statements,
        tables: Tables,
        permissions: Permissions,
        links: LinkLimitFinder,
        execution: WriteExecution,
        replies: Replies,
    ) -> None:
        self._statements = statements
        self._tables = tables
        self._permissions = permissions
        self._links = links
        self._execution = execution
        self._replies = replies

    async def try_to_create(
        self, actor: Actor, app_id: str, operations: Sequence[Operation]
    ) -> list[bytes] | None:
        """Return the results of the operations.

        Return None for other operations, or if one fails: the general way then says which. A `$ref`
        fails here, except in a json field, which stores it.
        """
        bodies = _bodies_of_creates(operations)
        if not bodies:
            return None
        entity = operations[0].entity
        try:
            grant = await self._permissions.require(actor, app_id, entity, "create")
            table = await self._tables.find(app_id, entity, grant.hidden)
            needs_transaction = self._execution.begins_transaction(table)
            if needs_transaction or not self._execution.can_group(table):
                return None
            rows = await coerce_bodies(table, grant, bodies)
            inserted = await self._insert(actor, table, rows)
        except KernelError as error:
            if error.status >= 500:
                raise
            forget_frames(error)
            return None
        return await self._show(actor, table, rows, inserted)

    async def _insert(self, actor: Actor, table: Table, rows: Sequence[Row]) -> Inserted:
        limits = await self._links.find_limits_of_rows(actor, table, rows)
        insert = Insert(table.full, rows, links=limits)
        settings = self._statements.settings(actor)
        return await insert_rows(self._statements, settings, insert, actor, versioned=True)

    async def _show(
        self, actor: Actor, table: Table, rows: Sequence[Row], inserted: Inserted
    ) -> list[bytes]:
        rendering = table.full.rendering
        if await self._replies.shows_everything(actor, table):
            array = rendering.split_written(inserted.raw)
            return results_of_creates(table, array.etag, inserted.sort(array.records))
        tagged_records = inserted.sort(rendering.split_tagged(inserted.raw))
        written = [
            WrittenRecord(record, row, is_own=True)
            for record, row in zip(tagged_records, rows, strict=True)
        ]
        shown = await self._replies.show_all(actor, table, written, None)
        return [result_of("create", record) for record in shown]


def _bodies_of_creates(operations: Sequence[Operation]) -> Sequence[Mapping[str, Any]]:
    """Return the bodies of operations that all create records of one entity.

    Returns nothing where one of them does something else, or has a condition.
    """
    kinds = {*map(attrgetter("op", "entity", "if_match"), operations)}
    if kinds != {("create", operations[0].entity, None)}:
        return ()
    bodies = [operation.data for operation in operations if operation.data is not None]
    return bodies if len(bodies) == len(operations) else ()
