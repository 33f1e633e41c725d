"""Carries out operations of a batch that are alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kernel.public import Tagged, Transaction
from plugins.data.execution.changes import RecordChange
from plugins.data.execution.inserts import Insert
from plugins.data.execution.statement_or_transaction import WriteExecution
from plugins.data.rights.row_scope import RowScope
from plugins.data.upserts.plan import UpsertPlan
from plugins.data.upserts.upserts import Upserts
from plugins.data.values.rows import Row
from plugins.data.writes.replies import Replies, WrittenRecord

from .operations import OperationWrite


class ShownWrite(NamedTuple):
    """What the caller may see of a record that was written, if it is still there.

    `upsert_result` says what an upsert has done.
    """

    record: Tagged | None
    upsert_result: str = ""


class GroupWriter:
    """Writes a group by as few statements as its kind allows."""

    def __init__(self, execution: WriteExecution, upserts: Upserts, replies: Replies) -> None:
        self._execution = execution
        self._upserts = upserts
        self._replies = replies

    async def write(self, tx: Transaction, group: Sequence[OperationWrite]) -> Sequence[ShownWrite]:
        """Carry out operations that are alike, and return what the caller may see of each."""
        prepared = group[0].prepared
        op = prepared.operation.op
        rights = prepared.rights
        if rights.upsert is not None:
            return await self._upsert_all(tx, rights.upsert, [write.row for write in group])
        if op == "create":
            return await self._create_all(tx, rights.scope, [write.row for write in group])
        changes = [
            RecordChange(write.record_id, write.row, write.prepared.condition) for write in group
        ]
        if op == "update":
            return await self._update_all(tx, rights.scope, changes)
        await self._execution.delete_all(tx, rights.scope, changes)
        return [ShownWrite(None)] * len(group)

    async def _create_all(
        self, tx: Transaction, scope: RowScope, rows: Sequence[Row]
    ) -> Sequence[ShownWrite]:
        insert = Insert(scope.table.full, rows, links=scope.links)
        records = await self._execution.create_within(tx, insert)
        written = [
            WrittenRecord(record, row, is_own=True)
            for record, row in zip(records, rows, strict=True)
        ]
        shown = await self._replies.show_all(tx.actor, scope.table, written, tx)
        return [ShownWrite(record) for record in shown]

    async def _upsert_all(
        self, tx: Transaction, plan: UpsertPlan, rows: Sequence[Row]
    ) -> Sequence[ShownWrite]:
        outcomes = await self._upserts.write_within(tx, plan, rows)
        return [ShownWrite(outcome.shown, outcome.result) for outcome in outcomes]

    async def _update_all(
        self, tx: Transaction, scope: RowScope, changes: Sequence[RecordChange]
    ) -> Sequence[ShownWrite]:
        records = await self._execution.update_all(tx, scope, changes)
        written: list[WrittenRecord] = []
        for change, record in zip(changes, records, strict=True):
            if record is None:
                record = await self._replies.read_unchanged(
                    tx.actor, scope.table, change.record_id, tx
                )
            written.append(WrittenRecord(record, change.row, is_own=scope.own_only))
        shown = await self._replies.show_all(tx.actor, scope.table, written, tx)
        return [ShownWrite(record) for record in shown]
