"""STATEMENTS over a few pipelined connections; what they cannot carry goes to the kernel's pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final, Literal, TypeVar

import anyio
import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import DiagnosticField, TransactionStatus
from psycopg.pq.abc import PGresult

from kernel.public import (
    Actor,
    HeldConnection,
    Measure,
    Param,
    Pool,
    Query,
    Unavailable,
    Work,
    dialect,
)

from .config import PipelineConfig
from .connection import FAILED, LOCKED, PipelinedConnection, SendOutcome, Step
from .groups import ConnectionGroup, WriteGroup
from .reconnect import Reconnector
from .slow import SlowWrites

T = TypeVar("T")
READS: Final[Mapping[str, Mapping[str, Any]]] = {
    # PostgreSQL takes an eighth less for a read where three come together; with more, it and the
    # server would wait for each other. As many lists of 100 as two cores can do are a quarter more
    # where they share a connection for 8 ms than where they share it for one.
    "reads": {"depth": 64, "shared": 3, "joined": 0.008},
    # They take PostgreSQL longer than the server, so each connection has few of them.
    "filters": {"depth": 4, "joined": 0.001},
}
"""The groups of reads, see `ConnectionGroup`."""
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
BEGIN: Final = Step(b"begin", [])
STATEMENT_TIMEOUT: Final = (
    b"set_config('statement_timeout', current_setting('caudex.statement_timeout'), true)"
)
"""A transaction has the connection to itself, and its statements may take as long as configured."""
SLOW_SECONDS: Final = 0.1
"""Seconds after which a write that was slow before still is."""
NUMBERS: Final[
    Sequence[tuple[str, str, Literal["gauge", "counter"], Callable[[ConnectionGroup], int]]]
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
        prepared, timeout = config.prepared, pool.answer_timeout or 0.0
        self._reads, self._filters = [
            ConnectionGroup(prepared, timeout, **options) for options in READS.values()
        ]
        self._filters.shares = pool.shares
        self._writes = WriteGroup(prepared, timeout)
        self._slow = SlowWrites()
        self.groups: Mapping[str, ConnectionGroup] = {
            "reads": self._reads, "filters": self._filters, "writes": self._writes
        }  # fmt: skip
        """By their names in the configuration."""
        pool.on_away(self._cut)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[PipelinedStatements]:
        """Keep the connections open."""
        async with anyio.create_task_group() as tasks:
            attempts = list[anyio.Event]()
            for name, group in self.groups.items():
                reconnector = Reconnector(name, group, self._pool, SETTINGS[name])
                for _ in range(self._config.share(name, self._processes)):
                    attempts.append(anyio.Event())
                    tasks.start_soon(reconnector.keep_open, attempts[-1])
            for attempted in attempts:
                await attempted.wait()
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
        answer = checked(await group.send(query, params), query)
        if answer is None:  # also where the answer was lost: reading twice changes nothing
            return await self._pool.read(query, params, custom_plan, quick)
        return answer

    async def execute_grouped(self, key: str, query: Query, *params: Param) -> bytes | None:
        """See `Statements.execute_grouped`."""
        return dialect.first(await self.write(query, params, key))

    async def write(
        self, query: Query, params: Sequence[Param], key: str | None = None
    ) -> PGresult | None:
        """See `Pool.write`; with a `key` it may share a transaction."""
        self._check_online()
        if self._slow.has(query if key is None else key):
            return await self._take_detour(query, params, key)
        shared = None if self._slow.has(query) else key
        answer = await self._writes.send(query, params, shared)
        if answer is SendOutcome.UNDONE:
            answer = await self._writes.send(query, params, None)
        if answer is SendOutcome.LOST:  # sent and not answered: never sent again
            raise dialect.OutcomeUnknown
        if answer is SendOutcome.BLOCKED or answer is SendOutcome.SLOW:
            self._slow.note(query, key, timed_out=answer is SendOutcome.SLOW)
            return await self._take_detour(query, params, key)
        try:
            result = checked(answer, query)
        except Unavailable as error:
            if not dialect.repeatable(error.__cause__):
                raise
            result = None  # it was undone, and the pool repeats it
        if result is None:
            return await self._pool.write(query, params)
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
            begin = partial(self._begin, attempt, hooked=bool(subject))
            try:
                return await self._pool.run(actor, fn, begin, subject=subject)
            except Unavailable:
                if not attempt.blocked:
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
        self, attempt: Attempt, settings: Mapping[str, str], hooked: bool
    ) -> AsyncGenerator[HeldConnection]:
        self._check_online()
        async with self._writes.reserved(hooked) as member:
            if member is not None:
                yield HeldByTransaction(member, settings, attempt)
            else:
                async with self._pool.begin(settings) as connection:
                    yield connection

    def _check_online(self) -> None:
        if not self._pool.online:
            raise Unavailable("the database is not available")

    def _cut(self) -> None:
        """End what waits for a PostgreSQL that is away: a frozen one leaves connections open."""
        for group in self.groups.values():
            for member in group.members:
                member.close(psycopg.OperationalError("PostgreSQL does not answer"))

    async def _drain(self) -> None:
        """Wait for what is under way; nothing new is accepted by now."""
        groups = self.groups.values()
        with anyio.move_on_after(self._drain_timeout, shield=True):
            # A transaction that waits for a connection is under way again once it has it.
            while under_way := [each for group in groups for each in group.under_way]:
                await asyncio.wait(under_way)
        for group in groups:
            group.close()


class Attempt:
    """A transaction on a connection for writes, which may have to be repeated elsewhere."""

    def __init__(self) -> None:
        self.blocked = False
        """Whether it has waited for a lock for as long as it may there."""


class HeldByTransaction:
    """See `kernel.contracts.statements.HeldConnection`.

    The transaction begins with its first statement, in one round trip: one sync ends them all, so
    that nothing is carried out where the beginning fails.
    """

    patient = False

    def __init__(
        self, connection: PipelinedConnection, settings: Mapping[str, str], attempt: Attempt
    ) -> None:
        self._connection = connection
        self._attempt = attempt
        self._ahead: Sequence[Step] = [BEGIN, _setting(settings)]

    @property
    def status(self) -> int:
        """See `HeldConnection.status`."""
        return self._connection.status

    async def run(
        self, query: Query, params: Sequence[Param] = (), *, prepare: bool = False
    ) -> PGresult:
        """See `HeldConnection.run`."""
        values = dialect.to_texts(params)
        ahead, self._ahead = self._ahead, ()
        try:
            answer = await self._connection.ask(query, values, ahead, prepare=prepare).answer
        except BaseException:
            await self.interrupt()
            raise
        finally:
            if ahead and self.status == TransactionStatus.IDLE:  # what follows would be in none
                self._connection.close()
        return self._result(answer, query)

    async def script(self, statements: bytes) -> None:
        """See `HeldConnection.script`."""
        if self._ahead:
            await self.run(b"select")
        try:
            answer = await self._connection.script(statements).answer
        except BaseException:
            await self.interrupt()
            raise
        self._result(answer, statements)

    async def interrupt(self) -> None:
        """See `HeldConnection.interrupt`; the statement has ended then."""
        await self._connection.cancel(5.0)

    def _result(self, answer: PGresult | SendOutcome, query: Query) -> PGresult:
        if not isinstance(answer, SendOutcome) and answer.status == FAILED:
            state = answer.error_field(DiagnosticField.SQLSTATE)
            self._attempt.blocked = self._attempt.blocked or state == LOCKED
        result = checked(answer, query)
        if result is None:
            raise dialect.ConnectionLost("the database is not available")
        return result


def _setting(settings: Mapping[str, str]) -> Step:
    """Apply the settings for as long as the transaction lasts."""
    values = [dialect.to_text(text) for pair in settings.items() for text in pair]
    calls = [b"set_config($%d, $%d, true)" % (n, n + 1) for n in range(1, len(values), 2)]
    return Step(b"select " + b", ".join([STATEMENT_TIMEOUT, *calls]), values)


def checked(answer: PGresult | SendOutcome, query: Query) -> PGresult | None:
    """Raise PostgreSQL's error as the kernel's; return None for a statement without an answer."""
    if answer is SendOutcome.BEGUN:
        raise dialect.begun()
    if isinstance(answer, SendOutcome):
        return None
    if answer.status == FAILED:
        with dialect.translated(query):
            raise error_from_result(answer)
    return answer
