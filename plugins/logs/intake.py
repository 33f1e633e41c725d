"""Lines come in without waiting: a bounded queue, a bucket for each app, losses counted."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

import anyio

from kernel.public import LogLevel

from .models import NewLine, weight

MAX_MESSAGE: Final = 1_000_000
"""Bytes of a line in UTF-8: what is behind them is cut off."""
MAX_QUEUED: Final = 16_000_000
"""Bytes of memory for what waits for the database; beyond, lines are dropped."""
BATCH: Final = 500
BATCH_SIZE: Final = 4_000_000
"""Bytes of memory that fill a batch."""
BURST: Final = 5.0
"""Seconds' worth of lines that an app may write at once."""


class _Bucket:
    """How much an app may still write now, and how many lines it lost."""

    __slots__ = ("dropped", "filled_at", "tokens")

    def __init__(self, tokens: float) -> None:
        self.tokens = tokens
        self.filled_at = time.monotonic()
        self.dropped = 0


class Intake:
    """Lines that wait to be stored."""

    def __init__(self, lines_per_second: int) -> None:
        self._rate = lines_per_second
        self._lines: deque[NewLine] = deque()
        self._size = 0
        self._buckets: dict[str, _Bucket] = {}
        self._filled = anyio.Event()

    def __len__(self) -> int:
        return len(self._lines)

    def admits(self, app_id: str) -> bool:
        """Whether there is room for a line; it is counted, or counted as lost."""
        bucket = self._bucket(app_id)
        if bucket.tokens < 1 or self._size > MAX_QUEUED:
            bucket.dropped += 1
            self._filled.set()
            return False
        bucket.tokens -= 1
        return True

    def put(self, app_id: str, level: LogLevel, message: str) -> None:
        """Take a line that was admitted."""
        self._add(app_id, level, _storable(message))
        self._filled.set()

    def keep_only(self, app_ids: Collection[str]) -> None:
        """Drop what is known of other apps, but for lines and losses that wait to be stored."""
        self._buckets = {
            app_id: bucket
            for app_id, bucket in self._buckets.items()
            if app_id in app_ids or bucket.dropped
        }

    def drop(self, app_id: str) -> None:
        """Drop what an app has said and is not stored yet: it is gone."""
        kept = [line for line in self._lines if line.app_id != app_id]
        self._lines = deque(kept)
        self._size = sum(map(weight, kept))
        self._buckets.pop(app_id, None)

    async def wait(self) -> None:
        """Wait until there is something to store."""
        await self._filled.wait()

    def take(self) -> list[NewLine]:
        """Take the oldest lines, a batch at most."""
        self._tell_dropped()
        taken: list[NewLine] = []
        size = 0
        while self._lines and len(taken) < BATCH and size < BATCH_SIZE:
            taken.append(line := self._lines.popleft())
            size += weight(line)
        self._size -= size
        if not self._lines:
            self._filled = anyio.Event()
        return taken

    def put_back(self, lines: list[NewLine]) -> None:
        """Keep lines that could not be stored, in their order."""
        self._lines.extendleft(reversed(lines))
        self._size += sum(map(weight, lines))
        self._filled.set()

    def _add(self, app_id: str, level: LogLevel, message: str) -> None:
        now = datetime.now(UTC).isoformat()
        self._lines.append(line := NewLine(app_id, level, message, now))
        self._size += weight(line)

    def _tell_dropped(self) -> None:
        for app_id, bucket in self._buckets.items():
            if bucket.dropped and self._size <= MAX_QUEUED:
                count, bucket.dropped = bucket.dropped, 0
                self._add(app_id, "system", f"{count} lines were dropped: too many at once")

    def _bucket(self, app_id: str) -> _Bucket:
        bucket = self._buckets.get(app_id)
        most = self._rate * BURST
        if bucket is None:
            bucket = self._buckets[app_id] = _Bucket(most)
        now = time.monotonic()
        bucket.tokens = min(most, bucket.tokens + (now - bucket.filled_at) * self._rate)
        bucket.filled_at = now
        return bucket


def _storable(message: str) -> str:
    """A NUL cannot be stored, and a lone surrogate is no text; of a long line the beginning is."""
    text = message[:MAX_MESSAGE].replace("\0", "\ufffd")
    return text.encode(errors="replace")[:MAX_MESSAGE].decode(errors="ignore")
