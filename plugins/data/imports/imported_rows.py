"""Reads the rows of a file part by part, and writes or tests each part."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import anyio
from anyio import to_thread

from kernel.public import Transaction
from plugins.data.exchange.parse import CHUNK_ROWS, Chunk, RowReader, problem_of

from .chunks import ChunkWriter
from .dry_runs import DryRun, DryRuns
from .file_import import FileImport
from .reports import Report


class ImportedRows:
    """Makes records of the rows of a file, and the report."""

    def __init__(self, chunks: ChunkWriter, dry_runs: DryRuns) -> None:
        self._chunks = chunks
        self._dry_runs = dry_runs

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
        dry_run = self._dry_runs.begin(file_import)
        chunk = await to_thread.run_sync(reader.chunk)
        while chunk is not None:
            write = partial(self._write_chunk, tx, file_import, chunk, report, dry_run)
            chunk = await read_while(reader.chunk, write)
        report.note_header(reader.names.ignored, reader.lines.delimiter)

    async def _write_chunk(
        self,
        tx: Transaction,
        file_import: FileImport,
        chunk: Chunk,
        report: Report,
        dry_run: DryRun | None,
    ) -> None:
        report.rows += chunk.read
        for problem in chunk.problems:
            report.add_problem(problem)
        is_tested = False
        if dry_run is not None and _may_be_tested(chunk):
            is_tested = await _test_chunk(tx, file_import, chunk, report, dry_run)
        if not is_tested:
            await self._chunks.write(tx, file_import, chunk, report)
        report.errors.sort(key=lambda problem: problem.row)


async def _test_chunk(
    tx: Transaction, file_import: FileImport, chunk: Chunk, report: Report, dry_run: DryRun
) -> bool:
    """Test the rows of a part. Return False where that would not find every problem."""
    tested = await dry_run.test(tx, [row for _, row in chunk.rows])
    if tested is None:
        return False
    for place, error in tested.problems.items():
        number, row = chunk.rows[place]
        report.add_problem(problem_of(number, file_import.table, error, row))
    report.count_written(len(chunk.rows) - len(tested.problems), tested.written)
    return True


def _may_be_tested(chunk: Chunk) -> bool:
    """Whether a part is not the first one, and its links are ids."""
    return bool(chunk.rows) and chunk.rows[0].number > CHUNK_ROWS and not chunk.has_keys


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
