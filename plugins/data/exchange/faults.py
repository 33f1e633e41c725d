"""Finds the cell in which a file stops being CSV; Python's reader names no column."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

_CELL: Final = re.compile(r'(?:[^",\r\n][^,\r\n]*+|"[^"]*+(?:""[^"]*+)*+")?,')
"""A cell with the comma after it. Possessive, so that a quote without its pair costs one pass."""


def fault_column(lines: Iterator[str], rows: int) -> int:
    """Return the position from 0 of the cell that is wrong, in the row after `rows` good ones.

    The header is one of those, and so is each empty line.
    """
    next(islice(csv.reader(lines, strict=True), rows, rows), None)
    rest = "".join(lines)
    count = 0
    cell = _CELL.match(rest)
    while cell is not None:
        count += 1
        cell = _CELL.match(rest, cell.end())
    return count
