"""DDL from names that were checked: whole statements, and clauses of ALTER TABLE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from psycopg import sql

from kernel.public import OnDelete
from plugins.apps.manifest.types import AS_SQL

from .conversions import converted
from .tables import CheckDef, Column, IndexDef, LinkDef, Table

Clause = sql.Composable
"""A part of ALTER TABLE."""

TRIGGER: Final = "caudex_touch"
_COMMA: Final = sql.SQL(", ")
_ON_DELETE: Final[Mapping[OnDelete, sql.SQL]] = {
    "cascade": sql.SQL("cascade"),
    "restrict": sql.SQL("restrict"),
    "set_null": sql.SQL("set null"),
}
_GENERATED: Final[Mapping[tuple[str, str], sql.SQL]] = {
    ("uuid", "uuid"): sql.SQL("gen_random_uuid()"),
    ("uuid", "text"): sql.SQL("gen_random_uuid()::text"),
    ("now", "timestamptz"): sql.SQL("now()"),
}


def create_schema(name: str) -> sql.Composed:
    """The schema of an app."""
    return sql.SQL("create schema {}").format(sql.Identifier(name))


def drop_schema(name: str) -> sql.Composed:
    """The schema of an app with all its tables."""
    return sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(name))


def create_table(table: Table) -> sql.Composed:
    """A table with its columns and checks; links follow once every table exists."""
    key = sql.SQL("constraint {} primary key (id)").format(sql.Identifier(table.primary_key))
    columns = [_column(column) for column in table.columns.values()]
    checks = [_check(check) for check in table.checks.values()]
    return sql.SQL("create table {} ({})").format(
        relation(table.schema, table.name), _COMMA.join([*columns, key, *checks])
    )


def alter(schema: str, table: str, clauses: Iterable[Clause]) -> sql.Composed:
    """All clauses in one statement, so that a table is rewritten once."""
    return sql.SQL("alter table {} {}").format(relation(schema, table), _COMMA.join(clauses))


def lock_tables(schema: str, tables: Iterable[str]) -> sql.Composed:
    """Lock tables until the transaction ends."""
    names = _COMMA.join(relation(schema, table) for table in tables)
    return sql.SQL("lock table {} in access exclusive mode").format(names)


def drop_table(schema: str, table: str) -> sql.Composed:
    """A table, permanently."""
    return sql.SQL("drop table {}").format(relation(schema, table))


def rename_table(schema: str, former: str, name: str) -> sql.Composed:
    """A table's name."""
    return sql.SQL("alter table {} rename to {}").format(
        relation(schema, former), sql.Identifier(name)
    )


def rename_column(schema: str, table: str, former: str, name: str) -> sql.Composed:
    """A column's name."""
    return sql.SQL("alter table {} rename column {} to {}").format(
        relation(schema, table), sql.Identifier(former), sql.Identifier(name)
    )


def rename_index(schema: str, former: str, name: str) -> sql.Composed:
    """An index's name."""
    return sql.SQL("alter index {} rename to {}").format(
        relation(schema, former), sql.Identifier(name)
    )


def rename_constraint(schema: str, table: str, former: str, name: str) -> sql.Composed:
    """A constraint's name, and that of its index if it has one."""
    return sql.SQL("alter table {} rename constraint {} to {}").format(
        relation(schema, table), sql.Identifier(former), sql.Identifier(name)
    )


def create_index(table: Table, index: IndexDef) -> sql.Composed:
    """An index."""
    columns = [sql.Identifier(column) for column in index.columns]
    unique = sql.SQL("")
    if index.unique:
        unique = sql.SQL("unique ")
    method = sql.SQL("")
    if index.method:
        method = sql.SQL("using gin ")
    operators = sql.SQL("")
    if index.method == "trigram":
        assert table.trigrams is not None
        operators = sql.SQL(" {}").format(sql.Identifier(table.trigrams, "gin_trgm_ops"))
    return sql.SQL("create {}index {} on {} {}({}{})").format(
        unique,
        sql.Identifier(index.name),
        relation(table.schema, table.name),
        method,
        _COMMA.join(columns),
        operators,
    )


def drop_index(schema: str, name: str) -> sql.Composed:
    """An index, which is in the schema of its table."""
    return sql.SQL("drop index if exists {}").format(sql.Identifier(schema, name))


def create_trigger(table: Table) -> sql.Composed:
    """The trigger that sets `updated_at`."""
    return sql.SQL(
        "create or replace trigger {} before update on {} "
        "for each row execute function caudex_apps.touch()"
    ).format(sql.Identifier(TRIGGER), relation(table.schema, table.name))


def add_column(column: Column) -> Clause:
    """A new column; rows that exist get its default."""
    return sql.SQL("add column {}").format(_column(column))


def mark_column(schema: str, table: str, name: str, mark: str | None) -> sql.Composed:
    """The comment of a derived column, or none."""
    return sql.SQL("comment on column {} is {}").format(
        sql.Identifier(schema, table, name), sql.Literal(mark)
    )


def drop_expression(name: str) -> Clause:
    """A derived column as an ordinary one with its values."""
    return sql.SQL("alter column {} drop expression").format(sql.Identifier(name))


def drop_column(name: str) -> Clause:
    """A column, permanently."""
    return sql.SQL("drop column {}").format(sql.Identifier(name))


def change_type(column: Column, source: str) -> Clause:
    """A column's type, with every value converted."""
    return sql.SQL("alter column {} type {} using {}").format(
        sql.Identifier(column.name),
        AS_SQL[column.type],
        converted(column.name, source, column.type),
    )


def set_default(column: Column) -> Clause:
    """A column's default."""
    default = _write_default(column)
    assert default is not None
    return sql.SQL("alter column {} set default {}").format(sql.Identifier(column.name), default)


def drop_default(name: str) -> Clause:
    """No default."""
    return sql.SQL("alter column {} drop default").format(sql.Identifier(name))


def set_not_null(name: str) -> Clause:
    """A required column."""
    return sql.SQL("alter column {} set not null").format(sql.Identifier(name))


def drop_not_null(name: str) -> Clause:
    """An optional column."""
    return sql.SQL("alter column {} drop not null").format(sql.Identifier(name))


def add_check(check: CheckDef) -> Clause:
    """An enum."""
    return sql.SQL("add {}").format(_check(check))


def add_link(link: LinkDef) -> Clause:
    """A foreign key."""
    return sql.SQL("add constraint {} foreign key ({}) references {} (id) on delete {}").format(
        sql.Identifier(link.name),
        sql.Identifier(link.column),
        relation(*link.target),
        _ON_DELETE[link.on_delete],
    )


def drop_constraint(name: str) -> Clause:
    """A check or a foreign key."""
    return sql.SQL("drop constraint {}").format(sql.Identifier(name))


def relation(schema: str, table: str) -> sql.Identifier:
    """A table by its full name."""
    return sql.Identifier(schema, table)


def in_enum(check: CheckDef) -> sql.Composed:
    """The condition of an enum; NULL satisfies it.

    PostgreSQL parses the stored conditions of a table for each statement that writes it. With
    one literal in place of a node for each value, that takes two thirds of the time.
    """
    condition = sql.SQL("{} = any ({}::text[])")
    if check.type == "text[]":
        condition = sql.SQL("{} <@ {}::text[]")
    return condition.format(sql.Identifier(check.column), sql.Literal(list(check.values)))


def _check(check: CheckDef) -> sql.Composed:
    return sql.SQL("constraint {} check ({})").format(sql.Identifier(check.name), in_enum(check))


def _column(column: Column) -> sql.Composed:
    kind = AS_SQL.get(column.type, sql.SQL("tsvector"))
    parts: list[sql.Composable] = [sql.Identifier(column.name), kind]
    if column.derived is not None:
        parts.append(sql.SQL("generated always as ({}) stored").format(column.derived))
    default = _write_default(column)
    if default is not None:
        parts += [sql.SQL("default"), default]
    if column.not_null:
        parts.append(sql.SQL("not null"))
    return sql.SQL(" ").join(parts)


def _write_default(column: Column) -> sql.Composable | None:
    if column.default is not None:
        literal = sql.Literal(column.default)
        return sql.SQL("{}::{}").format(literal, AS_SQL[column.type])
    return _GENERATED.get((column.generator, column.type))
