"""The types of fields: their columns, and how a default of a manifest becomes a value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, Literal, cast

import msgspec
from psycopg import sql

from kernel.public import FieldType

SqlType = Literal[
    "text", "double precision", "boolean", "date", "timestamptz", "jsonb", "uuid", "text[]",
    "double precision[]",
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
}
ALIASES: Final[Mapping[str, FieldType]] = {
    "string": "text",
    "bool": "boolean",
    "datetime": "timestamp",
    **{name: name for name in COLUMN_TYPES},
}
"""Every spelling of a type that manifests use."""

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
}

_SPOKEN: Final[Mapping[str, str]] = {
    sql_type: kind for kind, sql_type in COLUMN_TYPES.items() if kind not in ("file", "entity_link")
}

# The forms that a record's values have: see plugins/data/values.py.
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,4})?")
_LONGEST_WHOLE = 400
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}:[0-9]{2})(:[0-9]{2})?(?:[.,]([0-9]{1,9}))?"
    r"\s?([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)


def spoken(sql_type: str) -> str:
    """A column's type by the name that manifests know it by."""
    return _SPOKEN.get(sql_type, sql_type)


def value_of(kind: FieldType, given: object, sql_type: str) -> Any:
    """Turn a default of a manifest into the JSON value that records will show.

    Takes the right JSON type or an unambiguous text form. Raises ValueError otherwise.
    """
    if kind == "entity_link":
        return _uuid(given) if sql_type == "uuid" else _text(given)
    return _READ[kind](given)


def text_of(value: Any, sql_type: str) -> str:
    """Write a value from `value_of` as PostgreSQL reads it."""
    if sql_type == "jsonb":
        return msgspec.json.encode(value).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "{" + ",".join(_quoted(item) for item in cast("list[Any]", value)) + "}"
    return value if isinstance(value, str) else repr(value)


def _quoted(item: object) -> str:
    text = item if isinstance(item, str) else repr(item)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(given: object) -> str:
    if not isinstance(given, str) or "\0" in given:
        raise ValueError
    return given


def _number(given: object) -> float | int:
    """A double, or a whole number that has one of its own or is the shortest text of one."""
    if isinstance(given, str) and _NUMBER.fullmatch(given):
        whole = len(given) < _LONGEST_WHOLE and given.lstrip("+-").isdigit()
        given = int(given) if whole else _double(given)
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise ValueError
    double = float(given)  # raises OverflowError
    if not math.isfinite(double) or (double != given and Decimal(repr(double)) != given):
        raise ValueError
    return given


def _double(text: str) -> float:
    double = float(text)
    if double == 0 and re.search(r"[1-9]", re.split("[eE]", text)[0]):
        raise ValueError
    return double


def _boolean(given: object) -> bool:
    if given in ("true", "false"):
        return given == "true"
    if not isinstance(given, bool):
        raise ValueError
    return given


def _date(given: object) -> str:
    if not isinstance(given, str) or not _DATE.fullmatch(given):
        raise ValueError
    return date.fromisoformat(given).isoformat()


def _timestamp(given: object) -> str:
    found = _TIMESTAMP.fullmatch(given) if isinstance(given, str) else None
    if found is None:
        raise ValueError
    day, minutes, seconds, fraction, offset = found.groups("")
    if (fraction and not seconds) or fraction[6:].strip("0"):
        raise ValueError
    clock = f"{minutes or '00:00'}{seconds or ':00'}.{fraction[:6]:0<6}"
    zone = "+00:00" if offset in ("", "Z", "z") else offset
    read = datetime.fromisoformat(f"{day}T{clock}{zone}").astimezone(UTC)
    return read.isoformat().removesuffix("+00:00") + "Z"


def _json(given: object) -> object:
    return given


def _uuid(given: object) -> str:
    if not isinstance(given, str) or not _UUID.fullmatch(given):
        raise ValueError
    return given.lower()


def _list_of(item: Callable[[object], Any]) -> Callable[[object], list[Any]]:
    def read(given: object) -> list[Any]:
        if not isinstance(given, list):
            raise ValueError
        return [item(part) for part in cast("list[object]", given)]

    return read


_READ: Final[Mapping[FieldType, Callable[[object], Any]]] = {
    "text": _text,
    "file": _text,
    "number": _number,
    "boolean": _boolean,
    "date": _date,
    "timestamp": _timestamp,
    "json": _json,
    "uuid": _uuid,
    "[text]": _list_of(_text),
    "[number]": _list_of(_number),
}
