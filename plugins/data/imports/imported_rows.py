"""Reads the rows of a file part by part, and writes or tests each part."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import anyio
from anyio import to_thread

from kernel.public import Transaction
from plugins.data.exchange.parse import Chunk, RowReader, problem_of

from .chunks import ChunkWriter, divide_by_keys
from .dry_runs import DryRun, DryRuns, MustBeWritten
from .file_import import FileImport
from .link_keys import list_keys
from .reports import Report


class ImportedRows:
    """Makes records of the rows of a file, and the report."""

    def __init__(self, chunks: ChunkWriter, dry_runs: DryRuns) -> None:
        self._chunks = chunks
        self._dry_runs = dry_runs

    async def write_all(self, tx: Transaction, file_import: FileImport, report: Report) -> None:
        """Write the rows of a file. Raises BadRequest for a file that is no table.

        A dry run tests them instead, as long as that finds every problem.
        """
        if file_import.options.dry_run:
            try:
                dry_run = await self._dry_runs.begin(tx, file_import)
                test = partial(self._test_chunk, tx, file_import, dry_run)
                await _read_all(file_import, report, test)
            except MustBeWritten:
                report.clear()
                file_import.file.seek(0)
            else:
                return
        await _read_all(file_import, report, partial(self._write_chunk, tx, file_import))

    async def _test_chunk(
        self,
        tx: Transaction,
        file_import: FileImport,
        dry_run: DryRun,
        chunk: Chunk,
        report: Report,
    ) -> None:
        """Test the rows of a part. Raises MustBeWritten."""
        table = file_import.table
        if chunk.has_keys:
            for _, row in chunk.rows:
                if any(field in dry_run.own_links for field, _ in list_keys(row)):
                    raise MustBeWritten
        for part in divide_by_keys(file_import, chunk):
            rows = await self._chunks.resolve(tx, file_import, chunk, part, report)
            if not rows:
                continue
            await self._chunks.show(tx, file_import, rows, report)
            judged = await dry_run.judge(tx, [row for _, row in rows])
            for place, error in judged.problems.items():
                number, row = rows[place]
                report.add_problem(problem_of(number, table, error, row))
            report.count_written(len(rows) - len(judged.problems), judged.written)

    async def _write_chunk(
        self, tx: Transaction, file_import: FileImport, chunk: Chunk, report: Report
    ) -> None:
        await self._chunks.write(tx, file_import, chunk, report)


async def _read_all(
    file_import: FileImport, report: Report, handle: Callable[[Chunk, Report], Awaitable[None]]
) -> None:
    """Read a file part by part. The next rows are read while those before them are handled."""
    reader = RowReader(
        file_import.file,
        file_import.options,
        file_import.table,
        file_import.grant,
        complete=file_import.upsert is None,
        targets=file_import.targets.by_field,
    )
    chunk = await to_thread.run_sync(reader.chunk)
    while chunk is not None:
        report.rows += chunk.read
        for problem in chunk.problems:
            report.add_problem(problem)
        chunk = await read_while(reader.chunk, partial(handle, chunk, report))
        report.errors.sort(key=lambda problem: problem.row)
    report.note_header(reader.names.ignored, reader.lines.delimiter)


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
