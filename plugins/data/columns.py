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


class Sent(msgspec.Struct, frozen=True):
    """What is known of the bodies that have the same fields in the same order."""

    names: tuple[str, ...]
    """The fields that are stored, in the order of a record."""
    texts: tuple[str, ...]
    converted: tuple[Column, ...]
    """Those whose values are converted one by one, in the order of the body."""
    whole: bool
    """Whether a record can be created from them."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column: `sql` is its name under the alias `t`, `bare` without it, `cast` its type."""

    name: str
    label: str
    type: str
    kind: ValueKind
    bare: bytes
    sql: bytes
    cast: bytes
    nullable: bool
    field: Field | None = None

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

    Without `stamped` the last two are left out: not every table has them.
    """

    def __init__(
        self,
        entity: Entity,
        *,
        alias: bytes = b"t",
        links: Mapping[str, Link] | None = None,
        stamped: bool = True,
    ) -> None:
        self.entity = entity
        self.alias = alias
        self.links: Mapping[str, Link] = links or {}
        self._stamped = stamped
        self._aliased: dict[bytes, Columns] = {}
        first = self._own("id", entity.id_type)
        fields = [self._declared(field) for field in entity.fields]
        stamps = ("created_at", "updated_at") if stamped else ()
        last = [self._own(name, "timestamp") for name in stamps]
        self._by_name = {column.name: column for column in (first, *fields, *last)}
        self.id = first
        self.fields = tuple(fields)
        self.needed = tuple(column for column in fields if _needed(column))
        self.needed_names = frozenset(column.name for column in self.needed)
        self._sent: dict[tuple[str, ...], Sent] = {}
        self.composed: Mapping[str, ValueKind] = {
            column.name: column.kind
            for column in fields
            if column.kind in ("json", "texts", "numbers")
        }
        """The columns whose values travel as JSON or as arrays, and their kinds."""
        self.positions = {name: position for position, name in enumerate(self._by_name)}

    def __iter__(self) -> Iterator[Column]:
        return iter(self._by_name.values())

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def under(self, alias: bytes) -> Columns:
        """Return the same columns under another alias."""
        if (found := self._aliased.get(alias)) is None:
            found = Columns(self.entity, alias=alias, links=self.links, stamped=self._stamped)
            self._aliased[alias] = found
        return found

    def ordered(self, names: Iterable[str]) -> list[str]:
        """Put names of fields in the order of a record."""
        return sorted(names, key=self.positions.__getitem__)

    def shown(self, fields: Iterable[str] | None) -> list[Column]:
        """Return `id` and some fields, or all columns. Raises BadRequest for an unknown field."""
        if fields is None:
            return list(self)
        wanted = list(fields)
        if len(wanted) > MAX_COLUMNS:
            raise BadRequest(f"fields holds more than {MAX_COLUMNS} names")
        names = {"id", *(self.find(field).name for field in wanted)}
        return [self._by_name[name] for name in self.ordered(names)]

    def find(self, name: str, also: Iterable[str] = ()) -> Column:
        """Return the column of a field. Raises BadRequest that names it.

        The error suggests a similar name, of a field or of the words in `also`.
        """
        if (column := self._by_name.get(name)) is None:
            hint = nearest(name, (*self._by_name, *also))
            if not hint.startswith("did you mean"):
                hint = nearest(name, self._by_name)
            raise BadRequest(f"{self.entity.name} has no field {name[:80]!r}; {hint}")
        return column

    def sent(self, names: tuple[str, ...]) -> Sent | None:
        """Return what is known of bodies with these fields, None where one may be refused."""
        if len(names) > len(self._by_name):
            return None
        known = self._sent.get(names)
        if known is None and (known := self._described(names)) is not None:
            if len(self._sent) >= MAX_KNOWN:
                self._sent.clear()
            self._sent[names] = known
        return known

    @cached_property
    def stored(self) -> type[Any]:
        """A Struct that accepts bodies whose values are stored as they were sent."""
        fields = [
            (f"f{n}", kind | UnsetType, msgspec.field(default=UNSET, name=column.name))
            for n, column in enumerate(self.fields)
            if (kind := _as_sent(column)) is not None
        ]
        return msgspec.defstruct(self.entity.name, fields)

    def _described(self, names: tuple[str, ...]) -> Sent | None:
        if not self._by_name.keys() >= set(names) or ("id" in names and self.entity.id_declared):
            return None
        sent = [self._by_name[name] for name in names]
        columns = sorted(sent, key=lambda column: self.positions[column.name])
        kept = [(column, column.field) for column in columns if column.field is not None]
        if any(field.generated is not None for _, field in kept):
            return None
        return Sent(
            names=tuple(column.name for column, _ in kept),
            texts=tuple(c.name for c, field in kept if c.kind == "text" and not field.enum_values),
            converted=tuple(each for each in sent if each.field and _as_sent(each) is None),
            whole=self.needed_names <= set(names),
        )

    def link(self, name: str) -> Link:
        """Return a link by its field, or as `<entity>_via_<field>`. Raises BadRequest."""
        if (found := self.links.get(name)) is None:
            if name in self._by_name:
                raise BadRequest(f"{self.entity.name}.{name} is not a link")
            raise self.no_link(name)
        return found

    def no_link(self, name: str) -> BadRequest:
        """Name a link that does not exist.

        Links of other entities are not suggested: the caller may not read the field of each.
        """
        own = [name for name, link in self.links.items() if not link.reverse]
        hint = f"; {nearest(name, own)}" if own else ""
        return BadRequest(f"{self.entity.name} has no link {name[:80]!r}{hint}")

    def _declared(self, field: Field) -> Column:
        kind = _link_kind(field) if field.type == "entity_link" else FIELD_KINDS[field.type]
        return self._column(field.name, field.type, kind, nullable=not field.required, field=field)

    def _own(self, name: str, kind: Literal["uuid", "text", "timestamp"]) -> Column:
        return self._column(name, kind, kind, nullable=False, field=None)

    def _column(
        self, name: str, type_name: str, kind: ValueKind, *, nullable: bool, field: Field | None
    ) -> Column:
        return Column(
            name=name,
            label=f"{self.entity.name}.{name}",
            type=type_name,
            kind=kind,
            bare=quoted(name),
            sql=self.alias + b"." + quoted(name),
            cast=CASTS[kind],
            nullable=nullable,
            field=field,
        )


def links_of(app: App, entity: Entity, hidden: Collection[str] = ()) -> dict[str, Link]:
    """Find the links from an entity and those to it; a field takes precedence over a link to it.

    `hidden` are fields of the entity that do not exist for the caller.
    """
    found = {
        f"{other.name}_via_{field.name}": Link(other.name, field.name, reverse=True)
        for other in app.entities.values()
        for field in other.fields
        if field.references is not None and field.references.entity == entity.name
        if other.name != entity.name or field.name not in hidden
    }
    for field in entity.fields:
        found.pop(field.name, None)
        if field.references is not None and field.name not in hidden:
            found[field.name] = Link(field.references.entity, field.name)
    return found


def quoted(*names: str) -> bytes:
    """Quote a name, or a qualified one, for SQL."""
    return sql.Identifier(*names).as_bytes(None)


def _link_kind(field: Field) -> ValueKind:
    return "uuid" if field.sql_type.lower() == "uuid" else "text"


def _needed(column: Column) -> bool:
    """Whether a record cannot be created without a value for the field."""
    return not column.nullable and column.field is not None and column.field.default is None


def _as_sent(column: Column) -> Any:
    """Return the type of the values that the column stores as they are, None where none does."""
    field, link = column.field, column.type == "entity_link"
    if field is None or column.kind not in AS_SENT:
        return None
    kept: Any = AS_SENT[column.kind]
    if column.kind == "text" and field.enum_values:
        kept = Literal[field.enum_values]
    elif column.kind == "text" and link:  # an empty link is null
        kept = Annotated[str, Meta(min_length=1)]
    return kept | None if column.nullable else kept
