"""What all readers of CSV agree on: what is between cells, and Python's one limit of a cell."""

from __future__ import annotations

import csv
import re
from typing import Final

DELIMITERS: Final = (",", ";", "\t", "|")
LONGEST_CELL: Final = 50_000_000
"""Characters of a cell: no body is larger."""

_SEPARATOR_LINE: Final = re.compile(r"\ufeff?sep=([,;\t|])\r?\n?", re.IGNORECASE)
"""The first line that Excel writes, and reads, where the delimiter is not the usual one."""
_QUOTED: Final = re.compile(r'"[^"]*"?')


def allow_long_cells() -> None:
    """Let `csv` read cells of up to `LONGEST_CELL` characters.

    The limit is one for the process, and other threads ask for it at each cell. So it is never
    lowered: a reader of shorter cells compares their length itself.
    """
    if csv.field_size_limit() < LONGEST_CELL:
        csv.field_size_limit(LONGEST_CELL)


def find_delimiter(line: str) -> str:
    """Return what is between the cells of a file by its first line; a comma where it has one cell.

    What is within quotes does not count. A line `sep=;` names the delimiter.
    """
    separator_line = _SEPARATOR_LINE.fullmatch(line)
    if separator_line is not None:
        return separator_line[1]
    unquoted = _QUOTED.sub("", line)
    return max(DELIMITERS, key=unquoted.count)


def is_separator_line(line: str) -> bool:
    """Whether the first line of a file names the delimiter; the header is the next one."""
    return _SEPARATOR_LINE.fullmatch(line) is not None
