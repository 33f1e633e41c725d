"""Converts values of fields: from the right JSON type or an unambiguous text, never by a guess."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from kernel.contracts.apps import ValueKind
from kernel.errors import BadRequest

__all__ = ["coerce_value", "is_uuid", "show_value"]

MAX_FILES: Final = 1000
"""Files in a field of one record."""

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_TIMESTAMP: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,6}([0-9]{0,3}))?)?"
    r"\s?(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)


class _Kind(NamedTuple):
    """What a kind wants in words, the types that it takes, and how it reads a value of them."""

    description: str
    types: tuple[type, ...]
    parse: Callable[[Any], Any]


class _InvalidValue(ValueError):
    """A value that the kind does not accept; the message says what is wanted."""


def coerce_value(kind: ValueKind, value: Any, where: str) -> Any:
    """Return a value as a column of `kind` stores it, None for null. `where` names the field.

    Null and, except for a text, `""` are null. Numbers come back as int or float, dates, timestamps
    (UTC) and UUIDs in their normal text form, a file as its id. A number must have a double of its
    own (IEEE 754, binary64), a timestamp at most six digits of a second. Raises BadRequest.
    """
    if value is None or (value == "" and kind != "text"):
        return None
    try:
        return _parse(kind, value)
    except (ValueError, OverflowError, msgspec.ValidationError) as error:
        description = error if isinstance(error, _InvalidValue) else _KINDS[kind].description
        raise BadRequest(f"{where}: {description} is wanted, not {show_value(value)}") from None


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID with hyphens."""
    return _UUID.fullmatch(text) is not None


def show_value(value: Any, longest: int = 80) -> str:
    """Print a caller's value for an error message, cut to `longest` characters."""
    if isinstance(value, str):
        value = value[: longest + 1]  # it can have megabytes
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        text = type(value).__name__
    return text if len(text) <= longest else f"{text[:longest]}…"


def _parse(kind: ValueKind, value: Any) -> Any:
    _, types, parse = _KINDS[kind]
    if not isinstance(value, types):
        raise ValueError
    return parse(value)


def _parse_text(value: str) -> str:
    if "\0" in value:
        raise _InvalidValue("text without the character U+0000")
    return value


def _parse_number(value: int | float | str) -> int | float:
    if isinstance(value, bool):
        raise ValueError
    if isinstance(value, str):
        value = _read_number(value)
    if isinstance(value, int) and not _is_exact(value):
        raise _InvalidValue("a whole number that a double holds exactly")
    if not math.isfinite(value):
        raise _InvalidValue("a number that a double can hold")
    return value


def _read_number(text: str) -> int | float:
    bounded_text = text if len(text) <= 400 else ""  # a double has up to 309 digits
    exact = Decimal(_match(_NUMBER, bounded_text)[0])
    if text.lstrip("+-").isdigit():
        return int(text)
    number = float(exact)
    is_too_small = number == 0 and exact != 0
    return math.inf if is_too_small else number


def _is_exact(number: int) -> bool:
    """Whether a whole number has a double, such as 10^20, or is how JavaScript prints one.

    Below 10^21 JavaScript fills the shortest digits up with zeros (ECMA-262, Number::toString).
    """
    double = float(number)
    return double == number or Decimal(repr(double)) == number


def _parse_boolean(value: bool | str) -> bool:
    if value not in (True, False, "true", "false"):
        raise ValueError
    return value in (True, "true")


def _parse_timestamp(value: str) -> str:
    finer_digits = _match(_TIMESTAMP, value)[1] or ""
    if finer_digits.strip("0"):
        raise _InvalidValue("a timestamp with at most six digits of a second")
    day = value[:10]
    clock = "".join(value[11:].upper().split())  # no space before the offset
    moment = datetime.fromisoformat(f"{day}T{clock}" if clock else day)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat()


def _parse_date(text: str) -> str:
    return msgspec.convert(text, date).isoformat()


def _parse_uuid(text: str) -> str:
    return _match(_UUID, text)[0].lower()


def _keep_json(value: object) -> object:
    return value


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError
    return match


def _parse_all(kind: ValueKind, items: Sequence[Any]) -> list[Any]:
    return [_parse(kind, item) for item in items]


def _parse_file(value: str | dict[str, Any]) -> str:
    """Return the id of a file, which is given alone or as records show it."""
    file_id: object = value
    if isinstance(value, dict):
        file_id = value.get("id")
    if not isinstance(file_id, str):
        raise ValueError
    return _parse_uuid(file_id)


def _parse_files(items: Sequence[Any]) -> list[str]:
    if len(items) > MAX_FILES:
        raise _InvalidValue(f"a list of at most {MAX_FILES} files")
    return [_parse("file", item) for item in items]


_KINDS: Final[Mapping[ValueKind, _Kind]] = {
    "text": _Kind("text", (str,), _parse_text),
    "number": _Kind("a number", (int, float, str), _parse_number),
    "boolean": _Kind("true or false", (bool, str), _parse_boolean),
    "date": _Kind("a date (YYYY-MM-DD)", (str,), _parse_date),
    "timestamp": _Kind("a timestamp (ISO 8601)", (str,), _parse_timestamp),
    "json": _Kind("JSON", (object,), _keep_json),
    "uuid": _Kind("a UUID", (str,), _parse_uuid),
    "texts": _Kind("an array of text", (list, tuple), partial(_parse_all, "text")),
    "numbers": _Kind("an array of numbers", (list, tuple), partial(_parse_all, "number")),
    "file": _Kind("a file, or its id,", (str, dict), _parse_file),
    "files": _Kind("an array of files, or of their ids,", (list, tuple), _parse_files),
}
"""ValueError, OverflowError and ValidationError of `parse` refuse a value."""
