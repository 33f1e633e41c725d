"""The columns of an entity in SQL; every name comes from the stored manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import msgspec
from psycopg import sql

from kernel.public import FIELD_KINDS, BadRequest, Entity, Field, ValueKind, coerce_value, nearest

_CASTS: Final[Mapping[ValueKind, bytes]] = {
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


class Columns:
    """The columns of an entity in the order of a record: id, fields, created_at, updated_at."""

    def __init__(self, entity: Entity) -> None:
        self._entity = entity.name
        first = self._own("id", entity.id_type)
        fields = [self._declared(field) for field in entity.fields]
        last = [self._own(name, "timestamp") for name in ("created_at", "updated_at")]
        self._by_name = {column.name: column for column in (first, *fields, *last)}
        self.id = first
        self.fields = tuple(fields)
        self.needed = tuple(column for column in fields if _needed(column))
        self._positions = {name: position for position, name in enumerate(self._by_name)}

    def __iter__(self) -> Iterator[Column]:
        return iter(self._by_name.values())

    def ordered(self, names: Iterable[str]) -> list[str]:
        """Put names of fields in the order of a record."""
        return sorted(names, key=self._positions.__getitem__)

    def find(self, name: str, also: Iterable[str] = ()) -> Column:
        """Return the column of a field. Raises BadRequest that names it.

        The error suggests a similar name, of a field or of the words in `also`.
        """
        if (column := self._by_name.get(name)) is None:
            hint = nearest(name, (*self._by_name, *also))
            if not hint.startswith("did you mean"):
                hint = nearest(name, self._by_name)
            raise BadRequest(f"{self._entity} has no field {name[:80]!r}; {hint}")
        return column

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
            label=f"{self._entity}.{name}",
            type=type_name,
            kind=kind,
            bare=quoted(name),
            sql=b"t." + quoted(name),
            cast=_CASTS[kind],
            nullable=nullable,
            field=field,
        )


def quoted(*names: str) -> bytes:
    """Quote a name, or a qualified one, for SQL."""
    return sql.Identifier(*names).as_bytes(None)


def _link_kind(field: Field) -> ValueKind:
    return "uuid" if field.sql_type.lower() == "uuid" else "text"


def _needed(column: Column) -> bool:
    """Whether a record cannot be created without a value for the field."""
    return not column.nullable and column.field is not None and column.field.default is None
