"""Live lines of one app for its readers in this process: a ring buffer, a position for each one."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Final

import anyio

from kernel.public import LogLine

from .intake import weight

RING: Final = 1000
RING_SIZE: Final = 10_000_000
"""Bytes of memory for the ring; any page of the store fits, so a quick reader misses nothing."""
STOPS: Final = "the server stops"


class Feed:
    """What was read from the database since the first reader came."""

    def __init__(self, last_id: int) -> None:
        self.last_id = last_id
        self.readers = 0
        self.closed = False
        self._ring: deque[LogLine] = deque()
        self._weights: deque[int] = deque()
        """Of the lines in the ring when they came: encoding makes some of them heavier."""
        self._size = 0
        self._end = 0
        self._changed = anyio.Event()

    @property
    def end(self) -> int:
        """Position behind the newest line."""
        return self._end

    def add(self, lines: Sequence[LogLine]) -> None:
        """Append lines and wake the readers."""
        weights = list(map(weight, lines))
        self._ring.extend(lines)
        self._weights.extend(weights)
        self._size += sum(weights)
        while len(self._ring) > RING or (self._size > RING_SIZE and len(self._ring) > 1):
            self._ring.popleft()
            self._size -= self._weights.popleft()
        self._end += len(lines)
        self.last_id = lines[-1].id
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def close(self) -> None:
        """End every reader: the server stops."""
        self.closed = True
        self._changed.set()

    async def read(self, position: int) -> AsyncIterator[LogLine | None]:
        """Yield what comes behind a position; None when nothing came for 15 s.

        Lines that left the ring before this reader got to them are counted in one line. The last
        one says that the server stops.
        """
        while True:
            begin = self._end - len(self._ring)
            if position < begin:
                missed, position = begin - position, begin
                yield remark(f"{missed} lines were missed")
            elif position < self._end:
                line = self._ring[position - begin]
                position += 1
                yield line
            elif self.closed:
                yield remark(STOPS)
                return
            else:
                changed = self._changed
                with anyio.move_on_after(15.0) as waited:
                    await changed.wait()
                if waited.cancelled_caught:
                    yield None


def remark(message: str) -> LogLine:
    """A line of the server's own, without a place in the log: its id is 0."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return LogLine(id=0, level="system", message=message, ts=now)
