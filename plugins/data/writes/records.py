"""Creates, changes and deletes records by the rights of their writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kernel.public import BadRequest, ConstraintViolation, Tagged, Target, Transaction
from plugins.data.errors import PreconditionFailed
from plugins.data.execution.changes import RecordChange
from plugins.data.execution.inserts import Insert
from plugins.data.execution.statement_or_transaction import WriteExecution
from plugins.data.rendering import describe_size_error, join_records, records_in
from plugins.data.rights.links import LinkLimitFinder
from plugins.data.rights.scopes import RowScopes
from plugins.data.statements.tables import Tables
from plugins.data.values.rows import coerce_bodies, coerce_body

from .descriptions import Deletion, ErrorDescriptions
from .replies import Replies, WrittenRecord

MAX_BULK: Final = 1000


class RecordWriter:
    """Each write is coerced and limited by rights, carried out, and shown to its writer."""

    def __init__(
        self,
        tables: Tables,
        scopes: RowScopes,
        links: LinkLimitFinder,
        execution: WriteExecution,
        replies: Replies,
        descriptions: ErrorDescriptions,
    ) -> None:
        self._tables = tables
        self._scopes = scopes
        self._links = links
        self._execution = execution
        self._replies = replies
        self._descriptions = descriptions

    async def create(
        self, target: Target, values: Mapping[str, Any], tx: Transaction | None
    ) -> Tagged:
        """See `Records.create`."""
        actor = target.actor
        table = await self._tables.find(target.app_id, target.entity, target.grant.hidden)
        row = await coerce_body(table, target.grant, values, creating=True)
        limits = None
        if not table.limited.names.isdisjoint(row):
            limits = await self._links.find_limits(actor, table, row)
        insert = Insert(table.full, [row], links=limits)
        try:
            record = await self._execution.create(actor, insert, tx)
        except BadRequest as error:
            raise await self._descriptions.describe(error, table) from None
        return await self._replies.show(actor, table, WrittenRecord(record, row, is_own=True), tx)

    async def create_many(
        self, target: Target, bodies: Sequence[Mapping[str, Any]], tx: Transaction | None
    ) -> bytes:
        """See `Records.create_many`; an error names the index of the row."""
        actor = target.actor
        table = await self._tables.find(target.app_id, target.entity, target.grant.hidden)
        if not 1 <= len(bodies) <= MAX_BULK:
            raise BadRequest(f"1 to {MAX_BULK} objects are wanted, not {len(bodies)}")
        rows = await coerce_bodies(table, target.grant, bodies)
        limits = await self._links.find_limits_of_rows(actor, table, rows)
        insert = Insert(table.full, rows, links=limits)
        try:
            array = await self._execution.create_many(actor, insert, tx)
        except ConstraintViolation as violation:
            raise await self._descriptions.describe_row(actor, table, violation, tx) from None
        except BadRequest as error:
            raise describe_size_error(error, len(rows)) from None
        if await self._replies.shows_everything(actor, table):
            return array
        written = [
            WrittenRecord(Tagged(record, ""), row, is_own=True)
            for record, row in zip(records_in(array), rows, strict=True)
        ]
        shown = [await self._replies.show(actor, table, record, tx) for record in written]
        return join_records(record.record for record in shown)

    async def update(
        self,
        target: Target,
        record_id: str,
        values: Mapping[str, Any],
        if_match: str | None,
        tx: Transaction | None,
    ) -> Tagged:
        """See `Records.update`."""
        actor = target.actor
        grant = target.grant
        condition = await self._replies.read_condition(
            actor, target.app_id, target.entity, if_match
        )
        scope = await self._scopes.resolve(target, "update")
        table = scope.table
        row = await coerce_body(table, grant, values, creating=False)
        scope = await self._links.limit_changes(actor, scope, row)
        change = RecordChange(record_id, row, condition)
        try:
            record = await self._execution.update(actor, scope, change, tx)
        except PreconditionFailed:
            raise await self._replies.describe_changed(actor, table, record_id, tx) from None
        except BadRequest as error:
            raise await self._descriptions.describe(error, table) from None
        if record is None:
            return await self._replies.read_unchanged(actor, table, record_id, tx)
        written = WrittenRecord(record, row, is_own=grant.own_only)
        return await self._replies.show(actor, table, written, tx)

    async def delete(
        self, target: Target, record_id: str, if_match: str | None, tx: Transaction | None
    ) -> None:
        """See `Records.delete`."""
        actor = target.actor
        condition = await self._replies.read_condition(
            actor, target.app_id, target.entity, if_match
        )
        scope = await self._scopes.resolve(target, "delete")
        change = RecordChange(record_id, condition=condition)
        try:
            await self._execution.delete(actor, scope, change, tx)
        except PreconditionFailed:
            raise await self._replies.describe_changed(actor, scope.table, record_id, tx) from None
        except ConstraintViolation as violation:
            deletion = Deletion(actor, record_id)
            raise await self._descriptions.describe(violation, scope.table, deletion) from None
