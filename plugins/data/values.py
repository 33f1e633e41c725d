"""From JSON to what a column takes: the right type or an unambiguous text, never a guess."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from kernel.public import BadRequest

Kind = Literal["text", "number", "boolean", "date", "timestamp", "json", "uuid", "texts", "numbers"]
"""How values of a column behave; several field types share one."""

EXACT: Final = 2**53
"""Whole numbers up to here have a double of their own (IEEE 754, binary64); some larger ones do."""

UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIMESTAMP: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}:[0-9]{2})(:[0-9]{2})?(?:[.,]([0-9]{1,9}))?"
    r"\s?([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_MICROSECONDS: Final = 6
_LONGEST_NUMBER: Final = 400
_SHOWN: Final = 80
_encode = msgspec.json.Encoder().encode

WANTED: Final[dict[Kind, str]] = {
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


class Misfit(Exception):
    """The value does not fit; the message says why where the wanted type alone does not."""


def coerce(kind: Kind, value: Any, where: str) -> Any:
    """Return `value` as the column takes it, None for null. `where` names it in the error.

    Numbers come back as int or float, dates, timestamps (UTC) and UUIDs as normal text.
    Raises: BadRequest.
    """
    if value is None or (value == "" and kind != "text"):
        return None
    try:
        return _COERCE[kind](value)
    except Misfit as reason:
        wanted = str(reason) or f"{WANTED[kind]} is wanted"
        raise BadRequest(f"{where}: {wanted}, not {shown(value)}") from None


def shown(value: Any) -> str:
    """Print a caller's value for an error message, short."""
    if isinstance(value, str):
        value = value[: _SHOWN + 1]  # it may have megabytes
    try:
        text = _encode(value).decode()
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        text = type(value).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Misfit
    if "\0" in value:
        raise Misfit("text without the character U+0000 is wanted")
    return value


def _number(value: Any) -> int | float:
    if isinstance(value, str):
        return _number_in(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Misfit
    return _exact(value)


def _number_in(text: str) -> int | float:
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        raise Misfit
    if text.lstrip("+-").isdigit():
        return _exact(int(text))
    number = float(text)
    if number == 0 and re.search(r"[1-9]", re.split("[eE]", text)[0]):
        raise Misfit("a number that a double can hold is wanted")
    return _exact(number)


def _exact(number: int | float) -> int | float:
    if isinstance(number, int):
        if not -EXACT <= number <= EXACT and not _has_double(number):
            raise Misfit("a whole number that a double holds exactly is wanted")
    elif not math.isfinite(number):
        raise Misfit("a number that a double can hold is wanted")
    return number


def _has_double(number: int) -> bool:
    """Such as 10^20; or the shortest digits of a double, filled up with zeros, which is how
    JavaScript writes those below 10^21 (ECMA-262, Number::toString)."""
    try:
        double = float(number)
    except OverflowError:
        return False
    return double == number or Decimal(repr(double)) == number


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value == "true":
        return True
    if value == "false":
        return False
    raise Misfit


def _date(value: Any) -> str:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise Misfit
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise Misfit from None


def _timestamp(value: Any) -> str:
    found = _TIMESTAMP.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Misfit
    day, minutes, seconds, fraction, offset = found.groups("")
    if fraction and not seconds:
        raise Misfit
    if fraction[_MICROSECONDS:].strip("0"):
        raise Misfit("a timestamp with at most six digits of a second is wanted")
    parts = [day, "T", minutes or "00:00", seconds or ":00"]
    if fraction:
        parts.append("." + fraction[:_MICROSECONDS].ljust(_MICROSECONDS, "0"))
    parts.append("+00:00" if offset in ("", "Z", "z") else offset)
    try:
        return datetime.fromisoformat("".join(parts)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        raise Misfit from None


def _uuid(value: Any) -> str:
    if not isinstance(value, str) or not UUID.fullmatch(value):
        raise Misfit
    return value.lower()


def _json(value: Any) -> Any:
    return value


def _texts(value: Any) -> list[str]:
    return [_text(item) for item in _items(value)]


def _numbers(value: Any) -> list[int | float]:
    return [_number(item) for item in _items(value)]


def _items(value: Any) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise Misfit
    return value  # pyright: ignore[reportUnknownVariableType]


_COERCE: Final[dict[Kind, Callable[[Any], Any]]] = {
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
