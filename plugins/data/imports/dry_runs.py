"""Tests the rows of a dry run without writing them, as far as no surprise is left."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from kernel.public import BadRequest, Transaction
from plugins.data.execution.inserts import Insert
from plugins.data.execution.statement_or_transaction import WriteExecution
from plugins.data.execution.violations import already_taken
from plugins.data.statements.entity_table import Table
from plugins.data.upserts.plan import UpsertPlan
from plugins.data.upserts.writer import UpsertWriter
from plugins.data.values.encoding import encode
from plugins.data.values.rows import Row
from plugins.data.writes.refusals import Refusals

from .file_import import FileImport
from .reports import WrittenCount

MAX_KEYS: Final = 500_000
"""Unique values that are remembered, of 16 bytes each. Later rows are written and rolled back."""


class TestedRows(msgspec.Struct, frozen=True):
    """What is wrong with rows by their places from 0, and what the others would do."""

    problems: Mapping[int, BadRequest]
    written: WrittenCount


class DryRuns:
    """Begins the tests of files whose rows need not be written."""

    def __init__(
        self, execution: WriteExecution, refusals: Refusals, upsert_writer: UpsertWriter
    ) -> None:
        self._execution = execution
        self._refusals = refusals
        self._upsert_writer = upsert_writer

    def begin(self, file_import: FileImport) -> DryRun | None:
        """Return what tests rows, None where they have to be written."""
        table = file_import.table
        if not file_import.options.dry_run:
            return None
        if not self._execution.can_group(table.full) or not _depend_on_own_values(table):
            return None
        return DryRun(file_import, self._refusals, self._upsert_writer)


class DryRun:
    """Finds rows that PostgreSQL would refuse: a value that is taken, a link that leads nowhere.

    The first part of a file is written and rolled back, so a rule that is not known here shows.
    What rows of other parts have in common with each other is remembered here.
    """

    def __init__(
        self, file_import: FileImport, refusals: Refusals, upsert_writer: UpsertWriter
    ) -> None:
        table = file_import.table
        self._file_import = file_import
        self._table = table
        self._refusals = refusals
        self._upsert_writer = upsert_writer
        self._keys = [key for key in table.entity.unique if key != ("id",)]
        self._seen = set[bytes]()
        references = [field for field in table.entity.fields if field.references is not None]
        self._asks = bool(
            self._keys or references or table.limited.files or table.entity.id_declared
        )
        """Whether PostgreSQL could refuse a row."""

    async def test(self, tx: Transaction, rows: Sequence[Row]) -> TestedRows | None:
        """Test rows. Return None where they have to be written, to find every problem."""
        plan = self._file_import.upsert
        if plan is not None:
            return await self._test_upsert(tx, plan, rows)
        if not self._can_test(rows):
            return None
        insert = Insert(self._table.full, rows, links=self._file_import.links)
        problems = await self._find_problems(tx, insert)
        return TestedRows(problems, WrittenCount(created=len(rows) - len(problems)))

    async def _test_upsert(
        self, tx: Transaction, plan: UpsertPlan, rows: Sequence[Row]
    ) -> TestedRows | None:
        """Test rows that may meet records; see `test`."""
        if not self._can_test_upsert(plan, rows):
            return None
        judged = await self._upsert_writer.judge(tx, plan, rows)
        new_rows = [
            row
            for place, row in enumerate(rows)
            if place not in judged.met and place not in judged.problems
        ]
        created = self._note_keys(plan, new_rows).count(False)
        valid = len(rows) - len(judged.problems)
        written = WrittenCount(created, valid - created, len(judged.unchanged))
        return TestedRows(judged.problems, written)

    def _can_test_upsert(self, plan: UpsertPlan, rows: Sequence[Row]) -> bool:
        """Whether rows that may meet records can be tested: each has its own values alone.

        A link may lead nowhere, and a value of another key may be taken.
        """
        if plan.scope.trees or len(self._seen) + len(rows) > MAX_KEYS or not self._can_test(rows):
            return False
        entity = self._table.entity
        judged_elsewhere = {name for key in self._keys for name in key}
        judged_elsewhere.update(
            field.name
            for field in entity.fields
            if field.references is not None or field.file is not None
        )
        return judged_elsewhere.isdisjoint(rows[0].keys() - {*plan.on})

    def _note_keys(self, plan: UpsertPlan, rows: Sequence[Row]) -> Sequence[bool]:
        """Remember the keys of new rows, and say of each whether an earlier one has made it."""
        repeated: list[bool] = []
        for row in rows:
            digest = self._digest(plan.on, row)
            repeated.append(digest is not None and digest in self._seen)
            if digest is not None:
                self._seen.add(digest)
        return repeated

    def _can_test(self, rows: Sequence[Row]) -> bool:
        """Whether rows can be tested: they have all of their unique values themselves."""
        if len(self._seen) + len(rows) * len(self._keys) > MAX_KEYS:
            return False
        names = rows[0].keys()
        have_same_fields = all(row.keys() == names for row in rows)
        fields = {field.name: field for field in self._table.entity.fields}
        missing = [fields.get(name) for key in self._keys for name in key if name not in names]
        has_defaults = any(field is None or field.default is not None for field in missing)
        return have_same_fields and not has_defaults

    async def _find_problems(self, tx: Transaction, insert: Insert) -> Mapping[int, BadRequest]:
        """Return what is wrong with rows by their places, and remember the others."""
        if not self._asks:
            return {}
        problems = dict(await self._refusals.find(tx, insert, self._table.shown))
        for place, row in enumerate(insert.rows):
            if place in problems:
                continue
            digests = {key: self._digest(key, row) for key in self._keys}
            repeated = [key for key, digest in digests.items() if digest in self._seen]
            if repeated:
                problems[place] = already_taken(self._table.shown, repeated[0])
            else:
                self._seen.update(digest for digest in digests.values() if digest is not None)
        return problems

    def _digest(self, key: tuple[str, ...], row: Row) -> bytes | None:
        """Return what equal values of a unique index have in common, None with a null."""
        values = [row.get(name) for name in key]
        if None in values:
            return None
        numbers = [
            int(value) if isinstance(value, float) and value.is_integer() else value
            for value in values
        ]
        return hashlib.blake2b(encode([key, numbers]), digest_size=16).digest()


def _depend_on_own_values(table: Table) -> bool:
    """Whether each row depends on its own values alone, so that its rules can be tested."""
    for field in table.entity.fields:
        is_own_link = field.references is not None and field.references.entity == table.entity.name
        if field.generated is not None or is_own_link:
            return False
    return True
