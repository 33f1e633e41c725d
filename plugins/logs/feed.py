"""Live lines of one app for all its readers of this process: one ring, each reader a position."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Final

import anyio

from kernel.public import LogLine

RING: Final = 1000
IDLE: Final = 15.0
"""Seconds after which a reader hears that there is nothing."""


class Feed:
    """What was read from the database since the first reader came."""

    def __init__(self, last_id: int) -> None:
        self.last_id = last_id
        self.readers = 0
        self._ring: deque[LogLine] = deque(maxlen=RING)
        self._end = 0
        self._changed = anyio.Event()
        self._closed = False

    @property
    def end(self) -> int:
        """Position behind the newest line."""
        return self._end

    def add(self, lines: Sequence[LogLine]) -> None:
        """Append lines and wake the readers."""
        self._ring.extend(lines)
        self._end += len(lines)
        self.last_id = lines[-1].id
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def close(self) -> None:
        """End every reader: the server stops."""
        self._closed = True
        self._changed.set()

    async def read(self, position: int) -> AsyncIterator[LogLine | None]:
        """Yield what comes behind a position; None when nothing came for a while.

        Lines that left the ring before this reader got to them are counted in one line.
        """
        while True:
            begin = self._end - len(self._ring)
            if position < begin:
                missed, position = begin - position, begin
                yield _missed(missed)
            elif position < self._end:
                line = self._ring[position - begin]
                position += 1
                yield line
            elif self._closed:
                return
            else:
                changed = self._changed
                with anyio.move_on_after(IDLE) as waited:
                    await changed.wait()
                if waited.cancelled_caught:
                    yield None


def _missed(count: int) -> LogLine:
    """A line of its own without a place in the log: its id is 0."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return LogLine(id=0, level="system", message=f"{count} lines were missed", ts=now)
