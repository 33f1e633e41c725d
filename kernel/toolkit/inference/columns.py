"""Finds the type of a column of a file over all of its rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final, Literal

import msgspec

from .names import title_of

MAX_ENUM: Final = 12
"""Values of a column that is an enumeration, at most."""
REPEATS: Final = 3
"""How often each value of an enumeration occurs on average, at least."""
LONGEST_ENUM: Final = 60
LONGEST_KEY: Final = 200
"""Characters of a value that records can be found by."""

NUMBER: Final = re.compile(r"[+-]?(?:0|[1-9]\d{0,14})(?:\.\d{1,15})?(?:[eE][+-]?\d{1,2})?")
"""Numbers that a double holds as they are written. `007` is a text: its zeros would be lost."""
INTEGER: Final = re.compile(r"[+-]?(?:0|[1-9]\d{0,14})")
COMMA: Final = re.compile(
    r"[+-]?(?:(?:0|[1-9]\d{0,14})|[1-9]\d{0,2}(?:\.\d{3}){1,4})(?:,\d{1,15})?"
)
BOOLEANS: Final = frozenset({"true", "false", "yes", "no"})
DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
DAY_FIRST: Final = re.compile(r"(?P<day>\d{1,2})[./-](?P<month>\d{1,2})[./-](?P<year>\d{4})")
MONTH_FIRST: Final = re.compile(r"(?P<month>\d{1,2})[./-](?P<day>\d{1,2})[./-](?P<year>\d{4})")
TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?"
)
UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

Kind = Literal[
    "boolean", "integer", "number", "comma", "uuid", "date", "timestamp", "dmy", "mdy", "json",
    "enum", "text",
]  # fmt: skip
ORDER: Final[tuple[Kind, ...]] = (
    "boolean", "integer", "number", "comma", "uuid", "date", "timestamp", "dmy", "mdy",
)  # fmt: skip
"""Kinds from the narrowest to the widest; the first that fits every value is the type."""

TYPES: Final[Mapping[Kind, str]] = {
    "integer": "number",
    "comma": "number",
    "dmy": "date",
    "mdy": "date",
    "enum": "text",
}
"""Types of fields whose name is not that of the kind."""

WORDS: Final[Mapping[Kind, str]] = {
    "integer": "whole numbers",
    "number": "numbers",
    "comma": "numbers with a comma",
    "timestamp": "times",
    "uuid": "UUIDs",
    "dmy": "dates, the day first",
    "mdy": "dates, the month first",
}


class SheetBudget(msgspec.Struct):
    """How many values are left for the columns of all files to remember, to find keys and links."""

    left: int = 1_000_000


class SheetColumn:
    """What all values of a column have in common."""

    def __init__(self, heading: str, name: str, budget: SheetBudget | None = None) -> None:
        self.heading = heading
        self.name = name
        self.rows = 0
        self.filled = 0
        self._candidates: set[Kind] = set(ORDER)
        self._values = dict[str, int]()
        self._is_short = True
        self._has_json = False
        self._budget = budget or SheetBudget(left=0)
        self._seen: set[int] | None = set()
        self._repeats = False
        self.day_order: Literal["dmy", "mdy"] | None = None
        """How dates are read whose day and month can be either way; as texts without it."""

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
        self._remember(value)

    def add_value(self, value: object) -> None:
        """Take a value of JSON."""
        if isinstance(value, dict | list):
            self._has_json = True
            self.rows += 1
            self.filled += 1
        elif value is None:
            self.add("")
        elif isinstance(value, bool):
            self.add(str(value).lower())
        else:
            self.add(str(value))

    def _remember(self, value: str) -> None:
        """Note a value by its hash, to find keys and links; too many are not noted at all."""
        if self._seen is None:
            return
        number = hash(value)
        if number in self._seen:
            self._repeats = True
        elif self._budget.left <= 0 or len(value) > LONGEST_KEY:
            self._budget.left += len(self._seen)
            self._seen = None
        else:
            self._budget.left -= 1
            self._seen.add(number)

    @property
    def is_unique(self) -> bool:
        """Whether no two rows have the same value, as far as that is known."""
        return self._seen is not None and not self._repeats and self.filled > 0

    def is_within(self, other: SheetColumn) -> bool:
        """Whether every value is one of another column, as far as that is known."""
        if not self._seen or not other._seen:
            return False
        return self._seen <= other._seen

    @property
    def kind(self) -> Kind:
        """Return the narrowest kind that every value has."""
        if self._has_json:
            return "json"
        if not self.filled:
            return "text"
        for kind in ORDER:
            if kind in self._candidates and not self.is_open:
                return kind
        if self.is_open and self.day_order is not None:
            return self.day_order
        if self._is_enum():
            return "enum"
        return "text"

    @property
    def is_open(self) -> bool:
        """Whether the values are dates whose day and month can be either way."""
        return self.filled > 0 and self._candidates == {"dmy", "mdy"}

    def clean(self, text: str) -> str:
        """Return a value in the form that an import takes."""
        value = text.strip()
        if self.kind == "boolean":
            return value.lower()
        if self.kind == "comma":
            return value.replace(".", "").replace(",", ".")
        pattern = _DATES.get(self.kind)
        match = None if pattern is None else pattern.fullmatch(value)
        return value if match is None else _write_date(match)

    def field(self) -> dict[str, Any]:
        """Return the field of a manifest."""
        kind = self.kind
        field: dict[str, Any] = {"name": self.name, "type": TYPES.get(kind, kind)}
        if self.heading and self.heading != title_of(self.name) and self.heading != self.name:
            field["label"] = self.heading[:80]
        if kind == "enum":
            field["enum_values"] = sorted(self._values)
        if self.rows and self.filled == self.rows:
            field["required"] = True
        return field

    def describe(self) -> str:
        """Return the field in a few words."""
        field = self.field()
        text = WORDS.get(self.kind, self.kind)
        if self.kind == "enum":
            text = f"one of {', '.join(field['enum_values'])}"
        if field.get("required"):
            text += ", required"
        return text

    def explain(self) -> str:
        """Say why the column has this type."""
        if not self.filled:
            return "no row has a value"
        if self.is_open and self.day_order is None:
            return "dates that can be read with the day or the month first: `dates` says which"
        if self.kind == "text":
            return "the values have no narrower type in common"
        text = f"all {self.filled} values are {WORDS.get(self.kind, self.kind)}"
        if self.kind == "enum":
            text = f"{len(self._values)} values occur in {self.filled} rows"
        empty = self.rows - self.filled
        return f"{text}; {empty} rows have none" if empty else text

    def _is_enum(self) -> bool:
        count = len(self._values)
        if not self._is_short or count > MAX_ENUM:
            return False
        return self.filled >= max(count * REPEATS, 2)


def _fits(kind: Kind, value: str) -> bool:
    if kind == "boolean":
        return value.lower() in BOOLEANS
    if kind == "date":
        return DATE.fullmatch(value) is not None and _is_date(value)
    if kind == "timestamp":
        return TIME.fullmatch(value) is not None and _is_time(value)
    if kind in _DATES:
        match = _DATES[kind].fullmatch(value)
        return match is not None and _is_date(_write_date(match))
    return _PATTERNS[kind].fullmatch(value) is not None


def _write_date(match: re.Match[str]) -> str:
    return f"{match['year']}-{match['month']:0>2}-{match['day']:0>2}"


_DATES: Final[Mapping[Kind, re.Pattern[str]]] = {"dmy": DAY_FIRST, "mdy": MONTH_FIRST}
_PATTERNS: Final[Mapping[Kind, re.Pattern[str]]] = {
    "integer": INTEGER,
    "number": NUMBER,
    "comma": COMMA,
    "uuid": UUID,
}


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
