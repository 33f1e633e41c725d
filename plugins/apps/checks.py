"""Questions to the rows before a change of the schema, and the words of a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from psycopg import sql

from .convert import converted, refused
from .ddl import in_enum, relation
from .fieldtypes import spoken
from .model import CheckDef, Column, IndexDef, LinkDef, Table

SHOWN: Final = 3
_WIDTH: Final = sql.Literal(60)


class Answer(msgspec.Struct, frozen=True):
    """How many rows stand in the way, and up to three of their values."""

    count: int
    samples: list[str]


class Check(msgspec.Struct, frozen=True):
    """A query whose answer should be nothing; `one` and `many` say what it counts."""

    subject: str
    query: sql.Composed
    one: str
    many: str

    def refusal(self, answer: Answer) -> str:
        """The sentence for a caller."""
        said = f"{self.subject}: {answer.count} {self.one if answer.count == 1 else self.many}"
        return said + (f" ({_listed(answer.samples)})" if answer.samples else "")


def _listed(samples: Sequence[str]) -> str:
    return ", ".join(msgspec.json.encode(sample).decode() for sample in samples)


def converts(table: Table, column: Column, source: str) -> Check:
    """Values that are lost in the new type of a column."""
    rows = _rows(table, refused(column.name, source, column.type))
    said = f"not convert from {spoken(source)} to {spoken(column.type)}"
    return _check(table, column.name, rows, f"value does {said}", f"values do {said}")


def stays_unique(table: Table, column: Column, source: str) -> Check:
    """Ids that are different now and would be the same."""
    query = sql.SQL(
        "select json_build_object('count', count({c}) - count(distinct {n}), 'samples', '[]'::json)"
        " from {t}"
    ).format(
        c=sql.Identifier(column.name),
        n=converted(column.name, source, column.type),
        t=relation(table.schema, table.name),
    )
    said = f"the same as another one in the type {spoken(column.type)}"
    return Check(f"{table.name}.{column.name}", query, f"value is {said}", f"values are {said}")


def is_empty(table: Table, column: Column) -> Check:
    """Rows of a table that gets a required column without a default."""
    query = sql.SQL(
        "select json_build_object('count', count(*), 'samples', '[]'::json) from {}"
    ).format(relation(table.schema, table.name))
    said = "a value and the field has no default_value"
    return Check(f"{table.name}.{column.name}", query, f"row needs {said}", f"rows need {said}")


def has_no_null(table: Table, column: Column) -> Check:
    """Rows without a value in a column that becomes required."""
    where = sql.SQL("{} is null").format(sql.Identifier(column.name))
    query = sql.SQL(
        "select json_build_object('count', count(*), 'samples', '[]'::json) from {} where {}"
    ).format(relation(table.schema, table.name), where)
    subject = f"{table.name}.{column.name}"
    said = "no value in it, and it is required"
    return Check(subject, query, f"row has {said}", f"rows have {said}")


def keeps_enum(table: Table, check: CheckDef) -> Check:
    """Values that are none of an enum's."""
    rows = _rows(table, sql.SQL("not ({})").format(in_enum(check)))
    said = "no longer among enum_values"
    return _check(table, check.column, rows, f"row has a value {said}", f"rows have values {said}")


def is_unique(table: Table, index: IndexDef) -> Check:
    """Values that several rows share where a unique index comes."""
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
    said = "shared by several rows, and it is unique"
    return Check(subject, _counted(shared), f"value is {said}", f"values are {said}")


def has_target(table: Table, link: LinkDef) -> Check:
    """Values of a link that no record has as its id."""
    column = sql.Identifier(table.name, link.column)
    missing = sql.SQL("{0} is not null and not exists (select from {1} as _o where _o.id = {0})")
    rows = _rows(table, missing.format(column, relation(*link.target)))
    named = "users" if link.target[0] != table.schema else link.target[1]
    said = f"no record of {named}"
    return _check(table, link.column, rows, f"value is {said}", f"values are {said}")


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
    ).format(rows, sql.Literal(SHOWN))
