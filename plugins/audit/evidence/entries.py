"""What a seal keeps of each row: its id, its time, and the hash that is its leaf."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from struct import Struct
from typing import Final, NamedTuple

EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""From when PostgreSQL counts the microseconds of its timestamps."""
_FORM: Final = Struct(">qq32s")
_ID: Final = Struct(">q")


class Entry(NamedTuple):
    """One row; `at` is its `changed_at` in microseconds since 2000."""

    id: int
    at: int
    leaf: bytes


class Entries:
    """The entries of rows, in the order of their ids, as one text of bytes."""

    def __init__(self, content: bytes = b"") -> None:
        """Raises ValueError where a part of an entry is missing."""
        if len(content) % _FORM.size:
            raise ValueError("an entry is cut off")
        self.content = content

    def __len__(self) -> int:
        return len(self.content) // _FORM.size

    def __iter__(self) -> Iterator[Entry]:
        return map(Entry._make, _FORM.iter_unpack(self.content))

    def __getitem__(self, place: int) -> Entry:
        return Entry._make(_FORM.unpack_from(self.content, place * _FORM.size))

    def hash(self) -> str:
        """Return the SHA-256 of them all."""
        return sha256(self.content).hexdigest()

    def times(self) -> list[int]:
        """Return when the rows were written, as in their entries."""
        return [at for _, at, _ in _FORM.iter_unpack(self.content)]

    def leaves(self) -> list[bytes]:
        """Return the hashes of the rows."""
        size = _FORM.size
        ends = range(size, len(self.content) + 1, size)
        return [self.content[end - 32 : end] for end in ends]

    def select(self, after: int, last: int) -> Entries:
        """Return those of ids above `after` and up to `last`."""
        places = range(len(self))
        begin = bisect_right(places, after, key=self._id_at)
        end = bisect_right(places, last, key=self._id_at)
        return Entries(self.content[begin * _FORM.size : end * _FORM.size])

    def find(self, row_id: int) -> int | None:
        """Return the place of a row; None where it is not there."""
        place = bisect_left(range(len(self)), row_id, key=self._id_at)
        if place < len(self) and self._id_at(place) == row_id:
            return place
        return None

    def _id_at(self, place: int) -> int:
        (row_id,) = _ID.unpack_from(self.content, place * _FORM.size)
        return row_id


def show_time(at: int) -> str:
    """Print a time as the trail shows it; one that Python has no date for as PostgreSQL's count."""
    try:
        moment = EPOCH + timedelta(microseconds=at)
    except OverflowError:
        return f"2000-01-01 plus {at} microseconds"
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def read_time(text: str) -> int:
    """Return the microseconds since 2000 of a time in UTC, as `show_time` prints it."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)
