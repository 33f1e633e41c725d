"""Long work in steps: each has a bound on its time and its memory."""

from __future__ import annotations

from time import monotonic
from typing import Final

from kernel.public import Reader, Unavailable

from . import store
from .entries import Entries
from .store import RowFilter

STEP_ROWS: Final = 10_000
STEP_SECONDS: Final = 0.25
WINDOW: Final = 1_000_000
"""Ids that a statement looks through for rows that a filter lets pass, at most."""
PAGE: Final = 500


class Pace:
    """How much a step does, so that it takes about a quarter of a second.

    A row has from a hundred bytes to some megabytes.
    """

    def __init__(self, maximum: int = STEP_ROWS) -> None:
        self._maximum = maximum
        self.amount = min(1000, maximum)

    def note(self, seconds: float) -> None:
        """Learn from a step that took so many seconds."""
        factor = STEP_SECONDS / max(seconds, 0.001)
        amount = int(self.amount * min(max(factor, 0.1), 4))
        self.amount = min(max(amount, 1), self._maximum)

    def shrink(self) -> bool:
        """Do less after a step that PostgreSQL ended; False where there is no less."""
        has_less = self.amount > 1
        self.amount = max(1, self.amount // 8)
        return has_less


class EntryReader:
    """Reads the entries of a range of rows, as they are now."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._pace = Pace()

    async def read_some(self, after: int, last: int) -> tuple[Entries, bool]:
        """Return the first entries of a range, and whether they are all. Raises Unavailable."""
        while True:
            limit = self._pace.amount
            began = monotonic()
            try:
                entries = await store.read_entries(self._reader, after, last, limit)
            except Unavailable:
                if not self._pace.shrink():
                    raise
                continue
            is_whole = len(entries) < limit
            if not is_whole:
                self._pace.note(monotonic() - began)
            return entries, is_whole

    async def read(self, after: int, last: int, maximum: int) -> Entries:
        """Return all entries of a range, or more than `maximum` of them. Raises Unavailable."""
        content = b""
        while True:
            entries, is_whole = await self.read_some(after, last)
            if is_whole:
                return Entries(content + entries.content)
            # Where rows were added, others may have the same id: all of it come with the next.
            after = entries[-1].id - 1
            complete = entries.select(entries[0].id - 1, after)
            if not complete or len(content) // 48 + len(complete) > maximum:
                return Entries(content + entries.content)
            content += complete.content


class LineReader:
    """Reads the rows that a filter lets pass as JSON, page by page, by their ids."""

    def __init__(self, reader: Reader, rows: RowFilter, *, plain: bool) -> None:
        self._reader = reader
        self._rows = rows
        self._plain = plain
        self._pace = Pace(WINDOW)

    async def read_page(self, after: int, last: int) -> tuple[list[bytes], int]:
        """Return rows above an id, and up to which id these are all. Raises Unavailable.

        A page may be empty although others follow: then the rest is behind that id.
        """
        while True:
            end = min(last, after + self._pace.amount)
            limit = min(PAGE, self._pace.amount)
            began = monotonic()
            try:
                lines = await store.read_lines(
                    self._reader, after, end, limit, self._rows, plain=self._plain
                )
            except Unavailable:
                if not self._pace.shrink():
                    raise
                continue
            self._pace.note(monotonic() - began)
            if lines:
                return lines, id_of(lines[-1])
            next_id = await store.read_next_id(self._reader, end)
            return [], last if next_id is None else max(end, next_id - 1)


def id_of(line: bytes) -> int:
    """Return the id of a row, which is the first member of its JSON."""
    return int(line[len(b'{"id":') : line.index(b",")])
