"""Rows of a file: read piece by piece, coerced as bodies are, with every error named."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, Final, NamedTuple, cast

import msgspec

from kernel.public import BadRequest, Grant, ImportOptions, decode
from plugins.data.columns.column import Column
from plugins.data.rights.row_scope import RowScope
from plugins.data.statements.entity_table import Table
from plugins.data.values.rows import Row, check_needed, coerce_field, row_of

from .cells import SLOW, CellReader, FileRefused, QuickReader
from .header import FieldNames, FileColumn, LinkKey, check_distinct
from .lines import FileLines, fault_column

CHUNK_ROWS: Final = 1000
CHUNK_CHARACTERS: Final = 4_000_000
MAX_SHOWN: Final = 200
"""Characters of a wrong value in a report."""


class NumberedRow(NamedTuple):
    """A row with its number in the file, from 1 without the header."""

    number: int
    row: Row


_NO_TARGETS: Final[Mapping[str, RowScope]] = {}
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
    """Some rows of a file, with their numbers, and what is wrong with others.

    With `has_keys` a row may name the records that it links to by a `LinkKey`.
    """

    rows: list[NumberedRow] = []
    problems: list[Problem] = []
    read: int = 0
    has_keys: bool = False


class CellPlan(msgspec.Struct, frozen=True):
    """How the cells of a column are read: `quick` knows the usual ones."""

    name: str
    file_column: FileColumn
    quick: QuickReader | None


class RowReader:
    """Reads the rows of a file. Raises BadRequest for a header or a file that is no table.

    A row that creates a record must be `complete`; one that may meet a record need not. `targets`
    are the records that links may name by a key, by the field of the link.
    """

    def __init__(
        self,
        file: IO[bytes],
        options: ImportOptions,
        table: Table,
        grant: Grant,
        *,
        complete: bool,
        targets: Mapping[str, RowScope] = _NO_TARGETS,
    ) -> None:
        self._file = file
        self._table = table
        self._complete = complete
        uses_ids = options.create_ids or options.on == "id"
        self.names = FieldNames(table, grant, targets, uses_ids=uses_ids)
        self._cells = CellReader(table, options.dialect, raw=options.raw)
        self.lines = FileLines(file, options.dialect)
        self._header: Sequence[str] = ()
        self._read = 0
        """Rows of the file: the header and empty lines count as well."""
        self._number = 0
        self._has_keys = False
        self._is_plain = False
        is_csv = options.file_format == "csv"
        self._items = self._read_csv() if is_csv else self._read_ndjson()

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
                    chunk.rows.append(NumberedRow(self._number, row))
                size += weight
                if chunk.read >= CHUNK_ROWS or size >= CHUNK_CHARACTERS:
                    break
        except csv.Error as error:
            raise self._locate(error) from None
        chunk.has_keys = self._has_keys
        return chunk if chunk.read else None

    def _read_csv(self) -> Iterator[tuple[Row | Problem, int]]:
        lines = self.lines.read_rows()
        self._header = next(lines, ())
        columns = self.names.read_header(self.lines, self._header)
        self._has_keys = any(column.key is not None for column in columns)
        plans = [self._plan_cells(column) for column in columns]
        self._is_plain = self._makes_plain_rows(columns)
        self.lines.next_row()
        for self._read, cells in enumerate(lines, 1):
            if not cells:
                continue
            self._number += 1
            weight = sum(map(len, cells))
            if len(cells) != len(columns):
                yield self._describe_uneven(cells), weight
            elif cells == self._header and len(cells) > 1:
                yield Problem(self._number, None, None, "the row is the header again"), weight
            else:
                yield self._read_row(zip(plans, cells, strict=True)), weight
            self.lines.next_row()

    def _describe_uneven(self, cells: Sequence[str]) -> Problem:
        """Name the first column without a cell, or show the first cell without a column."""
        field = None
        value = None
        if len(cells) < len(self._header):
            field = self._header[len(cells)]
        else:
            value = _shorten(cells[len(self._header)])
        message = f"the row has {len(cells)} cells, and the header has {len(self._header)}"
        return Problem(self._number, field, value, message)

    def _locate(self, error: csv.Error) -> BadRequest:
        """Say where a file stops being CSV."""
        has_header = len(self._header) > 0
        good_rows = self._read + 1 if has_header else 0
        place = fault_column(self.lines.reread(), good_rows, self.lines.delimiter)
        column = str(place + 1)
        if place < len(self._header):
            column = repr(self._header[place][:80])
        row = f"row {self._number + 1}" if has_header else "the header"
        return BadRequest(f"{row}, column {column} is not CSV: {error}")

    def _plan_cells(self, file_column: FileColumn) -> CellPlan:
        column = file_column.column
        if column is None:
            return CellPlan("", file_column, None)
        quick = None if file_column.key is not None else self._cells.find_quick(column)
        return CellPlan(column.name, file_column, quick)

    def _makes_plain_rows(self, columns: Sequence[FileColumn]) -> bool:
        """Whether rows with these columns have the order of a record, and all that is needed."""
        names = [column.column.name for column in columns if column.column is not None]
        needed = {column.name for column in self._table.columns.bodies.needed}
        is_complete = not self._complete or needed.issubset(names)
        return is_complete and "id" not in names and names == self._table.columns.sort_names(names)

    def _read_row(self, cells: Iterable[tuple[CellPlan, str]]) -> Row | Problem:
        row: dict[str, Any] = {}
        for plan, cell in cells:
            if plan.quick is not None and cell.isascii() and cell[:1] not in ("", "'"):
                value = plan.quick(cell)
                if value is not SLOW:
                    row[plan.name] = value
                    continue
            file_column = plan.file_column
            column = file_column.column
            if column is None:
                if cell and not file_column.name:
                    message = "the cell is in a column that has no name in the header"
                    return Problem(self._number, None, _shorten(cell), message)
                continue
            try:
                if file_column.key is None:
                    row[column.name] = self._cells.read(column, cell)
                else:
                    row[column.name] = self._read_key(column, file_column.key, cell)
            except FileRefused as error:
                raise BadRequest(f"row {self._number}, {error.message}") from None
            except BadRequest as error:
                return Problem(self._number, file_column.name, _shorten(cell), error.message)
        return row if self._is_plain else self._finish(row)

    def _read_key(self, column: Column, key: Column, cell: str) -> LinkKey | None:
        """Read how a cell names the record that it links to."""
        return self._make_key(column, key, self._cells.translate(key, cell))

    def _make_key(self, column: Column, key: Column, value: Any) -> LinkKey | None:
        if value is None or value == "":
            coerce_field(column, None)  # a link may be required
            return None
        return LinkKey(key.name, key.coerce(value))

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
        self.names.check_locked(list(values))
        try:
            columns = [self.names.find(name) for name in values]
            if any(column.key is not None for column in columns):  # other names are distinct
                check_distinct(columns, "the line")
        except BadRequest as error:
            raise BadRequest(f"row {self._number}: {error.message}") from None
        try:
            return self._read_members(columns, values)
        except BadRequest as error:
            return self._describe(error, values)

    def _read_members(self, columns: Sequence[FileColumn], values: Mapping[str, Any]) -> Row:
        table = self._table
        writable = dict[str, Any]()
        keys = dict[str, Any]()
        for column in columns:
            if column.column is None:
                continue
            value = values[column.name]
            if column.key is not None:
                keys[column.column.name] = self._make_key(column.column, column.key, value)
                self._has_keys = True
            elif column.name == "id" and not table.entity.id_declared:
                keys["id"] = coerce_field(column.column, value)
            else:
                writable[column.name] = value
        if "id" in keys and keys["id"] is None:
            del keys["id"]
        complete = self._complete and not keys
        row: Row = {}
        if writable or not keys:
            row = row_of(table.shown, table.columns, writable, creating=True, complete=complete)
        if not keys:
            return row
        row = {**row, **keys}
        if self._complete:
            check_needed(table.columns, row)
        return {name: row[name] for name in table.columns.sort_names(row)}

    def _describe(self, error: BadRequest, values: Mapping[str, Any]) -> Problem:
        return problem_of(self._number, self._table, error, values)


def _shorten(text: str) -> str:
    """Return the beginning of a text, with a mark for each byte that is not UTF-8."""
    return text[:MAX_SHOWN].encode("utf-8", "replace").decode()


def problem_of(number: int, table: Table, error: BadRequest, values: Mapping[str, Any]) -> Problem:
    """Describe an error of a row; the message names the field that it is about."""
    match = re.match(rf"{table.entity.name}\.([a-z][a-z0-9_]*)", error.message)
    field = None if match is None else match[1]
    value = None if field is None else values.get(field)
    if isinstance(value, LinkKey):
        value = value.value
    if isinstance(value, str):
        value = value[:MAX_SHOWN]
    elif value is not None and len(msgspec.json.encode(value)) > MAX_SHOWN:
        value = None
    return Problem(number, field, value, error.message)
