"""Values of fields: the right JSON type or an unambiguous text becomes a value, never a guess."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, Literal, cast

import msgspec

from kernel.contracts.apps import FieldType
from kernel.errors import BadRequest

ValueKind = Literal[
    "text", "number", "boolean", "date", "timestamp", "json", "uuid", "texts", "numbers"
]
"""How values of a column behave; several field types share one."""

FIELD_KINDS: Final[Mapping[FieldType, ValueKind]] = {
    "text": "text",
    "file": "text",
    "number": "number",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "json": "json",
    "uuid": "uuid",
    "[text]": "texts",
    "[number]": "numbers",
}
"""The kind of each field type but `entity_link`, whose kind is that of the id it names."""

WANTED: Final[Mapping[ValueKind, str]] = {
    "text": "text",
    "number": "a number",
    "boolean": "true or false",
    "date": "a date (YYYY-MM-DD)",
    "timestamp": "a timestamp (ISO 8601)",
    "json": "JSON",
    "uuid": "a UUID",
    "texts": "an array of text",
    "numbers": "an array of numbers",
}

UUID_PATTERN: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIMESTAMP: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}:[0-9]{2})(:[0-9]{2})?(?:[.,]([0-9]{1,9}))?"
    r"\s?([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_encode = msgspec.json.Encoder().encode


class InvalidValue(ValueError):
    """A value that the kind does not accept; the message says what is wanted."""


def coerce_value(kind: ValueKind, value: Any, where: str) -> Any:
    """Return a value as a column of `kind` stores it, None for null. `where` names the field.

    Null and, except for a text, `""` are null. Otherwise as `parse_value`. Raises BadRequest.
    """
    if value is None or (value == "" and kind != "text"):
        return None
    try:
        return _PARSERS[kind](value)
    except InvalidValue as error:
        wanted = str(error) or f"{WANTED[kind]} is wanted"
        raise BadRequest(f"{where}: {wanted}, not {show_value(value)}") from None


def parse_value(kind: ValueKind, value: Any) -> Any:
    """Return a value, which is not null, as a column of `kind` stores it. Raises InvalidValue.

    Numbers come back as int or float, dates, timestamps (UTC) and UUIDs in their normal text form.
    A number must have a double of its own (IEEE 754, binary64), a timestamp at most six digits of a
    second.
    """
    return _PARSERS[kind](value)


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID with hyphens."""
    return UUID_PATTERN.fullmatch(text) is not None


def show_value(value: Any, longest: int = 80) -> str:
    """Print a caller's value for an error message, cut to `longest` characters."""
    if isinstance(value, str):
        value = value[: longest + 1]  # it can have megabytes
    try:
        text = _encode(value).decode()
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        text = type(value).__name__
    return text if len(text) <= longest else f"{text[:longest]}…"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidValue
    if "\0" in value:
        raise InvalidValue("text without the character U+0000 is wanted")
    return value


def _number(value: Any) -> int | float:
    if isinstance(value, str):
        value = _number_in(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidValue
    if isinstance(value, int):
        if not -(2**53) <= value <= 2**53 and not _has_double(value):
            raise InvalidValue("a whole number that a double holds exactly is wanted")
    elif not math.isfinite(value):
        raise InvalidValue("a number that a double can hold is wanted")
    return value


def _number_in(text: str) -> int | float:
    if len(text) > 400 or not _NUMBER.fullmatch(text):  # a double has at most 309 digits
        raise InvalidValue
    if text.lstrip("+-").isdigit():
        return int(text)
    number = float(text)
    if number == 0 and re.search(r"[1-9]", re.split("[eE]", text)[0]):
        raise InvalidValue("a number that a double can hold is wanted")
    return number


def _has_double(number: int) -> bool:
    """Whether a large whole number has a double, such as 10^20, or is how JavaScript prints one.

    Below 10^21 JavaScript fills the shortest digits up with zeros (ECMA-262, Number::toString).
    """
    try:
        double = float(number)
    except OverflowError:
        return False
    return double == number or Decimal(repr(double)) == number


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise InvalidValue


def _date(value: Any) -> str:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise InvalidValue
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise InvalidValue from None


def _timestamp(value: Any) -> str:
    found = _TIMESTAMP.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise InvalidValue
    day, minutes, seconds, fraction, offset = found.groups("")
    if fraction and not seconds:
        raise InvalidValue
    if fraction[6:].strip("0"):
        raise InvalidValue("a timestamp with at most six digits of a second is wanted")
    clock = f"{minutes or '00:00'}{seconds or ':00'}.{fraction[:6]:0<6}"
    zone = "+00:00" if offset in ("", "Z", "z") else offset
    try:
        return datetime.fromisoformat(f"{day}T{clock}{zone}").astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        raise InvalidValue from None


def _uuid(value: Any) -> str:
    if not isinstance(value, str) or not UUID_PATTERN.fullmatch(value):
        raise InvalidValue
    return value.lower()


def _json(value: Any) -> Any:
    return value


def _texts(value: Any) -> list[str]:
    return [_text(item) for item in _items(value)]


def _numbers(value: Any) -> list[int | float]:
    return [_number(item) for item in _items(value)]


def _items(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise InvalidValue
    return cast("list[Any]", value)


_PARSERS: Final[Mapping[ValueKind, Callable[[Any], Any]]] = {
    "text": _text,
    "number": _number,
    "boolean": _boolean,
    "date": _date,
    "timestamp": _timestamp,
    "json": _json,
    "uuid": _uuid,
    "texts": _texts,
    "numbers": _numbers,
}
