"""Finds the type of a column of a CSV file over all of its rows."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any, Final

MAX_ENUM: Final = 12
"""Values of a column that is an enumeration, at most."""
REPEATS: Final = 3
"""How often each value of an enumeration occurs on average, at least."""
LONGEST_ENUM: Final = 60
NUMBER: Final = re.compile(r"[+-]?(?:0|[1-9]\d{0,14})(?:\.\d{1,15})?(?:[eE][+-]?\d{1,2})?")
"""Numbers that a double holds as they are written. `007` is a text: its zeros would be lost."""
INTEGER: Final = re.compile(r"[+-]?(?:0|[1-9]\d{0,14})")
BOOLEANS: Final = frozenset({"true", "false"})
DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?"
)


class Column:
    """What all values of a column have in common."""

    def __init__(self, heading: str, name: str) -> None:
        self.heading = heading
        self.name = name
        self.rows = 0
        self.filled = 0
        self._candidates = {"integer", "number", "boolean", "date", "timestamp"}
        self._values = dict[str, int]()
        self._is_short = True

    def add(self, text: str) -> None:
        """Take the value of one more row; an empty one fits every type."""
        self.rows += 1
        value = text.strip()
        if not value:
            return
        self.filled += 1
        self._candidates = {kind for kind in self._candidates if _fits(kind, value)}
        self._is_short = self._is_short and len(value) <= LONGEST_ENUM
        if self._is_short and len(self._values) <= MAX_ENUM:
            self._values[value] = self._values.get(value, 0) + 1

    @property
    def kind(self) -> str:
        """Return the narrowest type that every value has."""
        if not self.filled:
            return "text"
        for kind in ("boolean", "integer", "number", "date", "timestamp"):
            if kind in self._candidates:
                return kind
        if self._is_enum():
            return "enum"
        return "text"

    def clean(self, text: str) -> str:
        """Return a value in the form that an import takes."""
        value = text.strip()
        if self.kind == "boolean":
            return value.lower()
        return value

    def field(self) -> dict[str, Any]:
        """Return the field of a manifest."""
        kind = self.kind
        field: dict[str, Any] = {"name": self.name, "type": kind}
        if kind == "integer":
            field["type"] = "number"
        elif kind == "enum":
            field["type"] = "text"
            field["enum_values"] = sorted(self._values)
        if self.rows and self.filled == self.rows:
            field["required"] = True
        return field

    def describe(self) -> str:
        """Return the field in a few words."""
        field = self.field()
        words = {"integer": "whole numbers", "number": "numbers", "timestamp": "times"}
        text = words.get(self.kind, self.kind)
        if self.kind == "enum":
            text = f"one of {', '.join(field['enum_values'])}"
        if field.get("required"):
            text += ", required"
        return text

    def _is_enum(self) -> bool:
        count = len(self._values)
        if not self._is_short or count > MAX_ENUM:
            return False
        return self.filled >= max(count * REPEATS, 2)


def _fits(kind: str, value: str) -> bool:
    if kind == "integer":
        return INTEGER.fullmatch(value) is not None
    if kind == "number":
        return NUMBER.fullmatch(value) is not None
    if kind == "boolean":
        return value.lower() in BOOLEANS
    if kind == "date":
        return DATE.fullmatch(value) is not None and _is_date(value)
    return TIME.fullmatch(value) is not None and _is_time(value)


def _is_date(value: str) -> bool:
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_time(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
