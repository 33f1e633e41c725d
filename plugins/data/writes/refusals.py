"""Finds the rows that PostgreSQL refuses, by one statement: an error does not say which it was."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kernel.public import BadRequest, Entity, Field, Reader
from plugins.data.columns import quoted
from plugins.data.filters import Conditions
from plugins.data.reads.related import Related
from plugins.data.statements.entity import USERS
from plugins.data.statements.refused import (
    RowTest,
    has_target,
    is_no_link,
    is_repeated,
    is_taken,
    refused_rows,
    sent_value,
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
        params = table.conditions(*values)
        tests = self._tests(insert, params, {"id", *names})
        if not tests:
            return {}
        query = refused_rows(table, names, tests)
        raw = await reader.fetch_all(query, *params.params, custom_plan=True)
        problems: dict[int, BadRequest] = {}
        for place, number, first in map(_refused, raw):
            if first not in problems:
                problems[place] = _error(shown, tests[number])
        return {insert.number(place): problem for place, problem in problems.items()}

    def _tests(self, insert: Insert, params: Conditions, sent: set[str]) -> list[RowTest]:
        table = insert.table
        if not table.entity.id_declared:
            sent = sent - {"id"}
        keys = [key for key in table.entity.unique if sent.issuperset(key)]
        taken = [is_taken(table, key) for key in keys]
        repeated = [is_repeated(table, key) for key in keys]
        return [*taken, *self._link_tests(insert, params, sent), *repeated]

    def _link_tests(self, insert: Insert, params: Conditions, sent: set[str]) -> list[RowTest]:
        table, links = insert.table, insert.links
        if links is not None:
            params.related = links.related
        tests: list[RowTest] = []
        for field in table.entity.fields:
            if field.references is None or field.name not in sent:
                continue
            if links is not None and field.name in links.targets:
                column = table.columns.find(field.name)
                ids = b"$1::%b[]" % table.columns.id.cast
                allowed = links.tests(params, ids, column, sent_value(column))
            else:
                allowed = self._targets(table, field)
            if allowed:
                tests.append(is_no_link(table, field.name, allowed))
        return tests

    def _targets(self, table: Table, field: Field) -> list[bytes]:
        """Return conditions of which a link has to meet one: there is a record, here or there."""
        entity = field.references.entity if field.references is not None else ""
        column = table.columns.find(field.name)
        if entity == table.entity.name:
            among = b"%b = any ($1::%b[])" % (sent_value(column), column.cast)
            return [has_target(column, table.name), among]
        if entity != USERS:
            return [has_target(column, quoted(table.entity.app_id, entity))]
        accounts = self._related.accounts
        return [] if accounts is None else [has_target(column, accounts)]


def _error(shown: Entity, test: RowTest) -> BadRequest:
    if test.is_link:
        return no_such_record(shown, test.fields[0])
    return already_taken(shown, test.fields)
