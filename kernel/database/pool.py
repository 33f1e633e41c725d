"""The kernel's provider of STATEMENTS: PostgreSQL through a pool."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final, TypeVar

import anyio
import msgspec
from psycopg.pq import Escaping, TransactionStatus
from psycopg.pq.abc import PGresult

from kernel.config.settings import DatabaseConfig
from kernel.contracts.base import Actor, Services
from kernel.contracts.server import HookBus
from kernel.contracts.statements import Begin, Held, Param, Query, Work
from kernel.database import dialect
from kernel.database.connection_options import connect_options, connected
from kernel.database.connections import Connections
from kernel.database.dialect import Connection, ConnectionLost
from kernel.database.open_work import OpenWorkRegistry
from kernel.database.session_settings import SessionSettings
from kernel.database.shares import ConnectionUse, Shares
from kernel.database.streams import Cursor, OpenCursor, Stream
from kernel.database.transactions import TransactionRunner, run_repeatedly

T = TypeVar("T")
ANSWER_GRACE: Final = 15.0
"""Seconds beyond `statement_timeout` for the answer: a proxy can keep a connection open to a server
that is gone."""


class Database(dialect.FirstColumns):
    """See `kernel.contracts.statements.Pool`: single statements, streams and transactions."""

    def __init__(self, config: DatabaseConfig, bus: HookBus, services: Services) -> None:
        self._config = config
        self._open_work = OpenWorkRegistry(services)
        self._settings = SessionSettings(bus)
        self._transactions = TransactionRunner(
            config, bus, services, self._open_work, self._settings, self.begin
        )
        self.connections = Connections(config, self._open_work)
        self._write_callbacks = list[Callable[[], None]]()
        self.prepares = config.prepare
        self.answer_timeout: float | None = None
        if config.statement_timeout:
            self.answer_timeout = config.statement_timeout + ANSWER_GRACE
        self.replica: Database | None = None
        if config.replica_url:
            standby = msgspec.structs.replace(config, url=config.replica_url, replica_url="")
            self.replica = Database(standby, bus, services)

    @property
    def online(self) -> bool:
        """See `Pool.online`."""
        return self.connections.online

    @online.setter
    def online(self, value: bool) -> None:
        self.connections.online = value

    @property
    def shares(self) -> Shares:
        """See `Pool.shares`."""
        return self.connections.shares

    def go_offline(self) -> None:
        """See `Pool.go_offline`."""
        self.connections.go_offline()

    def on_away(self, callback: Callable[[], None]) -> None:
        """See `Pool.on_away`."""
        self.connections.on_away(callback)

    def note_write(self) -> None:
        """See `Pool.note_write`."""
        for callback in self._write_callbacks:
            callback()

    def on_write(self, callback: Callable[[], None]) -> None:
        """See `Pool.on_write`."""
        self._write_callbacks.append(callback)

    def statistics(self) -> Mapping[str, int]:
        """See `Pool.statistics`."""
        return self.connections.statistics()

    def held(self) -> Sequence[Held]:
        """See `Pool.held`."""
        return self._open_work.held()

    def settings(self, actor: Actor) -> bytes:
        """See `Statements.settings`."""
        return msgspec.json.encode(self._settings.collect(actor))

    def connect(
        self, *, direct: bool = False, login: tuple[str, str] | None = None
    ) -> AbstractAsyncContextManager[Connection]:
        """See `Pool.connect`."""
        config = self._config
        if direct and config.direct_url:
            config = msgspec.structs.replace(config, url=config.direct_url)
        options = connect_options(config)
        if login is not None:
            options["user"], options["password"] = login
        return connected(config.url, options)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Database]:
        """Keep the connections open, and those of the replica."""
        async with self.connections.opened():
            await self._settings.load_names(self)
            if self.replica is None:
                yield self
                return
            async with self.replica.opened():
                yield self

    # Transactions

    async def run(
        self,
        actor: Actor,
        fn: Work[T],
        begin: Begin | None = None,
        *,
        subject: str = "",
        quick: bool = True,
    ) -> T:
        """See `Pool.run`; all transactions are in shares here, those that are `quick` too.

        `quick` is for providers with connections of their own, such as the plugin `pipeline`.
        """
        try:
            return await self._transactions.run(actor, fn, begin, subject=subject)
        finally:  # also where the outcome is not known
            self.note_write()

    @asynccontextmanager
    async def begin(self, settings: Mapping[str, str]) -> AsyncGenerator[Connection]:
        """See `Pool.begin`; one round trip, where psycopg's own transaction takes two."""
        async with self.connections.lend(ConnectionUse.SHARED) as connection:
            escape = Escaping(connection.pgconn).escape_literal
            calls = list[bytes]()
            for name, value in settings.items():
                text = dialect.to_text(value) or b""
                calls.append(b"set_config(%b, %b, true)" % (escape(name.encode()), escape(text)))
            await connection.script(b"begin; select " + b", ".join(calls))
            yield connection

    # Streams

    def stream(self, query: Query, *params: Param) -> Stream:
        """See `Statements.stream`."""
        return Stream(self._open_cursor(query, params), self._open_work)

    async def _open_cursor(
        self, query: Query, params: Sequence[Param]
    ) -> AsyncGenerator[OpenCursor]:
        async with (
            self.connections.lend(ConnectionUse.STREAM) as connection,
            connection.transaction(),
        ):
            cursor = Cursor(connection, self.answer_timeout)
            await cursor.open(query, params)
            async with contextlib.aclosing(cursor.batches()) as batches:
                yield cursor, batches

    # Single statements

    async def read(
        self, query: Query, params: Sequence[Param], custom_plan: bool = False, quick: bool = True
    ) -> PGresult | None:
        """See `Pool.read`."""
        is_quick = quick and not custom_plan
        use = ConnectionUse.QUICK_READ if is_quick else ConnectionUse.SHARED
        with contextlib.suppress(ConnectionLost):
            return await self._run_statement(query, params, use, prepare=not custom_plan)
        return await self._run_statement(query, params, use, prepare=not custom_plan)

    async def write(self, query: Query, params: Sequence[Param]) -> PGresult | None:
        """See `Pool.write`; what a deadlock undid is sent again."""
        write_once = partial(self._write_once, query, params)
        try:
            return await run_repeatedly(write_once, self._config.pool_size)
        finally:
            self.note_write()

    async def execute_grouped(self, key: str, query: Query, *params: Param) -> bytes | None:
        """See `Statements.execute_grouped`; here each has a connection of its own, and no group.

        `key` is for providers with connections of their own, such as the plugin `pipeline`.
        """
        return await self.execute(query, *params)

    async def _write_once(self, query: Query, params: Sequence[Param]) -> PGresult | None:
        with dialect.raise_unknown_outcome():
            return await self._run_statement(query, params, ConnectionUse.SHARED)

    async def _run_statement(
        self, query: Query, params: Sequence[Param], use: ConnectionUse, *, prepare: bool = True
    ) -> PGresult | None:
        async with self.connections.lend(use) as connection:
            with self._open_work.statement(), anyio.move_on_after(self.answer_timeout):
                result = await connection.run(query, params, prepare=prepare)
                if connection.status != TransactionStatus.IDLE:
                    raise dialect.describe_begun_transaction()
                return result
            raise ConnectionLost("the database is not available")
