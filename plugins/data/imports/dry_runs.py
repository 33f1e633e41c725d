"""Tests the rows of a dry run: what an import would say of them, and nothing is written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Final

import msgspec

from kernel.public import BadRequest, Transaction
from plugins.data.execution.inserts import Insert
from plugins.data.execution.statement_or_transaction import WriteExecution
from plugins.data.execution.violations import already_taken
from plugins.data.rights.row_scope import LinkLimits
from plugins.data.statements.entity_table import Table
from plugins.data.statements.table_rules import FIND_RULES, decode_rules, params_of_rules
from plugins.data.upserts.plan import UpsertPlan
from plugins.data.upserts.writer import UpsertWriter
from plugins.data.values.encoding import encode
from plugins.data.values.rows import Row
from plugins.data.writes.refusals import Refusals, describe_test
from plugins.data.writes.row_tests import RowTest

from .file_import import FileImport
from .reports import WrittenCount

MAX_KEYS: Final = 500_000
"""Values of keys that are remembered, of MAX_DIGEST bytes each."""

MAX_DIGEST: Final = 64

MAX_INDEXED: Final = 2_000
"""Bytes in the indexed fields of a row; an index of PostgreSQL takes 2,704 of a whole entry."""


class MustBeWritten(Exception):
    """Rows that only PostgreSQL can judge: the file has to be written, and rolled back."""


class JudgedRows(msgspec.Struct, frozen=True):
    """What is wrong with rows, by their places, and what the others would have done."""

    problems: Mapping[int, BadRequest]
    written: WrittenCount


class DryRuns:
    """Begins the tests of files."""

    def __init__(
        self, execution: WriteExecution, refusals: Refusals, upsert_writer: UpsertWriter
    ) -> None:
        self._execution = execution
        self._refusals = refusals
        self._upsert_writer = upsert_writer

    async def begin(self, tx: Transaction, file_import: FileImport) -> DryRun:
        """Return what tests the rows of a file. Raises MustBeWritten."""
        table = file_import.table
        if not self._execution.can_group(table.full):
            raise MustBeWritten
        plan = file_import.upsert
        links = file_import.links if plan is None else plan.scope.links
        dry_run = DryRun(table, plan, links, self._upsert_writer, self._refusals)
        await dry_run.begin(tx)
        return dry_run


class EarlierRows:
    """What rows of earlier parts would have written, as far as later rows can meet it."""

    def __init__(self) -> None:
        self.unique_values = set[bytes]()
        self.written: dict[bytes, int] = {}
        """Hashes of what rows have written, by the key that later ones meet them by."""
        self.moved_keys = False
        """Whether a record has got another value of a unique index, so that its own is free."""

    def __len__(self) -> int:
        return len(self.unique_values) + len(self.written)


class DryRun:
    """Says of rows what an import would, part by part.

    `links` are the limits of new records. No two rows of a part have one key of the `plan`.
    """

    def __init__(
        self,
        table: Table,
        plan: UpsertPlan | None,
        links: LinkLimits | None,
        upsert_writer: UpsertWriter,
        refusals: Refusals,
    ) -> None:
        self._table = table
        self._plan = plan
        self._links = links
        self._upsert_writer = upsert_writer
        self._refusals = refusals
        on = () if plan is None else plan.on
        self._keys = [
            key
            for key in table.entity.unique
            if {*key} != {*on} and (key != ("id",) or table.entity.id_declared)
        ]
        self.own_links = frozenset(
            field.name
            for field in table.full.entity.fields
            if field.references is not None and field.references.entity == table.entity.name
        )
        """The links to records of the same table, which earlier rows may make."""
        self._indexed_texts: Sequence[str] = ()
        self._can_be_refused = bool(self._keys) or any(
            field.references is not None for field in table.full.entity.fields
        )
        """Whether PostgreSQL could refuse a row."""
        self._names: tuple[str, ...] | None = None
        self._earlier = EarlierRows()

    async def begin(self, tx: Transaction) -> None:
        """Look at the table. Raises MustBeWritten where its rules are not all known."""
        table = self._table
        plan = self._plan
        chooses_ids = table.entity.id_declared or (plan is not None and plan.creates_ids)
        if self.own_links and chooses_ids:
            raise MustBeWritten
        if any(field.generated is not None for field in table.full.entity.fields):
            raise MustBeWritten
        if plan is not None and plan.scope.trees:
            raise MustBeWritten
        raw_rules = await tx.fetch(FIND_RULES, *params_of_rules(table.full), custom_plan=True)
        rules = decode_rules(raw_rules or b"[true, []]")
        if rules.has_unknown:
            raise MustBeWritten
        self._indexed_texts = [
            column.name
            for column in table.full.columns
            if column.name in rules.indexed and column.kind in ("text", "texts")
        ]

    async def judge(self, tx: Transaction, rows: Sequence[Row]) -> JudgedRows:
        """Judge the next rows. Raises MustBeWritten."""
        self._check_rows(rows)
        if self._plan is not None:
            return await self._judge_upsert(tx, self._plan, rows)
        problems = await self._find_refused(tx, rows)
        return JudgedRows(problems, WrittenCount(created=len(rows) - len(problems)))

    async def _judge_upsert(
        self, tx: Transaction, plan: UpsertPlan, rows: Sequence[Row]
    ) -> JudgedRows:
        """Judge rows that create records, or change those that have their keys."""
        judged = await self._upsert_writer.judge(tx, plan, rows)
        problems = dict(judged.problems)
        digests = [self._digest(plan.on, row) for row in rows]
        valid = set(range(len(rows))).difference(problems)
        tested_rows: dict[int, Row] = {}
        repeated: set[int] = set()
        unchanged: set[int] = set()
        for place in sorted(valid):  # of two rows with one value the first has it
            row = rows[place]
            changes = judged.changes.get(place)
            earlier_hash = self._earlier.written.get(digests[place] or b"")
            if earlier_hash is not None:
                if self._keys:
                    raise MustBeWritten
                repeated.add(place)
                changes = {} if earlier_hash == _hash_values(row) else row
            if changes is not None and not changes:
                unchanged.add(place)
            if self._can_be_refused:
                tested_rows[place] = self._select_tested(row, changes)
        problems |= await self._find_refused_at(tx, tested_rows)

        valid.difference_update(problems)
        for place in sorted(valid):
            digest = digests[place]
            if digest is not None:
                self._earlier.written[digest] = _hash_values(rows[place])
        updated = len(valid & (judged.changes.keys() | repeated))
        written = WrittenCount(len(valid) - updated, updated, len(valid & unchanged))
        return JudgedRows(problems, written)

    def _select_tested(self, row: Row, changes: Row | None) -> Row:
        """Return the values of a row that a rule could refuse: null where a record has them.

        `changes` are those of the record that it meets, None where it meets none.
        """
        ids = () if self._table.entity.id_declared else ("id",)
        if changes is None:
            return {name: value for name, value in row.items() if name not in ids}
        tested_names = {*changes}
        for key in self._keys:
            if not changes.keys().isdisjoint(key):
                self._earlier.moved_keys = True
                tested_names.update(key)
        for key in self._keys:
            if tested_names.issuperset(key) and changes.keys().isdisjoint(key):
                raise MustBeWritten
        sent = {name: value for name, value in row.items() if name not in ids}
        return {name: value if name in tested_names else None for name, value in sent.items()}

    async def _find_refused_at(
        self, tx: Transaction, rows: Mapping[int, Row]
    ) -> Mapping[int, BadRequest]:
        places = list(rows)
        problems = await self._find_refused(tx, list(rows.values()))
        return {places[number]: error for number, error in problems.items()}

    async def _find_refused(self, tx: Transaction, rows: Sequence[Row]) -> Mapping[int, BadRequest]:
        """Return what is wrong with rows by their places, and remember the others."""
        if not rows or not self._can_be_refused:
            return {}
        on = () if self._plan is None else self._plan.on
        insert = Insert(self._table.full, rows, unless=on, links=self._links)
        failed_tests = await self._refusals.find_by_records(tx, insert)
        problems: dict[int, BadRequest] = {}
        new_digests = set[bytes]()
        for place, row in enumerate(rows):
            digests = {key: self._digest(key, row) for key in self._keys}
            problem = self._find_problem(digests, failed_tests.get(place), new_digests)
            if problem is not None:
                problems[place] = problem
            else:
                new_digests.update(digest for digest in digests.values() if digest is not None)
        self._earlier.unique_values |= new_digests
        if problems and self._earlier.moved_keys:
            raise MustBeWritten  # an earlier row may have freed the value
        return problems

    def _find_problem(
        self,
        digests: Mapping[tuple[str, ...], bytes | None],
        failed_test: RowTest | None,
        new_digests: Set[bytes],
    ) -> BadRequest | None:
        """Return what an import would say of a row: it knows records before it knows links."""
        shown = self._table.shown
        taken_key = None
        if failed_test is not None and not failed_test.is_link:
            taken_key = failed_test.fields
        for key, digest in digests.items():
            if key == taken_key or digest in self._earlier.unique_values:
                return already_taken(shown, key)
        if failed_test is not None:
            return describe_test(shown, failed_test)
        for key, digest in digests.items():
            if digest in new_digests:
                return already_taken(shown, key)
        return None

    def _check_rows(self, rows: Sequence[Row]) -> None:
        """Raise MustBeWritten where a value comes from elsewhere, or is one of many."""
        names = tuple(rows[0])
        if self._names is None:
            self._names = names
            self._check_names({*names})
        if any(tuple(row) != self._names for row in rows):
            raise MustBeWritten
        new_values = len(rows) * (len(self._keys) + 1)
        if len(self._earlier) + new_values > MAX_KEYS:
            raise MustBeWritten
        for name in self._table.limited.files:
            if any(row.get(name) is not None for row in rows):
                raise MustBeWritten
        for row in rows:
            texts = [row.get(name) for name in self._indexed_texts]
            if _count_bytes(texts) > MAX_INDEXED:
                raise MustBeWritten

    def _check_names(self, names: set[str]) -> None:
        """Raise MustBeWritten where a default is a part of a key."""
        fields = {field.name: field for field in self._table.full.entity.fields}
        keys = [*self._keys, *([] if self._plan is None else [self._plan.on])]
        for name in {name for key in keys for name in key} - names:
            field = fields.get(name)
            if field is not None and field.default is not None:
                raise MustBeWritten

    def _digest(self, key: Sequence[str], row: Row) -> bytes | None:
        """Return what equal values of a key have in common, None with a null."""
        values = [row.get(name) for name in key]
        if None in values:
            return None
        numbers = [
            int(value) if isinstance(value, float) and value.is_integer() else value
            for value in values
        ]
        encoded = encode([*key, numbers])
        if len(encoded) <= MAX_DIGEST:
            return encoded
        return hashlib.blake2b(encoded, digest_size=16).digest()


def _hash_values(row: Row) -> int:
    """Return what equal rows have in common."""
    try:
        return hash(tuple(row.values()))
    except TypeError:  # arrays and JSON
        return hash(encode(row))


def _count_bytes(texts: Iterable[Any]) -> int:
    """Count the bytes of texts and of lists of them."""
    count = 0
    for text in texts:
        parts = [text] if isinstance(text, str) else text or ()
        count += sum(len(part.encode()) for part in parts if part is not None)
    return count
