"""Finds the cell in which a file stops being CSV; Python's reader names no column."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from functools import cache
from itertools import islice


@cache
def _cell_pattern(delimiter: str) -> re.Pattern[str]:
    """Return what a cell is, with the delimiter after it.

    It is possessive, so that a quote without its pair costs one pass.
    """
    end = re.escape(delimiter)
    return re.compile(rf'(?:[^"{end}\r\n][^{end}\r\n]*+|"[^"]*+(?:""[^"]*+)*+")?{end}')


def fault_column(lines: Iterator[str], rows: int, delimiter: str = ",") -> int:
    """Return the position from 0 of the cell that is wrong, in the row after `rows` good ones.

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
