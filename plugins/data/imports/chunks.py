"""Writes the rows of a part of a file: many at once, and those that are refused one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from kernel.public import BadRequest, Transaction
from plugins.data.exchange.parse import Chunk, NumberedRow, problem_of
from plugins.data.execution.inserts import NotInserted
from plugins.data.execution.transactions import repeat_on_taken_keys
from plugins.data.writes.descriptions import ErrorDescriptions
from plugins.data.writes.refusals import Refusals, RowsRefused

from .attempts import WriteAttempts
from .file_import import FileImport
from .link_keys import LinkKeys, links_to_any, list_new_keys
from .reports import Report, WrittenCount

MAX_ROUNDS: Final = 3
"""Attempts at once for some rows, each without those that the one before has found to be wrong."""


class _Shown(Exception):
    """The rows of a preview are shown. Raised to roll them back."""


class ChunkWriter:
    """Writes rows, and reports on each that is refused."""

    def __init__(
        self,
        attempts: WriteAttempts,
        descriptions: ErrorDescriptions,
        refusals: Refusals,
        link_keys: LinkKeys,
    ) -> None:
        self._attempts = attempts
        self._descriptions = descriptions
        self._refusals = refusals
        self._link_keys = link_keys

    async def write(
        self, tx: Transaction, file_import: FileImport, chunk: Chunk, report: Report
    ) -> None:
        """Write the rows of a part that can be written."""
        for part in divide_by_keys(file_import, chunk):
            rows = await self.resolve(tx, file_import, chunk, part, report)
            await self._write_part(tx, file_import, rows, report)

    async def resolve(
        self,
        tx: Transaction,
        file_import: FileImport,
        chunk: Chunk,
        rows: Sequence[NumberedRow],
        report: Report,
    ) -> Sequence[NumberedRow]:
        """Return rows with ids in place of the keys of links; others are reported."""
        if not chunk.has_keys:
            return rows
        resolution = await self._link_keys.resolve(tx, file_import.table, file_import.targets, rows)
        for problem in resolution.problems:
            report.add_problem(problem)
        return resolution.rows

    async def show(
        self, tx: Transaction, file_import: FileImport, rows: Sequence[NumberedRow], report: Report
    ) -> None:
        """Show what the rows of the preview become: they are written, and rolled back at once."""
        previewed = [row for row in rows if row.number <= file_import.options.preview]
        if not previewed:
            return
        shown = Report(errors=[], preview=[])
        try:
            async with tx.savepoint():
                for numbered_row in previewed:
                    await self._write_row(tx, file_import, numbered_row, shown)
                raise _Shown
        except _Shown:
            for row in shown.preview or []:
                report.add_preview(row.row, row.record)

    async def _write_part(
        self, tx: Transaction, file_import: FileImport, rows: Sequence[NumberedRow], report: Report
    ) -> None:
        """Write rows with different keys, those of the preview one by one."""
        previewed = [row for row in rows if row.number <= file_import.options.preview]
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
            attempt = partial(self._attempts.write, tx, file_import, [row for _, row in rows])
            try:
                written = await repeat_on_taken_keys(attempt)
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
        try:
            if number <= file_import.options.preview:
                written = await self._write_previewed(tx, file_import, numbered_row, report)
            else:
                attempt = partial(self._attempts.write, tx, file_import, [row])
                written = await repeat_on_taken_keys(attempt)
        except BadRequest as error:
            described = await self._descriptions.describe(error, file_import.table)
            report.add_problem(problem_of(number, file_import.table, described, row))
        else:
            report.count_written(1, written)

    async def _write_previewed(
        self, tx: Transaction, file_import: FileImport, numbered_row: NumberedRow, report: Report
    ) -> WrittenCount:
        attempt = partial(self._attempts.write_previewed, tx, file_import, numbered_row.row)
        previewed = await repeat_on_taken_keys(attempt)
        report.add_preview(numbered_row.number, previewed.record)
        return previewed.written

    async def _find_problems(
        self, tx: Transaction, file_import: FileImport, error: BadRequest
    ) -> Mapping[int, BadRequest]:
        """Return what is wrong with rows by their places, where that can be found at once."""
        if isinstance(error, RowsRefused):
            return error.problems
        if isinstance(error, NotInserted):
            return await self._refusals.find(tx, error.insert, file_import.table.shown)
        return {}


def divide_by_keys(file_import: FileImport, chunk: Chunk) -> Iterator[list[NumberedRow]]:
    """Divide rows where a later one needs what an earlier one makes.

    That is the case where a key comes again, and where a link names a record of its own table.
    """
    upsert = file_import.upsert
    table = file_import.table
    part: list[NumberedRow] = []
    keys: set[bytes] = set()
    new_keys: dict[str, set[Any]] = {}
    for numbered_row in chunk.rows:
        row = numbered_row.row
        key = None if upsert is None else upsert.key_of(row)
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
