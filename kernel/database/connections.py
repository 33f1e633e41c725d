"""The connections of a server process to PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from os import dup
from socket import SHUT_RDWR, socket

import anyio
import psycopg
from psycopg_pool import AsyncConnectionPool

from kernel.config.settings import DatabaseConfig
from kernel.database import dialect
from kernel.database.connection_options import connect_options
from kernel.database.dialect import Connection, ConnectionLost, Crowded
from kernel.database.open_work import OpenWorkRegistry
from kernel.database.shares import ConnectionUse, Shares
from kernel.errors import PluginFailed, Unavailable


class Connections:
    """Lends connections to statements, transactions and streams.

    While PostgreSQL is away (`online` is False) it lends none, so that requests fail at once. When
    a connection breaks, the idle ones are replaced.
    """

    def __init__(self, config: DatabaseConfig, open_work: OpenWorkRegistry) -> None:
        self.online = True
        self.shares = Shares(config.pool_size, config.pool_timeout)
        self.pool = _ServerPool(
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
        self._open_work = open_work
        self._in_use = set[Connection]()
        self._on_away = list[Callable[[], None]]()
        self._renewed_at = 0.0

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Keep the pool open."""
        await self.pool.open()
        try:
            yield
        finally:
            self.pool.may_close = True
            with anyio.CancelScope(shield=True):  # cancelled, it would leave connections open
                await self.pool.close(timeout=5.0)

    @asynccontextmanager
    async def lend(self, use: ConnectionUse) -> AsyncGenerator[Connection]:
        """Lend a connection for a use. Raises Unavailable, and Crowded where none is free."""
        self._check_online()
        began = anyio.current_time()
        try:
            with dialect.translated():
                async with self.shares.hold(use):
                    self._check_online()  # it may have gone away meanwhile
                    async with self.pool.connection() as connection:
                        self._in_use.add(connection)
                        try:
                            yield connection
                        finally:
                            self._in_use.discard(connection)
        except Crowded as error:
            self._open_work.log_refusal(error)
            raise
        except ConnectionLost:
            if began >= self._renewed_at:  # else another statement has done this already
                # The idle connections have probably broken as well.
                self._renewed_at = anyio.current_time()
                with anyio.CancelScope(shield=True):  # cancelled, it would lose count of them
                    await self.pool.drain()
            raise

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

    def on_away(self, callback: Callable[[], None]) -> None:
        """See `Pool.on_away`."""
        self._on_away.append(callback)

    def statistics(self) -> Mapping[str, int]:
        """See `Pool.statistics`."""
        statistics = self.pool.get_stats()
        waiting = statistics.get("requests_waiting", 0) + self.shares.waiting
        return {**statistics, "requests_waiting": waiting}

    def _check_online(self) -> None:
        if not self.online:
            raise Unavailable("the database is not available")


class _ServerPool(AsyncConnectionPool[Connection]):
    """The pool of a server: no plugin closes it for the others."""

    may_close = False

    async def close(self, timeout: float = 5.0) -> None:
        """Close it at the end of the server. Raises PluginFailed before."""
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
