"""CHANGES: what was committed to records, from any position on, and live."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Final

from kernel.public import ChangesPage, CommittedChange, Query, Statements

from .batches import BatchReader
from .following.tailer import Tailer
from .positions import read_position, write_position
from .replaced import ValueFinder
from .statements import BATCH_IDS, MARK

MARK_SECONDS: Final = 10.0


class ChangesService:
    """See `kernel.contracts.trail.Changes`."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self.reader = BatchReader(statements)
        self._values = ValueFinder(statements)
        self.tailer = Tailer(self.reader)

    async def now(self) -> str:
        """See `Changes.now`."""
        return write_position(await self.reader.find_now())

    async def find(self, time: datetime) -> str | None:
        """See `Changes.find`."""
        position = await self.reader.find_mark(time)
        return None if position is None else write_position(position)

    def check(self, position: str) -> None:
        """See `Changes.check`."""
        read_position(position)

    async def read(
        self, position: str, subjects: Collection[str], limit: int = 1000, *, reshape: bool = False
    ) -> ChangesPage:
        """See `Changes.read`."""
        begin = read_position(position)
        read = await self.reader.read_page(begin, subjects, limit, reshape=reshape)
        return read.page

    def follow(
        self, subjects: Collection[str], position: str | None = None, *, reshape: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[ChangesPage]]:
        """See `Changes.follow`."""
        begin = None if position is None else read_position(position)
        return self.tailer.follow(subjects, begin, reshape=reshape)

    async def fill(self, change: CommittedChange) -> CommittedChange:
        """See `Changes.fill`."""
        return await self._values.fill(change)

    @property
    def snapshot_expression(self) -> Query:
        """See `Changes.snapshot_expression`."""
        return "caudex_audit.seen()"

    async def position_of(self, snapshot: bytes) -> str:
        """See `Changes.position_of`."""
        return write_position(await self.reader.find_now(snapshot))

    async def mark(self) -> None:
        """Note what is visible now, where something was written since the last time."""
        await self._statements.execute(MARK, BATCH_IDS)
