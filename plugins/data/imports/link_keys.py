"""Links by a natural key: a file names the records that it links to as people do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from kernel.public import Actor, Transaction
from plugins.data.exchange.header import LinkKey
from plugins.data.exchange.parse import NumberedRow, Problem
from plugins.data.execution.violations import no_such_record
from plugins.data.filters.conditions import Conditions
from plugins.data.rights.row_scope import RowScope
from plugins.data.rights.scopes import RowScopes
from plugins.data.statements.entity_table import Table
from plugins.data.values.rows import Row


class LinkTargets(msgspec.Struct, frozen=True):
    """The records that a caller may read, by the field that links to them.

    `related` are those that the conditions of these reach.
    """

    by_field: Mapping[str, RowScope]
    related: Mapping[str, RowScope]


class ResolvedRows(NamedTuple):
    """Rows with ids in place of keys, and what is wrong with those whose key no record has."""

    rows: Sequence[NumberedRow]
    problems: Sequence[Problem]


_decode_target = msgspec.json.Decoder(tuple[Any, str]).decode


class LinkKeys:
    """Finds the records that rows name."""

    def __init__(self, scopes: RowScopes) -> None:
        self._scopes = scopes

    async def find_targets(self, actor: Actor, table: Table) -> LinkTargets:
        """Return what the links of a table may lead to."""
        entities = {
            field.name: field.references.entity
            for field in table.shown.fields
            if field.references is not None
        }
        if not entities:
            return LinkTargets({}, {})
        app_id = table.entity.app_id
        readable = await self._scopes.linked.find_readable(actor, app_id, {*entities.values()})
        by_field = {
            field: readable[entity] for field, entity in entities.items() if entity in readable
        }
        return LinkTargets(by_field, readable)

    async def resolve(
        self, tx: Transaction, table: Table, targets: LinkTargets, rows: Sequence[NumberedRow]
    ) -> ResolvedRows:
        """Put ids in place of keys."""
        sent = dict[tuple[str, str], dict[Any, None]]()
        for _, row in rows:
            for field, key in list_keys(row):
                sent.setdefault((field, key.key), {})[key.value] = None
        ids = {
            (field, key): await self._find_ids(tx, targets, field, key, list(values))
            for (field, key), values in sent.items()
        }
        resolved = list[NumberedRow]()
        problems = list[Problem]()
        for number, row in rows:
            problem = None
            link_ids = dict[str, str]()
            for field, key in list_keys(row):
                record_id = ids[field, key.key].get(key.value)
                if record_id is None:
                    message = no_such_record(table.shown, field).message
                    problem = Problem(number, f"{field}.{key.key}", key.value, message)
                    break
                link_ids[field] = record_id
            if problem is not None:
                problems.append(problem)
            else:
                resolved.append(NumberedRow(number, {**row, **link_ids}))
        return ResolvedRows(resolved, problems)

    async def _find_ids(
        self, tx: Transaction, targets: LinkTargets, field: str, key: str, values: list[Any]
    ) -> dict[Any, str]:
        """Return the ids of the records that have these values, by the values."""
        rows = targets.by_field[field]
        column = rows.columns.find(key)
        conditions = Conditions(rows.columns, (), targets.related)
        conditions.parts += rows.write_conditions(conditions, b"t")
        sent = conditions.bind(values, column.cast + b"[]")
        conditions.parts.append(b"%b = any(%b)" % (column.sql, sent))
        items = b"json_build_array(%b, %b::text)" % (column.sql, rows.columns.id.sql)
        query = rows.table.select_from(conditions, items)
        raw_targets = await tx.fetch_all(query, *conditions.params, custom_plan=True)
        return dict(map(_decode_target, raw_targets))


def list_keys(row: Row) -> list[tuple[str, LinkKey]]:
    """Return the fields of a row that name their target by a key."""
    return [(field, value) for field, value in row.items() if isinstance(value, LinkKey)]


def list_new_keys(table: Table, row: Row) -> dict[str, Any]:
    """Return the values by which other rows of the table may link to the record of a row."""
    keys = [key[0] for key in table.shown.unique if len(key) == 1]
    return {key: row[key] for key in keys if row.get(key) is not None}


def links_to_any(table: Table, row: Row, new_keys: Mapping[str, set[Any]]) -> bool:
    """Whether a row links to a record of its own table that has one of some values."""
    for field_name, key in list_keys(row):
        field = table.columns.find(field_name).field
        assert field is not None
        assert field.references is not None
        is_own_table = field.references.entity == table.entity.name
        if is_own_table and key.value in new_keys.get(key.key, ()):
            return True
    return False
