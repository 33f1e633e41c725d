"""STATEMENTS over a few pipelined connections; what they cannot carry goes to the kernel's pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final, Literal, TypeVar

import anyio
import psycopg
from msgspec.structs import replace
from psycopg.pq.abc import PGresult

from kernel.public import (
    Actor,
    HeldConnection,
    Measure,
    OutcomeUnknown,
    Param,
    Pool,
    Query,
    Unavailable,
    Work,
    dialect,
)

from .config import PipelineConfig
from .connections.requests import SendOutcome
from .groups import ConnectionGroup, FilterGroup, GroupLimits, ReadGroup, WriteGroup
from .reconnect import Reconnector
from .slow import SlowWrites
from .transactions import Attempt, HeldByTransaction, check_answer

T = TypeVar("T")
AnyGroup = ConnectionGroup[Any, Any]
MAX_GROUPED: Final = 16
"""The most writes of one transaction."""
LIMITS: Final[Mapping[str, GroupLimits]] = {
    # PostgreSQL takes an eighth less for a read where three come together; with more, it and the
    # server would wait for each other. As many lists of 100 as two cores can do are a quarter more
    # where they share a connection for 8 ms than where they share it for one.
    "reads": GroupLimits(depth=64, shared=3, joined=0.008),
    # They take PostgreSQL longer than the server, so each connection has few of them.
    "filters": GroupLimits(depth=4, joined=0.001),
    # After fewer ticks, a busy disk would send others to the pool, where they cost more.
    "writes": GroupLimits(depth=1, shared=MAX_GROUPED, slow_ticks=5),
}
"""Of each group; the numbers of the configuration and of the pool are added."""
_SETTINGS: Final = b"""
select set_config('plan_cache_mode', '%b', false),
    set_config('caudex.' || name, current_setting(name), false),
    set_config(name,
        case when setting::int between 1 and most then setting else most::text end, false)
from pg_settings join (values %b) as l (name, most) using (name)"""
LOCK_WAIT: Final = b"('lock_timeout', 100)"
"""Milliseconds that a statement waits for a lock."""
WRITE_TIME: Final = b"('statement_timeout', 500)"
"""Milliseconds that a write may take. PostgreSQL keeps the time, because that of a commit does not
count, which a slow disk makes long for all."""
SETTINGS: Final = {
    "reads": _SETTINGS % (b"auto", LOCK_WAIT),
    "filters": _SETTINGS % (b"force_custom_plan", LOCK_WAIT),
    "writes": _SETTINGS % (b"auto", b", ".join([LOCK_WAIT, WRITE_TIME])),
}
"""What the connections begin with. What waits longer for a lock, or takes longer, goes to the pool:
here it would hold up others."""
SLOW_SECONDS: Final = 0.1
"""Seconds after which a write that was slow before still is."""
NUMBERS: Final[
    Sequence[tuple[str, str, Literal["gauge", "counter"], Callable[[AnyGroup], int]]]
] = (
    ("connections", "Open connections.", "gauge", lambda group: len(group.members)),
    ("statements", "Statements, or transactions.", "counter", lambda group: group.asked),
    ("left", "Statements that were left to the pool.", "counter", lambda group: group.left),
)


class PipelinedStatements(dialect.FirstColumns):
    """See `kernel.contracts.statements.Statements`."""

    def __init__(
        self, pool: Pool, config: PipelineConfig, drain_timeout: float = 5.0, processes: int = 1
    ) -> None:
        """Statements under way have `drain_timeout` seconds at the end.

        `processes` of the machine share the connections.
        """
        self._pool = pool
        self._config = config
        self._drain_timeout = drain_timeout
        self._processes = processes
        self._reads = ReadGroup(self._limits("reads"), pool.shares)
        self._filters = FilterGroup(self._limits("filters"), pool.shares)
        self._writes = WriteGroup(self._limits("writes"), pool.shares)
        self._slow = SlowWrites()
        self.groups: Mapping[str, AnyGroup] = {
            "reads": self._reads, "filters": self._filters, "writes": self._writes
        }  # fmt: skip
        """By their names in the configuration."""
        pool.on_away(self._cut_connections)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[PipelinedStatements]:
        """Keep the connections open."""
        async with anyio.create_task_group() as tasks:
            attempts = list[anyio.Event]()
            for name, group in self.groups.items():
                reconnector = Reconnector(name, group, self._pool, SETTINGS[name])
                for _ in range(self._config.share(name, self._processes)):
                    attempted = anyio.Event()
                    attempts.append(attempted)
                    tasks.start_soon(reconnector.keep_open, attempted)
            for attempted in attempts:
                await attempted.wait()
            try:
                yield self
            finally:
                await self._drain()
                tasks.cancel_scope.cancel()

    def measure(self) -> list[Measure]:
        """Return the load of the groups, and what they left to the pool."""
        return [
            Measure(
                name=f"caudex_pipeline_{number}",
                help=words,
                value=value(group),
                labels={"group": name},
                kind=kind,
            )
            for number, words, kind, value in NUMBERS
            for name, group in self.groups.items()
        ]

    async def read(
        self, query: Query, params: Sequence[Param], custom_plan: bool = False, quick: bool = True
    ) -> PGresult | None:
        """See `Pool.read`."""
        self._check_online()
        group = self._reads
        if custom_plan or not quick:
            group = self._filters
            shares = self._pool.shares
            if shares.are_used_up(shares.owner()):
                return await self._pool.read(query, params, custom_plan, quick)
        answer = await group.send(query, params)
        result = check_answer(answer, query)
        if result is None:  # also where the answer was lost: reading twice changes nothing
            return await self._pool.read(query, params, custom_plan, quick)
        return result

    async def execute_grouped(self, key: str, query: Query, *params: Param) -> bytes | None:
        """See `Statements.execute_grouped`."""
        return dialect.first_value(await self.write(query, params, key))

    async def write(
        self, query: Query, params: Sequence[Param], key: str | None = None
    ) -> PGresult | None:
        """See `Pool.write`; with a `key` it may share a transaction."""
        self._check_online()
        if self._slow.contains(query if key is None else key):
            return await self._take_detour(query, params, key)
        shared_key = None if self._slow.contains(query) else key
        answer = await self._writes.send(query, params, shared_key)
        if answer is SendOutcome.UNDONE:
            answer = await self._writes.send(query, params, None)
        if answer is SendOutcome.LOST:  # sent and not answered: never sent again
            raise OutcomeUnknown
        if answer is SendOutcome.BLOCKED or answer is SendOutcome.SLOW:
            self._slow.note(query, key, timed_out=answer is SendOutcome.SLOW)
            return await self._take_detour(query, params, key)
        try:
            result = check_answer(answer, query)
        except Unavailable as error:
            if not dialect.is_repeatable(error.__cause__):
                raise
            result = None  # it was undone, and the pool repeats it
        if result is None:
            return await self._pool.write(query, params)
        self._pool.note_write()
        return result

    async def _take_detour(
        self, query: Query, params: Sequence[Param], key: str | None
    ) -> PGresult | None:
        """Run a slow write on a connection of the pool, where it may take as long as configured."""
        self._writes.left += 1
        began = anyio.current_time()
        try:
            return await self._pool.write(query, params)
        finally:
            if anyio.current_time() - began > SLOW_SECONDS:
                self._slow.note(query, key, timed_out=False)

    async def run(self, actor: Actor, fn: Work[T], *, subject: str = "", quick: bool = True) -> T:
        """See `Statements.run`; a transaction has a connection to itself."""
        if quick:
            attempt = Attempt()
            begin = partial(self._begin, attempt, is_hooked=bool(subject))
            try:
                return await self._pool.run(actor, fn, begin, subject=subject)
            except Unavailable:
                if not attempt.was_blocked:
                    raise
        # A connection that others need soon is no place to wait for a lock.
        return await self._pool.run(actor, fn, subject=subject)

    def stream(
        self, query: Query, *params: Param
    ) -> AbstractAsyncContextManager[AsyncIterator[list[bytes]]]:
        """See `Statements.stream`; a cursor has a connection to itself."""
        return self._pool.stream(query, *params)

    def settings(self, actor: Actor) -> bytes:
        """See `Statements.settings`."""
        return self._pool.settings(actor)

    @asynccontextmanager
    async def _begin(
        self, attempt: Attempt, settings: Mapping[str, str], is_hooked: bool
    ) -> AsyncGenerator[HeldConnection]:
        self._check_online()
        async with self._writes.reserve(is_hooked) as member:
            if member is not None:
                yield HeldByTransaction(member, settings, attempt)
            else:
                async with self._pool.begin(settings) as connection:
                    yield connection

    def _limits(self, name: str) -> GroupLimits:
        """Return the limits of a group."""
        timeout = self._pool.answer_timeout or 0.0
        return replace(LIMITS[name], prepared=self._config.prepared, timeout=timeout)

    def _check_online(self) -> None:
        if not self._pool.online:
            raise Unavailable("the database is not available")

    def _cut_connections(self) -> None:
        """End what waits for a PostgreSQL that is away: a frozen one leaves connections open."""
        for group in self.groups.values():
            for member in group.members:
                member.close(psycopg.OperationalError("PostgreSQL does not answer"))

    async def _drain(self) -> None:
        """Wait for what is under way; nothing new is accepted by now."""
        groups = self.groups.values()
        with anyio.move_on_after(self._drain_timeout, shield=True):
            while True:
                under_way = [future for group in groups for future in group.under_way]
                if not under_way:
                    break
                # A transaction that waits for a connection is under way again once it has it.
                await asyncio.wait(under_way)
        for group in groups:
            group.close()
