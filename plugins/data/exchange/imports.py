"""Records in: a file becomes records in one transaction, and a report names what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import IO, Final, Literal

import anyio
import msgspec
from anyio import to_thread

from kernel.public import (
    Actor,
    BadRequest,
    ConcurrencyLimiter,
    ConstraintViolation,
    Grant,
    Transaction,
    Work,
)
from plugins.data.batches.batch import Batches
from plugins.data.reads.tables import Dependencies, meet_again, on_new_schema
from plugins.data.row_scope import LinkLimits
from plugins.data.statements.lists import MAX_PAGE_BYTES
from plugins.data.store import Table
from plugins.data.writes.inserts import Insert, NotInserted, insert_quietly
from plugins.data.writes.refusals import RowsRefused
from plugins.data.writes.rows import Row
from plugins.data.writes.upsert import Upsert, key_of

from .export import Format
from .parse import Chunk, Problem, RowReader, problem_of

MAX_PROBLEMS: Final = 1000
"""Problems that a report lists."""

MAX_ROUNDS: Final = 3
"""Attempts at once for some rows, each without those that the one before has found to be wrong."""

IMPORT_SECONDS: Final = 120.0
"""How long the work of an import may take, and how long another one waits for its place."""

Mode = Literal["all", "valid"]
Numbered = Sequence[tuple[int, Row]]


class Shown(msgspec.Struct, frozen=True):
    """What a row becomes, as far as its sender may read that."""

    row: int
    record: msgspec.Raw


class Written(msgspec.Struct, frozen=True):
    """How many records rows have created and changed."""

    created: int = 0
    updated: int = 0


class Report(msgspec.Struct):
    """What an import did; of the rows that are not valid the first are in `errors`."""

    rows: int = 0
    valid: int = 0
    created: int = 0
    updated: int = 0
    errors: list[Problem] = []
    preview: list[Shown] | msgspec.UnsetType = msgspec.UNSET

    def show(self, number: int, record: bytes) -> None:
        """Add the record of a row, as long as a reply has room for it."""
        shown = self.preview or []
        if sum(len(each.record) for each in shown) + len(record) <= MAX_PAGE_BYTES:
            self.preview = [*shown, Shown(number, msgspec.Raw(record))]

    def add(self, rows: int, written: Written) -> None:
        """Count rows that were written."""
        self.valid += rows
        self.created += written.created
        self.updated += written.updated

    def refuse(self, problem: Problem) -> None:
        """Add a problem of a row."""
        if len(self.errors) < MAX_PROBLEMS:
            self.errors.append(problem)


class _Rollback(Exception):
    """The file was read to its end. Raised where nothing of it is to be written."""


class Import(msgspec.Struct, frozen=True):
    """How a file is imported; with `upsert` its rows may meet records."""

    file: IO[bytes]
    kind: Format
    grant: Grant
    table: Table
    mode: Mode
    dry_run: bool
    raw: bool
    upsert: Upsert | None
    links: LinkLimits | None
    preview: int = 0


class Imports(Batches):
    """Adds imports to the writes."""

    def __init__(self, services: Dependencies) -> None:
        super().__init__(services)
        self._imports = ConcurrencyLimiter(
            4,
            per_key=1,
            queue=20,
            timeout=IMPORT_SECONDS,
            message="too many imports are under way",
            key_message="an import of this user is under way",
            retry_after=10,
        )

    @on_new_schema
    async def import_file(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        file: IO[bytes],
        kind: Format,
        *,
        mode: Mode = "all",
        on: str | None = None,
        dry_run: bool = False,
        raw: bool = False,
        preview: int = 0,
    ) -> bytes:
        """See `Collections.import_file`."""
        table = await self._table(app_id, entity, grant.hidden)
        upsert = None
        if on is not None:
            upsert = await self._upsert_plan(actor, grant, app_id, entity, on, "update")
        links = await self._links.limits(actor, table, table.checked_links)
        wanted = Import(file, kind, grant, table, mode, dry_run, raw, upsert, links, preview)
        report = Report(errors=[])

        async def work(tx: Transaction) -> None:
            nonlocal report
            report = Report(errors=[], preview=[] if preview else msgspec.UNSET)
            file.seek(0)
            await self._import(tx, wanted, report)
            if dry_run or (mode == "all" and report.valid < report.rows):
                raise _Rollback

        async with self._imports.hold(actor.user_id or actor.username):
            try:
                await self._in_time(actor, work, table)
            except _Rollback:
                if not dry_run:
                    report.created = report.updated = 0
        return msgspec.json.encode(report)

    async def _in_time(self, actor: Actor, work: Work[None], table: Table) -> None:
        """Run the transaction of an import. Raises BadRequest where it takes too long."""
        with anyio.move_on_after(IMPORT_SECONDS):
            return await self._run(actor, work, table, quick=False)
        raise BadRequest(
            f"the import took more than {IMPORT_SECONDS:g} seconds, and nothing was written: "
            "send fewer rows at a time"
        )

    async def _import(self, tx: Transaction, wanted: Import, report: Report) -> None:
        whole = wanted.upsert is None
        reader = RowReader(
            wanted.file, wanted.kind, wanted.table, wanted.grant, whole=whole, raw=wanted.raw
        )
        while (chunk := await to_thread.run_sync(reader.chunk)) is not None:
            await self._chunk(tx, wanted, chunk, report)

    async def _chunk(self, tx: Transaction, wanted: Import, chunk: Chunk, report: Report) -> None:
        report.rows += chunk.read
        for problem in chunk.problems:
            report.refuse(problem)
        first = [numbered for numbered in chunk.rows if numbered[0] <= wanted.preview]
        for numbered in first:
            await self._row(tx, wanted, numbered, report)
        for rows in _with_distinct_keys(wanted.upsert, chunk.rows[len(first) :]):
            await self._rest(tx, wanted, rows, report)
        report.errors.sort(key=lambda problem: problem.row)

    async def _rest(self, tx: Transaction, wanted: Import, rows: Numbered, report: Report) -> None:
        """Write rows at once. Those that are refused are found and reported, the others written."""
        for _ in range(MAX_ROUNDS):
            try:
                written = await meet_again(partial(self._attempt, tx, wanted, rows))
            except BadRequest as error:
                problems = await self._problems(tx, wanted, error)
                for place, problem in problems.items():
                    number, row = rows[place]
                    report.refuse(problem_of(number, wanted.table, problem, row))
            else:
                report.add(len(rows), written)
                return
            if not problems:
                break
            rows = [numbered for place, numbered in enumerate(rows) if place not in problems]
            if not rows:
                return
        # Another rule: PostgreSQL does not say which of them breaks it.
        for numbered in rows:
            await self._row(tx, wanted, numbered, report)

    async def _attempt(self, tx: Transaction, wanted: Import, rows: Numbered) -> Written:
        async with tx.savepoint():
            return await self._rows(tx, wanted, rows)

    async def _problems(
        self, tx: Transaction, wanted: Import, error: BadRequest
    ) -> Mapping[int, BadRequest]:
        """Return what is wrong with rows by their places, where that can be found at once."""
        if isinstance(error, RowsRefused):
            return error.problems
        if isinstance(error, NotInserted):
            return await self._refusals.find(tx, error.insert, wanted.table.shown)
        return {}

    async def _row(
        self, tx: Transaction, wanted: Import, numbered: tuple[int, Row], report: Report
    ) -> None:
        number, row = numbered
        attempt = partial(self._attempt, tx, wanted, [numbered])
        if number <= wanted.preview:
            attempt = partial(self._previewed, tx, wanted, numbered, report)
        try:
            written = await meet_again(attempt)
        except BadRequest as error:
            if isinstance(error, ConstraintViolation):
                error = await self._describe(error, wanted.table)
            report.refuse(problem_of(number, wanted.table, error, row))
        else:
            report.add(1, written)

    async def _previewed(
        self, tx: Transaction, wanted: Import, numbered: tuple[int, Row], report: Report
    ) -> Written:
        """Write a row and show what it became."""
        number, row = numbered
        result = "created"
        async with tx.savepoint():
            if wanted.upsert is not None:
                result, shown = await self.upsert_one(tx, wanted.upsert, row)
            else:
                table = wanted.table
                insert = Insert(table.full, [row], links=wanted.links)
                [made] = await self._transactional.create(tx, insert)
                shown = await self._answer(tx.actor, table, made, tuple(row), own=True, reader=tx)
        report.show(number, shown.record)
        return Written(created=1) if result == "created" else Written(updated=1)

    async def _rows(self, tx: Transaction, wanted: Import, rows: Numbered) -> Written:
        """Write rows by few statements."""
        plain = [row for _, row in rows]
        if wanted.upsert is not None:
            outcomes = await self._upsert_in(tx, wanted.upsert, plain, numbers=False)
            created = sum(outcome.result == "created" for outcome in outcomes)
            return Written(created=created, updated=len(plain) - created)
        insert = Insert(wanted.table.full, plain, links=wanted.links)
        if self._takes_part(wanted.table):
            await self._transactional.create(tx, insert)
        else:
            await insert_quietly(tx, insert)
        return Written(created=len(plain))


def _with_distinct_keys(upsert: Upsert | None, rows: Numbered) -> Iterator[Numbered]:
    """Divide rows where a key comes again: the later row is to meet what the earlier one made."""
    part: list[tuple[int, Row]] = []
    keys: set[bytes] = set()
    for numbered in rows:
        key = None if upsert is None else key_of(upsert, numbered[1])
        if key is not None and key in keys:
            yield part
            part = []
            keys = set()
        part.append(numbered)
        if key is not None:
            keys.add(key)
    if part:
        yield part
