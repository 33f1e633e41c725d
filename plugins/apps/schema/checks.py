"""Queries for rows that prevent a change of the schema, and the errors that describe them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from psycopg import sql

from plugins.apps.manifest.types import type_name

from .conversions import converted, refused
from .ddl import in_enum, relation
from .tables import CheckDef, Column, IndexDef, LinkDef, Table

_WIDTH: Final = sql.Literal(60)


class Counted(msgspec.Struct, frozen=True):
    """How many rows prevent a change, and up to three of their values."""

    count: int
    samples: list[str]


class Check(msgspec.Struct, frozen=True):
    """A query that must count nothing; `singular` and `plural` say what it counts."""

    subject: str
    query: sql.Composed
    singular: str
    plural: str
    columns: tuple[str, ...] = ()
    """The columns that the query reads."""

    def describe(self, rows: Counted) -> str:
        """Describe the rows that prevent the change."""
        predicate = self.plural
        if rows.count == 1:
            predicate = self.singular
        text = f"{self.subject}: {rows.count} {predicate}"
        if rows.samples:
            text += f" ({_write_samples(rows.samples)})"
        return text


def _write_samples(samples: Sequence[str]) -> str:
    return ", ".join(msgspec.json.encode(sample).decode() for sample in samples)


def converts(table: Table, column: Column, source: str) -> Check:
    """Find values that do not convert to the new type of a column."""
    rows = _rows(table, refused(column.name, source, column.type))
    reason = f"not convert from {type_name(source)} to {type_name(column.type)}"
    return _check(table, column.name, rows, f"value does {reason}", f"values do {reason}")


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
    subject = f"{table.name}.{column.name}"
    reason = f"the same as another one in the type {type_name(column.type)}"
    return Check(subject, query, f"value is {reason}", f"values are {reason}", ("id",))


def is_empty(table: Table, column: Column) -> Check:
    """Find rows of a table that gets a required column without a default."""
    query = sql.SQL(
        "select json_build_object('count', count(*), 'samples', '[]'::json) from {}"
    ).format(relation(table.schema, table.name))
    subject = f"{table.name}.{column.name}"
    reason = "a value and the field has no default_value"
    return Check(subject, query, f"row needs {reason}", f"rows need {reason}")


def has_no_null(table: Table, column: Column) -> Check:
    """Find rows without a value in a column that becomes required."""
    condition = sql.SQL("{} is null").format(sql.Identifier(column.name))
    query = sql.SQL(
        "select json_build_object('count', count(*), 'samples', '[]'::json) from {} where {}"
    ).format(relation(table.schema, table.name), condition)
    subject = f"{table.name}.{column.name}"
    reason = "no value in it, and it is required"
    return Check(subject, query, f"row has {reason}", f"rows have {reason}", (column.name,))


def has_no_value(table: Table, column: Column) -> Check:
    """Find values in a column that becomes a generated one."""
    rows = _rows(table, sql.SQL("{} is not null").format(sql.Identifier(column.name)))
    reason = "a value in it, and it becomes generated"
    return _check(table, column.name, rows, f"row has {reason}", f"rows have {reason}")


def keeps_enum(table: Table, check: CheckDef) -> Check:
    """Find values that an enum does not allow."""
    rows = _rows(table, sql.SQL("not ({})").format(in_enum(check)))
    reason = "no longer among enum_values"
    singular = f"row has a value {reason}"
    return _check(table, check.column, rows, singular, f"rows have values {reason}")


def is_unique(table: Table, index: IndexDef) -> Check:
    """Find values that several rows share in columns that become unique."""
    columns = [sql.Identifier(column) for column in index.columns]
    as_texts = sql.SQL(", ").join(sql.SQL("{}::text").format(column) for column in columns)
    conditions = [sql.SQL("{} is not null").format(column) for column in columns]
    shared = sql.SQL(
        "select left(concat_ws(', ', {}), {}) as sample from {} where {} group by {} "
        "having count(*) > 1"
    ).format(
        as_texts,
        _WIDTH,
        relation(table.schema, table.name),
        sql.SQL(" and ").join(conditions),
        sql.SQL(", ").join(columns),
    )
    subject = f"{table.name}.{', '.join(index.columns)}"
    reason = "shared by several rows, and it is unique"
    return Check(
        subject, _count_rows(shared), f"value is {reason}", f"values are {reason}", index.columns
    )


def has_target(table: Table, link: LinkDef) -> Check:
    """Find values of a link that no record has as its id."""
    column = sql.Identifier(table.name, link.column)
    missing = sql.SQL("{0} is not null and not exists (select from {1} as _o where _o.id = {0})")
    rows = _rows(table, missing.format(column, relation(*link.target)))
    target_schema, target_name = link.target
    if target_schema != table.schema:
        target_name = "users"
    reason = f"no record of {target_name}"
    return _check(table, link.column, rows, f"value is {reason}", f"values are {reason}")


def _check(table: Table, column: str, rows: sql.Composed, singular: str, plural: str) -> Check:
    value = sql.Identifier(column)
    query = sql.SQL("select left({}::text, {}) as sample {}").format(value, _WIDTH, rows)
    return Check(f"{table.name}.{column}", _count_rows(query), singular, plural, (column,))


def _rows(table: Table, condition: sql.Composable) -> sql.Composed:
    return sql.SQL("from {} where {}").format(relation(table.schema, table.name), condition)


def _count_rows(rows: sql.Composed) -> sql.Composed:
    return sql.SQL(
        "with bad as materialized ({}) select json_build_object('count', count(*), 'samples', ("
        "select coalesce(json_agg(sample), '[]') from (select distinct sample from bad limit {})"
        " as s)) from bad"
    ).format(rows, sql.Literal(3))
