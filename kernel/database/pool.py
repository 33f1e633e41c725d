"""PostgreSQL through a pool: single statements, streams, transactions that can be repeated."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from operator import itemgetter
from typing import Final, TypeVar

import anyio
import msgspec
import psycopg
import structlog
from psycopg.pq import Escaping, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg_pool import AsyncConnectionPool

from kernel.config.settings import DatabaseConfig
from kernel.contracts.actor import Actor
from kernel.contracts.events import Event
from kernel.contracts.statements import Begin, Param, Query, Session
from kernel.contracts.statements import Transaction as TransactionProtocol
from kernel.database.connect import Connection, connect_options
from kernel.database.dialect import (
    AsText,
    ConnectionLost,
    FirstColumns,
    OutcomeUnknown,
    every,
    repeatable,
    run_on,
    to_text,
    translated,
    unsure,
)
from kernel.database.notifications import PUBLISH, Notifier
from kernel.errors import KernelError, SchemaChanged, Unavailable, failure
from kernel.hooks import hookspecs
from kernel.hooks.bus import HookBus

T = TypeVar("T")
TRIES: Final = 4
MAX_STREAMS: Final = 4
MAX_PAYLOAD: Final = 7000
"""Bytes of JSON; a notification takes 8000 in all."""
COMMIT_TIMEOUT: Final = 60.0
"""Seconds that a commit has before it is given up, and its connection with it."""
CALLBACK_TIMEOUT: Final = 30.0
"""Seconds that a callback after a commit has: nobody can give it up otherwise."""
CANCEL_TIMEOUT: Final = 5.0
"""Seconds for PostgreSQL to give up a statement that nobody waits for any more."""
CANCEL_INTERVAL: Final = 0.2
"""Seconds until a wish to cancel is repeated: PostgreSQL pays no heed to one that it gets before
the statement."""
ANSWER_GRACE: Final = 15.0
"""Seconds beyond the timeout of a statement in which its answer has to come: a proxy keeps a
connection alive behind which nobody is left."""
BATCH: Final = 500
PIECE: Final = 8000
"""Pieces of rows that one fetch of a stream brings, and the bytes of each: 4 MB at most."""

_OPEN: Final = (
    TransactionStatus.ACTIVE,
    TransactionStatus.INTRANS,
    TransactionStatus.INERROR,
)

_LOCK: Final = "select caudex_kernel.lock($1::text[], $2::boolean)"

log = structlog.get_logger("caudex.db")


class _Session(FirstColumns):
    """The statements of a transaction on one connection, one after the other, until its end.

    What a caller left running (`gather` does, when one of its parts fails) must not go on in the
    transaction that somebody else begins on the connection.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turn = anyio.Lock(fast_acquire=True)
        self._savepoints = 0
        self.ended = False
        self._given_up = False
        """Whether a statement was given up, which can be in or not, and nothing undid it."""

    async def _read(
        self, query: Query, params: Sequence[Param], custom_plan: bool
    ) -> PGresult | None:
        async with self._turn:
            if self.ended:
                raise RuntimeError("the transaction has ended")
            try:
                return await run_on(self._connection, query, params, custom_plan)
            except BaseException as error:
                self._given_up |= not isinstance(error, Exception)
                raise

    async def script(self, statements: bytes) -> None:
        """See `Session.script`."""
        await self._read(statements, (), False)

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        """See `Session.savepoint`."""
        self._savepoints += 1
        name, given_up = b"part_%d" % self._savepoints, self._given_up
        await self._surely(b"savepoint " + name)
        try:
            yield
            await self._surely(b"release " + name)
        except BaseException:
            # Where it cannot be undone the commit says so: the transaction has failed.
            with suppress(psycopg.Error, KernelError, RuntimeError):
                await self._surely(b"rollback to " + name)
                self._given_up = given_up
            raise

    @property
    def at_work(self) -> bool:
        """Whether a statement is under way."""
        return self._turn.locked()

    async def rest(self, seconds: float) -> None:
        """Wait until no statement is under way, for so long at most."""
        with anyio.move_on_after(seconds):
            async with self._turn:
                pass

    async def commit(self) -> None:
        """Raises: RuntimeError when a statement failed or was given up and nobody was told."""
        async with self._turn:
            self.ended = True
        if self._given_up:
            raise RuntimeError("a statement was cancelled, and its caller went on")
        with unsure():
            done = await run_on(self._connection, b"commit")
        if done is None or done.command_status != b"COMMIT":
            raise RuntimeError("a statement failed, and its error was swallowed")

    async def _surely(self, query: bytes) -> None:
        """Run what nobody can give up half-way. Raises ConnectionLost after a minute."""
        with anyio.move_on_after(COMMIT_TIMEOUT, shield=True):
            await self._read(query, (), True)
            return
        raise ConnectionLost("the database is not available")


class Transaction:
    """See `kernel.contracts.statements.Transaction`."""

    def __init__(self, session: Session, actor: Actor, bus: HookBus) -> None:
        self.actor = actor
        self.fetch, self.fetch_all = session.fetch, session.fetch_all
        self.execute, self.execute_all = session.execute, session.execute_all
        self.script = session.script
        self._session = session
        self.callbacks: list[Callable[[], Awaitable[None]]] = []
        self.publications: list[tuple[str, str | None]] = []
        self._bus = bus

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        """See `Transaction.savepoint`."""
        told = len(self.callbacks), len(self.publications)
        try:
            async with self._session.savepoint():
                yield
        except BaseException:
            del self.callbacks[told[0] :], self.publications[told[1] :]
            raise

    async def lock(self, *names: str, skip: bool = False) -> bool:
        """See `Transaction.lock`."""
        return await self.execute(_LOCK, names, skip) == b"t"

    async def record(self, event: Event) -> None:
        """See `Transaction.record`."""
        await self._bus.emit(hookspecs.event_recorded, tx=self, event=event)
        if self._bus.has_listeners(hookspecs.event_committed, event.subject):
            self.after_commit(lambda: self._bus.notify(hookspecs.event_committed, event=event))

    async def publish(self, topic: str, payload: str = "") -> None:
        """See `Transaction.publish`; sent last, so that its row is locked for a moment only."""
        # What NOTIFY cannot carry is told as "anything may have changed".
        message = topic, payload if len(msgspec.json.encode(payload)) < MAX_PAYLOAD else None
        if message not in self.publications:
            self.publications.append(message)

    def after_commit(self, callback: Callable[[], Awaitable[None]]) -> None:
        """See `Transaction.after_commit`."""
        self.callbacks.append(callback)


class Database(FirstColumns):
    """The kernel's provider of STATEMENTS; see also `kernel.contracts.statements.Pool`."""

    def __init__(self, config: DatabaseConfig, bus: HookBus, news: Notifier) -> None:
        self._config = config
        self._bus = bus
        self._news = news
        # In a small pool streams leave a connection to the others.
        self._streams = anyio.CapacityLimiter(max(1, min(MAX_STREAMS, config.pool_size - 1)))
        self._renewed = 0.0
        self._pool = AsyncConnectionPool[Connection](
            config.url,
            connection_class=Connection,
            kwargs=connect_options(config),
            min_size=min(2, config.pool_size),
            max_size=config.pool_size,
            timeout=config.pool_timeout,
            max_waiting=1000,
            reconnect_timeout=3.0,
            configure=_configure,
            reset=_reset,
            # One for each connection that may be under way, and one for those that are given back.
            num_workers=config.pool_size + 1,
            open=False,
            name="caudex",
        )

    def statistics(self) -> Mapping[str, int]:
        """See `Pool.statistics`."""
        return self._pool.get_stats()

    @property
    def online(self) -> bool:
        """See `Pool.online`."""
        return self._news.online

    @property
    def prepares(self) -> bool:
        """See `Pool.prepares`."""
        return self._config.prepare

    @property
    def statement_timeout(self) -> float:
        """See `Pool.statement_timeout`."""
        return self._config.statement_timeout

    async def connect(self) -> Connection:
        """See `Pool.connect`."""
        return await Connection.connect(self._config.url, **connect_options(self._config))

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Database]:
        """Keep the pool open."""
        await self._pool.open()
        try:
            yield self
        finally:
            with anyio.CancelScope(shield=True):  # given up it would leave connections open
                await self._pool.close(timeout=5.0)

    async def run(
        self,
        actor: Actor,
        fn: Callable[[TransactionProtocol], Awaitable[T]],
        begin: Begin | None = None,
    ) -> T:
        """See `Pool.run`."""
        attempt = stale = 0
        while True:
            try:
                return await self._run_once(actor, fn, begin or self.begin)
            except Unavailable as error:
                # After a change of the schema each connection can have a statement that is stale.
                if isinstance(error, SchemaChanged) and stale < self._pool.max_size:
                    stale += 1
                else:
                    attempt += 1
                if attempt == TRIES or not repeatable(error.__cause__):
                    raise
                await anyio.sleep(random.uniform(0, 0.02 * 2**attempt))

    async def _run_once(
        self, actor: Actor, fn: Callable[[TransactionProtocol], Awaitable[T]], begin: Begin
    ) -> T:
        with anyio.CancelScope() as scope:
            async with begin(self._settings(actor)) as session:
                tx = Transaction(session, actor, self._bus)
                result = await fn(tx)
                news = list[tuple[str, str | None, int]]()
                for topic, payload in sorted(tx.publications, key=itemgetter(0)):  # no deadlocks
                    revision = await tx.execute(PUBLISH, topic, payload, self._news.source)
                    news.append((topic, payload, int(revision or 0)))
                # A caller that gives up from here on waits for the end: it is in with all that
                # follows from it, or it is not. Only who hangs with PostgreSQL is let go.
                scope.shield, scope.deadline = True, anyio.current_time() + COMMIT_TIMEOUT
            with anyio.CancelScope(shield=True):  # however late it is by now
                for topic, payload, revision in news:
                    await self._news.deliver(topic, payload, revision)
                for callback in tx.callbacks:
                    await _guarded(callback)
            return result
        raise OutcomeUnknown

    @asynccontextmanager
    async def begin(self, settings: Mapping[str, str]) -> AsyncGenerator[Session]:
        """See `Pool.begin`; one round trip, where psycopg's own transaction takes two."""
        async with self._connection() as connection:
            literal = Escaping(connection.pgconn).escape_literal
            values = [
                b"set_config(%b, %b, true)"
                % (literal(name.encode()), literal(to_text(value) or b""))
                for name, value in settings.items()
            ]
            session = _Session(connection)
            try:
                await run_on(connection, b"begin; select " + b", ".join(values))
                yield session
                await session.commit()
            except BaseException:
                session.ended = True
                with anyio.move_on_after(CANCEL_TIMEOUT, shield=True):
                    while session.at_work:  # for nobody any more
                        with suppress(psycopg.Error):
                            await connection.cancel_safe(timeout=CANCEL_TIMEOUT)
                        await session.rest(CANCEL_INTERVAL)
                # What cannot even be rolled back is closed by the pool.
                with anyio.move_on_after(CANCEL_TIMEOUT, shield=True), suppress(psycopg.Error):
                    if connection.pgconn.transaction_status in _OPEN:
                        await connection.execute(b"rollback")
                raise

    @asynccontextmanager
    async def stream(
        self, query: Query, *params: Param
    ) -> AsyncGenerator[AsyncIterator[list[bytes]]]:
        """See `Statements.stream`."""
        try:
            self._streams.acquire_on_behalf_of_nowait(token := object())
        except anyio.WouldBlock:
            raise Unavailable("too many complete lists are being read", retry_after=5) from None
        text = query.encode() if isinstance(query, str) else query
        try:
            async with self._connection() as connection, connection.transaction():
                # A row is guessed to have a thousand pieces: that alone would be worth compiling.
                await run_on(connection, b"set local jit = off")
                await run_on(connection, _IN_PIECES % text, params)
                async with aclosing(_batches(connection)) as batches:
                    yield batches
        finally:
            self._streams.release_on_behalf_of(token)

    def settings(self, actor: Actor) -> bytes:
        """See `Statements.settings`."""
        return msgspec.json.encode(self._settings(actor))

    def _settings(self, actor: Actor) -> Mapping[str, str]:
        found = {
            "caudex.actor_id": actor.user_id or "",
            "caudex.request_id": actor.request_id,
        }
        if self._bus.implementations(hookspecs.session_settings):
            for _, more in self._bus.collect(hookspecs.session_settings, actor=actor):
                found.update(more)
        return found

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Connection]:
        if not self.online:
            raise Unavailable("the database is not available")
        began = anyio.current_time()
        try:
            with translated():
                async with self._pool.connection() as connection:
                    yield connection
        except ConnectionLost:
            if began >= self._renewed:  # else another loss of these connections has done so
                await self._renew()
            raise

    async def _renew(self) -> None:
        """Replace the idle connections, which have probably died with the one that was lost."""
        self._renewed = anyio.current_time()
        with anyio.CancelScope(shield=True):  # half-way it would lose count of them
            await self._pool.drain()

    async def _read(
        self, query: Query, params: Sequence[Param], custom_plan: bool
    ) -> PGresult | None:
        with suppress(ConnectionLost):
            return await self._once(query, params, custom_plan)
        return await self._once(query, params, custom_plan)

    async def _write(self, query: Query, params: Sequence[Param]) -> PGresult | None:
        with unsure():
            return await self._once(query, params, False)

    async def _once(
        self, query: Query, params: Sequence[Param], custom_plan: bool
    ) -> PGresult | None:
        seconds = self.statement_timeout + ANSWER_GRACE if self.statement_timeout else None
        async with self._connection() as connection:
            with anyio.move_on_after(seconds):
                return await run_on(connection, query, params, custom_plan)
            raise ConnectionLost("the database is not available")


# The size of the next rows is unknown, so each is fetched in pieces; a NUL byte, which no text
# holds, ends a row.
_IN_PIECES: Final = b"""declare stream binary no scroll cursor for
select substring(bytes from generate_series(1, octet_length(bytes), %d) for %d)
from (select convert_to(coalesce(r::text, 'null'), 'UTF8') || '\\x00' as bytes from (%%b
    ) as q (r) offset 0) as s""" % (PIECE, PIECE)  # fmt: skip


async def _batches(connection: Connection) -> AsyncGenerator[list[bytes]]:
    begun = list[bytes]()  # pieces of a row whose end is still to come
    # Not prepared: only the simple protocol heeds that the cursor is binary.
    while pieces := every(await run_on(connection, b"fetch %d from stream" % BATCH, (), True)):
        *batch, rest = b"".join(pieces).split(b"\0")
        if batch:
            batch[0] = b"".join([*begun, batch[0]])
            begun.clear()
            yield batch
        begun.append(rest)


async def _guarded(callback: Callable[[], Awaitable[None]]) -> None:
    try:
        with anyio.fail_after(CALLBACK_TIMEOUT):
            await callback()
    except Exception as error:
        log.error("a callback after a commit failed", **failure(error))


async def _configure(connection: Connection) -> None:
    connection.adapters.register_dumper(bytes, AsText)


async def _reset(connection: Connection) -> None:
    """Close an oversized connection, which the pool then replaces.

    With a `reset` the pool also takes connections back in its own tasks, so that a caller that is
    cancelled at that moment cannot lose one.
    """
    if connection.oversized:
        await connection.close()
