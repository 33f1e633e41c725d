"""Tests the rows of a dry run without writing them, as far as no surprise is left."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from kernel.public import BadRequest, Transaction
from plugins.data.execution.inserts import Insert
from plugins.data.execution.violations import already_taken
from plugins.data.statements.entity_table import Table
from plugins.data.values.encoding import encode
from plugins.data.values.rows import Row
from plugins.data.writes.refusals import Refusals
from plugins.data.writes.upsert import UpsertPlan

MAX_KEYS: Final = 500_000
"""Unique values that are remembered, of 16 bytes each. Later rows are written and rolled back."""


class DryRun:
    """Finds rows that PostgreSQL would refuse: a value that is taken, a link that leads nowhere.

    The first part of a file is written and rolled back, so a rule that is not known here shows.
    What rows of other parts have in common with each other is remembered here.
    """

    def __init__(self, table: Table, refusals: Refusals) -> None:
        self._table = table
        self._refusals = refusals
        self._keys = [key for key in table.entity.unique if key != ("id",)]
        self._seen = set[bytes]()
        references = [field for field in table.entity.fields if field.references is not None]
        self._asks = bool(self._keys or references or table.file_fields or table.entity.id_declared)
        """Whether PostgreSQL could refuse a row."""

    def can_test_upsert(self, plan: UpsertPlan, rows: Sequence[Row]) -> bool:
        """Whether rows that may meet records can be tested: each has its own values alone.

        A link may lead nowhere, and a value of another key may be taken.
        """
        if plan.scope.trees or len(self._seen) + len(rows) > MAX_KEYS or not self.can_test(rows):
            return False
        entity = self._table.entity
        judged_elsewhere = {name for key in self._keys for name in key}
        judged_elsewhere.update(
            field.name
            for field in entity.fields
            if field.references is not None or field.file is not None
        )
        return judged_elsewhere.isdisjoint(rows[0].keys() - {*plan.on})

    def note_keys(self, plan: UpsertPlan, rows: Sequence[Row]) -> Sequence[bool]:
        """Remember the keys of new rows, and say of each whether an earlier one has made it."""
        repeated: list[bool] = []
        for row in rows:
            digest = self._digest(plan.on, row)
            repeated.append(digest is not None and digest in self._seen)
            if digest is not None:
                self._seen.add(digest)
        return repeated

    @staticmethod
    def knows_rules_of(table: Table) -> bool:
        """Whether the rules of a table can be tested: each row depends on its own values alone."""
        for field in table.entity.fields:
            is_own_link = (
                field.references is not None and field.references.entity == table.entity.name
            )
            if field.generated is not None or is_own_link:
                return False
        return True

    def can_test(self, rows: Sequence[Row]) -> bool:
        """Whether rows can be tested: they have all of their unique values themselves."""
        if len(self._seen) + len(rows) * len(self._keys) > MAX_KEYS:
            return False
        names = rows[0].keys()
        have_same_fields = all(row.keys() == names for row in rows)
        fields = {field.name: field for field in self._table.entity.fields}
        missing = [fields.get(name) for key in self._keys for name in key if name not in names]
        has_defaults = any(field is None or field.default is not None for field in missing)
        return have_same_fields and not has_defaults

    async def find_problems(self, tx: Transaction, insert: Insert) -> Mapping[int, BadRequest]:
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
