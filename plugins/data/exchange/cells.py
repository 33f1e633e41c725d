"""Cells of a file: what people and spreadsheets write, as the values that columns store.

Bodies take few spellings. Files have many: those of booleans are a closed list, the ones of dates
and numbers are what the request says, and nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final

import msgspec

from kernel.public import BadRequest, FileDialect, decode, show_value
from plugins.data.columns.column import Column
from plugins.data.reads.export import FORMULA
from plugins.data.statements.entity_table import Table
from plugins.data.values.rows import coerce_field

from .lines import CHARSETS

_TRUE: Final = (
    "true", "yes", "y", "t", "1", "on", "wahr", "ja", "vrai", "oui", "verdadero", "sí", "si",
    "vero", "waar", "verdadeiro", "sim",
)  # fmt: skip
_FALSE: Final = (
    "false", "no", "n", "f", "0", "off", "falsch", "nein", "faux", "non", "falso", "onwaar", "nee",
    "não", "nao",
)  # fmt: skip
BOOLEANS: Final[Mapping[str, bool]] = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}
"""Words for booleans in lower case. Excel and LibreOffice write them in the user's language."""

MAX_TIME: Final = 64
"""Characters of a date or a time; no spelling of one needs more."""
MAX_NUMBER: Final = 400
"""Characters of a number: a double has up to 309 digits."""

_ESCAPED: Final = re.compile(rf"'(?={FORMULA.pattern})")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PLAIN_FRACTION: Final = re.compile(r"-?[0-9]{1,10}\.[0-9]{1,5}")
_CLOCK: Final = re.compile(
    r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}(?:\.[0-9]{1,9})?))?(?: ?([AaPp])\.?[Mm]\.?)?"
    r"( ?(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?))?"
)
_DAY_OR_MONTH_FIRST: Final = re.compile(
    r"([0-9]{1,2})([./-])([0-9]{1,2})\2([0-9]{4})(?:(?:, ?|T| )(.+))?"
)
_YEAR_FIRST: Final = re.compile(r"([0-9]{4})([./-])([0-9]{1,2})\2([0-9]{1,2})(?:(?:, ?|T| )(.+))?")
_GROUPS: Final[Mapping[str, re.Pattern[str]]] = {
    ".": re.compile(
        r"[+-]?[0-9]{1,3}([,'\u2019 \u00a0\u202f])[0-9]{3}(?:\1[0-9]{3})*(?:\.[0-9]+)?"
    ),
    ",": re.compile(r"[+-]?[0-9]{1,3}([.'\u2019 \u00a0\u202f])[0-9]{3}(?:\1[0-9]{3})*(?:,[0-9]+)?"),
}
"""Numbers whose thousands are apart, by the mark before the fraction."""
_ORDERS: Final = {"dmy": "day, month, year", "mdy": "month, day, year"}

SLOW: Final = object()
"""What a quick reader returns for a cell that it does not know."""
QuickReader = Callable[[str], Any]
_json_decoder = msgspec.json.Decoder()


class FileRefused(BadRequest):
    """A cell that the file as a whole is refused for: the request has to say how to read it."""


class CellReader:
    """Reads the cells of a table's columns."""

    def __init__(self, table: Table, dialect: FileDialect, *, raw: bool) -> None:
        self._dialect = dialect
        self._raw = raw
        self._charset = CHARSETS[dialect.charset][0]
        has_comma = dialect.decimal == ","
        self._quick: Mapping[str, QuickReader] = {}
        """Readers of most cells: a conversion takes ten times as long."""
        if dialect.null is None:
            readers = {
                column.name: _choose_quick_reader(column, has_comma) for column in table.columns
            }
            self._quick = {name: read for name, read in readers.items() if read is not None}

    def find_quick(self, column: Column) -> QuickReader | None:
        """Return a reader of the usual cells of a column, None where it has none.

        It takes ASCII that begins with no quote, and returns `SLOW` for a cell that it does not
        know.
        """
        return self._quick.get(column.name)

    def read(self, column: Column, cell: str) -> Any:
        """Return the value of any cell. Raises BadRequest, and FileRefused for the file."""
        return coerce_field(column, self.translate(column, cell))

    def translate(self, column: Column, cell: str) -> Any:
        """Return a cell as a body would have it."""
        if cell in ("", self._dialect.null):
            return None
        if not is_text(cell):
            raise BadRequest(f"{column.label}: the cell is not {self._charset}")
        kind = column.kind
        if kind in ("json", "texts", "numbers", "files"):
            return decode(cell.encode(), _json_decoder, f"{column.label}: the cell")
        if "\0" in cell:
            raise BadRequest("text must not contain the character U+0000")
        if kind == "boolean":
            return BOOLEANS.get(cell.strip().lower(), cell)
        if kind == "number":
            return self._write_number(column, cell)
        if kind in ("date", "timestamp"):
            return self._write_time(column, cell)
        if kind == "text" and not self._raw and _ESCAPED.match(cell):
            return cell[1:]
        return cell

    def _write_number(self, column: Column, cell: str) -> str:
        """Return a number without groups, with a point before its fraction."""
        text = cell.strip()
        if len(text) > MAX_NUMBER:
            return cell
        decimal = self._dialect.decimal
        if decimal is None:
            has_digits = any(character.isdigit() for character in text)
            if "," in text and has_digits:
                raise BadRequest(
                    f"{column.label}: a number is wanted, not {show_value(cell)}; the parameter"
                    " decimal says what its comma means"
                )
            return text
        match = _GROUPS[decimal].fullmatch(text)
        if match is not None:
            text = text.replace(match[1], "")
        if decimal == "." or "." in text:
            return text
        return text.replace(",", ".", 1)

    def _write_time(self, column: Column, cell: str) -> str:
        """Return a date or a timestamp as ISO 8601 has it. Raises FileRefused, BadRequest."""
        text = cell.strip()
        if len(text) > MAX_TIME:
            return cell
        match = _YEAR_FIRST.fullmatch(text)
        if match is not None:
            return _write_iso(column, match[1], match[3], match[4], match[5]) or text
        match = _DAY_OR_MONTH_FIRST.fullmatch(text)
        if match is None:
            return text
        dates = self._dialect.dates
        if dates is None:
            raise FileRefused(
                f"{column.label}: {show_value(cell)} may have the day or the month first; the"
                " parameter dates says which: dmy or mdy"
            )
        if dates == "iso":
            return text
        day, month = match[1], match[3]
        if dates == "mdy":
            day, month = month, day
        iso = _write_iso(column, match[4], month, day, match[5])
        if iso is None:
            raise BadRequest(
                f"{column.label}: a {column.kind} ({_ORDERS[dates]}) is wanted, not"
                f" {show_value(cell)}"
            )
        return iso


def _write_iso(column: Column, year: str, month: str, day: str, clock: str | None) -> str | None:
    """Return a time by its parts, None where they are none of the column's kind."""
    try:
        iso_day = date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None
    if clock is None:
        return iso_day
    match = _CLOCK.fullmatch(clock)
    if match is None:
        return None
    hour = int(match[1])
    half = (match[4] or "").lower()
    if half and not 1 <= hour <= 12:
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    seconds = match[3] or "00"
    if column.kind == "date":
        is_midnight = hour == 0 and not match[2].strip("0") and not seconds.strip("0.")
        return iso_day if is_midnight else None
    offset = (match[5] or "").strip()
    return f"{iso_day}T{hour:02}:{match[2]}:{seconds}{offset}"


def _choose_quick_reader(column: Column, has_comma: bool) -> Callable[[str], Any] | None:
    """Return a reader of the usual cells of a column, None where it has none.

    It gets ASCII that begins with no quote, and returns what the conversion would. With `has_comma`
    a point is not before the fraction of a number.
    """
    if column.field is None:
        return None
    if column.kind == "uuid":
        return _read_uuid
    if column.type == "entity_link":
        return None
    if column.kind == "text":
        values = column.field.enum_values
        return _make_enum_reader(values) if values else _read_text
    if column.kind == "number":
        return _read_digits if has_comma else _read_number
    return _QUICK.get(column.kind)


def _make_enum_reader(values: tuple[str, ...]) -> Callable[[str], Any]:
    by_text = {value: value for value in values}
    return lambda cell: by_text.get(cell, SLOW)


def _read_text(cell: str) -> Any:
    return SLOW if "\0" in cell else cell


def _read_uuid(cell: str) -> Any:
    return cell if _UUID.fullmatch(cell) is not None else SLOW


def _read_date(cell: str) -> Any:
    try:
        is_plain = date.fromisoformat(cell).isoformat() == cell
    except ValueError:
        return SLOW
    return cell if is_plain else SLOW


def _read_digits(cell: str) -> Any:
    return int(cell) if cell.isdigit() and len(cell) <= 15 else SLOW


def _read_number(cell: str) -> Any:
    if cell.isdigit() and len(cell) <= 15:
        return int(cell)
    if _PLAIN_FRACTION.fullmatch(cell) is not None:
        return float(cell)
    return SLOW


def _read_boolean(cell: str) -> Any:
    return BOOLEANS.get(cell.lower(), SLOW)


_QUICK: Final[Mapping[str, Callable[[str], Any]]] = {"boolean": _read_boolean, "date": _read_date}


def is_text(text: str) -> bool:
    """Whether no byte of a text was left undecoded."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
