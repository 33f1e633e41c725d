"""Timestamps that end in `Z`, and the id of the last record, on JSON that PostgreSQL made.

Both work on the bytes as they are, by two properties of `row_to_json`: between the members of a
record there is no space (within a `jsonb` value there always is, and quotes inside of text are
escaped), and a line feed stands between the records of an array, where a statement puts it, and
nowhere else.
`docs/adr/0002-timestamps-in-json.md` has the measurements.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import msgspec

from .columns import Columns

MANY: Final = 16
"""Timestamps of a record from which on one pass for all is cheaper than one for each."""

_STAMP: Final = re.compile(rb'\+00:00","[a-z][a-z0-9_]*":')
_FIRST_ID: Final = re.compile(rb'\{"id":("(?:[^"\\]|\\.)*")')


class Rendering:
    """How records of one entity are finished."""

    def __init__(self, columns: Columns) -> None:
        ordered = list(columns)
        self._inner = {
            b'+00:00","%b":' % after.name.encode(): b'Z","%b":' % after.name.encode()
            for column, after in pairwise(ordered)
            if column.kind == "timestamp"
        }

    def record(self, raw: bytes) -> bytes:
        """Finish one record."""
        raw = self._inner_stamps(raw)
        return raw[:-8] + b'Z"}' if raw.endswith(b'+00:00"}') else raw

    def array(self, raw: bytes) -> bytes:
        """Finish an array of records that stand in lines of their own."""
        raw = self._inner_stamps(raw.replace(b'+00:00"},\n', b'Z"},\n'))
        return raw[:-9] + b'Z"}]' if raw.endswith(b'+00:00"}]') else raw

    def batch(self, rows: Sequence[bytes]) -> bytes:
        """Finish and join records that stand alone: a piece of an array, without its brackets."""
        return self.array(b"[" + b",\n".join(rows) + b"]")[1:-1]

    def _inner_stamps(self, raw: bytes) -> bytes:
        if len(self._inner) > MANY:
            return _STAMP.sub(lambda found: self._inner.get(found[0], found[0]), raw)
        for offset, zulu in self._inner.items():
            raw = raw.replace(offset, zulu)
        return raw


def records_in(array: bytes) -> list[bytes]:
    """Split a finished array into its records."""
    return array[1:-1].split(b",\n") if len(array) > 2 else []


def count_in(array: bytes) -> int:
    """Count the records of a finished array."""
    # What stands around the line feed is found a few times faster than a single byte is.
    return array.count(b"},\n{") + 1 if len(array) > 2 else 0


def last_id(array: bytes) -> str | None:
    """Return the id of the last record of a finished array."""
    return id_of(array, max(array.rfind(b"\n"), 0))


def id_of(record: bytes, start: int = 0) -> str | None:
    """Return the id of a record, which is its first member."""
    found = _FIRST_ID.search(record, start)
    return None if found is None else msgspec.json.decode(found[1], type=str)
