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
    """A query that must count nothing; `one` and `many` say what it counts."""

    subject: str
    query: sql.Composed
    one: str
    many: str

    def refusal(self, found: Counted) -> str:
        """Describe the rows that were found."""
        text = f"{self.subject}: {found.count} {self.one if found.count == 1 else self.many}"
        return text + (f" ({_listed(found.samples)})" if found.samples else "")


def _listed(samples: Sequence[str]) -> str:
    return ", ".join(msgspec.json.encode(sample).decode() for sample in samples)


def converts(table: Table, column: Column, source: str) -> Check:
    """Find values that do not convert to the new type of a column."""
    rows = _rows(table, refused(column.name, source, column.type))
    what = f"not convert from {type_name(source)} to {type_name(column.type)}"
    return _check(table, column.name, rows, f"value does {what}", f"values do {what}")


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
    what = f"the same as another one in the type {type_name(column.type)}"
    return Check(f"{table.name}.{column.name}", query, f"value is {what}", f"values are {what}")


def is_empty(table: Table, column: Column) -> Check:
    """Find rows of a table that gets a required column without a default."""
    query = sql.SQL(
        "select json_build_object('count', count(*), 'samples', '[]'::json) from {}"
    ).format(relation(table.schema, table.name))
    what = "a value and the field has no default_value"
    return Check(f"{table.name}.{column.name}", query, f"row needs {what}", f"rows need {what}")


def has_no_null(table: Table, column: Column) -> Check:
    """Find rows without a value in a column that becomes required."""
    where = sql.SQL("{} is null").format(sql.Identifier(column.name))
    query = sql.SQL(
        "select json_build_object('count', count(*), 'samples', '[]'::json) from {} where {}"
    ).format(relation(table.schema, table.name), where)
    subject = f"{table.name}.{column.name}"
    what = "no value in it, and it is required"
    return Check(subject, query, f"row has {what}", f"rows have {what}")


def has_no_value(table: Table, column: Column) -> Check:
    """Find values in a column that becomes a generated one."""
    rows = _rows(table, sql.SQL("{} is not null").format(sql.Identifier(column.name)))
    what = "a value in it, and it becomes generated"
    return _check(table, column.name, rows, f"row has {what}", f"rows have {what}")


def keeps_enum(table: Table, check: CheckDef) -> Check:
    """Find values that an enum does not allow."""
    rows = _rows(table, sql.SQL("not ({})").format(in_enum(check)))
    what = "no longer among enum_values"
    return _check(table, check.column, rows, f"row has a value {what}", f"rows have values {what}")


def is_unique(table: Table, index: IndexDef) -> Check:
    """Find values that several rows share in columns that become unique."""
    columns = [sql.Identifier(column) for column in index.columns]
    listed = sql.SQL(", ").join(columns)
    filled = sql.SQL(" and ").join(sql.SQL("{} is not null").format(c) for c in columns)
    shared = sql.SQL(
        "select left(concat_ws(', ', {}), {}) as sample from {} where {} group by {} "
        "having count(*) > 1"
    ).format(
        sql.SQL(", ").join(sql.SQL("{}::text").format(c) for c in columns),
        _WIDTH, relation(table.schema, table.name), filled, listed,
    )  # fmt: skip
    subject = f"{table.name}.{', '.join(index.columns)}"
    what = "shared by several rows, and it is unique"
    return Check(subject, _counted(shared), f"value is {what}", f"values are {what}")


def has_target(table: Table, link: LinkDef) -> Check:
    """Find values of a link that no record has as its id."""
    column = sql.Identifier(table.name, link.column)
    missing = sql.SQL("{0} is not null and not exists (select from {1} as _o where _o.id = {0})")
    rows = _rows(table, missing.format(column, relation(*link.target)))
    named = "users" if link.target[0] != table.schema else link.target[1]
    what = f"no record of {named}"
    return _check(table, link.column, rows, f"value is {what}", f"values are {what}")


def _check(table: Table, column: str, rows: sql.Composed, one: str, many: str) -> Check:
    value = sql.Identifier(column)
    query = sql.SQL("select left({}::text, {}) as sample {}").format(value, _WIDTH, rows)
    return Check(f"{table.name}.{column}", _counted(query), one, many)


def _rows(table: Table, where: sql.Composable) -> sql.Composed:
    return sql.SQL("from {} where {}").format(relation(table.schema, table.name), where)


def _counted(rows: sql.Composed) -> sql.Composed:
    return sql.SQL(
        "with bad as materialized ({}) select json_build_object('count', count(*), 'samples', ("
        "select coalesce(json_agg(sample), '[]') from (select distinct sample from bad limit {})"
        " as s)) from bad"
    ).format(rows, sql.Literal(3))
