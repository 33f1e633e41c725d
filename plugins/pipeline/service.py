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
    HeldConnection,
    Measure,
    Param,
    Pool,
    Query,
    Transaction,
    Unavailable,
    dialect,
)

from .config import PipelineConfig
from .connection import SendOutcome
from .groups import ConnectionGroup, checked
from .keeper import Keeper
from .transactions import HeldByTransaction

T = TypeVar("T")
READ_DEPTH: Final = 64
FILTER_DEPTH: Final = 4
WRITE_DEPTH: Final = 1
"""Statements under way on one connection. A write is alone on its connection: it may wait for a
lock, and what was sent behind it cannot be taken back."""
GENERIC: Final = b"set plan_cache_mode = auto"
PLANS: Final = {"filters": b"set plan_cache_mode = force_custom_plan"}
ANSWER_GRACE: Final = 15.0
"""Seconds beyond the timeout of a statement in which its answer has to come."""
NUMBERS: Final[
    Sequence[tuple[str, str, Literal["gauge", "counter"], Callable[[ConnectionGroup], int]]]
] = (
    ("connections", "Open connections.", "gauge", lambda group: len(group.members)),
    ("statements", "Statements, or transactions.", "counter", lambda group: group.asked),
    ("left", "Statements that were left to the pool.", "counter", lambda group: group.left),
)
DRAIN_TIMEOUT: Final = 5.0
"""Seconds that statements under way have at the end."""


class PipelinedStatements:
    """See `kernel.contracts.statements.Statements`."""

    def __init__(self, pool: Pool, config: PipelineConfig) -> None:
        timeout = pool.statement_timeout + ANSWER_GRACE if pool.statement_timeout else 0.0
        group = partial(ConnectionGroup, prepared=config.prepared, timeout=timeout)
        self._pool = pool
        self._config = config
        self._reads = group(depth=READ_DEPTH)
        self._filters = group(depth=FILTER_DEPTH)
        self._writes = group(depth=WRITE_DEPTH)
        self._transactions = group(depth=WRITE_DEPTH)
        self.groups: Mapping[str, ConnectionGroup] = {
            "reads": self._reads,
            "filters": self._filters,
            "writes": self._writes,
            "transactions": self._transactions,
        }
        """By their names in the configuration."""

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[PipelinedStatements]:
        """Keep the connections open."""
        async with anyio.create_task_group() as tasks:
            async with anyio.create_task_group() as first:
                for name, group in self.groups.items():
                    keeper = Keeper(name, group, self._pool, PLANS.get(name, GENERIC))
                    for _ in range(getattr(self._config, name)):
                        first.start_soon(tasks.start, keeper.keep)
            try:
                yield self
            finally:
                await self._drain()
                tasks.cancel_scope.cancel()

    def measured(self) -> list[Measure]:
        """Return the load of the groups, and what they left to the pool."""
        return [
            Measure(
                name=f"caudex_pipeline_{what}",
                help=words,
                value=value(group),
                labels={"group": name},
                kind=kind,
            )
            for what, words, kind, value in NUMBERS
            for name, group in self.groups.items()
        ]

    async def fetch(self, query: Query, *params: Param, custom_plan: bool = False) -> bytes | None:
        """See `Reader.fetch`."""
        self._check_online()
        group = self._filters if custom_plan else self._reads
        result = checked(await group.send(query, params))
        if result is None:  # also where the answer was lost: reading twice changes nothing
            return await self._pool.fetch(query, *params, custom_plan=custom_plan)
        return dialect.first(result)

    async def fetch_all(
        self, query: Query, *params: Param, custom_plan: bool = False
    ) -> list[bytes]:
        """See `Reader.fetch_all`."""
        self._check_online()
        group = self._filters if custom_plan else self._reads
        result = checked(await group.send(query, params))
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
    async def _begin(self, settings: Mapping[str, str]) -> AsyncGenerator[HeldConnection]:
        self._check_online()
        async with self._transactions.reserved() as member:
            if member is not None:
                yield HeldByTransaction(member, settings)
            else:
                async with self._pool.begin(settings) as connection:
                    yield connection

    async def _write(self, query: Query, params: Sequence[Param]) -> PGresult | None:
        """Return the answer, or None when the pool has to be asked, as nothing was sent yet."""
        self._check_online()
        answer = await self._writes.send(query, params)
        if answer is SendOutcome.LOST:  # sent and not answered: never sent again
            raise dialect.OutcomeUnknown
        return checked(answer)

    def _check_online(self) -> None:
        if not self._pool.online:
            raise Unavailable("the database is not available")

    async def _drain(self) -> None:
        """Wait for what is under way; nothing new is accepted by now."""
        groups = self.groups.values()
        with anyio.move_on_after(DRAIN_TIMEOUT, shield=True):
            # A transaction that waits for a connection is under way again once it has it.
            while under_way := [each for group in groups for each in group.under_way]:
                await asyncio.wait(under_way)
        for group in groups:
            group.close()
