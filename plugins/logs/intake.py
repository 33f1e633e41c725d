"""Takes lines without waiting: a bounded queue, a rate limit for each app, a count of losses."""

from __future__ import annotations

from collections import Counter, deque
from datetime import UTC, datetime
from typing import Final

import anyio

from kernel.public import LogLevel, RateLimiter

from .models import NewLine, weight

MAX_MESSAGE: Final = 1_000_000
"""Bytes of a line in UTF-8: what is behind them is cut off."""
MAX_QUEUED: Final = 16_000_000
"""Bytes of memory for what waits for the database. One app may have half of what the others leave
of it: however many write too much, there is room for the others."""
BATCH: Final = 500
BATCH_SIZE: Final = 4_000_000
"""Bytes of memory that fill a batch."""


class Intake:
    """Lines that wait to be stored."""

    def __init__(self, lines_per_second: int, bytes_per_second: int) -> None:
        self._line_rate = RateLimiter(lines_per_second, burst=5)
        self._byte_rate = RateLimiter(bytes_per_second, burst=5)
        self._lines: deque[NewLine] = deque()
        self._size = 0
        self._held = Counter[str]()
        """Bytes of the waiting lines of each app."""
        self._dropped = Counter[str]()
        """Lines of each app that were dropped and not reported yet."""
        self._gone: set[str] = set()
        """Apps that were dropped since the last batch was taken."""
        self._filled = anyio.Event()

    def __len__(self) -> int:
        return len(self._lines)

    def admits(self, app_id: str) -> bool:
        """Whether there may be room for a line; count it, or count it as dropped."""
        admitted = (
            self._room(app_id) > 0
            and self._byte_rate.allows(app_id)
            and self._line_rate.take(app_id)
        )
        if not admitted:
            self._drop_line(app_id)
        return admitted

    def put(self, app_id: str, level: LogLevel, message: str) -> None:
        """Take a line that was admitted, unless it is too large for the room there is."""
        text = _storable(message)
        self._byte_rate.take(app_id, len(text.encode()))
        if not self._add(app_id, level, text):
            self._drop_line(app_id)
        self._filled.set()

    def drop(self, app_id: str) -> None:
        """Drop what an app has said and is not stored yet, also what is put back: it is gone."""
        self._gone.add(app_id)
        kept = [line for line in self._lines if line.app_id != app_id]
        self._lines = deque(kept)
        self._hold(app_id, -self._held[app_id])
        del self._dropped[app_id]

    async def wait(self) -> None:
        """Wait until there is something to store."""
        await self._filled.wait()

    def take(self) -> list[NewLine]:
        """Take the oldest lines, a batch at most."""
        self._report_dropped()
        self._gone.clear()
        taken: list[NewLine] = []
        size = 0
        while self._lines and len(taken) < BATCH and size < BATCH_SIZE:
            taken.append(line := self._lines.popleft())
            size += (heavy := weight(line))
            self._hold(line.app_id, -heavy)
        if not self._lines:
            self._filled = anyio.Event()
        return taken

    def wanted(self, lines: list[NewLine]) -> list[NewLine]:
        """Those of the last batch whose apps were not dropped since it was taken."""
        return [line for line in lines if line.app_id not in self._gone]

    def put_back(self, lines: list[NewLine]) -> None:
        """Keep lines that could not be stored, in their order: those of the last batch."""
        lines = self.wanted(lines)
        self._lines.extendleft(reversed(lines))
        for line in lines:
            self._hold(line.app_id, weight(line))
        self._filled.set()

    def _room(self, app_id: str) -> float:
        """Bytes of memory that an app may still take."""
        return (MAX_QUEUED - self._size) / 2 - self._held[app_id]

    def _hold(self, app_id: str, size: int) -> None:
        """Count what an app's waiting lines weigh more by now, or less."""
        self._size += size
        self._held[app_id] += size
        if not self._held[app_id]:
            del self._held[app_id]

    def _add(self, app_id: str, level: LogLevel, message: str) -> bool:
        line = NewLine(app_id, level, message, datetime.now(UTC).isoformat())
        if (size := weight(line)) > self._room(app_id):
            return False
        self._lines.append(line)
        self._hold(app_id, size)
        return True

    def _drop_line(self, app_id: str) -> None:
        self._dropped[app_id] += 1
        self._filled.set()

    def _report_dropped(self) -> None:
        for app_id, count in list(self._dropped.items()):
            if self._add(app_id, "system", f"{count} lines were dropped: too many at once"):
                del self._dropped[app_id]


def _storable(message: str) -> str:
    """A NUL cannot be stored, and a lone surrogate is no text; of a long line the beginning is."""
    text = message[:MAX_MESSAGE].replace("\0", "\ufffd")
    return text.encode(errors="replace")[:MAX_MESSAGE].decode(errors="ignore")
