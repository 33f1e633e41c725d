"""The lines of a file in its charset, and the rows of cells that they are."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain, islice
from typing import IO, Final

from kernel.public import (
    BadRequest,
    FileDialect,
    allow_long_cells,
    find_delimiter,
    is_separator_line,
)
from plugins.data.columns.columns import MAX_COLUMNS

MAX_COMMAS: Final = 1_000_000
"""Delimiters of a row: a body has no more values."""

DELIMITER_NAMES: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
CHARSETS: Final = {
    "utf-8": ("UTF-8", "utf-8-sig"),
    "utf-16": ("UTF-16", "utf-16"),
    "utf-16le": ("UTF-16", "utf-16-le"),
    "utf-16be": ("UTF-16", "utf-16-be"),
    # As browsers do (WHATWG): who says Latin-1 means what Windows writes, with the euro sign.
    "latin-1": ("Latin-1", "cp1252"),
}
"""What each charset is called, and the codec that reads it."""


class FileLines:
    """Reads a file line by line, with bounds for each row.

    Without a delimiter in the dialect the first line decides: no name of a field has one in it.
    """

    def __init__(self, file: IO[bytes], dialect: FileDialect) -> None:
        self._file = file
        self._is_chosen = dialect.delimiter is not None
        self.delimiter: str = dialect.delimiter or ","
        self.charset, self._codec = CHARSETS[dialect.charset]
        self.number = 0
        """The row that is read: 0 for the header."""
        self._delimiters = 0
        """Delimiters in the lines of the row that is read."""

    def read_rows(self) -> Iterator[list[str]]:
        """Return the rows of cells, the header first. Raises BadRequest and csv.Error."""
        allow_long_cells()
        lines = self._read_from_header()
        return csv.reader(self._bound(lines), delimiter=self.delimiter, strict=True)

    def reread(self) -> Iterator[str]:
        """Return the lines from the header on once more."""
        self._file.seek(0)
        return self._read_from_header()

    def next_row(self) -> None:
        """Begin to count the delimiters of the next row."""
        self.number += 1
        self._delimiters = 0

    def _read_from_header(self) -> Iterator[str]:
        lines = self._decode_lines()
        first = next(lines, None)
        if first is None:
            return iter(())
        if not self._is_chosen:
            self.delimiter = find_delimiter(first)
        return lines if is_separator_line(first) else chain([first], lines)

    def _decode_lines(self) -> Iterator[str]:
        errors = "strict" if self.charset == "UTF-16" else "surrogateescape"
        text = io.TextIOWrapper(self._file, encoding=self._codec, errors=errors, newline="")
        try:
            for number, line in enumerate(text):
                yield line.removeprefix("\ufeff") if number == 0 else line
        except UnicodeError:
            place = f"row {self.number}" if self.number else "the header"
            raise BadRequest(f"{place} is not {self.charset}: charset names another one") from None
        finally:
            if not self._file.closed:  # a wrapper closes its file, which is read again
                text.detach()

    def _bound(self, lines: Iterator[str]) -> Iterator[str]:
        """Refuse a row with too many cells before it is split into them. Raises BadRequest."""
        for line in lines:
            self._delimiters += line.count(self.delimiter)
            if self.number == 0 and self._delimiters >= MAX_COLUMNS:
                raise BadRequest(f"the header names more than {MAX_COLUMNS} columns")
            if self._delimiters > MAX_COMMAS:
                name = DELIMITER_NAMES[self.delimiter]
                raise BadRequest(f"row {self.number} has more than {MAX_COMMAS} {name}")
            yield line

    def begins_as_utf_16(self) -> bool:
        """Whether the file has the mark of UTF-16 at its beginning."""
        self._file.seek(0)
        return self._file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def suggest_delimiter(names: Sequence[str], delimiter: str) -> str:
    """Return a hint where a header of one name looks as if it had another delimiter."""
    if len(names) != 1:
        return ""
    other = find_delimiter(names[0])
    if other == delimiter or other not in names[0]:
        return ""
    return f"; its names have {DELIMITER_NAMES[other]} between them: delimiter says which"


@cache
def _cell_pattern(delimiter: str) -> re.Pattern[str]:
    """Return what a cell is, with the delimiter after it.

    It is possessive, so that a quote without its pair costs one pass.
    """
    end = re.escape(delimiter)
    return re.compile(rf'(?:[^"{end}\r\n][^{end}\r\n]*+|"[^"]*+(?:""[^"]*+)*+")?{end}')


def fault_column(lines: Iterator[str], rows: int, delimiter: str = ",") -> int:
    """Return the position from 0 of the cell that is no CSV, in the row after `rows` good ones.

    Python's reader names no column.
    The header is one of those, and so is each empty line.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    next(islice(reader, rows, rows), None)
    rest = "".join(lines)
    pattern = _cell_pattern(delimiter)
    count = 0
    cell = pattern.match(rest)
    while cell is not None:
        count += 1
        cell = pattern.match(rest, cell.end())
    return count
