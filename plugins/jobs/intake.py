"""Jobs that are enqueued at the same moment go to the table in one statement."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import anyio
import structlog
from anyio.lowlevel import checkpoint

from kernel.public import BadRequest, Unavailable

from .models import NewRow
from .store import JobsStore

MAX_WAITING: Final = 10_000
BATCH: Final = 500
BATCH_SIZE: Final = 4_000_000
"""Characters of payload in one statement."""

log = structlog.get_logger("caudex.jobs")


class _Waiting:
    __slots__ = ("done", "error", "row")

    def __init__(self, row: NewRow) -> None:
        self.row = row
        self.done = anyio.Event()
        self.error: Exception | None = None

    def settle(self, error: Exception | None) -> None:
        self.error = error
        self.done.set()


class Intake:
    """While one statement is under way, the jobs of the next one gather."""

    def __init__(self, store: JobsStore) -> None:
        self._store = store
        self._waiting: deque[_Waiting] = deque()
        self._filled = anyio.Event()
        self._open = False

    async def put(self, row: NewRow) -> None:
        """Store a job. Raises BadRequest, Unavailable."""
        if not self._open or len(self._waiting) >= MAX_WAITING:
            raise Unavailable("too many jobs are being enqueued")
        waiting = _Waiting(row)
        self._waiting.append(waiting)
        self._filled.set()
        await waiting.done.wait()
        if waiting.error is not None:
            raise waiting.error

    async def run(self) -> None:
        """Store what comes, as long as the server lives."""
        self._open = True
        try:
            while True:
                await self._filled.wait()
                await checkpoint()  # what this turn of the event loop still brings
                await self._store_some(self._take())
        finally:
            self._open = False
            while self._waiting:
                self._waiting.popleft().settle(Unavailable("the server stops"))

    def _take(self) -> list[_Waiting]:
        taken, size = list[_Waiting](), 0
        while self._waiting and len(taken) < BATCH and size < BATCH_SIZE:
            taken.append(one := self._waiting.popleft())
            size += len(one.row.payload)
        if not self._waiting:
            self._filled = anyio.Event()
        return taken

    async def _store_some(self, taken: Sequence[_Waiting]) -> None:
        try:
            error = await self._insert(taken)
            if isinstance(error, BadRequest) and len(taken) > 1:  # one of them: which?
                for one in taken:
                    one.settle(await self._insert([one]))
            else:
                for one in taken:
                    one.settle(error)
        finally:
            for one in taken:
                if not one.done.is_set():  # it may be in
                    one.settle(Unavailable("the server stops", retry_after=None))

    async def _insert(self, taken: Sequence[_Waiting]) -> Exception | None:
        try:
            await self._store.insert([one.row for one in taken])
        except Exception as error:
            if not isinstance(error, BadRequest | Unavailable):
                log.error("jobs could not be stored", count=len(taken), exc_info=error)
            return error
        return None
