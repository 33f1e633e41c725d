"""Finds the rows that PostgreSQL refuses, by one statement: an error does not say which it was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import msgspec

from kernel.public import BadRequest, ConstraintViolation, Entity, Field, Reader, Transaction, Work
from plugins.data.columns.column import quoted
from plugins.data.execution.inserts import Insert, insert_one
from plugins.data.execution.violations import already_taken, no_such_record
from plugins.data.filters.conditions import Conditions
from plugins.data.rights.linked import LinkedRows
from plugins.data.statements.entity import USERS
from plugins.data.statements.entity_table import Table
from plugins.data.statements.write_statements import NO_SETTINGS
from plugins.data.values.arrays import ensure_id, params_of, rows_to_arrays
from plugins.data.values.threads import run_in_thread_if_large

from .row_tests import (
    RowTest,
    has_target,
    is_no_link,
    is_repeated,
    is_taken,
    refused_rows,
    sent_value,
)

_decode_refusal = msgspec.json.Decoder(tuple[int, int, int | None]).decode


class RowsRefused(BadRequest):
    """Rows that cannot be written, by their places from 0, with the error of each.

    The message is the first one's, after its place if rows have `numbers`.
    """

    def __init__(self, problems: Mapping[int, BadRequest], *, numbers: bool) -> None:
        place = min(problems)
        message = problems[place].message
        if numbers:
            message = f"[{place}] {message}"
        super().__init__(message)
        self.problems = problems


class Refusals:
    """Says which rows of an insert break a rule, and which rule."""

    def __init__(self, linked: LinkedRows) -> None:
        self._linked = linked

    async def find(self, reader: Reader, insert: Insert, shown: Entity) -> dict[int, BadRequest]:
        """Return errors by the numbers of the rows; none where the rule is of another kind.

        A row whose values an earlier one has is left out if that one is refused itself. `shown` is
        the entity as the caller sees it.
        """
        failed: dict[int, RowTest] = {}
        for place, test, first_place in await self._find_failed(reader, insert, repeats=True):
            if first_place not in failed:
                failed[place] = test
        return {insert.number(place): describe_test(shown, test) for place, test in failed.items()}

    async def find_by_records(self, reader: Reader, insert: Insert) -> dict[int, RowTest]:
        """Return the first test that each row fails because of what is stored already.

        What rows have in common with each other is no part of it.
        """
        refusals = await self._find_failed(reader, insert, repeats=False)
        return {place: test for place, test, _ in refusals}

    async def _find_failed(
        self, reader: Reader, insert: Insert, *, repeats: bool
    ) -> list[tuple[int, RowTest, int | None]]:
        """Return places, tests, and the places of the earlier rows with the same values."""
        table = insert.table
        columns = table.columns
        names, values = await run_in_thread_if_large(
            columns, insert.rows, rows_to_arrays, columns, insert.rows
        )
        conditions = table.conditions(*values)
        tests = self._write_tests(insert, conditions, {"id", *names})
        if not repeats:
            tests = [test for test in tests if not test.repeats]
        if not tests:
            return []
        query = refused_rows(table, names, tests)
        raw_refusals = await reader.fetch_all(query, *conditions.params, custom_plan=True)
        refusals = map(_decode_refusal, raw_refusals)
        return [(place, tests[number], first_place) for place, number, first_place in refusals]

    def _write_tests(self, insert: Insert, conditions: Conditions, sent: set[str]) -> list[RowTest]:
        table = insert.table
        if not table.entity.id_declared:
            sent = sent - {"id"}
        keys = [
            key
            for key in table.entity.unique
            if sent.issuperset(key) and {*key} != {*insert.unless}
        ]
        taken_tests = [is_taken(table, key) for key in keys]
        repeated_tests = [is_repeated(table, key) for key in keys]
        link_tests = self._write_link_tests(insert, conditions, sent)
        return [*taken_tests, *link_tests, *repeated_tests]

    def _write_link_tests(
        self, insert: Insert, conditions: Conditions, sent: set[str]
    ) -> list[RowTest]:
        table = insert.table
        links = insert.links
        if links is not None:
            conditions.related = links.related
        tests: list[RowTest] = []
        for field in table.entity.fields:
            if links is not None and links.files is not None and field.name in links.files.fields:
                if field.name in sent:
                    column = table.columns.find(field.name)
                    test = links.files.write_test(conditions, column, sent_value(column))
                    tests.append(is_no_link(table, field.name, [test]))
                continue
            if field.references is None or field.name not in sent:
                continue
            if links is not None and field.name in links.rows_by_field:
                column = table.columns.find(field.name)
                ids = b"$1::%b[]" % table.columns.id.cast
                allowed = links.write_link_tests(conditions, ids, column, sent_value(column))
            else:
                allowed = self._write_target_tests(table, field)
            if allowed:
                tests.append(is_no_link(table, field.name, allowed))
        return tests

    def _write_target_tests(self, table: Table, field: Field) -> list[bytes]:
        """Return conditions of which a link has to meet one: there is a record, here or there."""
        assert field.references is not None
        entity = field.references.entity
        column = table.columns.find(field.name)
        if entity == table.entity.name:
            is_of_these_rows = b"%b = any ($1::%b[])" % (sent_value(column), column.cast)
            return [has_target(column, table.name), is_of_these_rows]
        if entity != USERS:
            return [has_target(column, quoted(table.entity.app_id, entity))]
        accounts = self._linked.accounts
        return [] if accounts is None else [has_target(column, accounts)]


def describe_test(shown: Entity, test: RowTest) -> BadRequest:
    """Say what is wrong with a row that fails a test."""
    if test.is_link:
        return no_such_record(shown, test.fields[0])
    return already_taken(shown, test.fields)


class FailedRow(Exception):
    """The row of a bulk that violates a constraint."""

    def __init__(self, index: int, violation: ConstraintViolation) -> None:
        super().__init__(index)
        self.index = index
        self.violation = violation


class _AllInserted(Exception):
    """Every row could be inserted this time. Raised to roll the inserts back."""


async def find_failed_row(
    run: Callable[[Work[None]], Awaitable[None]], insert: Insert
) -> FailedRow | None:
    """Insert the rows one by one and roll back. PostgreSQL does not report which row failed.

    `run` runs work in a transaction. Return None where all of them can be inserted now.
    """
    try:
        await run(partial(_insert_each, insert=insert))
    except FailedRow as failed_row:
        return failed_row
    except _AllInserted:
        pass
    return None


async def _insert_each(tx: Transaction, *, insert: Insert) -> None:
    table = insert.table
    links_to_itself = [
        field.name
        for field in table.entity.fields
        if field.references is not None and field.references.entity == table.entity.name
    ]
    positions = {
        row["id"]: index for index, row in enumerate(insert.rows) if row.get("id") is not None
    }
    for index, sent_row in enumerate(insert.rows):
        row = ensure_id(sent_row)
        # Links to later rows point at the row itself: in a single statement they are valid.
        for name in links_to_itself:
            if positions.get(sent_row.get(name), -1) > index:
                row = {**row, name: row["id"]}
        values = await params_of(table.columns, row)
        params = [NO_SETTINGS, *values, tx.actor.user_id]
        statement, params = insert_one(insert, tuple(row), params)
        try:
            await tx.execute(statement, *params)
        except ConstraintViolation as violation:
            raise FailedRow(index, violation) from None
    raise _AllInserted
