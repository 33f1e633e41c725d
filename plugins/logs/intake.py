"""Lines come in without waiting: a bounded queue, a bucket for each app, losses counted."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

import anyio

from kernel.public import LogLevel

from .models import NewLine, weight

MAX_MESSAGE: Final = 1_000_000
"""Bytes of a line in UTF-8: what is behind them is cut off."""
MAX_QUEUED: Final = 16_000_000
"""Bytes of memory for what waits for the database. One app may have half of what the others leave
of it: however many write too much, there is room for who does not."""
BATCH: Final = 500
BATCH_SIZE: Final = 4_000_000
"""Bytes of memory that fill a batch."""
BURST: Final = 5.0
"""Seconds' worth of lines, and of their bytes, that an app may write at once."""


class _Bucket:
    """How many lines and bytes an app may still write now, and how many lines it lost.

    The last line may be larger than what is left: it is owed then.
    """

    __slots__ = ("bytes", "dropped", "filled_at", "lines")

    def __init__(self, lines: float, size: float) -> None:
        self.lines = lines
        self.bytes = size
        self.filled_at = time.monotonic()
        self.dropped = 0


class Intake:
    """Lines that wait to be stored."""

    def __init__(self, lines_per_second: int, bytes_per_second: int) -> None:
        self._line_rate = lines_per_second
        self._byte_rate = bytes_per_second
        self._lines: deque[NewLine] = deque()
        self._size = 0
        self._held = Counter[str]()
        """What the waiting lines of each app weigh."""
        self._buckets: dict[str, _Bucket] = {}
        self._gone: set[str] = set()
        """Apps that were dropped since the last batch was taken."""
        self._filled = anyio.Event()

    def __len__(self) -> int:
        return len(self._lines)

    def admits(self, app_id: str) -> bool:
        """Whether there may be room for a line; it is counted, or counted as lost."""
        bucket = self._bucket(app_id)
        if bucket.lines < 1 or bucket.bytes <= 0 or self._room(app_id) <= 0:
            bucket.dropped += 1
            self._filled.set()
            return False
        bucket.lines -= 1
        return True

    def put(self, app_id: str, level: LogLevel, message: str) -> None:
        """Take a line that was admitted, unless it is too large for the room there is."""
        text, bucket = _storable(message), self._bucket(app_id)
        bucket.bytes -= len(text.encode())
        if not self._add(app_id, level, text):
            bucket.dropped += 1
        self._filled.set()

    def keep_only(self, app_ids: Collection[str]) -> None:
        """Drop what is known of other apps, but for lines and losses that wait to be stored."""
        self._buckets = {
            app_id: bucket
            for app_id, bucket in self._buckets.items()
            if app_id in app_ids or bucket.dropped
        }

    def drop(self, app_id: str) -> None:
        """Drop what an app has said and is not stored yet, also what is put back: it is gone."""
        self._gone.add(app_id)
        kept = [line for line in self._lines if line.app_id != app_id]
        self._lines = deque(kept)
        self._hold(app_id, -self._held[app_id])
        self._buckets.pop(app_id, None)

    async def wait(self) -> None:
        """Wait until there is something to store."""
        await self._filled.wait()

    def take(self) -> list[NewLine]:
        """Take the oldest lines, a batch at most."""
        self._tell_dropped()
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

    def _tell_dropped(self) -> None:
        for app_id, bucket in self._buckets.items():
            said = f"{bucket.dropped} lines were dropped: too many at once"
            if bucket.dropped and self._add(app_id, "system", said):
                bucket.dropped = 0

    def _bucket(self, app_id: str) -> _Bucket:
        bucket = self._buckets.get(app_id)
        lines, size = self._line_rate * BURST, self._byte_rate * BURST
        if bucket is None:
            bucket = self._buckets[app_id] = _Bucket(lines, size)
        now = time.monotonic()
        passed, bucket.filled_at = now - bucket.filled_at, now
        bucket.lines = min(lines, bucket.lines + passed * self._line_rate)
        bucket.bytes = min(size, bucket.bytes + passed * self._byte_rate)
        return bucket


def _storable(message: str) -> str:
    """A NUL cannot be stored, and a lone surrogate is no text; of a long line the beginning is."""
    text = message[:MAX_MESSAGE].replace("\0", "\ufffd")
    return text.encode(errors="replace")[:MAX_MESSAGE].decode(errors="ignore")
