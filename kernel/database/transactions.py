"""A transaction: its statements on one connection, and what the kernel does when it commits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
import msgspec
import psycopg
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult

from kernel.contracts.base import Actor, Event
from kernel.contracts.statements import Param, Query
from kernel.contracts.statements import Session as SessionProtocol
from kernel.database.connect import Connection
from kernel.database.dialect import ConnectionLost, FirstColumns, run_on, unsure
from kernel.errors import KernelError
from kernel.hooks import hookspecs
from kernel.hooks.bus import HookBus

COMMIT_TIMEOUT: Final = 60.0
"""Seconds for a statement that must not be abandoned, such as a commit."""
_CANCEL_TIMEOUT: Final = 5.0
"""Seconds for PostgreSQL to cancel or roll back what no caller waits for."""
_OPEN: Final = (TransactionStatus.ACTIVE, TransactionStatus.INTRANS, TransactionStatus.INERROR)
_LOCK: Final = "select caudex_kernel.lock($1::text[], $2::boolean)"


class Session(FirstColumns):
    """The statements of a transaction on one connection, one at a time, until its end.

    A statement that the caller left running (`gather` does, when one of its parts fails) must not
    continue in the next transaction on the connection.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = anyio.Lock(fast_acquire=True)
        self._savepoints = 0
        self._ended = False
        self._abandoned = False
        """Whether a cancelled statement may have been applied and no savepoint undid it."""

    async def _read(
        self, query: Query, params: Sequence[Param], custom_plan: bool
    ) -> PGresult | None:
        async with self._lock:
            if self._ended:
                raise RuntimeError("the transaction has ended")
            try:
                return await run_on(self._connection, query, params, custom_plan)
            except BaseException as error:
                self._abandoned |= not isinstance(error, Exception)
                raise

    async def script(self, statements: bytes) -> None:
        """See `Session.script`."""
        await self._read(statements, (), False)

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        """See `Session.savepoint`."""
        self._savepoints += 1
        name, abandoned = b"part_%d" % self._savepoints, self._abandoned
        await self._shielded(b"savepoint " + name)
        try:
            yield
            await self._shielded(b"release " + name)
        except BaseException:
            # If the rollback fails too, the transaction has failed and the commit reports it.
            with suppress(psycopg.Error, KernelError, RuntimeError):
                await self._shielded(b"rollback to " + name)
                self._abandoned = abandoned
            raise

    async def commit(self) -> None:
        """Raises: RuntimeError when a statement failed or was cancelled without the caller's
        knowledge."""
        async with self._lock:
            self._ended = True
        if self._abandoned:
            raise RuntimeError("a statement was cancelled, and its caller went on")
        with unsure():
            done = await run_on(self._connection, b"commit")
        if done is None or done.command_status != b"COMMIT":
            raise RuntimeError("a statement failed, and its error was swallowed")

    async def rollback(self) -> None:
        """Cancel the statement under way and roll back; a connection that cannot is closed by the
        pool."""
        self._ended = True
        with anyio.move_on_after(_CANCEL_TIMEOUT, shield=True):
            while self._lock.locked():
                with suppress(psycopg.Error):
                    await self._connection.cancel_safe(timeout=_CANCEL_TIMEOUT)
                # PostgreSQL ignores a cancel request that arrives before the statement.
                with anyio.move_on_after(0.2):
                    async with self._lock:
                        pass
        with anyio.move_on_after(_CANCEL_TIMEOUT, shield=True), suppress(psycopg.Error):
            if self._connection.pgconn.transaction_status in _OPEN:
                await self._connection.execute(b"rollback")

    async def _shielded(self, query: bytes) -> None:
        """Run a statement that must not be cancelled. Raises ConnectionLost after a minute."""
        with anyio.move_on_after(COMMIT_TIMEOUT, shield=True):
            await self._read(query, (), True)
            return
        raise ConnectionLost("the database is not available")


class Transaction:
    """See `kernel.contracts.statements.Transaction`."""

    def __init__(self, session: SessionProtocol, actor: Actor, bus: HookBus) -> None:
        self.actor = actor
        self.fetch, self.fetch_all = session.fetch, session.fetch_all
        self.execute, self.execute_all = session.execute, session.execute_all
        self.script = session.script
        self._session = session
        self._bus = bus
        self.callbacks: list[Callable[[], Awaitable[None]]] = []
        self.publications: list[tuple[str, str | None]] = []

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        """See `Transaction.savepoint`."""
        callbacks, publications = len(self.callbacks), len(self.publications)
        try:
            async with self._session.savepoint():
                yield
        except BaseException:
            del self.callbacks[callbacks:], self.publications[publications:]
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
        # NOTIFY carries 8000 bytes; subscribers get None, "anything may have changed", for more.
        message = topic, payload if len(msgspec.json.encode(payload)) < 7000 else None
        if message not in self.publications:
            self.publications.append(message)

    def after_commit(self, callback: Callable[[], Awaitable[None]]) -> None:
        """See `Transaction.after_commit`."""
        self.callbacks.append(callback)
