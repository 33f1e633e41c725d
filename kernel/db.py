"""PostgreSQL through a pool: statements in one dialect, transactions that can be repeated."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import anyio
import msgspec
import psycopg
import structlog
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.adapt import Dumper
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from kernel import hookspecs
from kernel.config import DatabaseConfig
from kernel.contracts.events import Event
from kernel.contracts.identity import Actor
from kernel.contracts.statements import Param, Query, Scalar
from kernel.contracts.statements import Transaction as TransactionProtocol
from kernel.errors import (
    BadRequest,
    BootError,
    ConstraintBreach,
    KernelError,
    SchemaChanged,
    Unavailable,
)
from kernel.hooks import HookBus
from kernel.news import PUBLISH, NewsDesk

T = TypeVar("T")
Connection = AsyncConnection[Any]
TRIES: Final = 4
MAX_STREAMS: Final = 4
BATCH: Final = 500
"""Rows of a stream that are in memory at once."""

log = structlog.get_logger("caudex.db")


class _AsText(Dumper):
    """`bytes` parameters are text that is already encoded, of the type that the cast names."""

    oid = 0

    def dump(self, obj: bytes) -> bytes:
        return obj


def to_text(param: Param) -> str | bytes | None:
    """Encode one parameter as PostgreSQL reads it."""
    if param is None or isinstance(param, str | bytes):
        return param
    if isinstance(param, bool):
        return "true" if param else "false"
    if isinstance(param, int | float | UUID):
        return str(param)
    if isinstance(param, datetime):
        return param.isoformat()
    return "{" + ",".join(_array_item(item) for item in param) + "}"


def _array_item(item: Scalar) -> str:
    if item is None:
        return "NULL"
    text = to_text(item)
    assert isinstance(text, str)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_UNAVAILABLE = ("08", "53", "57", "58")
_REPEATABLE = ("40001", "40P01")
_GONE = ("42703", "42P01", "3F000")
_CACHED_PLAN = "0A000"


def translate(error: psycopg.Error) -> KernelError | None:
    """Map what PostgreSQL says to a status (appendix A of its manual), or None for a fault of ours.

    Messages never hold SQL, names of hosts or values of other rows.
    """
    if isinstance(error, PoolTimeout | TooManyRequests | PoolClosed):
        return Unavailable("the database has no free connection")
    state, said = error.sqlstate or "", error.diag.message_primary or ""
    if state.startswith("23"):
        told = error.diag
        return ConstraintBreach(
            "a value breaks a rule of the table",
            sqlstate=state,
            table=told.table_name or "",
            column=told.column_name or "",
            constraint=told.constraint_name or "",
        )
    if state[:2] in ("22", "54"):
        return BadRequest(said or "a value cannot be stored")
    if isinstance(error, psycopg.DataError) and not state:
        return BadRequest("text must not contain the character U+0000")
    if state in _GONE or (state == _CACHED_PLAN and "cached plan" in said):
        return SchemaChanged("the schema changed while the request was running")
    if state in _REPEATABLE:
        return Unavailable("too many changes at the same moment")
    if state == "55P03" or state[:2] in _UNAVAILABLE:
        return Unavailable("the database is busy or not available")
    if isinstance(error, psycopg.OperationalError) and not state:
        return Unavailable("the database is not available")
    return None


@asynccontextmanager
async def translated() -> AsyncGenerator[None]:
    """Raise the kernel's errors in place of the driver's."""
    try:
        yield
    except psycopg.Error as error:
        if (known := translate(error)) is None:
            raise
        raise known from error


class _Session:
    """Statements over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def fetch(self, query: Query, *params: Param, custom_plan: bool = False) -> bytes | None:
        """See `Reader.fetch`."""
        return _first(await run_on(self._connection, query, params, custom_plan))

    async def fetch_all(
        self, query: Query, *params: Param, custom_plan: bool = False
    ) -> list[bytes]:
        """See `Reader.fetch_all`."""
        return _every(await run_on(self._connection, query, params, custom_plan))

    async def execute(self, query: Query, *params: Param) -> bytes | None:
        """See `Writer.execute`."""
        return _first(await run_on(self._connection, query, params))

    async def execute_all(self, query: Query, *params: Param) -> list[bytes]:
        """See `Writer.execute_all`."""
        return _every(await run_on(self._connection, query, params))

    async def script(self, statements: bytes) -> None:
        """See `Transaction.script`."""
        await self._connection.execute(statements)


class Transaction(_Session):
    """See `kernel.contracts.statements.Transaction`."""

    def __init__(self, connection: Connection, actor: Actor, bus: HookBus) -> None:
        super().__init__(connection)
        self.actor = actor
        self.callbacks: list[Callable[[], Awaitable[None]]] = []
        self.publications: list[tuple[str, str]] = []
        self._bus = bus

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        """See `Transaction.savepoint`."""
        async with translated(), self._connection.transaction():
            yield

    async def record(self, event: Event) -> None:
        """See `Transaction.record`."""
        await self._bus.emit(hookspecs.event_recorded, tx=self, event=event)
        if self._bus.listening(hookspecs.event_committed, event.subject):
            self.after_commit(lambda: self._bus.notify(hookspecs.event_committed, event=event))

    async def publish(self, topic: str, payload: str = "") -> None:
        """See `Transaction.publish`; sent last, so that its row is locked for a moment only."""
        if (topic, payload) not in self.publications:
            self.publications.append((topic, payload))

    def after_commit(self, callback: Callable[[], Awaitable[None]]) -> None:
        """See `Transaction.after_commit`."""
        self.callbacks.append(callback)


class Database:
    """The kernel's provider of STATEMENTS."""

    def __init__(self, config: DatabaseConfig, bus: HookBus, news: NewsDesk) -> None:
        self._config = config
        self._bus = bus
        self._news = news
        self._streams = anyio.CapacityLimiter(MAX_STREAMS)
        self._pool = AsyncConnectionPool[Connection](
            config.url,
            kwargs=connect_options(config),
            min_size=min(2, config.pool_size),
            max_size=config.pool_size,
            timeout=config.pool_timeout,
            max_waiting=1000,
            reconnect_timeout=3.0,
            configure=_configure,
            open=False,
            name="caudex",
        )

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Database]:
        """Keep the pool open."""
        await self._pool.open()
        try:
            yield self
        finally:
            await self._pool.close(timeout=5.0)

    async def fetch(self, query: Query, *params: Param, custom_plan: bool = False) -> bytes | None:
        """See `Reader.fetch`."""
        return _first(await self._read(query, params, custom_plan))

    async def fetch_all(
        self, query: Query, *params: Param, custom_plan: bool = False
    ) -> list[bytes]:
        """See `Reader.fetch_all`."""
        return _every(await self._read(query, params, custom_plan))

    async def execute(self, query: Query, *params: Param) -> bytes | None:
        """See `Writer.execute`."""
        async with self._connection() as connection:
            return _first(await run_on(connection, query, params))

    async def execute_all(self, query: Query, *params: Param) -> list[bytes]:
        """See `Writer.execute_all`."""
        async with self._connection() as connection:
            return _every(await run_on(connection, query, params))

    async def run(self, actor: Actor, fn: Callable[[TransactionProtocol], Awaitable[T]]) -> T:
        """See `Statements.run`."""
        for attempt in range(1, TRIES + 1):
            try:
                return await self._run_once(actor, fn)
            except Unavailable as error:
                state = getattr(error.__cause__, "sqlstate", None)
                if state not in _REPEATABLE or attempt == TRIES:
                    raise
                await anyio.sleep(random.uniform(0, 0.02 * 2**attempt))
        raise AssertionError("unreachable")

    async def _run_once(self, actor: Actor, fn: Callable[[TransactionProtocol], Awaitable[T]]) -> T:
        async with self._connection() as connection, connection.transaction():
            tx = Transaction(connection, actor, self._bus)
            await tx.execute(_SET, self.settings(actor))
            result = await fn(tx)
            revisions = [
                int(await tx.execute(PUBLISH, topic, payload, self._news.source) or 0)
                for topic, payload in tx.publications
            ]
        for (topic, payload), revision in zip(tx.publications, revisions, strict=True):
            await self._news.deliver(topic, payload, revision)
        for callback in tx.callbacks:
            await _guarded(callback)
        return result

    @asynccontextmanager
    async def stream(
        self, query: Query, *params: Param
    ) -> AsyncGenerator[AsyncIterator[list[bytes]]]:
        """See `Statements.stream`."""
        try:
            self._streams.acquire_on_behalf_of_nowait(token := object())
        except anyio.WouldBlock:
            raise Unavailable("too many complete lists are being read", retry_after=5) from None
        try:
            async with self._connection() as connection, connection.transaction():
                text = query.encode() if isinstance(query, str) else query
                await run_on(connection, b"declare stream no scroll cursor for " + text, params)
                yield _batches(connection)
        finally:
            self._streams.release_on_behalf_of(token)

    def settings(self, actor: Actor) -> bytes:
        """See `Statements.settings`."""
        found = {
            "caudex.actor_id": actor.user_id or "",
            "caudex.request_id": actor.request_id,
        }
        for _, more in self._bus.collect(hookspecs.session_settings, actor=actor):
            found.update(more)
        return msgspec.json.encode(found)

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Connection]:
        if not self._news.online:
            raise Unavailable("the database is not available")
        async with translated(), self._pool.connection() as connection:
            yield connection

    async def _read(self, query: Query, params: Sequence[Param], custom: bool) -> Cursor:
        try:
            async with self._connection() as connection:
                return await run_on(connection, query, params, custom)
        except Unavailable as error:
            cause = error.__cause__
            if not isinstance(cause, psycopg.OperationalError) or not _lost(cause):
                raise
        await self._pool.check()  # the other connections died with it, after a restart
        async with self._connection() as connection:
            return await run_on(connection, query, params, custom)


Cursor = AsyncRawCursor[Any]
_SET: Final = b"select count(set_config(s.key, s.value, true)) from jsonb_each_text($1::jsonb) as s"


async def run_on(
    connection: Connection, query: Query, params: Sequence[Param], custom_plan: bool = False
) -> Cursor:
    """Run one statement; without a prepared statement PostgreSQL plans for the very values."""
    async with translated():
        values = [to_text(param) for param in params]
        return await connection.execute(query, values, prepare=False if custom_plan else None)  # type: ignore[return-value]


def _first(cursor: Cursor) -> bytes | None:
    result = cursor.pgresult
    return result.get_value(0, 0) if result is not None and result.ntuples else None


def _every(cursor: Cursor) -> list[bytes]:
    result = cursor.pgresult
    if result is None:
        return []
    return [result.get_value(row, 0) or b"null" for row in range(result.ntuples)]


async def _batches(connection: Connection) -> AsyncIterator[list[bytes]]:
    async with translated():
        while batch := _every(await connection.execute(f"fetch {BATCH} from stream")):  # type: ignore[arg-type]
            yield batch


def _lost(error: psycopg.OperationalError) -> bool:
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))


async def _guarded(callback: Callable[[], Awaitable[None]]) -> None:
    try:
        await callback()
    except Exception as error:
        log.error("a callback after a commit failed", error=f"{type(error).__name__}: {error}")


async def _configure(connection: Connection) -> None:
    connection.adapters.register_dumper(bytes, _AsText)


def connect_options(config: DatabaseConfig) -> dict[str, Any]:
    """Options for every connection: each statement its own transaction, bounded in time."""
    limits = {
        "statement_timeout": int(config.statement_timeout * 1000),
        "lock_timeout": int(config.lock_timeout * 1000),
        "idle_in_transaction_session_timeout": 60_000,
    }
    return {
        "autocommit": True,
        "cursor_factory": AsyncRawCursor,
        "prepare_threshold": 3 if config.prepare else None,
        "connect_timeout": 5,
        "application_name": "caudex",
        "options": " ".join(f"-c {name}={value}" for name, value in limits.items())
        + " -c timezone=UTC -c datestyle=ISO",
    }


async def wait_for_database(config: DatabaseConfig) -> None:
    """Wait until PostgreSQL answers, `database.wait` seconds at most. Raises BootError."""
    deadline = anyio.current_time() + config.wait
    while True:
        try:
            async with await AsyncConnection.connect(config.url, **connect_options(config)) as c:
                await _check_version(c)
                return
        except psycopg.OperationalError as error:
            if anyio.current_time() >= deadline or _hopeless(error):
                said = str(error).strip().splitlines()[-1]
                raise BootError("database", said, "check database.url and that it runs") from None
        except psycopg.ProgrammingError as error:
            raise BootError("database", str(error), "database.url is not one of libpq's") from None
        await anyio.sleep(0.5)


def _hopeless(error: psycopg.OperationalError) -> bool:
    """A wrong password or name does not mend itself while one waits."""
    return any(word in str(error) for word in ("authentication failed", "does not exist"))


async def _check_version(connection: Connection) -> None:
    if connection.info.server_version < 150000:
        found = connection.info.server_version // 10000
        raise BootError("database", f"PostgreSQL {found} is too old", "use 15 or newer")
