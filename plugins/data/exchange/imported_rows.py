"""Writes the rows of an import: many at once, and those that are refused one by one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import IO, Any, Final

import anyio
import msgspec
from anyio import to_thread

from kernel.public import BadRequest, ConstraintViolation, Grant, ImportOptions, Transaction
from plugins.data.execution.execution import WriteExecution
from plugins.data.execution.inserts import Insert, NotInserted, insert_quietly
from plugins.data.execution.transactions import repeat_on_taken_keys
from plugins.data.rights.row_scope import LinkLimits
from plugins.data.statements.entity_table import Table
from plugins.data.writes.descriptions import ErrorDescriptions
from plugins.data.writes.refusals import Refusals, RowsRefused
from plugins.data.writes.replies import Replies, WrittenRecord
from plugins.data.writes.upsert import UpsertPlan, Upserts, key_of

from .dry_runs import DryRun
from .link_keys import LinkKeys, LinkTargets, links_to_any, list_new_keys
from .parse import CHUNK_ROWS, Chunk, NumberedRow, RowReader, problem_of
from .reports import Report, WrittenCount

MAX_ROUNDS: Final = 3
"""Attempts at once for some rows, each without those that the one before has found to be wrong."""


class FileImport(msgspec.Struct, frozen=True):
    """A file that is imported; with an upsert plan its rows may meet records.

    `links` are the limits of what the caller may link to, `targets` what a link may name by a key.
    """

    file: IO[bytes]
    options: ImportOptions
    grant: Grant
    table: Table
    upsert: UpsertPlan | None
    links: LinkLimits | None
    targets: LinkTargets


class ImportedRows:
    """Writes rows and reports on them."""

    def __init__(
        self,
        upserts: Upserts,
        execution: WriteExecution,
        replies: Replies,
        descriptions: ErrorDescriptions,
        refusals: Refusals,
        link_keys: LinkKeys,
    ) -> None:
        self._upserts = upserts
        self._execution = execution
        self._replies = replies
        self._descriptions = descriptions
        self._refusals = refusals
        self._link_keys = link_keys

    async def write_all(self, tx: Transaction, file_import: FileImport, report: Report) -> None:
        """Write the rows of a file. Raises BadRequest for a file that is no table.

        The next rows are read while PostgreSQL writes those before them.
        """
        reader = RowReader(
            file_import.file,
            file_import.options,
            file_import.table,
            file_import.grant,
            complete=file_import.upsert is None,
            targets=file_import.targets.by_field,
        )
        dry_run = self._begin_dry_run(file_import)
        chunk = await to_thread.run_sync(reader.chunk)
        while chunk is not None:
            write = partial(self._write_chunk, tx, file_import, chunk, report)
            if dry_run is not None and _may_be_tested(chunk):
                write = partial(self._test_chunk, tx, file_import, chunk, report, dry_run)
            chunk = await read_while(reader.chunk, write)
        report.note_header(reader.names.ignored, reader.lines.delimiter)

    def _begin_dry_run(self, file_import: FileImport) -> DryRun | None:
        """Return what tests rows, None where they have to be written."""
        table = file_import.table
        if not file_import.options.dry_run:
            return None
        if not self._execution.can_group(table.full) or not DryRun.knows_rules_of(table.full):
            return None
        return DryRun(table, self._refusals)

    async def _test_chunk(
        self,
        tx: Transaction,
        file_import: FileImport,
        chunk: Chunk,
        report: Report,
        dry_run: DryRun,
    ) -> None:
        """Test the rows of a part, or write them where that would not find every problem."""
        rows = [row for _, row in chunk.rows]
        if file_import.upsert is not None:
            await self._test_upsert(tx, file_import, chunk, report, dry_run)
            return
        if not rows or not dry_run.can_test(rows):
            await self._write_chunk(tx, file_import, chunk, report)
            return
        report.rows += chunk.read
        for problem in chunk.problems:
            report.add_problem(problem)
        insert = Insert(file_import.table.full, rows, links=file_import.links)
        problems = await dry_run.find_problems(tx, insert)
        for place, error in problems.items():
            number, row = chunk.rows[place]
            report.add_problem(problem_of(number, file_import.table, error, row))
        tested = len(rows) - len(problems)
        report.count_written(tested, WrittenCount(created=tested))
        report.errors.sort(key=lambda problem: problem.row)

    async def _test_upsert(
        self,
        tx: Transaction,
        file_import: FileImport,
        chunk: Chunk,
        report: Report,
        dry_run: DryRun,
    ) -> None:
        """Test rows that may meet records, see `_test_chunk`."""
        plan = file_import.upsert
        rows = [row for _, row in chunk.rows]
        if plan is None or not dry_run.can_test_upsert(plan, rows):
            await self._write_chunk(tx, file_import, chunk, report)
            return
        report.rows += chunk.read
        for problem in chunk.problems:
            report.add_problem(problem)
        judged = await self._upserts.judge(tx, plan, rows)
        for place, error in judged.problems.items():
            number, row = chunk.rows[place]
            report.add_problem(problem_of(number, file_import.table, error, row))
        new_rows = [
            row
            for place, row in enumerate(rows)
            if place not in judged.met and place not in judged.problems
        ]
        created = dry_run.note_keys(plan, new_rows).count(False)
        valid = len(rows) - len(judged.problems)
        written = WrittenCount(created, valid - created, len(judged.unchanged))
        report.count_written(valid, written)
        report.errors.sort(key=lambda problem: problem.row)

    async def _write_chunk(
        self, tx: Transaction, file_import: FileImport, chunk: Chunk, report: Report
    ) -> None:
        report.rows += chunk.read
        for problem in chunk.problems:
            report.add_problem(problem)
        for part in _with_distinct_keys(file_import, chunk):
            rows = part
            if chunk.has_keys:
                rows, problems = await self._link_keys.resolve(
                    tx, file_import.table, file_import.targets, part
                )
                for problem in problems:
                    report.add_problem(problem)
            await self._write_part(tx, file_import, rows, report)
        report.errors.sort(key=lambda problem: problem.row)

    async def _write_part(
        self, tx: Transaction, file_import: FileImport, rows: Sequence[NumberedRow], report: Report
    ) -> None:
        """Write rows with different keys, those of the preview one by one."""
        previewed = [row for row in rows if row[0] <= file_import.options.preview]
        for numbered_row in previewed:
            await self._write_row(tx, file_import, numbered_row, report)
        remaining = rows[len(previewed) :]
        if remaining:
            await self._write_rows(tx, file_import, remaining, report)

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
                applied = await self._upserts.apply(tx, file_import.upsert, rows, numbers=False)
                return WrittenCount(
                    created=len(applied.created),
                    updated=len(applied.met),
                    unchanged=len(applied.unchanged),
                )
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
        written_count = WrittenCount(created=1)
        async with tx.savepoint():
            if file_import.upsert is not None:
                outcome, shown = await self._upserts.write_one(tx, file_import.upsert, row)
                if outcome.result != "created":
                    written_count = WrittenCount(updated=1, unchanged=int(outcome.is_unchanged))
            else:
                insert = Insert(table.full, [row], links=file_import.links)
                [record] = await self._execution.create_within(tx, insert)
                written = WrittenRecord(record, row, is_own=True)
                shown = await self._replies.show(tx.actor, table, written, tx)
        report.add_preview(number, shown.record)
        return written_count


def _may_be_tested(chunk: Chunk) -> bool:
    """Whether a part is not the first one, and its links are ids."""
    return bool(chunk.rows) and chunk.rows[0][0] > CHUNK_ROWS and not chunk.has_keys


async def read_while(
    read: Callable[[], Chunk | None], write: Callable[[], Awaitable[None]]
) -> Chunk | None:
    """Return what is read in a thread while something is written. Raises what either of them does.

    An error of the write comes first, as in a file that is read row by row.
    """
    chunk: Chunk | None = None
    read_error: Exception | None = None
    write_error: Exception | None = None

    async def read_next() -> None:
        nonlocal chunk, read_error
        try:
            chunk = await to_thread.run_sync(read)
        except Exception as error:
            read_error = error

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_next)
        try:
            await write()
        except Exception as error:
            write_error = error
    try:
        if write_error is not None:
            raise write_error
        if read_error is not None:
            raise read_error
    finally:
        del write_error, read_error
    return chunk


def _with_distinct_keys(file_import: FileImport, chunk: Chunk) -> Iterator[list[NumberedRow]]:
    """Divide rows where a later one needs what an earlier one makes.

    That is the case where a key comes again, and where a link names a record of its own table.
    """
    upsert = file_import.upsert
    table = file_import.table
    part: list[NumberedRow] = []
    keys: set[bytes] = set()
    new_keys: dict[str, set[Any]] = {}
    for numbered_row in chunk.rows:
        row = numbered_row[1]
        key = None if upsert is None else key_of(upsert, row)
        is_repeated = key is not None and key in keys
        if is_repeated or (chunk.has_keys and links_to_any(table, row, new_keys)):
            yield part
            part = []
            keys = set()
            new_keys = {}
        part.append(numbered_row)
        if key is not None:
            keys.add(key)
        if chunk.has_keys:
            for name, value in list_new_keys(table, row).items():
                new_keys.setdefault(name, set()).add(value)
    if part:
        yield part
