"""Converts the values of one column in many rows at once.

msgspec checks all of them in one step; one by one takes up to fifty times as long. A column with a
value that needs a closer look is left to the way by rows, which also words the errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from kernel.public import ValueKind
from plugins.data.columns.bodies import AS_SENT
from plugins.data.columns.column import Column

_FINE_DIGITS: Final = re.compile(r"\.[0-9]{7}")
"""A fraction of a second that the column cannot hold; the decoder would round it."""


def convert_column(column: Column, values: Sequence[Any]) -> Sequence[Any] | None:
    """Return the values of a column as it stores them.

    Return None where one of them has to be converted, or refused, by itself.
    """
    convert = _CONVERTERS.get(column.kind)
    if convert is None:
        return None
    if not column.nullable and None in values:
        return None
    try:
        return convert(values)
    except (msgspec.ValidationError, OverflowError):
        return None


def _as_sent(values: Sequence[Any]) -> Sequence[Any] | None:
    """JSON is stored as it is; an empty text is null."""
    return None if "" in values else values


def _timestamps(values: Sequence[Any]) -> Sequence[Any] | None:
    """Timestamps with a date and a clock, in UTC."""
    moments = msgspec.convert(values, list[datetime | None])
    if _FINE_DIGITS.search("\n".join(filter(None, values))):
        return None
    return [None if moment is None else _print_in_utc(moment) for moment in moments]


def _print_in_utc(moment: datetime) -> str:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC).isoformat()
    return moment.astimezone(UTC).isoformat()


def _lists_of_texts(values: Sequence[Any]) -> Sequence[Any] | None:
    lists = msgspec.convert(values, list[list[str] | None])
    has_null_character = any("\0" in "".join(texts) for texts in lists if texts)
    return None if has_null_character else lists


def _lists_of_numbers(values: Sequence[Any]) -> Sequence[Any]:
    return msgspec.convert(values, _NUMBERS)


_NUMBER: Final[Any] = AS_SENT["number"]
_NUMBERS: Final[Any] = list[list[_NUMBER] | None]
_CONVERTERS: Final[Mapping[ValueKind, Callable[[Sequence[Any]], Sequence[Any] | None]]] = {
    "json": _as_sent,
    "timestamp": _timestamps,
    "texts": _lists_of_texts,
    "numbers": _lists_of_numbers,
}
"""Each takes values that a body may have, or refuses them as msgspec does."""
