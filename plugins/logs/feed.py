"""Live lines of one app for its readers in this process: a ring of batches, a cursor for each one.

A batch is encoded once, when it comes. A reader that keeps up is sent one piece for each batch, so
forty readers cost little more than one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

import anyio

from kernel.public import LogBatch, LogLine

from .events import batches, remark
from .intake import weight

RING: Final = 1000
"""Lines that the ring holds at least, as far as they fit into it."""
RING_SIZE: Final = 10_000_000
"""Bytes of memory for the ring; any page of the store fits, so a quick reader misses nothing."""
STOPS: Final = "the server stops"


class Cursor(NamedTuple):
    """The place of a reader: the number of the batch that is next, and that of its first line."""

    batch: int
    line: int


class _WeighedBatch(NamedTuple):
    batch: LogBatch
    weight: int
    """Bytes of its lines and their events when they came: encoding makes some lines heavier."""


class Feed:
    """What was read from the database since the first reader came."""

    def __init__(self, last_id: int) -> None:
        self.last_id = last_id
        self.readers = 0
        self.closed = False
        self._ring: deque[_WeighedBatch] = deque()
        self._size = 0
        self._lines = 0
        self._begin = Cursor(0, 0)
        """The oldest batch of the ring."""
        self._changed = anyio.Event()

    @property
    def end(self) -> Cursor:
        """The place behind the newest line."""
        return Cursor(self._begin.batch + len(self._ring), self._begin.line + self._lines)

    def add(self, lines: Sequence[LogLine]) -> None:
        """Append lines and wake the readers."""
        for batch in batches(lines):
            size = sum(map(weight, batch.lines)) + len(batch.events or b"")
            self._ring.append(_WeighedBatch(batch, size))
            self._size += size
            self._lines += len(batch.lines)
        while len(self._ring) > 1 and self._is_full():
            self._drop_oldest()
        self.last_id = lines[-1].id
        changed = self._changed
        self._changed = anyio.Event()
        changed.set()

    def close(self) -> None:
        """End every reader: the server stops."""
        self.closed = True
        self._changed.set()

    async def read(self, cursor: Cursor) -> AsyncIterator[LogBatch | None]:
        """Yield what comes behind a cursor; None when nothing came for 15 s.

        Lines that left the ring before this reader got to them are counted in one line. The last
        one says that the server stops.
        """
        while True:
            if cursor.batch < self._begin.batch:
                missed = self._begin.line - cursor.line
                cursor = self._begin
                yield remark(f"{missed} lines were missed")
            elif cursor.batch < self.end.batch:
                batch = self._ring[cursor.batch - self._begin.batch].batch
                cursor = Cursor(cursor.batch + 1, cursor.line + len(batch.lines))
                yield batch
            elif self.closed:
                yield remark(STOPS)
                return
            else:
                changed = self._changed
                with anyio.move_on_after(15.0) as waited:
                    await changed.wait()
                if waited.cancelled_caught:
                    yield None

    def _is_full(self) -> bool:
        """Whether the ring is too large, or holds enough lines without its oldest batch."""
        lines_without_oldest = self._lines - len(self._ring[0].batch.lines)
        return lines_without_oldest >= RING or self._size > RING_SIZE

    def _drop_oldest(self) -> None:
        oldest = self._ring.popleft()
        count = len(oldest.batch.lines)
        self._size -= oldest.weight
        self._lines -= count
        self._begin = Cursor(self._begin.batch + 1, self._begin.line + count)
