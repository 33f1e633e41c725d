"""One column in SQL: its name, its type, and what replies show of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from psycopg import sql

from kernel.public import Field, ValueKind, coerce_value

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


def quoted(*names: str) -> bytes:
    """Quote a name, or a qualified one, for SQL."""
    return sql.Identifier(*names).as_bytes(None)
