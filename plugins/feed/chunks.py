"""Events that several streams send: judged once, encoded once."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Generator, Hashable, Sequence
from contextlib import contextmanager
from typing import Final

from kernel.public import (
    ChangesPage,
    CommittedChange,
    ConcurrencyLimiter,
    SchemaChanged,
    Verdict,
    Watch,
    cut_before_fill,
)

from .shared import Shared

MAX_BYTES: Final = 32_000_000
"""Bytes of events that are kept for streams that come to them a little later."""
MAX_CHUNKS: Final = 500
JUDGING: Final = 8
"""Statements that judge at a time."""

Part = Sequence[CommittedChange]


class SharedChunks:
    """Keeps the latest events for streams with the same subscriptions and rights."""

    def __init__(self) -> None:
        self._streams = Counter[Hashable]()
        self._chunks: OrderedDict[Hashable, Shared[bytes]] = OrderedDict()
        self.size = 0
        """Bytes that are kept."""
        self._judging = ConcurrencyLimiter(JUDGING, queue=100_000)
        self._page: ChangesPage | None = None
        self._parts = dict[int, Sequence[Part]]()

    @contextmanager
    def joined(self, key: Hashable) -> Generator[None]:
        """Count a stream, so that what it sends is kept where it is not the only one."""
        self._streams[key] += 1
        try:
            yield
        finally:
            self._streams[key] -= 1
            if not self._streams[key]:
                del self._streams[key]
            if not self._streams:
                self._forget()

    async def get(
        self, stream: Hashable, key: Hashable, write: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """Return the events under a key; the first stream that asks for them writes them."""
        if self._streams[stream] < 2:
            return await write()
        chunk = self._chunks.get(key)
        if chunk is None:
            chunk = Shared[bytes]()
            self._chunks[key] = chunk
        if chunk.value is not None:
            return chunk.value

        async def write_kept() -> bytes:
            events = await write()
            if self._chunks.get(key) is chunk:
                self.size += len(events)
                self._make_room()
            return events

        return await chunk.get(write_kept)

    def cut(self, page: ChangesPage, copies: int) -> Sequence[Part]:
        """Return the parts of a page for streams that send a change so many times at most.

        Many of them ask for those of one page in turn.
        """
        if page is not self._page:
            self._parts = {}
            self._page = page
        parts = self._parts.get(copies)
        if parts is None:
            parts = tuple(cut_before_fill(page.changes, copies))
            self._parts[copies] = parts
        return parts

    async def judge(
        self, watch: Watch, changes: Sequence[CommittedChange]
    ) -> Sequence[Verdict | None]:
        """Judge changes, when it is this one's turn."""
        if not changes:
            return ()
        async with self._judging.hold():
            try:
                return await watch.judge(changes)
            except SchemaChanged:  # the statement had no effect; its table is another one now
                return await watch.judge(changes)

    def _forget(self) -> None:
        """Keep nothing for streams that are closed."""
        self._chunks.clear()
        self.size = 0
        self._page = None
        self._parts = {}

    def _make_room(self) -> None:
        """Drop the oldest. A stream that still writes one of them goes on with it."""
        while len(self._chunks) > 1 and (len(self._chunks) > MAX_CHUNKS or self.size > MAX_BYTES):
            _, chunk = self._chunks.popitem(last=False)
            self.size -= len(chunk.value or b"")
