"""Reads files of rows: CSV (RFC 4180) and lines of JSON, in bounded memory."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import msgspec

from kernel.errors import BadRequest

from .columns import SheetBudget, SheetColumn
from .csv_cells import allow_long_cells, find_delimiter, is_separator_line
from .names import clean_name

MAX_COLUMNS: Final = 500
LONGEST_VALUE: Final = 1_000_000
"""Characters of a cell."""
LONGEST_HEADER: Final = 1_000_000
EMPTY: Final[list[str]] = []
SUFFIXES: Final = (".ndjson", ".jsonl", ".json")


class Sheet(msgspec.Struct, frozen=True):
    """A file of rows and its columns."""

    source: str
    entity: str
    columns: Sequence[SheetColumn]
    rows: int


def name_of_sheet(source: str) -> str:
    """Return the name of an entity for a file. Raises BadRequest."""
    name = clean_name(Path(source).stem)
    if not name:
        raise BadRequest(f"{source} gives no name for an entity: rename the file")
    return name


def read_sheet(stream: BinaryIO, source: str, budget: SheetBudget | None = None) -> Sheet:
    """Read all rows of a file, by its suffix lines of JSON or CSV. Raises BadRequest."""
    entity = name_of_sheet(source)
    if source.lower().endswith(SUFFIXES):
        return read_rows(_decode_lines(stream, source), source, entity, budget)
    text = io.TextIOWrapper(stream, encoding=_find_charset(stream), newline="")
    try:
        return _read_csv(text, source, entity, budget)
    finally:
        text.detach()  # the stream is its caller's


def read_rows(
    rows: Iterable[Mapping[str, Any]], source: str, entity: str, budget: SheetBudget | None = None
) -> Sheet:
    """Read rows of JSON: a member that a row lacks is empty there. Raises BadRequest."""
    columns: dict[str, SheetColumn] = {}
    names = set[str]()
    count = 0
    for row in rows:
        count += 1
        for heading in row:
            if heading not in columns:
                if len(columns) >= MAX_COLUMNS:
                    raise BadRequest(f"{source} has over {MAX_COLUMNS} members in its rows")
                column = _make_column(heading, len(columns) + 1, names, budget)
                for _ in range(count - 1):
                    column.add("")
                columns[heading] = column
        for heading, column in columns.items():
            column.add_value(row.get(heading))
    if not columns:
        raise BadRequest(f"{source} has no rows")
    return Sheet(source, entity, list(columns.values()), count)


def _decode_lines(stream: BinaryIO, source: str) -> Iterator[Mapping[str, Any]]:
    decoder = msgspec.json.Decoder(dict[str, Any])
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            yield decoder.decode(line)
        except msgspec.MsgspecError:
            raise BadRequest(f"{source}, line {number}: is no JSON object") from None


def _find_charset(stream: BinaryIO) -> str:
    """Return the charset by the first bytes, which stay unread."""
    start = stream.read(2)
    stream.seek(0)
    return "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _read_csv(
    text: io.TextIOWrapper, source: str, entity: str, budget: SheetBudget | None
) -> Sheet:
    rows = 0
    allow_long_cells()
    try:
        first_line = text.readline(LONGEST_HEADER)
        lines_before = 1
        if not is_separator_line(first_line):
            lines_before = 0
            text.seek(0)
        reader = csv.reader(text, dialect_of(first_line), strict=True)
        columns = _read_header(source, next(reader, EMPTY), budget)
        for row in reader:
            if not row:
                continue
            rows += 1
            place = f"{source}, line {reader.line_num + lines_before}"
            if len(row) != len(columns):
                raise BadRequest(f"{place}: {len(row)} values, the header has {len(columns)}")
            for column, value in zip(columns, row, strict=True):
                if len(value) > LONGEST_VALUE:
                    raise BadRequest(f"{place}: a value has over {LONGEST_VALUE} characters")
                column.add(value)
    except UnicodeDecodeError:
        raise BadRequest(f"{source} is not UTF-8: save it as CSV UTF-8") from None
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadRequest(f"{source}: {reason.lower()}") from None
    return Sheet(source, entity, columns, rows)


def dialect_of(header: str) -> type[csv.Dialect]:
    """Return the dialect with the delimiter that the first line of a file names or has most of."""

    class SheetDialect(csv.excel):
        delimiter = find_delimiter(header)

    return SheetDialect


def _read_header(
    source: str, headings: Sequence[str], budget: SheetBudget | None
) -> list[SheetColumn]:
    if not headings or not any(heading.strip() for heading in headings):
        raise BadRequest(f"{source} has no header")
    if len(max(headings, key=len)) > LONGEST_VALUE:
        raise BadRequest(f"{source} has a heading of over {LONGEST_VALUE} characters")
    if len(headings) > MAX_COLUMNS:
        raise BadRequest(f"{source} has {len(headings)} columns, at most {MAX_COLUMNS} are used")
    if all(_is_value(heading) for heading in headings):
        raise BadRequest(
            f"{source} has no header: its first row has values; name the columns there"
        )
    names = set[str]()
    return [
        _make_column(heading, number, names, budget) for number, heading in enumerate(headings, 1)
    ]


def _make_column(
    heading: str, number: int, names: set[str], budget: SheetBudget | None
) -> SheetColumn:
    name = clean_name(heading) or f"column_{number}"
    if name in names:
        name = f"{name[:58]}_{number}"
    names.add(name)
    return SheetColumn(heading.strip(), name, budget)


def _is_value(heading: str) -> bool:
    """Whether a heading is a number or a date, or nothing."""
    column = SheetColumn("", "")
    column.add(heading)
    return not column.filled or column.kind not in ("text", "enum", "boolean")


def as_rows(value: object, path: str) -> list[Mapping[str, Any]]:
    """Return a list of objects. Raises BadRequest."""
    items = cast("list[object]", value) if isinstance(value, list) else []
    if not items or not all(isinstance(item, dict) for item in items):
        raise BadRequest(f"{path}: must be a list of objects, one for each row")
    return cast("list[Mapping[str, Any]]", items)
