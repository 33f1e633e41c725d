"""A transaction on a connection that it holds from beginning to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
import psycopg
from psycopg.pq.abc import PGresult

from kernel.public import BadRequest, KernelError, Param, Query, dialect

from .connection import PipelinedConnection, SendOutcome, Step
from .groups import MAX_PARAMETERS, checked

BEGIN: Final = Step(b"begin", [])
CANCEL_TIMEOUT: Final = 5.0
"""Seconds for PostgreSQL to end a cancelled statement."""
COMMIT_TIMEOUT: Final = 60.0
"""Seconds for what cannot be cancelled half-way: a commit, and the ends of a savepoint."""


@asynccontextmanager
async def transaction(
    connection: PipelinedConnection, settings: Mapping[str, str]
) -> AsyncGenerator[PipelinedSession]:
    """See `kernel.contracts.statements.Begin`; no other request may use the connection."""
    session = PipelinedSession(connection, settings)
    try:
        yield session
        await session.commit()
    except BaseException:
        await session.rollback()
        raise
    finally:
        session.end()


class PipelinedSession(dialect.FirstColumns):
    """See `kernel.contracts.statements.Session`.

    The transaction begins with its first statement, in one round trip: one sync ends them all, so
    that nothing is carried out where the beginning fails. Statements go one after the other.
    """

    def __init__(self, connection: PipelinedConnection, settings: Mapping[str, str]) -> None:
        self._connection = connection
        self._ahead: Sequence[Step] = [BEGIN, _setting(settings)]
        self._savepoints = 0
        self._lock = asyncio.Lock()
        self._ended = False
        self._cancelled = False
        """Whether a cancelled statement may have been executed and was not rolled back."""

    async def script(self, statements: bytes) -> None:
        """See `Session.script`."""
        if self._ahead:
            await self._ask(b"select")
        async with self._lock:
            self._check_open()
            try:
                answer = await self._connection.script(statements).answer
            except BaseException:
                await self._cancel()
                raise
        _result(answer)

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        """See `Session.savepoint`."""
        self._savepoints += 1
        name, cancelled = b"part_%d" % self._savepoints, self._cancelled
        await self._shielded(b"savepoint " + name)
        try:
            yield
            await self._shielded(b"release " + name)
        except BaseException:
            if not self._ended:
                with suppress(RuntimeError):  # it ended while this waited for the lock
                    await self._undo(b"rollback to " + name)
                    self._cancelled = cancelled
            raise

    async def commit(self) -> None:
        """Raises: RuntimeError when a statement failed or was cancelled and the caller went on."""
        if self._ahead:  # nothing was ever sent
            return
        if self._cancelled:
            raise RuntimeError("a statement was cancelled, and its caller went on")
        if self._connection.closed.is_set():  # nothing was committed
            raise dialect.ConnectionLost("the database is not available")
        with dialect.unsure():
            done = await self._shielded(b"commit", prepare=True)
        if done.command_status != b"COMMIT":
            raise RuntimeError("a statement failed, and its error was swallowed")

    async def rollback(self) -> None:
        """Roll back, or close the connection, which rolls back as well."""
        self.end()
        if not self._ahead:
            await self._connection.cancel(CANCEL_TIMEOUT)  # of a task that the caller left running
            await self._undo(b"rollback", last=True)

    def end(self) -> None:
        """Send nothing more: the connection is released."""
        self._ended = True

    async def _read(self, query: Query, params: Sequence[Param], custom_plan: bool) -> PGresult:
        values = [dialect.to_text(param) for param in params]
        if len(values) > MAX_PARAMETERS:  # libpq refuses them half-way
            raise BadRequest(f"a statement takes {MAX_PARAMETERS} values at most")
        return await self._ask(query, values, prepare=not custom_plan)

    async def _ask(
        self,
        query: Query,
        values: list[bytes | None] | None = None,
        *,
        prepare: bool = False,
        last: bool = False,
    ) -> PGresult:
        await self._lock.acquire()
        try:
            if not last:
                self._check_open()
            ahead, self._ahead = self._ahead, ()
            try:
                request = self._connection.ask(query, values or [], ahead, prepare=prepare)
                answer = await request.answer
            except BaseException:
                await self._cancel()
                raise
            finally:
                if ahead and not self._connection.in_transaction:  # what follows would be in none
                    self._connection.close()
        finally:
            self._lock.release()
        return _result(answer)

    async def _shielded(self, query: Query, *, prepare: bool = False) -> PGresult:
        """Run a statement even if the caller is cancelled, so that its outcome is known.

        Raises ConnectionLost, and closes the connection, when PostgreSQL does not answer for long.
        """
        with anyio.move_on_after(COMMIT_TIMEOUT, shield=True):
            return await self._ask(query, prepare=prepare)
        self._connection.close()
        raise dialect.ConnectionLost("the database is not available")

    async def _cancel(self) -> None:
        self._cancelled = True
        await self._connection.cancel(CANCEL_TIMEOUT)

    async def _undo(self, query: bytes, *, last: bool = False) -> None:
        """Roll back, or close the connection: what could not be undone must not be committed."""
        try:
            with anyio.move_on_after(CANCEL_TIMEOUT, shield=True):
                undone = await self._ask(query, last=last)
                if undone.command_status == b"ROLLBACK":
                    return
        except (KernelError, psycopg.Error):
            pass
        except BaseException:
            if last or not self._ended:  # else the connection is released
                self._connection.close()
            raise
        self._connection.close()

    def _check_open(self) -> None:
        if self._ended:
            raise RuntimeError("the transaction has ended")


def _setting(settings: Mapping[str, str]) -> Step:
    """Apply the settings for as long as the transaction lasts."""
    values = [dialect.to_text(text) for pair in settings.items() for text in pair]
    calls = [b"set_config($%d, $%d, true)" % (n, n + 1) for n in range(1, len(values), 2)]
    return Step(b"select " + b", ".join(calls), values)


def _result(answer: PGresult | SendOutcome) -> PGresult:
    if (result := checked(answer)) is None:
        raise dialect.ConnectionLost("the database is not available")
    return result
