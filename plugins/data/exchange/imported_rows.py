"""Writes the rows of an import: many at once, and those that are refused one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import IO, Final

import msgspec
from anyio import to_thread

from kernel.public import BadRequest, ConstraintViolation, Grant, ImportOptions, Transaction
from plugins.data.execution.execution import WriteExecution
from plugins.data.execution.inserts import Insert, NotInserted, insert_quietly
from plugins.data.execution.transactions import repeat_on_taken_keys
from plugins.data.rights.row_scope import LinkLimits
from plugins.data.statements.entity_table import Table
from plugins.data.values.rows import Row
from plugins.data.writes.descriptions import ErrorDescriptions
from plugins.data.writes.refusals import Refusals, RowsRefused
from plugins.data.writes.replies import Replies, WrittenRecord
from plugins.data.writes.upsert import UpsertPlan, Upserts, key_of

from .parse import Chunk, RowReader, problem_of
from .reports import Report, WrittenCount

MAX_ROUNDS: Final = 3
"""Attempts at once for some rows, each without those that the one before has found to be wrong."""

NumberedRow = tuple[int, Row]
"""A row with its number in the file, from 1 without the header."""


class FileImport(msgspec.Struct, frozen=True):
    """A file that is imported; with an upsert plan its rows may meet records."""

    file: IO[bytes]
    options: ImportOptions
    grant: Grant
    table: Table
    upsert: UpsertPlan | None
    links: LinkLimits | None


class ImportedRows:
    """Writes rows and reports on them."""

    def __init__(
        self,
        upserts: Upserts,
        execution: WriteExecution,
        replies: Replies,
        descriptions: ErrorDescriptions,
        refusals: Refusals,
    ) -> None:
        self._upserts = upserts
        self._execution = execution
        self._replies = replies
        self._descriptions = descriptions
        self._refusals = refusals

    async def write_all(self, tx: Transaction, file_import: FileImport, report: Report) -> None:
        """Write the rows of a file. Raises BadRequest for a file that is no table."""
        reader = RowReader(
            file_import.file,
            file_import.options,
            file_import.table,
            file_import.grant,
            complete=file_import.upsert is None,
        )
        while True:
            chunk = await to_thread.run_sync(reader.chunk)
            if chunk is None:
                return
            await self._write_chunk(tx, file_import, chunk, report)

    async def _write_chunk(
        self, tx: Transaction, file_import: FileImport, chunk: Chunk, report: Report
    ) -> None:
        report.rows += chunk.read
        for problem in chunk.problems:
            report.add_problem(problem)
        previewed = [row for row in chunk.rows if row[0] <= file_import.options.preview]
        for numbered_row in previewed:
            await self._write_row(tx, file_import, numbered_row, report)
        remaining = chunk.rows[len(previewed) :]
        for rows in _with_distinct_keys(file_import.upsert, remaining):
            await self._write_rows(tx, file_import, rows, report)
        report.errors.sort(key=lambda problem: problem.row)

    async def _write_rows(
        self, tx: Transaction, file_import: FileImport, rows: Sequence[NumberedRow], report: Report
    ) -> None:
        """Write rows at once. Those that are refused are found and reported, the others written."""
        for _ in range(MAX_ROUNDS):
            try:
                written = await repeat_on_taken_keys(partial(self._try, tx, file_import, rows))
            except BadRequest as error:
                problems = await self._find_problems(tx, file_import, error)
            else:
                report.count_written(len(rows), written)
                return
            for place, problem in problems.items():
                number, row = rows[place]
                report.add_problem(problem_of(number, file_import.table, problem, row))
            if not problems:
                break
            rows = [row for place, row in enumerate(rows) if place not in problems]
            if not rows:
                return
        # Another rule: PostgreSQL does not say which of them breaks it.
        for numbered_row in rows:
            await self._write_row(tx, file_import, numbered_row, report)

    async def _write_row(
        self, tx: Transaction, file_import: FileImport, numbered_row: NumberedRow, report: Report
    ) -> None:
        number, row = numbered_row
        attempt = partial(self._try, tx, file_import, [numbered_row])
        if number <= file_import.options.preview:
            attempt = partial(self._try_with_preview, tx, file_import, numbered_row, report)
        try:
            written = await repeat_on_taken_keys(attempt)
        except BadRequest as error:
            if isinstance(error, ConstraintViolation):
                error = await self._descriptions.describe(error, file_import.table)
            report.add_problem(problem_of(number, file_import.table, error, row))
        else:
            report.count_written(1, written)

    async def _find_problems(
        self, tx: Transaction, file_import: FileImport, error: BadRequest
    ) -> Mapping[int, BadRequest]:
        """Return what is wrong with rows by their places, where that can be found at once."""
        if isinstance(error, RowsRefused):
            return error.problems
        if isinstance(error, NotInserted):
            return await self._refusals.find(tx, error.insert, file_import.table.shown)
        return {}

    async def _try(
        self, tx: Transaction, file_import: FileImport, numbered_rows: Sequence[NumberedRow]
    ) -> WrittenCount:
        """Write rows by few statements."""
        rows = [row for _, row in numbered_rows]
        async with tx.savepoint():
            if file_import.upsert is not None:
                outcomes = await self._upserts.write(tx, file_import.upsert, rows, numbers=False)
                created = sum(outcome.result == "created" for outcome in outcomes)
                return WrittenCount(created=created, updated=len(rows) - created)
            insert = Insert(file_import.table.full, rows, links=file_import.links)
            if self._execution.can_group(file_import.table):
                await insert_quietly(tx, insert)
            else:
                await self._execution.create_within(tx, insert)
            return WrittenCount(created=len(rows))

    async def _try_with_preview(
        self, tx: Transaction, file_import: FileImport, numbered_row: NumberedRow, report: Report
    ) -> WrittenCount:
        """Write a row and show what it became."""
        number, row = numbered_row
        table = file_import.table
        result = "created"
        async with tx.savepoint():
            if file_import.upsert is not None:
                result, shown = await self._upserts.write_one(tx, file_import.upsert, row)
            else:
                insert = Insert(table.full, [row], links=file_import.links)
                [record] = await self._execution.create_within(tx, insert)
                written = WrittenRecord(record, row, is_own=True)
                shown = await self._replies.show(tx.actor, table, written, tx)
        report.add_preview(number, shown.record)
        if result == "created":
            return WrittenCount(created=1)
        return WrittenCount(updated=1)


def _with_distinct_keys(
    upsert: UpsertPlan | None, rows: Sequence[NumberedRow]
) -> Iterator[Sequence[NumberedRow]]:
    """Divide rows where a key comes again: the later row is to meet what the earlier one made."""
    part: list[NumberedRow] = []
    keys: set[bytes] = set()
    for numbered_row in rows:
        key = None if upsert is None else key_of(upsert, numbered_row[1])
        if key is not None and key in keys:
            yield part
            part = []
            keys = set()
        part.append(numbered_row)
        if key is not None:
            keys.add(key)
    if part:
        yield part
