"""Rows of a file: read piece by piece, coerced as bodies are, with every error named."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import IO, Any, Final, cast

import msgspec

from kernel.public import BadRequest, Grant, decode
from plugins.data.columns import MAX_COLUMNS, Column
from plugins.data.store import Table
from plugins.data.writes.rows import Row, check_locked, check_needed, coerced, row_of

from .export import FORMULA, Format
from .faults import fault_column

CHUNK_ROWS: Final = 1000
CHUNK_CHARACTERS: Final = 4_000_000
MAX_CELL: Final = 50_000_000
"""Characters of a cell: no body is larger."""

MAX_COMMAS: Final = 1_000_000
"""Commas of a row: a body has no more values."""

SHOWN: Final = 200
"""Characters of a wrong value in a report."""

IGNORED: Final = ("id", "created_at", "updated_at", "_etag")
_ESCAPED: Final = re.compile(rf"'(?={FORMULA.pattern})")
_json = msgspec.json.Decoder()


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a row, which is counted from 1 without the header."""

    row: int
    field: str | None
    value: Any
    error: str


class Chunk(msgspec.Struct):
    """Some rows of a file, with their numbers, and what is wrong with others."""

    rows: list[tuple[int, Row]] = []
    problems: list[Problem] = []
    read: int = 0


class RowReader:
    """Reads the rows of a file. Raises BadRequest for a header or a file that is no table.

    A row that creates a record must be `whole`; one that may meet a record need not.
    """

    def __init__(
        self, file: IO[bytes], kind: Format, table: Table, grant: Grant, *, whole: bool, raw: bool
    ) -> None:
        self._table = table
        self._grant = grant
        self._whole = whole
        self._raw = raw
        self._plain = {
            column.name: check for column in table.columns if (check := _plain(column)) is not None
        }
        """Columns that store most of their cells as they are: a conversion takes longer."""
        self._number = 0
        self._read = 0
        """Rows of the file: the header and empty lines count as well."""
        self._file = file
        self._names: Sequence[str] = ()
        self._commas = 0
        """Commas in the lines of the row that is read."""
        self._items = self._csv() if kind == "csv" else self._ndjson()

    def _lines(self) -> Iterator[str]:
        text = io.TextIOWrapper(
            self._file, encoding="utf-8-sig", errors="surrogateescape", newline=""
        )
        try:
            for line in text:  # noqa: UP028 - `yield from` would close the file with itself
                yield line
        finally:
            if not self._file.closed:  # a wrapper closes its file, which is read again
                text.detach()

    def _bounded_lines(self) -> Iterator[str]:
        """Refuse a row with too many cells before it is split into them. Raises BadRequest."""
        for line in self._lines():
            self._commas += line.count(",")
            if not self._names and self._commas >= MAX_COLUMNS:
                raise BadRequest(f"the header names more than {MAX_COLUMNS} columns")
            if self._commas > MAX_COMMAS:
                raise BadRequest(f"row {self._number + 1} has more than {MAX_COMMAS} commas")
            yield line

    def chunk(self) -> Chunk | None:
        """Return the next rows, or None at the end."""
        found = Chunk(rows=[], problems=[])
        size = 0
        try:
            for row, weight in self._items:
                found.read += 1
                if isinstance(row, Problem):
                    found.problems.append(row)
                else:
                    found.rows.append((self._number, row))
                size += weight
                if found.read >= CHUNK_ROWS or size >= CHUNK_CHARACTERS:
                    break
        except csv.Error as error:
            raise self._fault(error) from None
        return found if found.read else None

    def _csv(self) -> Iterator[tuple[Row | Problem, int]]:
        csv.field_size_limit(MAX_CELL)
        lines = csv.reader(self._bounded_lines(), strict=True)
        self._names = next(lines, ())
        columns = self._header(self._names)
        for self._read, cells in enumerate(lines, 1):
            self._commas = 0
            if not cells:
                continue
            self._number += 1
            weight = sum(map(len, cells))
            if len(cells) == len(columns):
                yield self._row(zip(columns, cells, strict=True)), weight
            else:
                yield self._uneven(cells), weight

    def _uneven(self, cells: Sequence[str]) -> Problem:
        """Name the first column without a cell, or show the first cell without a column."""
        missing, beyond = self._names[len(cells) :], cells[len(self._names) :]
        said = f"the row has {len(cells)} cells, and the header has {len(self._names)}"
        return Problem(
            self._number,
            missing[0] if missing else None,
            _shown(beyond[0]) if beyond else None,
            said,
        )

    def _fault(self, error: csv.Error) -> BadRequest:
        """Say where a file stops being CSV."""
        rows = self._read + 1 if self._names else 0
        self._file.seek(0)
        place = fault_column(self._lines(), rows)
        name = repr(self._names[place][:80]) if place < len(self._names) else place + 1
        row = f"row {self._number + 1}" if self._names else "the header"
        return BadRequest(f"{row}, column {name} is not CSV: {error}")

    def _header(self, names: Sequence[str]) -> list[Column | None]:
        """Return the columns of a header; None for those that the server sets."""
        if (broken := next((n for n in names if not _is_utf8(n)), None)) is not None:
            raise BadRequest(f"the header is not UTF-8 in column {names.index(broken) + 1}")
        if not any(names):
            raise BadRequest("the first row must be a header with names of fields")
        [(most_frequent, count)] = Counter(names).most_common(1)
        if count > 1:
            raise BadRequest(f"the header names {most_frequent[:80]!r} twice")
        check_locked(self._table, self._grant, dict.fromkeys(names))
        return [self._column(name) for name in names]

    def _column(self, name: str) -> Column | None:
        if name in IGNORED and not (name == "id" and self._table.entity.id_declared):
            return None
        column = self._table.columns.find(name)
        generated = column.field is not None and column.field.generated is not None
        return None if generated else column

    def _row(self, given: Iterable[tuple[Column | None, str]]) -> Row | Problem:
        row: dict[str, Any] = {}
        for column, cell in given:
            if column is None:
                continue
            plain = self._plain.get(column.name)
            if plain is not None and cell.isascii() and cell[:1] not in ("", "'") and plain(cell):
                row[column.name] = cell
                continue
            try:
                row[column.name] = coerced(column, self._value(column, cell))
            except BadRequest as error:
                return Problem(self._number, column.name, _shown(cell), error.message)
        return self._finished(row)

    def _value(self, column: Column, cell: str) -> Any:
        if cell == "":
            return None
        if not _is_utf8(cell):
            raise BadRequest(f"{column.label}: the cell is not UTF-8")
        if column.kind in ("json", "texts", "numbers"):
            return decode(cell.encode(), _json, f"{column.label}: the cell")
        if "\0" in cell:
            raise BadRequest("text must not contain the character U+0000")
        if column.kind == "text" and not self._raw and _ESCAPED.match(cell):
            return cell[1:]
        return cell

    def _finished(self, row: dict[str, Any]) -> Row | Problem:
        columns = self._table.columns
        if row.get("id", ...) is None:
            del row["id"]
        try:
            if self._whole:
                check_needed(columns, row)
        except BadRequest as error:
            return self._problem(error, row)
        return {name: row[name] for name in columns.ordered(row)}

    def _ndjson(self) -> Iterator[tuple[Row | Problem, int]]:
        for number, line in enumerate(self._file):
            raw = line.removeprefix(codecs.BOM_UTF8) if number == 0 else line
            if not raw or raw.isspace():
                continue
            self._number += 1
            yield self._object(raw), len(raw)

    def _object(self, line: bytes) -> Row | Problem:
        shown = line[:SHOWN].decode(errors="replace")
        try:
            given = decode(line, _json, "the line")
        except BadRequest as error:
            return Problem(self._number, None, shown, error.message)
        if not isinstance(given, dict):
            return Problem(self._number, None, shown, "an object is wanted")
        values = cast("dict[str, Any]", given)
        check_locked(self._table, self._grant, values)
        try:
            kept = {name: value for name, value in values.items() if self._column(name) is not None}
        except BadRequest as error:
            raise BadRequest(f"row {self._number}: {error.message}") from None
        try:
            return row_of(
                self._table.shown, self._table.columns, kept, creating=True, whole=self._whole
            )
        except BadRequest as error:
            return self._problem(error, values)

    def _problem(self, error: BadRequest, values: Mapping[str, Any]) -> Problem:
        return problem_of(self._number, self._table, error, values)


def _plain(column: Column) -> Callable[[str], bool] | None:
    """Return a check whether the column stores a cell as it is, None where it never does."""
    if column.field is None or column.type == "entity_link":
        return None
    if column.kind == "text" and (values := column.field.enum_values):
        return values.__contains__
    return {"text": _is_text, "date": _is_date}.get(column.kind)


def _is_text(cell: str) -> bool:
    return "\0" not in cell


def _is_date(cell: str) -> bool:
    try:
        return date.fromisoformat(cell).isoformat() == cell
    except ValueError:
        return False


def _is_utf8(text: str) -> bool:
    """Whether no byte of a text was left undecoded."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(text: str) -> str:
    """Return the beginning of a text, with a mark for each byte that is not UTF-8."""
    return text[:SHOWN].encode("utf-8", "replace").decode()


def problem_of(number: int, table: Table, error: BadRequest, values: Mapping[str, Any]) -> Problem:
    """Describe an error of a row; the message names the field that it is about."""
    found = re.match(rf"{table.entity.name}\.([a-z][a-z0-9_]*)", error.message)
    field = found[1] if found else None
    value = values.get(field) if field else None
    if isinstance(value, str):
        value = value[:SHOWN]
    elif value is not None and len(msgspec.json.encode(value)) > SHOWN:
        value = None
    return Problem(number, field, value, error.message)
