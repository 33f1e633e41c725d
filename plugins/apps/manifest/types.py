"""The types of fields: their columns, and the values that manifests give as defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, cast

import msgspec
from psycopg import sql

from kernel.public import FIELD_KINDS, BadRequest, FieldType, ValueKind, coerce_value

SqlType = Literal[
    "text", "double precision", "boolean", "date", "timestamptz", "jsonb", "uuid", "text[]",
    "double precision[]", "uuid[]",
]  # fmt: skip

COLUMN_TYPES: Final[Mapping[FieldType, SqlType]] = {
    "text": "text",
    "file": "text",
    "number": "double precision",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamptz",
    "json": "jsonb",
    "uuid": "uuid",
    "entity_link": "uuid",
    "[text]": "text[]",
    "[number]": "double precision[]",
    "[file]": "uuid[]",
}
ALIASES: Final[Mapping[str, FieldType]] = {
    "string": "text",
    "bool": "boolean",
    "datetime": "timestamp",
    **{name: name for name in COLUMN_TYPES},
}
"""Every spelling of a type that a manifest may use."""

AS_SQL: Final[Mapping[str, sql.SQL]] = {
    "text": sql.SQL("text"),
    "double precision": sql.SQL("double precision"),
    "boolean": sql.SQL("boolean"),
    "date": sql.SQL("date"),
    "timestamptz": sql.SQL("timestamptz"),
    "jsonb": sql.SQL("jsonb"),
    "uuid": sql.SQL("uuid"),
    "text[]": sql.SQL("text[]"),
    "double precision[]": sql.SQL("double precision[]"),
    "uuid[]": sql.SQL("uuid[]"),
}

_NAMES: Final[Mapping[str, str]] = {
    sql_type: kind for kind, sql_type in COLUMN_TYPES.items() if kind not in ("file", "entity_link")
}


def type_name(sql_type: str) -> str:
    """Return the name that manifests use for the type of a column."""
    return _NAMES.get(sql_type, sql_type)


def read_default(field_type: FieldType, declared: object, sql_type: str) -> Any:
    """Turn a default of a manifest into the JSON value that records will show.

    Raises BadRequest.
    """
    kind = _kind_of(field_type, sql_type)
    if kind == "json":
        return declared
    value = coerce_value(kind, declared, "default_value")
    if value is None:  # an empty text; without a default the manifest leaves it out
        raise BadRequest(f"default_value: it is no {kind}")
    if kind == "timestamp":
        return value.replace("+00:00", "Z")
    return value


def _kind_of(field_type: FieldType, sql_type: str) -> ValueKind:
    """Return the kind of a field's values; those of a link are ids of its target."""
    if field_type != "entity_link":
        return FIELD_KINDS[field_type]
    if sql_type == "uuid":
        return "uuid"
    return "text"


def literal_of(value: Any, sql_type: str) -> str:
    """Write a value from `read_default` as the text of an SQL literal."""
    if sql_type == "jsonb":
        return msgspec.json.encode(value).decode()
    if isinstance(value, list):
        items = [_quote_item(item) for item in cast("list[Any]", value)]
        return "{" + ",".join(items) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    return repr(value)


def _quote_item(item: object) -> str:
    """Write an item of an array as PostgreSQL reads it."""
    text = item
    if not isinstance(text, str):
        text = repr(item)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
