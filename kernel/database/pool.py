"""PostgreSQL through a pool: connections, single statements and streams."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from os import dup
from socket import SHUT_RDWR, socket
from typing import Final

import anyio
import msgspec
import psycopg
from psycopg.pq import Escaping, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg_pool import AsyncConnectionPool

from kernel.config.settings import DatabaseConfig
from kernel.contracts import hookspecs
from kernel.contracts.base import Actor, Services
from kernel.contracts.server import HookBus
from kernel.contracts.statements import Param, Query
from kernel.database import dialect
from kernel.database.connect import connect_options, connected
from kernel.database.dialect import Connection, ConnectionLost, Crowded
from kernel.database.shares import Shares, Work
from kernel.database.streams import Cursor, OpenCursor, Stream
from kernel.database.transactions import TransactionRunner, run_repeatedly
from kernel.errors import PluginFailed, Unavailable

ANSWER_GRACE: Final = 15.0
"""Seconds beyond `statement_timeout` for the answer: a proxy can keep a connection open to a server
that is gone."""


class Database(TransactionRunner, dialect.FirstColumns):
    """The kernel's provider of STATEMENTS; see also `kernel.contracts.statements.Pool`."""

    def __init__(self, config: DatabaseConfig, bus: HookBus, services: Services) -> None:
        super().__init__(config, bus, services)
        self.online = True
        self._in_use = set[Connection]()
        self._on_away = list[Callable[[], None]]()
        self.on_away = self._on_away.append
        self.shares = Shares(config.pool_size, config.pool_timeout)
        self._renewed = 0.0
        self._pool = _Connections(
            config.url,
            connection_class=Connection,
            kwargs=connect_options(config),
            min_size=1,
            max_size=config.pool_size,
            timeout=config.pool_timeout,
            max_waiting=1000,
            reconnect_timeout=3.0,
            configure=_configure,
            reset=_reset,
            # One for each connection that may be opening, and one for connections that return.
            num_workers=config.pool_size + 1,
            open=False,
            name="caudex",
        )
        self.prepares = config.prepare
        self.answer_timeout: float | None = None
        if config.statement_timeout:
            self.answer_timeout = config.statement_timeout + ANSWER_GRACE
        self.replica: Database | None = None
        if config.replica_url:
            standby = msgspec.structs.replace(config, url=config.replica_url, replica_url="")
            self.replica = Database(standby, bus, services)

    def statistics(self) -> Mapping[str, int]:
        """See `Pool.statistics`."""
        statistics = self._pool.get_stats()
        waiting = statistics.get("requests_waiting", 0) + self.shares.waiting
        return {**statistics, "requests_waiting": waiting}

    def go_offline(self) -> None:
        """See `Pool.go_offline`."""
        self.online = False
        for connection in self._in_use:
            with (
                contextlib.suppress(psycopg.Error, OSError),
                socket(fileno=dup(connection.fileno())) as end,
            ):
                end.shutdown(SHUT_RDWR)
        for callback in self._on_away:
            callback()

    def connect(self, *, direct: bool = False) -> AbstractAsyncContextManager[Connection]:
        """See `Pool.connect`."""
        config = self._config
        if direct and config.direct_url:
            config = msgspec.structs.replace(config, url=config.direct_url)
        return connected(config.url, connect_options(config))

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Database]:
        """Keep the pool open, and that of the replica."""
        await self._pool.open()
        try:
            if self._bus.implementations(hookspecs.session_settings):
                names = await self.fetch_all("select name from pg_settings")
                self.setting_names = frozenset(name.decode() for name in names)
            async with self.replica.opened() if self.replica else contextlib.nullcontext():
                yield self
        finally:
            self._pool.may_close = True
            with anyio.CancelScope(shield=True):  # cancelled, it would leave connections open
                await self._pool.close(timeout=5.0)

    @asynccontextmanager
    async def begin(self, settings: Mapping[str, str]) -> AsyncGenerator[Connection]:
        """See `Pool.begin`; one round trip, where psycopg's own transaction takes two."""
        async with self._connection(Work.SLOW) as connection:
            escape = Escaping(connection.pgconn).escape_literal
            calls = list[bytes]()
            for name, value in settings.items():
                text = dialect.to_text(value) or b""
                calls.append(b"set_config(%b, %b, true)" % (escape(name.encode()), escape(text)))
            await connection.script(b"begin; select " + b", ".join(calls))
            yield connection

    def stream(self, query: Query, *params: Param) -> Stream:
        """See `Statements.stream`."""
        return Stream(self._opened_cursor(query, params), self._holdings)

    async def _opened_cursor(
        self, query: Query, params: Sequence[Param]
    ) -> AsyncGenerator[OpenCursor]:
        async with self._connection(Work.STREAM) as connection, connection.transaction():
            cursor = Cursor(connection, self.answer_timeout)
            await cursor.open(query, params)
            async with contextlib.aclosing(cursor.batches()) as batches:
                yield cursor, batches

    def settings(self, actor: Actor) -> bytes:
        """See `Statements.settings`."""
        return msgspec.json.encode(self.session_settings(actor))

    def _check_online(self) -> None:
        if not self.online:
            raise Unavailable("the database is not available")

    @asynccontextmanager
    async def _connection(self, work: Work) -> AsyncGenerator[Connection]:
        self._check_online()
        began = anyio.current_time()
        try:
            with dialect.translated():
                async with self.shares.hold(work):
                    self._check_online()  # it may have gone away meanwhile
                    async with self._pool.connection() as connection:
                        self._in_use.add(connection)
                        try:
                            yield connection
                        finally:
                            self._in_use.discard(connection)
        except Crowded as error:
            self._holdings.log_refusal(error)
            raise
        except ConnectionLost:
            if began >= self._renewed:  # else another statement has done this already
                # The idle connections have probably broken as well.
                self._renewed = anyio.current_time()
                with anyio.CancelScope(shield=True):  # cancelled, it would lose count of them
                    await self._pool.drain()
            raise

    async def read(
        self, query: Query, params: Sequence[Param], custom_plan: bool = False, quick: bool = True
    ) -> PGresult | None:
        """See `Pool.read`."""
        work = Work.QUICK if quick and not custom_plan else Work.SLOW
        with contextlib.suppress(ConnectionLost):
            return await self._run_once_on_pool(query, params, work, prepare=not custom_plan)
        return await self._run_once_on_pool(query, params, work, prepare=not custom_plan)

    async def write(self, query: Query, params: Sequence[Param]) -> PGresult | None:
        """See `Pool.write`; what a deadlock undid is sent again."""
        write_once = partial(self._write_once, query, params)
        return await run_repeatedly(write_once, self._config.pool_size)

    async def execute_grouped(self, key: str, query: Query, *params: Param) -> bytes | None:
        """See `Statements.execute_grouped`; each has a connection of its own."""
        return await self.execute(query, *params)

    async def _write_once(self, query: Query, params: Sequence[Param]) -> PGresult | None:
        with dialect.unsure():
            return await self._run_once_on_pool(query, params, Work.SLOW)

    async def _run_once_on_pool(
        self, query: Query, params: Sequence[Param], work: Work, *, prepare: bool = True
    ) -> PGresult | None:
        async with self._connection(work) as connection:
            with self._holdings.statement(), anyio.move_on_after(self.answer_timeout):
                result = await connection.run(query, params, prepare=prepare)
                if connection.status != TransactionStatus.IDLE:
                    raise dialect.begun()
                return result
            raise ConnectionLost("the database is not available")


class _Connections(AsyncConnectionPool[Connection]):
    """The connections of a server: no plugin closes them for the others."""

    may_close = False

    async def close(self, timeout: float = 5.0) -> None:
        """Close them at the end of the server. Raises PluginFailed before."""
        if not self.may_close:
            remedy = "leave the pool open: it ends with the server"
            raise PluginFailed("a plugin closes the pool of the server", remedy)
        await super().close(timeout)


async def _configure(connection: Connection) -> None:
    connection.adapters.register_dumper(bytes, dialect.AsText)


async def _reset(connection: Connection) -> None:
    """Close an oversized connection, which the pool then replaces.

    With a `reset` the pool also takes connections back in its own tasks, so that a caller that is
    cancelled at that moment cannot lose one.
    """
    if connection.oversized:
        await connection.close()
