"""READS: selects the replica or the primary for each read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import psycopg

from kernel.public import Measure, Param, Pool, Query, Reader, Statements, StreamReader, Unavailable

from .monitor import Monitor
from .positions import ACCEPTED

T = TypeVar("T")
CANCELED: Final = "57014"
"""SQLSTATE of a statement that ran for too long: it would do so on the primary, too."""


@dataclass(frozen=True)
class AllReads:
    """See `kernel.contracts.statements.Reads`; all reads have the same destination."""

    prompt: Reader
    large: StreamReader


class DivertedReads:
    """Reads that the replica answers where it can; see `StreamReader`."""

    def __init__(self, monitor: Monitor, primary: Statements, replica: Pool, always: bool) -> None:
        """Without `always` only for requests that accept old data."""
        self._monitor = monitor
        self._primary = primary
        self._replica = replica
        self._always = always
        self.answered = 0
        """Reads that the replica answered."""
        self.left = 0
        """Reads that it could have answered, if it had been fresh enough and available."""

    async def fetch(
        self, query: Query, *params: Param, custom_plan: bool = False, quick: bool = True
    ) -> bytes | None:
        """See `Reader.fetch`."""
        return await self._divert(
            lambda database: database.fetch(query, *params, custom_plan=custom_plan, quick=quick)
        )

    async def fetch_all(
        self, query: Query, *params: Param, custom_plan: bool = False, quick: bool = True
    ) -> list[bytes]:
        """See `Reader.fetch_all`."""
        return await self._divert(
            lambda database: database.fetch_all(
                query, *params, custom_plan=custom_plan, quick=quick
            )
        )

    @asynccontextmanager
    async def stream(
        self, query: Query, *params: Param
    ) -> AsyncGenerator[AsyncIterator[list[bytes]]]:
        """See `Statements.stream`; once it has begun it stays where it is."""
        async with AsyncExitStack() as stack:
            yield await self._divert(
                lambda database: stack.enter_async_context(database.stream(query, *params))
            )

    async def _divert(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        """Read from the replica, or from the primary where the replica must or can not answer."""
        accepted = ACCEPTED.get()
        if accepted is None or not (self._always or accepted.any):
            return await work(self._primary)
        if await self._monitor.has(accepted.position):
            try:
                result = await work(self._replica)
                self._monitor.note_answer()
                self.answered += 1
                return result
            except Unavailable as error:
                cause = error.__cause__
                if isinstance(cause, psycopg.Error) and cause.sqlstate == CANCELED:
                    raise
                self._monitor.give_up(error)
        self.left += 1
        return await work(self._primary)


class ReadsService:
    """See `kernel.contracts.statements.Reads`."""

    def __init__(self, monitor: Monitor, primary: Statements, replica: Pool) -> None:
        self.prompt = DivertedReads(monitor, primary, replica, always=False)
        self.large = DivertedReads(monitor, primary, replica, always=True)

    def measure(self) -> Sequence[Measure]:
        """Return how many reads the replica answered, and how many it left to the primary."""
        counts = {
            "answered": self.prompt.answered + self.large.answered,
            "left": self.prompt.left + self.large.left,
        }
        return [
            Measure(
                name="caudex_replica_reads",
                help="Reads that the replica answered, or left to the primary.",
                value=count,
                labels={"outcome": outcome},
                kind="counter",
            )
            for outcome, count in counts.items()
        ]
