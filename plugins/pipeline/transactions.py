"""A transaction on a connection of a lane, which it has to itself for as long as it lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
import psycopg
from psycopg.pq.abc import PGresult

from kernel.public import BadRequest, KernelError, Param, Query, dialect

from .connection import Fate, Pipe, Step
from .lanes import MAX_PARAMETERS, checked

BEGIN: Final = Step(b"begin", [])
PATIENCE: Final = 5.0
"""Seconds for PostgreSQL to give up a statement that nobody waits for any more."""
COMMIT: Final = 60.0
"""Seconds for what nobody can give up half-way: a commit, and the ends of a savepoint."""


@asynccontextmanager
async def transaction(pipe: Pipe, settings: Mapping[str, str]) -> AsyncGenerator[PipedSession]:
    """See `kernel.contracts.statements.Begin`; nobody else may send on the connection."""
    session = PipedSession(pipe, settings)
    try:
        yield session
        await session.commit()
    except BaseException:
        await session.rollback()
        raise
    finally:
        session.end()


class PipedSession(dialect.FirstColumns):
    """See `kernel.contracts.statements.Session`.

    The transaction begins with its first statement, in one round trip: one sync ends them all, so
    that nothing is carried out where the beginning fails. Statements go one after the other.
    """

    def __init__(self, pipe: Pipe, settings: Mapping[str, str]) -> None:
        self._pipe = pipe
        self._ahead: Sequence[Step] = [BEGIN, _setting(settings)]
        self._savepoints = 0
        self._turn = asyncio.Lock()
        self._ended = False
        self._given_up = False
        """Whether a statement was given up, which can be in or not, and nothing undid it."""

    async def script(self, statements: bytes) -> None:
        """See `Session.script`."""
        if self._ahead:
            await self._ask(b"select")
        async with self._turn:
            self._check_open()
            try:
                answer = await self._pipe.script(statements).answer
            except BaseException:
                await self._give_up()
                raise
        _result(answer)

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
            if not self._ended:
                with suppress(RuntimeError):  # it has ended while this waited for its turn
                    await self._undo(b"rollback to " + name)
                    self._given_up = given_up
            raise

    async def commit(self) -> None:
        """Raises: RuntimeError when a statement failed or was given up and nobody was told."""
        if self._ahead:  # nothing was ever sent
            return
        if self._given_up:
            raise RuntimeError("a statement was cancelled, and its caller went on")
        if self._pipe.closed.is_set():  # it takes nothing any more, so nothing is in
            raise dialect.ConnectionLost("the database is not available")
        with dialect.unsure():
            done = await self._surely(b"commit", prepare=True)
        if done.command_status != b"COMMIT":
            raise RuntimeError("a statement failed, and its error was swallowed")

    async def rollback(self) -> None:
        """Take everything back, or close the connection, with which it goes as well."""
        self.end()
        if not self._ahead:
            await self._pipe.give_up(PATIENCE)  # what a task runs that nobody waited for
            await self._undo(b"rollback", last=True)

    def end(self) -> None:
        """Send nothing more: the connection is somebody else's."""
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
        await self._turn.acquire()
        try:
            if not last:
                self._check_open()
            ahead, self._ahead = self._ahead, ()
            try:
                unit = self._pipe.ask(query, values or [], ahead, prepare=prepare)
                answer = await unit.answer
            except BaseException:
                await self._give_up()
                raise
            finally:
                if ahead and not self._pipe.in_transaction:  # what follows would be in none
                    self._pipe.close()
        finally:
            self._turn.release()
        return _result(answer)

    async def _surely(self, query: Query, *, prepare: bool = False) -> PGresult:
        """Ask whatever becomes of the caller: who is told that it is not so has to be right.

        Raises ConnectionLost, and closes the connection, when PostgreSQL does not answer for long.
        """
        with anyio.move_on_after(COMMIT, shield=True):
            return await self._ask(query, prepare=prepare)
        self._pipe.close()
        raise dialect.ConnectionLost("the database is not available")

    async def _give_up(self) -> None:
        self._given_up = True
        await self._pipe.give_up(PATIENCE)

    async def _undo(self, query: bytes, *, last: bool = False) -> None:
        """Roll back, or close the connection: what could not be undone must not be committed."""
        try:
            with anyio.move_on_after(PATIENCE, shield=True):
                undone = await self._ask(query, last=last)
                if undone.command_status == b"ROLLBACK":
                    return
        except (KernelError, psycopg.Error):
            pass
        except BaseException:
            if last or not self._ended:  # else the connection is somebody else's
                self._pipe.close()
            raise
        self._pipe.close()

    def _check_open(self) -> None:
        if self._ended:
            raise RuntimeError("the transaction has ended")


def _setting(settings: Mapping[str, str]) -> Step:
    """Apply the settings for as long as the transaction lasts."""
    values = [dialect.to_text(text) for pair in settings.items() for text in pair]
    calls = [b"set_config($%d, $%d, true)" % (n, n + 1) for n in range(1, len(values), 2)]
    return Step(b"select " + b", ".join(calls), values)


def _result(answer: PGresult | Fate) -> PGresult:
    if (result := checked(answer)) is None:
        raise dialect.ConnectionLost("the database is not available")
    return result
