"""Accepts lines without waiting: limits the rate of each app, bounds the memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from sys import getsizeof
from typing import Final

from kernel.public import Batcher, BatchLimits, LogLevel, LogLine, RateLimiter, Retry

from .models import NewLine

MAX_MESSAGE: Final = 1_000_000
"""Bytes of a line in UTF-8: what is behind them is cut off."""
LINE_COST: Final = 300
"""Bytes that a line takes in memory beside its message."""
MAX_QUEUED: Final = 16_000_000
"""Bytes of memory for what waits for the database. One app may have half of what the others leave
of it: however many write too much, there is room for the others."""

Lines = Callable[[], Sequence[NewLine]]
"""Lines to store, without those of apps that were removed in the meantime."""


class Intake:
    """Collects lines for 50 ms, and gives them to `store`, again where it raises Unavailable."""

    def __init__(
        self,
        store: Callable[[Lines], Awaitable[None]],
        lines_per_second: int,
        bytes_per_second: int,
    ) -> None:
        self._store = store
        self._line_rate = RateLimiter(lines_per_second, burst=5)
        self._byte_rate = RateLimiter(bytes_per_second, burst=5)
        self._size = 0
        self._apps: dict[str, _App] = {}
        """Apps with lines that wait."""
        self.batcher = Batcher[_Item, None](
            self._flush,
            BatchLimits(waiting=MAX_QUEUED),  # bytes are the bound
            size=lambda item: item.size,
            delay=0.05,
            retry=Retry(first=1.0, longest=1.0),
        )

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

    def put(self, app_id: str, level: LogLevel, message: str, request_id: str = "") -> None:
        """Take a line that was admitted, unless it is too large for the room there is."""
        line = _make_line(app_id, level, _clean(message), request_id)
        self._byte_rate.take(app_id, len(line.message.encode()))
        size = weight(line)
        if size > self._room(app_id):
            self._drop_line(app_id)
        else:
            self._add(_Item(self._app(app_id), line, size))

    def drop(self, app_id: str) -> None:
        """Drop the lines of an app that wait: the app is removed."""
        app = self._apps.pop(app_id, None)
        if app is not None:
            app.is_removed = True
            self._size -= app.size

    async def _flush(self, items: Sequence[_Item]) -> None:
        for item in items:
            if item.line is None:
                message = f"{item.app.dropped} lines were dropped: too many at once"
                item.line = _make_line(item.app.id, "system", message)
                item.app.dropped = 0

        def select_lines() -> list[NewLine]:
            return [item.line for item in items if item.line and not item.app.is_removed]

        await self._store(select_lines)
        for item in items:
            if not item.app.is_removed:
                self._hold(item.app, -item.size)

    def _room(self, app_id: str) -> float:
        """Bytes of memory that an app may still take."""
        room = (MAX_QUEUED - self._size) / 2
        app = self._apps.get(app_id)
        if app is not None:
            room -= app.size
        return room

    def _app(self, app_id: str) -> _App:
        return self._apps.setdefault(app_id, _App(app_id))

    def _add(self, item: _Item) -> None:
        self._hold(item.app, item.size)
        self.batcher.add(item)

    def _hold(self, app: _App, size: int) -> None:
        """Count what an app's waiting lines weigh more by now, or less."""
        self._size += size
        app.size += size
        if not app.size:
            del self._apps[app.id]

    def _drop_line(self, app_id: str) -> None:
        app = self._app(app_id)
        app.dropped += 1
        if app.dropped == 1:  # one line counts them all
            self._add(_Item(app, None, 1000))


@dataclass(slots=True)
class _App:
    """What waits of one app."""

    id: str
    size: int = 0
    dropped: int = 0
    is_removed: bool = False


@dataclass(slots=True)
class _Item:
    """A line that waits; None is the one that counts the dropped lines, made when it is stored."""

    app: _App
    line: NewLine | None
    size: int


def _make_line(app_id: str, level: LogLevel, message: str, request_id: str = "") -> NewLine:
    now = datetime.now(UTC).isoformat()
    return NewLine(app_id, level, message, now, request_id or None)


def _clean(message: str) -> str:
    """Return the text of a line that can be stored: no NUL, no lone surrogate, not too long."""
    text = message[:MAX_MESSAGE].replace("\0", "\ufffd")
    return text.encode(errors="replace")[:MAX_MESSAGE].decode(errors="ignore")


def weight(line: NewLine | LogLine) -> int:
    """Bytes that a line takes in memory, with its UTF-8, which is kept once it was encoded."""
    size = getsizeof(line.message) + LINE_COST
    if not line.message.isascii():
        size += len(line.message.encode())
    return size
