"""Queries for rows that prevent a change of the schema, and the errors that describe them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from psycopg import sql

from plugins.apps.manifest.types import type_name

from .conversions import converted, refused, uncertain
from .ddl import in_enum, relation
from .tables import CheckDef, Column, IndexDef, LinkDef, Table

_WIDTH: Final = sql.Literal(60)
_MAX_SAMPLES: Final = sql.Literal(3)
_MAX_IDS: Final = sql.Literal(20)
MAX_READ: Final = 1_000_000
"""Rows of a table that a glance reads."""
MAX_TRIED: Final = 50_000
"""Values that a glance converts, which takes 5 µs each: those whose form does not decide."""
_MAX_SHARED: Final = sql.Literal(10)
"""Values that several rows have, of which ids are listed."""


class Counted(msgspec.Struct, frozen=True):
    """How many rows prevent a change, up to three of their values, and the first 20 ids.

    `is_partial` says that a glance left rows out.
    """

    count: int
    samples: list[str]
    ids: list[str] = []
    is_partial: bool = False


class Check(msgspec.Struct, frozen=True):
    """A query that must count nothing; `singular` and `plural` say what it counts."""

    table: str
    column: str
    query: sql.Composed
    singular: str
    plural: str
    columns: tuple[str, ...] = ()
    """The columns that the query reads."""
    ids: sql.Composed | None = None
    """A query for the ids, where that costs as much as to count; asked where rows are found."""
    glance: sql.Composed | None = None
    """In place of `query` in a plan, where that may take long: it may leave rows out."""

    def describe(self, rows: Counted) -> str:
        """Describe the rows that prevent the change."""
        predicate = self.plural
        if rows.count == 1:
            predicate = self.singular
        number = f"at least {rows.count}" if rows.is_partial else str(rows.count)
        text = f"{self.table}.{self.column}: {number} {predicate}"
        if rows.samples:
            text += f" ({_write_samples(rows.samples)})"
        return text


def _write_samples(samples: Sequence[str]) -> str:
    return ", ".join(msgspec.json.encode(sample).decode() for sample in samples)


def converts(table: Table, column: Column, source: str) -> Check:
    """Find values that do not convert to the new type of a column."""
    rows = _write_from(table, refused(column.name, source, column.type))
    reason = f"not convert from {type_name(source)} to {type_name(column.type)}"
    check = _check(table, column.name, rows, f"value does {reason}", f"values do {reason}")
    glance = _glance_at_conversion(table, column, source)
    return msgspec.structs.replace(check, glance=glance)


def _glance_at_conversion(table: Table, column: Column, source: str) -> sql.Composed:
    """Count values that do not convert, among so many that a plan does not wait for it."""
    name = sql.Identifier(column.name)
    tried = sql.SQL(
        "select id, {c} from (select id, {c} from {t} limit {read}) as r where {uncertain} "
        "limit {tried}"
    ).format(
        c=name,
        t=relation(table.schema, table.name),
        read=sql.Literal(MAX_READ),
        uncertain=uncertain(column.name, source, column.type),
        tried=sql.Literal(MAX_TRIED),
    )
    bad = sql.SQL("select id::text as id, left({}::text, {}) as sample from tried where {}").format(
        name, _WIDTH, refused(column.name, source, column.type)
    )
    ids = sql.SQL("select id from bad order by id limit {}").format(_MAX_IDS)
    is_partial = sql.SQL(
        "(select count(*) from tried) = {} or exists (select from {} offset {})"
    ).format(sql.Literal(MAX_TRIED), relation(table.schema, table.name), sql.Literal(MAX_READ))
    return sql.SQL("with tried as materialized ({}), bad as materialized ({}) {}").format(
        tried, bad, _summarize_bad(ids, is_partial)
    )


def stays_unique(table: Table, column: Column, source: str) -> Check:
    """Find ids that become equal in the new type."""
    query = sql.SQL(
        "select json_build_object('count', count({c}) - count(distinct {n}), 'samples', '[]'::json)"
        " from {t}"
    ).format(
        c=sql.Identifier(column.name),
        n=converted(column.name, source, column.type),
        t=relation(table.schema, table.name),
    )
    reason = f"the same as another one in the type {type_name(column.type)}"
    place = (table.name, column.name)
    return Check(*place, query, f"value is {reason}", f"values are {reason}", ("id",))


def is_empty(table: Table, column: Column) -> Check:
    """Find rows of a table that gets a required column without a default."""
    reason = "a value and the field has no default_value"
    return Check(
        table.name,
        column.name,
        _count_without_value(table, sql.SQL("true")),
        f"row needs {reason}",
        f"rows need {reason}",
        ids=_list_without_value(table, sql.SQL("true")),
    )


def has_no_null(table: Table, column: Column) -> Check:
    """Find rows without a value in a column that becomes required."""
    condition = sql.SQL("{} is null").format(sql.Identifier(column.name))
    reason = "no value in it, and it is required"
    return Check(
        table.name,
        column.name,
        _count_without_value(table, condition),
        f"row has {reason}",
        f"rows have {reason}",
        (column.name,),
        _list_without_value(table, condition),
    )


def has_no_value(table: Table, column: Column) -> Check:
    """Find values in a column that becomes a generated one."""
    rows = _write_from(table, sql.SQL("{} is not null").format(sql.Identifier(column.name)))
    reason = "a value in it, and it becomes generated"
    return _check(table, column.name, rows, f"row has {reason}", f"rows have {reason}")


def keeps_enum(table: Table, check: CheckDef) -> Check:
    """Find values that an enum does not allow."""
    rows = _write_from(table, sql.SQL("not ({})").format(in_enum(check)))
    reason = "no longer among enum_values"
    singular = f"row has a value {reason}"
    return _check(table, check.column, rows, singular, f"rows have values {reason}")


def is_unique(table: Table, index: IndexDef) -> Check:
    """Find values that several rows share in columns that become unique."""
    columns = [sql.Identifier(column) for column in index.columns]
    as_texts = sql.SQL(", ").join(sql.SQL("{}::text").format(column) for column in columns)
    conditions = [sql.SQL("{} is not null").format(column) for column in columns]
    rows_table = relation(table.schema, table.name)
    shared = sql.SQL(
        "select {}, left(concat_ws(', ', {}), {}) as sample from {} where {} group by {} "
        "having count(*) > 1"
    ).format(
        sql.SQL(", ").join(columns),
        as_texts,
        _WIDTH,
        rows_table,
        sql.SQL(" and ").join(conditions),
        sql.SQL(", ").join(columns),
    )
    # The rows of a few values only: nothing is read again where no value is shared.
    ids = sql.SQL(
        "select r.id::text as id from {} as r join (select * from bad limit {}) as b using ({}) "
        "order by b.sample, r.id limit {}"
    ).format(rows_table, _MAX_SHARED, sql.SQL(", ").join(columns), _MAX_IDS)
    reason = "shared by several rows, and it is unique"
    return Check(
        table.name,
        ", ".join(index.columns),
        _count_rows(shared, ids),
        f"value is {reason}",
        f"values are {reason}",
        index.columns,
    )


def has_target(table: Table, link: LinkDef) -> Check:
    """Find values of a link that no record has as its id."""
    column = sql.Identifier(table.name, link.column)
    missing = sql.SQL("{0} is not null and not exists (select from {1} as _o where _o.id = {0})")
    rows = _write_from(table, missing.format(column, relation(*link.target)))
    target_schema, target_name = link.target
    if target_schema != table.schema:
        target_name = "users"
    reason = f"no record of {target_name}"
    return _check(table, link.column, rows, f"value is {reason}", f"values are {reason}")


def _check(table: Table, column: str, rows: sql.Composed, singular: str, plural: str) -> Check:
    value = sql.Identifier(column)
    query = sql.SQL("select {}.id::text as id, left({}::text, {}) as sample {}").format(
        sql.Identifier(table.name), value, _WIDTH, rows
    )
    ids = sql.SQL("select id from bad order by id limit {}").format(_MAX_IDS)
    return Check(table.name, column, _count_rows(query, ids), singular, plural, (column,))


def _write_from(table: Table, condition: sql.Composable) -> sql.Composed:
    return sql.SQL("from {} where {}").format(relation(table.schema, table.name), condition)


def _count_rows(rows: sql.Composed, ids: sql.Composed) -> sql.Composed:
    summary = _summarize_bad(ids, sql.SQL("false"))
    return sql.SQL("with bad as materialized ({}) {}").format(rows, summary)


def _summarize_bad(ids: sql.Composed, is_partial: sql.Composable) -> sql.Composed:
    """Return the query of a `Counted` about the rows of `bad`."""
    return sql.SQL(
        "select json_build_object('count', count(*), 'samples', ("
        "select coalesce(json_agg(sample), '[]') from (select distinct sample from bad limit {})"
        " as s), 'ids', (select coalesce(json_agg(i.id), '[]') from ({}) as i), "
        "'is_partial', {}) from bad"
    ).format(_MAX_SAMPLES, ids, is_partial)


def _count_without_value(table: Table, condition: sql.Composable) -> sql.Composed:
    """Count rows whose values say nothing; there may be many."""
    return sql.SQL(
        "select json_build_object('count', count(*), 'samples', '[]'::json) from {} where {}"
    ).format(relation(table.schema, table.name), condition)


def _list_without_value(table: Table, condition: sql.Composable) -> sql.Composed:
    return sql.SQL(
        "select coalesce(json_agg(i.id), '[]') from ("
        "select id::text as id from {} where {} order by id limit {}) as i"
    ).format(relation(table.schema, table.name), condition, _MAX_IDS)
