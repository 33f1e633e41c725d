"""Finds the rows that PostgreSQL refuses, by one statement: an error does not say which it was."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kernel.public import BadRequest, Entity, Reader
from plugins.data.columns import quoted
from plugins.data.reads.related import USERS, Related
from plugins.data.statements.refused import (
    RowTest,
    has_no_target,
    is_repeated,
    is_taken,
    refused_rows,
)
from plugins.data.store import Table

from .inserts import Insert
from .rows import arrays, run_in_thread_if_large
from .violations import already_taken, no_such_record

_refused = msgspec.json.Decoder(tuple[int, int, int | None]).decode


class RowsRefused(BadRequest):
    """Rows that cannot be written, by their places from 0, with the error of each.

    The message is the first one's, after its place if rows have `numbers`.
    """

    def __init__(self, problems: Mapping[int, BadRequest], *, numbers: bool) -> None:
        place = min(problems)
        message = problems[place].message
        super().__init__(f"[{place}] {message}" if numbers else message)
        self.problems = problems


class Refusals:
    """Says which rows of an insert break a rule, and which rule."""

    def __init__(self, related: Related) -> None:
        self._related = related

    async def find(self, reader: Reader, insert: Insert, shown: Entity) -> dict[int, BadRequest]:
        """Return errors by the numbers of the rows; none where the rule is of another kind.

        A row whose values an earlier one has is left out if that one is refused itself. `shown` is
        the entity as the caller sees it.
        """
        table = insert.table
        work = run_in_thread_if_large(
            table.columns, insert.rows, arrays, table.columns, insert.rows
        )
        names, values = await work
        tests = self._tests(table, {"id", *names})
        if not tests:
            return {}
        raw = await reader.fetch_all(refused_rows(table, names, tests), *values, custom_plan=True)
        problems: dict[int, BadRequest] = {}
        for place, number, first in map(_refused, raw):
            if first not in problems:
                problems[place] = _error(shown, tests[number])
        return {insert.number(place): problem for place, problem in problems.items()}

    def _tests(self, table: Table, sent: set[str]) -> list[RowTest]:
        if not table.entity.id_declared:
            sent = sent - {"id"}
        keys = [key for key in table.entity.unique if sent.issuperset(key)]
        taken = [is_taken(table, key) for key in keys]
        repeated = [is_repeated(table, key) for key in keys]
        return [*taken, *self._link_tests(table, sent), *repeated]

    def _link_tests(self, table: Table, sent: set[str]) -> list[RowTest]:
        tests: list[RowTest] = []
        for field in table.entity.fields:
            if field.references is None or field.name not in sent:
                continue
            target = field.references.entity
            if target == table.entity.name:
                tests.append(has_no_target(table, field.name, table.name, among_rows=True))
            elif target != USERS:
                name = quoted(table.entity.app_id, target)
                tests.append(has_no_target(table, field.name, name))
            elif self._related.accounts is not None:
                tests.append(has_no_target(table, field.name, self._related.accounts))
        return tests


def _error(shown: Entity, test: RowTest) -> BadRequest:
    if test.is_link:
        return no_such_record(shown, test.fields[0])
    return already_taken(shown, test.fields)
