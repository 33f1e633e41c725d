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

from kernel.public import BadRequest, Grant, ImportOptions, decode
from plugins.data.columns import MAX_COLUMNS, Column
from plugins.data.reads.export import FORMULA
from plugins.data.statements.entity_table import Table
from plugins.data.values.rows import Row, check_locked, check_needed, coerce_field, row_of

from .faults import fault_column

CHUNK_ROWS: Final = 1000
CHUNK_CHARACTERS: Final = 4_000_000
MAX_CELL: Final = 50_000_000
"""Characters of a cell: no body is larger."""

MAX_COMMAS: Final = 1_000_000
"""Commas of a row: a body has no more values."""

MAX_SHOWN: Final = 200
"""Characters of a wrong value in a report."""

IGNORED: Final = ("id", "created_at", "updated_at", "_etag")
_ESCAPED: Final = re.compile(rf"'(?={FORMULA.pattern})")
_json_decoder = msgspec.json.Decoder()


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a row, which is counted from 1 without the header.

    `models.ImportProblem` is its schema in the OpenAPI document.
    """

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

    A row that creates a record must be `complete`; one that may meet a record need not.
    """

    def __init__(
        self, file: IO[bytes], options: ImportOptions, table: Table, grant: Grant, *, complete: bool
    ) -> None:
        self._table = table
        self._grant = grant
        self._complete = complete
        self._raw = options.raw
        checks = {column.name: _plain_check(column) for column in table.columns}
        self._plain_checks = {name: check for name, check in checks.items() if check is not None}
        """Columns that store most of their cells as they are: a conversion takes longer."""
        self._number = 0
        self._read = 0
        """Rows of the file: the header and empty lines count as well."""
        self._file = file
        self._names: Sequence[str] = ()
        self._commas = 0
        """Commas in the lines of the row that is read."""
        is_csv = options.file_format == "csv"
        self._items = self._read_csv() if is_csv else self._read_ndjson()

    def _read_lines(self) -> Iterator[str]:
        text = io.TextIOWrapper(
            self._file, encoding="utf-8-sig", errors="surrogateescape", newline=""
        )
        try:
            for line in text:  # noqa: UP028 - `yield from` would close the file with itself
                yield line
        finally:
            if not self._file.closed:  # a wrapper closes its file, which is read again
                text.detach()

    def _read_bounded_lines(self) -> Iterator[str]:
        """Refuse a row with too many cells before it is split into them. Raises BadRequest."""
        for line in self._read_lines():
            self._commas += line.count(",")
            if not self._names and self._commas >= MAX_COLUMNS:
                raise BadRequest(f"the header names more than {MAX_COLUMNS} columns")
            if self._commas > MAX_COMMAS:
                raise BadRequest(f"row {self._number + 1} has more than {MAX_COMMAS} commas")
            yield line

    def chunk(self) -> Chunk | None:
        """Return the next rows, or None at the end."""
        chunk = Chunk(rows=[], problems=[])
        size = 0
        try:
            for row, weight in self._items:
                chunk.read += 1
                if isinstance(row, Problem):
                    chunk.problems.append(row)
                else:
                    chunk.rows.append((self._number, row))
                size += weight
                if chunk.read >= CHUNK_ROWS or size >= CHUNK_CHARACTERS:
                    break
        except csv.Error as error:
            raise self._locate(error) from None
        return chunk if chunk.read else None

    def _read_csv(self) -> Iterator[tuple[Row | Problem, int]]:
        csv.field_size_limit(MAX_CELL)
        lines = csv.reader(self._read_bounded_lines(), strict=True)
        self._names = next(lines, ())
        columns = self._read_header(self._names)
        for self._read, cells in enumerate(lines, 1):
            self._commas = 0
            if not cells:
                continue
            self._number += 1
            weight = sum(map(len, cells))
            if len(cells) == len(columns):
                yield self._read_row(zip(columns, cells, strict=True)), weight
            else:
                yield self._describe_uneven(cells), weight

    def _describe_uneven(self, cells: Sequence[str]) -> Problem:
        """Name the first column without a cell, or show the first cell without a column."""
        field = None
        value = None
        if len(cells) < len(self._names):
            field = self._names[len(cells)]
        else:
            value = _shorten(cells[len(self._names)])
        message = f"the row has {len(cells)} cells, and the header has {len(self._names)}"
        return Problem(self._number, field, value, message)

    def _locate(self, error: csv.Error) -> BadRequest:
        """Say where a file stops being CSV."""
        has_header = len(self._names) > 0
        good_rows = self._read + 1 if has_header else 0
        self._file.seek(0)
        place = fault_column(self._read_lines(), good_rows)
        column = str(place + 1)
        if place < len(self._names):
            column = repr(self._names[place][:80])
        row = f"row {self._number + 1}" if has_header else "the header"
        return BadRequest(f"{row}, column {column} is not CSV: {error}")

    def _read_header(self, names: Sequence[str]) -> list[Column | None]:
        """Return the columns of a header; None for those that the server sets."""
        for position, name in enumerate(names, 1):
            if not _is_utf8(name):
                raise BadRequest(f"the header is not UTF-8 in column {position}")
        if not any(names):
            raise BadRequest("the first row must be a header with names of fields")
        [(most_frequent, count)] = Counter(names).most_common(1)
        if count > 1:
            raise BadRequest(f"the header names {most_frequent[:80]!r} twice")
        check_locked(self._table, self._grant, dict.fromkeys(names))
        return [self._find_column(name) for name in names]

    def _find_column(self, name: str) -> Column | None:
        is_chosen_id = name == "id" and self._table.entity.id_declared
        if name in IGNORED and not is_chosen_id:
            return None
        column = self._table.columns.find(name)
        is_generated = column.field is not None and column.field.generated is not None
        return None if is_generated else column

    def _read_row(self, cells: Iterable[tuple[Column | None, str]]) -> Row | Problem:
        row: dict[str, Any] = {}
        for column, cell in cells:
            if column is None:
                continue
            check = self._plain_checks.get(column.name)
            is_usual = cell.isascii() and cell[:1] not in ("", "'")
            if check is not None and is_usual and check(cell):
                row[column.name] = cell
                continue
            try:
                row[column.name] = coerce_field(column, self._read_cell(column, cell))
            except BadRequest as error:
                return Problem(self._number, column.name, _shorten(cell), error.message)
        return self._finish(row)

    def _read_cell(self, column: Column, cell: str) -> Any:
        if cell == "":
            return None
        if not _is_utf8(cell):
            raise BadRequest(f"{column.label}: the cell is not UTF-8")
        if column.kind in ("json", "texts", "numbers", "files"):
            return decode(cell.encode(), _json_decoder, f"{column.label}: the cell")
        if "\0" in cell:
            raise BadRequest("text must not contain the character U+0000")
        if column.kind == "text" and not self._raw and _ESCAPED.match(cell):
            return cell[1:]
        return cell

    def _finish(self, row: dict[str, Any]) -> Row | Problem:
        columns = self._table.columns
        if "id" in row and row["id"] is None:
            del row["id"]
        try:
            if self._complete:
                check_needed(columns, row)
        except BadRequest as error:
            return self._describe(error, row)
        return {name: row[name] for name in columns.sort_names(row)}

    def _read_ndjson(self) -> Iterator[tuple[Row | Problem, int]]:
        for number, line in enumerate(self._file):
            raw = line.removeprefix(codecs.BOM_UTF8) if number == 0 else line
            if not raw or raw.isspace():
                continue
            self._number += 1
            yield self._read_object(raw), len(raw)

    def _read_object(self, line: bytes) -> Row | Problem:
        shown = line[:MAX_SHOWN].decode(errors="replace")
        try:
            body = decode(line, _json_decoder, "the line")
        except BadRequest as error:
            return Problem(self._number, None, shown, error.message)
        if not isinstance(body, dict):
            return Problem(self._number, None, shown, "an object is wanted")
        values = cast("dict[str, Any]", body)
        check_locked(self._table, self._grant, values)
        try:
            writable = {
                name: value for name, value in values.items() if self._find_column(name) is not None
            }
        except BadRequest as error:
            raise BadRequest(f"row {self._number}: {error.message}") from None
        table = self._table
        try:
            return row_of(
                table.shown, table.columns, writable, creating=True, complete=self._complete
            )
        except BadRequest as error:
            return self._describe(error, values)

    def _describe(self, error: BadRequest, values: Mapping[str, Any]) -> Problem:
        return problem_of(self._number, self._table, error, values)


def _plain_check(column: Column) -> Callable[[str], bool] | None:
    """Return a check whether the column stores a cell as it is, None where it never does."""
    if column.field is None or column.type == "entity_link":
        return None
    if column.kind == "text":
        enum_values = column.field.enum_values
        return enum_values.__contains__ if enum_values else _is_text
    return _is_date if column.kind == "date" else None


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


def _shorten(text: str) -> str:
    """Return the beginning of a text, with a mark for each byte that is not UTF-8."""
    return text[:MAX_SHOWN].encode("utf-8", "replace").decode()


def problem_of(number: int, table: Table, error: BadRequest, values: Mapping[str, Any]) -> Problem:
    """Describe an error of a row; the message names the field that it is about."""
    match = re.match(rf"{table.entity.name}\.([a-z][a-z0-9_]*)", error.message)
    field = None if match is None else match[1]
    value = None if field is None else values.get(field)
    if isinstance(value, str):
        value = value[:MAX_SHOWN]
    elif value is not None and len(msgspec.json.encode(value)) > MAX_SHOWN:
        value = None
    return Problem(number, field, value, error.message)
