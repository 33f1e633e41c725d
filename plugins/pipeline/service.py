"""STATEMENTS over a few pipelined connections; what they cannot carry goes to the kernel's pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final, Literal, TypeVar

import anyio
from psycopg.pq.abc import PGresult

from kernel.public import (
    Actor,
    Measure,
    Param,
    Pool,
    Query,
    Session,
    Transaction,
    Unavailable,
    dialect,
)

from .config import PipelineConfig
from .connection import Fate
from .keeper import Keeper
from .lanes import Lane, checked
from .transactions import transaction

T = TypeVar("T")
READ_DEPTH: Final = 64
FILTER_DEPTH: Final = 4
WRITE_DEPTH: Final = 1
"""Statements on their way on one connection. A write has one to itself: it may wait for a lock, and
what is on its way behind it cannot be taken back."""
GENERIC: Final = b"set plan_cache_mode = auto"
PLANS: Final = {"filters": b"set plan_cache_mode = force_custom_plan"}
GRACE: Final = 15.0
"""Seconds beyond the timeout of a statement in which its answer has to come."""
NUMBERS: Final[Sequence[tuple[str, str, Literal["gauge", "counter"], Callable[[Lane], int]]]] = (
    ("connections", "Connections that stand.", "gauge", lambda lane: len(lane.pipes)),
    ("statements", "Statements that came, or transactions.", "counter", lambda lane: lane.asked),
    ("left", "Those of them that were left to the pool.", "counter", lambda lane: lane.left),
)
DRAIN: Final = 5.0
"""Seconds that statements under way have at the end."""


class PipelinedStatements:
    """See `kernel.contracts.statements.Statements`."""

    def __init__(self, pool: Pool, config: PipelineConfig) -> None:
        patience = pool.statement_timeout + GRACE if pool.statement_timeout else 0.0
        lane = partial(Lane, prepared=config.prepared, patience=patience)
        self._pool = pool
        self._config = config
        self._reads = lane(depth=READ_DEPTH)
        self._filters = lane(depth=FILTER_DEPTH)
        self._writes = lane(depth=WRITE_DEPTH)
        self._transactions = lane(depth=WRITE_DEPTH)
        self.lanes: Mapping[str, Lane] = {
            "reads": self._reads,
            "filters": self._filters,
            "writes": self._writes,
            "transactions": self._transactions,
        }
        """By the names that the configuration has for them."""

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[PipelinedStatements]:
        """Keep the connections open."""
        async with anyio.create_task_group() as tasks:
            async with anyio.create_task_group() as first:
                for name, lane in self.lanes.items():
                    keeper = Keeper(name, lane, self._pool, PLANS.get(name, GENERIC))
                    for _ in range(getattr(self._config, name)):
                        first.start_soon(tasks.start, keeper.keep)
            try:
                yield self
            finally:
                await self._drain()
                tasks.cancel_scope.cancel()

    def measured(self) -> list[Measure]:
        """How busy the lanes are, and what they left to the pool."""
        return [
            Measure(
                name=f"caudex_pipeline_{what}",
                help=words,
                value=value(lane),
                labels={"lane": name},
                kind=kind,
            )
            for what, words, kind, value in NUMBERS
            for name, lane in self.lanes.items()
        ]

    async def fetch(self, query: Query, *params: Param, custom_plan: bool = False) -> bytes | None:
        """See `Reader.fetch`."""
        self._check_online()
        lane = self._filters if custom_plan else self._reads
        result = checked(await lane.send(query, params))
        if result is None:  # also where the answer was lost: reading twice changes nothing
            return await self._pool.fetch(query, *params, custom_plan=custom_plan)
        return dialect.first(result)

    async def fetch_all(
        self, query: Query, *params: Param, custom_plan: bool = False
    ) -> list[bytes]:
        """See `Reader.fetch_all`."""
        self._check_online()
        lane = self._filters if custom_plan else self._reads
        result = checked(await lane.send(query, params))
        if result is None:
            return await self._pool.fetch_all(query, *params, custom_plan=custom_plan)
        return dialect.every(result)

    async def execute(self, query: Query, *params: Param) -> bytes | None:
        """See `Writer.execute`."""
        result = await self._write(query, params)
        return await self._pool.execute(query, *params) if result is None else dialect.first(result)

    async def execute_all(self, query: Query, *params: Param) -> list[bytes]:
        """See `Writer.execute_all`."""
        result = await self._write(query, params)
        if result is None:
            return await self._pool.execute_all(query, *params)
        return dialect.every(result)

    async def run(self, actor: Actor, fn: Callable[[Transaction], Awaitable[T]]) -> T:
        """See `Statements.run`; a transaction has a connection to itself."""
        return await self._pool.run(actor, fn, self._begin)

    def stream(
        self, query: Query, *params: Param
    ) -> AbstractAsyncContextManager[AsyncIterator[list[bytes]]]:
        """See `Statements.stream`; a cursor has a connection to itself."""
        return self._pool.stream(query, *params)

    def settings(self, actor: Actor) -> bytes:
        """See `Statements.settings`."""
        return self._pool.settings(actor)

    @asynccontextmanager
    async def _begin(self, settings: Mapping[str, str]) -> AsyncGenerator[Session]:
        self._check_online()
        async with self._transactions.taken() as pipe:
            begin = self._pool.begin if pipe is None else partial(transaction, pipe)
            async with begin(settings) as session:
                yield session

    async def _write(self, query: Query, params: Sequence[Param]) -> PGresult | None:
        """Return the answer, or None when the pool has to be asked, as nothing was sent yet."""
        self._check_online()
        answer = await self._writes.send(query, params)
        if answer is Fate.LOST:  # sent and not answered: never sent again
            raise dialect.OutcomeUnknown
        return checked(answer)

    def _check_online(self) -> None:
        if not self._pool.online:
            raise Unavailable("the database is not available")

    async def _drain(self) -> None:
        """Let what is under way end; nobody new is let in by now."""
        lanes = self.lanes.values()
        with anyio.move_on_after(DRAIN, shield=True):
            # Who waits for a connection is under way once more when he has it.
            while under_way := [each for lane in lanes for each in lane.under_way]:
                await asyncio.wait(under_way)
        for lane in lanes:
            lane.close()
