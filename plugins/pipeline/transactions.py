"""A transaction on a connection of a lane, which it has to itself for as long as it lasts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import anyio
from psycopg.pq.abc import PGresult

from kernel.public import BadRequest, Param, Query, dialect

from .connection import Fate, Pipe, Step
from .lanes import MAX_PARAMETERS, checked

BEGIN: Final = Step(b"begin", [])
PATIENCE: Final = 5.0
"""Seconds for PostgreSQL to give up a statement that nobody waits for any more."""


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


class PipedSession(dialect.FirstColumns):
    """See `kernel.contracts.statements.Session`.

    The transaction begins with its first statement, in one round trip: one sync ends them all, so
    that nothing is carried out where the beginning fails.
    """

    def __init__(self, pipe: Pipe, settings: Mapping[str, str]) -> None:
        self._pipe = pipe
        self._ahead: Sequence[Step] = [BEGIN, _setting(settings)]
        self._savepoints = 0

    async def script(self, statements: bytes) -> None:
        """See `Session.script`."""
        await self._begun()
        _result(await self._pipe.script(statements))

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        """See `Session.savepoint`."""
        self._savepoints += 1
        name = b"part_%d" % self._savepoints
        await self._ask(b"savepoint " + name)
        try:
            yield
        except BaseException:
            await self._undo(b"rollback to " + name)
            raise
        await self._ask(b"release " + name)

    async def commit(self) -> None:
        """Raises: RuntimeError when a statement failed and nobody was told."""
        if self._ahead:  # nothing was ever sent
            return
        done = await self._ask(b"commit", prepare=True)
        if done.command_status != b"COMMIT":
            raise RuntimeError("a statement failed, and whoever ran it kept that to himself")

    async def rollback(self) -> None:
        """Take everything back, or close the connection, with which it goes as well."""
        if not self._ahead:
            await self._undo(b"rollback")

    async def _begun(self) -> None:
        """Let the transaction have begun, and what was sent in it have been answered."""
        if self._ahead or self._pipe.pending:
            await self._ask(b"select")

    async def _read(self, query: Query, params: Sequence[Param], custom_plan: bool) -> PGresult:
        values = [dialect.to_text(param) for param in params]
        if len(values) > MAX_PARAMETERS:  # libpq refuses them half-way
            raise BadRequest(f"a statement takes {MAX_PARAMETERS} values at most")
        return await self._ask(query, values, not custom_plan)

    async def _ask(
        self, query: Query, values: list[bytes | None] | None = None, prepare: bool = False
    ) -> PGresult:
        ahead, self._ahead = self._ahead, ()
        return _result(await self._pipe.ask(query, values or [], ahead, prepare=prepare))

    async def _undo(self, query: bytes) -> None:
        """Roll back, after a statement that is still running has been cancelled."""
        with anyio.move_on_after(PATIENCE, shield=True):
            if self._pipe.pending:
                await self._pipe.cancel(PATIENCE)
            answer = await self._pipe.ask(query, [], prepare=False)
            if not isinstance(answer, Fate) and answer.command_status == b"ROLLBACK":
                return
        self._pipe.close()


def _setting(settings: Mapping[str, str]) -> Step:
    """Apply the settings for as long as the transaction lasts."""
    values = [dialect.to_text(text) for pair in settings.items() for text in pair]
    calls = [b"set_config($%d, $%d, true)" % (n, n + 1) for n in range(1, len(values), 2)]
    return Step(b"select " + b", ".join(calls), values)


def _result(answer: PGresult | Fate) -> PGresult:
    if (result := checked(answer)) is None:
        raise dialect.ConnectionLost("the database is not available")
    return result
