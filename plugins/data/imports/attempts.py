"""Attempts to write rows: each in a savepoint, so that what fails leaves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kernel.public import Transaction
from plugins.data.execution.inserts import Insert, insert_quietly
from plugins.data.execution.statement_or_transaction import WriteExecution
from plugins.data.upserts.upserts import Upserts
from plugins.data.upserts.writer import UpsertWriter
from plugins.data.values.rows import Row
from plugins.data.writes.replies import Replies, WrittenRecord

from .file_import import FileImport
from .reports import WrittenCount


class PreviewedRow(NamedTuple):
    """What a row has done, and its record as its sender may read that."""

    written: WrittenCount
    record: bytes


class WriteAttempts:
    """Writes rows with different keys: new records, or those that an upsert meets."""

    def __init__(
        self,
        execution: WriteExecution,
        upserts: Upserts,
        upsert_writer: UpsertWriter,
        replies: Replies,
    ) -> None:
        self._execution = execution
        self._upserts = upserts
        self._upsert_writer = upsert_writer
        self._replies = replies

    async def write(
        self, tx: Transaction, file_import: FileImport, rows: Sequence[Row]
    ) -> WrittenCount:
        """Write rows by few statements. Raises BadRequest, and KeysTaken to be tried again."""
        async with tx.savepoint():
            if file_import.upsert is not None:
                return await self._upsert(tx, file_import, rows)
            insert = Insert(file_import.table.full, rows, links=file_import.links)
            if self._execution.can_group(file_import.table):
                await insert_quietly(tx, insert)
            else:
                await self._execution.create_within(tx, insert)
            return WrittenCount(created=len(rows))

    async def write_previewed(
        self, tx: Transaction, file_import: FileImport, row: Row
    ) -> PreviewedRow:
        """Write a row and show what it became. Raises what `write` does."""
        async with tx.savepoint():
            if file_import.upsert is not None:
                [outcome] = await self._upserts.write_within(tx, file_import.upsert, [row])
                count = WrittenCount(created=1)
                if outcome.result != "created":
                    count = WrittenCount(updated=1, unchanged=int(outcome.is_unchanged))
                return PreviewedRow(count, outcome.shown.record)
            table = file_import.table
            insert = Insert(table.full, [row], links=file_import.links)
            [record] = await self._execution.create_within(tx, insert)
            written = WrittenRecord(record, row, is_own=True)
            shown = await self._replies.show(tx.actor, table, written, tx)
            return PreviewedRow(WrittenCount(created=1), shown.record)

    async def _upsert(
        self, tx: Transaction, file_import: FileImport, rows: Sequence[Row]
    ) -> WrittenCount:
        assert file_import.upsert is not None
        applied = await self._upsert_writer.apply(tx, file_import.upsert, rows, numbers=False)
        return WrittenCount(
            created=len(applied.created), updated=len(applied.met), unchanged=len(applied.unchanged)
        )
