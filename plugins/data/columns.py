"""The columns of an entity in SQL; every name comes from the stored manifest."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from psycopg import sql

from kernel.public import (
    FIELD_KINDS,
    App,
    BadRequest,
    Entity,
    Field,
    ValueKind,
    coerce_value,
    nearest,
)

CASTS: Final[Mapping[ValueKind, bytes]] = {
    "text": b"text",
    "number": b"double precision",
    "boolean": b"boolean",
    "date": b"date",
    "timestamp": b"timestamptz",
    "json": b"jsonb",
    "uuid": b"uuid",
    "texts": b"text[]",
    "numbers": b"double precision[]",
    "file": b"uuid",
    "files": b"uuid[]",
}


_UUID: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z"
_LARGEST: Final = sys.float_info.max
AS_SENT: Final[Mapping[ValueKind, Any]] = {
    "text": str,
    "number": Annotated[int, Meta(ge=-(2**53), le=2**53)]
    | Annotated[float, Meta(ge=-_LARGEST, le=_LARGEST)],
    "boolean": bool,
    "date": date,
    "uuid": Annotated[str, Meta(pattern=_UUID)],
}
"""Types of JSON values that a column of a kind stores as they were sent. msgspec checks all values
of a body at once, and a conversion takes ten times as long. They may refuse a value that the
conversion accepts, never the reverse. Texts must be looked at for U+0000 as well."""


MAX_COLUMNS: Final = 500 + 4
"""Fields that an entity can have, with `id`, `created_at`, `updated_at` and `_etag`. No list of
names needs more."""

MAX_KNOWN: Final = 100
"""Lists of fields that an entity remembers; clients send few."""


class BodyFields(msgspec.Struct, frozen=True):
    """What is known of the bodies that have the same fields in the same order."""

    names: tuple[str, ...]
    """The fields that are stored, in the order of a record."""
    texts: tuple[str, ...]
    converted: tuple[Column, ...]
    """Those whose values are converted one by one, in the order of the body."""
    complete: bool
    """Whether a record can be created from them."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column: `sql` is its name under the alias `t`, `bare` without it, `cast` its type.

    `shown` is what replies have in its place, where that is not the value itself.
    """

    name: str
    label: str
    type: str
    kind: ValueKind
    bare: bytes
    sql: bytes
    cast: bytes
    nullable: bool
    field: Field | None = None
    shown: bytes | None = None

    @property
    def item(self) -> bytes:
        """What replies show of the column, as an item of a select list."""
        return self.sql if self.shown is None else b"%b as %b" % (self.shown, self.bare)

    def coerce(self, value: Any, where: str = "") -> Any:
        """Return a value as the column stores it. Raises BadRequest."""
        # An empty link is null, even one to an entity with text ids.
        if value == "" and self.type == "entity_link":
            return None
        return coerce_value(self.kind, value, where or self.label)


class Link(msgspec.Struct, frozen=True):
    """A way from an entity to another one: by its own link, or by links to it (`reverse`).

    `column` is the link's field, of this entity or of the other one.
    """

    entity: str
    column: str
    reverse: bool = False


class Columns:
    """The columns of an entity in the order of a record: id, fields, created_at, updated_at.

    Without `has_times` the last two are left out: not every table has them. `files` is the name in
    SQL of the table of managed files; without it their ids are shown.
    """

    def __init__(
        self,
        entity: Entity,
        *,
        alias: bytes = b"t",
        links: Mapping[str, Link] | None = None,
        has_times: bool = True,
        files: bytes | None = None,
    ) -> None:
        self.entity = entity
        self.alias = alias
        self._files = files
        self.links: Mapping[str, Link] = links or {}
        self._has_times = has_times
        self._aliased: dict[bytes, Columns] = {}
        self.id = self._server_column("id", entity.id_type)
        fields = [self._declared_column(field) for field in entity.fields]
        columns = [self.id, *fields]
        if has_times:
            columns.append(self._server_column("created_at", "timestamp"))
            columns.append(self._server_column("updated_at", "timestamp"))
        self._by_name = {column.name: column for column in columns}
        self.fields = tuple(fields)
        self.needed = tuple(column for column in fields if _needed(column))
        self._body_fields: dict[tuple[str, ...], BodyFields] = {}
        self.kinds_of_json_and_arrays: Mapping[str, ValueKind] = {
            column.name: column.kind
            for column in fields
            if column.kind in ("json", "texts", "numbers", "files")
        }
        """The columns whose values travel as JSON or as arrays, and their kinds."""
        self.positions = {name: position for position, name in enumerate(self._by_name)}

    def __iter__(self) -> Iterator[Column]:
        return iter(self._by_name.values())

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def alias_as(self, alias: bytes) -> Columns:
        """Return the same columns under another alias."""
        columns = self._aliased.get(alias)
        if columns is None:
            columns = Columns(
                self.entity,
                alias=alias,
                links=self.links,
                has_times=self._has_times,
                files=self._files,
            )
            self._aliased[alias] = columns
        return columns

    def sort_names(self, names: Iterable[str]) -> list[str]:
        """Put names of fields in the order of a record."""
        return sorted(names, key=self.positions.__getitem__)

    def select_columns(self, fields: Iterable[str] | None) -> list[Column]:
        """Return `id` and some fields, or all columns. Raises BadRequest for an unknown field."""
        if fields is None:
            return list(self)
        field_names = list(fields)
        if len(field_names) > MAX_COLUMNS:
            raise BadRequest(f"fields holds more than {MAX_COLUMNS} names")
        names = {"id", *(self.find(name).name for name in field_names)}
        return [self._by_name[name] for name in self.sort_names(names)]

    def find(self, name: str, also: Iterable[str] = ()) -> Column:
        """Return the column of a field. Raises BadRequest that names it.

        The error suggests a similar name, of a field or of the words in `also`.
        """
        column = self._by_name.get(name)
        if column is not None:
            return column
        hint = nearest(name, (*self._by_name, *also))
        if not hint.startswith("did you mean"):
            hint = nearest(name, self._by_name)
        raise BadRequest(f"{self.entity.name} has no field {name[:80]!r}; {hint}")

    def describe_body(self, names: tuple[str, ...]) -> BodyFields | None:
        """Return what is known of bodies with these fields, None where one may be refused."""
        if len(names) > len(self._by_name):
            return None
        body_fields = self._body_fields.get(names)
        if body_fields is not None:
            return body_fields
        body_fields = self._make_description(names)
        if body_fields is not None:
            if len(self._body_fields) >= MAX_KNOWN:
                self._body_fields.clear()
            self._body_fields[names] = body_fields
        return body_fields

    @cached_property
    def body_struct(self) -> type[Any]:
        """A Struct that accepts bodies whose values are stored as they were sent."""
        fields: list[tuple[str, Any, Any]] = []
        for number, column in enumerate(self.fields):
            stored_type = _type_as_sent(column)
            if stored_type is not None:
                default = msgspec.field(default=UNSET, name=column.name)
                fields.append((f"f{number}", stored_type | UnsetType, default))
        return msgspec.defstruct(self.entity.name, fields)

    def _make_description(self, names: tuple[str, ...]) -> BodyFields | None:
        are_known = self._by_name.keys() >= set(names)
        has_chosen_id = "id" in names and self.entity.id_declared
        if not are_known or has_chosen_id:
            return None
        sent_columns = [self._by_name[name] for name in names]
        columns = sorted(sent_columns, key=lambda column: self.positions[column.name])
        stored: list[str] = []
        texts: list[str] = []
        for column in columns:
            field = column.field
            if field is None:
                continue
            if field.generated is not None:
                return None
            stored.append(column.name)
            if column.kind == "text" and not field.enum_values:
                texts.append(column.name)
        return BodyFields(
            names=tuple(stored),
            texts=tuple(texts),
            converted=tuple(
                column
                for column in sent_columns
                if column.field is not None and _type_as_sent(column) is None
            ),
            complete={column.name for column in self.needed} <= set(names),
        )

    def find_link(self, name: str) -> Link:
        """Return a link by its field, or as `<entity>_via_<field>`. Raises BadRequest."""
        link = self.links.get(name)
        if link is not None:
            return link
        if name in self._by_name:
            raise BadRequest(f"{self.entity.name}.{name} is not a link")
        raise self.describe_missing_link(name)

    def describe_missing_link(self, name: str) -> BadRequest:
        """Name a link that does not exist.

        Links of other entities are not suggested: the caller may not read the field of each.
        """
        message = f"{self.entity.name} has no link {name[:80]!r}"
        own_links = [name for name, link in self.links.items() if not link.reverse]
        if own_links:
            message += f"; {nearest(name, own_links)}"
        return BadRequest(message)

    def _declared_column(self, field: Field) -> Column:
        kind = _kind_of(field)
        nullable = not field.required
        return self._make_column(field.name, field.type, kind, nullable=nullable, field=field)

    def _server_column(self, name: str, kind: Literal["uuid", "text", "timestamp"]) -> Column:
        return self._make_column(name, kind, kind, nullable=False, field=None)

    def _make_column(
        self, name: str, type_name: str, kind: ValueKind, *, nullable: bool, field: Field | None
    ) -> Column:
        value = self.alias + b"." + quoted(name)
        shown = None
        if field is not None and field.file is not None and self._files is not None:
            shown = show_files(kind, value, self._files)
        return Column(
            name=name,
            label=f"{self.entity.name}.{name}",
            type=type_name,
            kind=kind,
            bare=quoted(name),
            sql=value,
            cast=CASTS[kind],
            nullable=nullable,
            field=field,
            shown=shown,
        )


def show_files(kind: ValueKind, value: bytes, files: bytes) -> bytes:
    """Return the SQL of what replies show of managed files: a subquery of the same statement.

    `json_build_object` puts spaces around its members, so `Rendering` finds no end of a timestamp
    in the name of a file.
    """
    if kind == "file":
        parts = (_SHOWN_FILE, files, value)
        return b"(select %b from %b as _f where _f.id = %b)" % parts
    parts = (value, _SHOWN_FILE, value, files)
    return (
        b"(case when %b is not null then (select coalesce(json_agg(%b order by _i.place), '[]')"
        b" from unnest(%b) with ordinality as _i(id, place) join %b as _f on _f.id = _i.id) end)"
        % parts
    )


_SHOWN_FILE: Final = (
    b"json_build_object('id', _f.id, 'name', _f.name, 'type', _f.type, 'size', _f.size)"
)


def links_of(app: App, entity: Entity, hidden: Collection[str] = ()) -> dict[str, Link]:
    """Find the links from an entity and those to it; a field takes precedence over a link to it.

    `hidden` are fields of the entity that do not exist for the caller.
    """
    links: dict[str, Link] = {}
    for other in app.entities.values():
        for field in other.fields:
            leads_here = field.references is not None and field.references.entity == entity.name
            is_hidden = other.name == entity.name and field.name in hidden
            if leads_here and not is_hidden:
                name = f"{other.name}_via_{field.name}"
                links[name] = Link(other.name, field.name, reverse=True)
    for field in entity.fields:
        links.pop(field.name, None)
        if field.references is not None and field.name not in hidden:
            links[field.name] = Link(field.references.entity, field.name)
    return links


def quoted(*names: str) -> bytes:
    """Quote a name, or a qualified one, for SQL."""
    return sql.Identifier(*names).as_bytes(None)


def _kind_of(field: Field) -> ValueKind:
    if field.type == "entity_link":
        return "uuid" if field.sql_type.lower() == "uuid" else "text"
    if field.type == "file" and field.file is not None:
        return "file"
    return FIELD_KINDS[field.type]


def _needed(column: Column) -> bool:
    """Whether a record cannot be created without a value for the field."""
    return not column.nullable and column.field is not None and column.field.default is None


def _type_as_sent(column: Column) -> Any:
    """Return the type of the values that the column stores as they are, None where none does."""
    field = column.field
    if field is None or column.kind not in AS_SENT:
        return None
    stored_type: Any = AS_SENT[column.kind]
    if column.kind == "text" and field.enum_values:
        stored_type = Literal[field.enum_values]
    elif column.kind == "text" and column.type == "entity_link":  # an empty link is null
        stored_type = Annotated[str, Meta(min_length=1)]
    return stored_type | None if column.nullable else stored_type
