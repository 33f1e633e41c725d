"""The tables that a manifest declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec
from psycopg import sql

from kernel.public import OWNER_COLUMN, Entity, Field, OnDelete
from plugins.apps.manifest.types import literal_of
from plugins.apps.models import Index, Manifest
from plugins.apps.names import derive

from .derived import expression_of, mark_of, short_fields, vectors_of

Relation = tuple[str, str]
"""Schema and table."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column; `default` is the text of a literal, `generator` fills a column of the server.

    `expression` is the default as PostgreSQL prints it, once it has been queried.
    """

    name: str
    type: str
    not_null: bool = False
    default: str | None = None
    generator: Literal["", "uuid", "now"] = ""
    expression: str | None = None
    derived: sql.Composable | None = None
    """What PostgreSQL computes the column from; `mark` is the comment that the column then has."""

    @property
    def mark(self) -> str | None:
        """The comment on a derived column."""
        if self.derived is None:
            return None
        return mark_of(self.derived)


class IndexDef(msgspec.Struct, frozen=True, kw_only=True):
    """An index, unique or not; `method` is `gin` for words and `trigram` for similar words."""

    name: str
    columns: tuple[str, ...]
    unique: bool
    method: Literal["", "gin", "trigram"] = ""


class CheckDef(msgspec.Struct, frozen=True, kw_only=True):
    """A check that a column (or each item of a list) has one of `values`."""

    name: str
    column: str
    type: str
    values: tuple[str, ...]


class LinkDef(msgspec.Struct, frozen=True, kw_only=True):
    """A foreign key to the `id` of another table."""

    name: str
    column: str
    target: Relation
    on_delete: OnDelete


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table as declared."""

    schema: str
    name: str
    columns: Mapping[str, Column]
    indexes: Mapping[str, IndexDef]
    checks: Mapping[str, CheckDef]
    links: Mapping[str, LinkDef]
    trigrams: str | None = None
    """The schema of the extension pg_trgm; without it there are no indexes of trigrams."""

    @property
    def primary_key(self) -> str:
        """The name of the primary key and its index."""
        return derive(self.name, "id", "pkey")

    @property
    def unique(self) -> tuple[tuple[str, ...], ...]:
        """The fields of each unique index, the id first."""
        unique_indexes = [index for index in self.indexes.values() if index.unique]
        return (("id",), *(index.columns for index in unique_indexes))

    @property
    def constraints(self) -> dict[str, tuple[str, ...]]:
        """The names of constraints that a write can violate, with their fields."""
        columns: dict[str, tuple[str, ...]] = {self.primary_key: ("id",)}
        columns |= {name: index.columns for name, index in self.indexes.items() if index.unique}
        columns |= {name: (check.column,) for name, check in self.checks.items()}
        columns |= {name: (link.column,) for name, link in self.links.items()}
        return columns


PLAIN: Final = ("id", "created_at", "updated_at", OWNER_COLUMN)
"""Columns that every table has; they never retire."""


def tables_of(manifest: Manifest, users: Relation) -> dict[str, Table]:
    """Return the tables of a manifest; `users` is the table of `core:users`."""
    return {
        entity.name: _make_table(entity, manifest.indexes.get(entity.name, ()), users)
        for entity in manifest.entities
    }


def add_trigrams(table: Table, trigrams: str | None) -> Table:
    """Return a table for a database with the extension pg_trgm in a schema, or without it."""
    if trigrams is not None:
        return msgspec.structs.replace(table, trigrams=trigrams)
    indexes = {name: index for name, index in table.indexes.items() if index.method != "trigram"}
    return msgspec.structs.replace(table, indexes=indexes)


def add_constraints(manifest: Manifest, tables: Mapping[str, Table]) -> Manifest:
    """Return the manifest with the names of constraints in its entities."""
    entities: list[Entity] = []
    for entity in manifest.entities:
        table = tables[entity.name]
        entities.append(
            msgspec.structs.replace(entity, constraints=table.constraints, unique=table.unique)
        )
    return msgspec.structs.replace(manifest, entities=tuple(entities))


def _make_table(entity: Entity, declared_indexes: Sequence[Index], users: Relation) -> Table:
    checks = [_check(entity, field) for field in entity.fields if field.enum_values]
    links = [_make_link(entity, field, users) for field in entity.fields if field.references]
    vectors = [
        Column(name=name, type="tsvector", derived=derived) for name, derived in vectors_of(entity)
    ]
    fields = [_column(field) for field in entity.fields]
    columns = [*_list_plain_columns(entity), *fields, *vectors]
    return Table(
        schema=entity.app_id,
        name=entity.name,
        columns={column.name: column for column in columns},
        indexes={index.name: index for index in _indexes(entity, declared_indexes)},
        checks={check.name: check for check in checks},
        links={link.name: link for link in links},
    )


def _list_plain_columns(entity: Entity) -> Iterable[Column]:
    yield Column(name="id", type=entity.id_type, not_null=True, generator="uuid")
    for name in ("created_at", "updated_at"):
        yield Column(name=name, type="timestamptz", not_null=True, generator="now")
    yield Column(name=OWNER_COLUMN, type="uuid")


def _column(field: Field) -> Column:
    default = None
    if field.default is not None:
        default = literal_of(field.default, field.sql_type)
    derived = None
    if field.generated is not None:
        derived = expression_of(field)
    return Column(
        name=field.name,
        type=field.sql_type,
        not_null=field.required,
        default=default,
        derived=derived,
    )


def _indexes(entity: Entity, declared: Sequence[Index]) -> Iterable[IndexDef]:
    """Yield declared indexes, those of the default order, and one for each unserved link or file.

    The default order has an index of all records and one by creator: a list for
    `<entity>.read.own` would scan the whole table otherwise.
    """
    for index in declared:
        stem = index.name or "_".join(index.columns)
        kind = "idx"
        if index.unique:
            kind = "key"
        name = derive(entity.name, stem, kind, index.columns)
        yield IndexDef(name=name, columns=index.columns, unique=index.unique)

    for order in (("created_at", "id"), (OWNER_COLUMN, "created_at", "id")):
        if not any(index.columns == order for index in declared):
            name = derive(entity.name, "_".join(order), "idx", order)
            yield IndexDef(name=name, columns=order, unique=False)

    first_columns = {index.columns[0] for index in declared}
    for field in entity.fields:
        if field.type == "[file]":
            name = derive(entity.name, field.name, "gin", field.name)
            yield IndexDef(name=name, columns=(field.name,), unique=False, method="gin")
        elif (field.references or field.file) and field.name not in first_columns:
            name = derive(entity.name, field.name, "idx", (field.name,))
            yield IndexDef(name=name, columns=(field.name,), unique=False)

    for column, _ in vectors_of(entity):
        name = derive(entity.name, column, "gin", column)
        yield IndexDef(name=name, columns=(column,), unique=False, method="gin")
    for field_name in short_fields(entity):
        name = derive(entity.name, field_name, "trigram", field_name)
        yield IndexDef(name=name, columns=(field_name,), unique=False, method="trigram")


def _check(entity: Entity, field: Field) -> CheckDef:
    return CheckDef(
        name=derive(entity.name, field.name, "check", field.enum_values, field.sql_type),
        column=field.name,
        type=field.sql_type,
        values=field.enum_values,
    )


def _make_link(entity: Entity, field: Field, users: Relation) -> LinkDef:
    assert field.references is not None
    target = (entity.app_id, field.references.entity)
    if field.references.entity == "core:users":
        target = users
    return LinkDef(
        name=derive(entity.name, field.name, "fkey", field.sql_type, target, field.on_delete),
        column=field.name,
        target=target,
        on_delete=field.on_delete,
    )
