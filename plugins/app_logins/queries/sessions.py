"""Sessions that SQL of workers runs in, and which are used again."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from select import select
from typing import Any, Final

import anyio
import psycopg
from psycopg import AsyncConnection

from kernel.public import Pool, RecordView

from . import store
from .store import ProposedChange, QueryLogin

IDLE_SECONDS: Final = 30.0
"""How long a session waits for its next statement. PostgreSQL ends it after twice that time."""


class SessionRefused(Exception):
    """A session cannot be used: its login has another password by now, or PostgreSQL ended it."""


class Session:
    """A connection that runs one statement of a worker at a time."""

    def __init__(
        self, connection: AsyncConnection[Any], login: QueryLogin, closing: AsyncExitStack
    ) -> None:
        self.login = login
        self.free_since = 0.0
        self._connection = connection
        self._closing = closing

    @property
    def is_lost(self) -> bool:
        """Whether PostgreSQL has ended it: nothing else arrives unasked."""
        return bool(select([self._connection.fileno()], [], [], 0)[0])

    async def show_records(
        self, app_id: str, views: Sequence[RecordView], max_changes: int
    ) -> None:
        """See `store.show_records`. Raises SessionRefused."""
        password = self.login.password
        try:
            await store.show_records(self._connection, password, app_id, views, max_changes)
        except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege) as error:
            raise SessionRefused from error

    async def prepare(self, statement: str) -> None:
        """See `store.prepare_query`."""
        await store.prepare_query(self._connection, statement)

    async def answer(self, values: Sequence[str | None], max_rows: int, max_bytes: int) -> bytes:
        """See `store.answer_query`."""
        return await store.answer_query(self._connection, values, max_rows, max_bytes)

    async def take_changes(self, max_bytes: int) -> list[ProposedChange] | None:
        """See `store.take_changes`."""
        return await store.take_changes(self._connection, max_bytes)

    async def reset(self) -> None:
        """Forget all that the statement did."""
        await store.reset_session(self._connection)

    async def close(self) -> None:
        """End it."""
        with anyio.CancelScope(shield=True):
            await self._closing.aclose()


class Sessions:
    """The sessions of one process. One that is free is used again: a new one takes longer than most
    statements.

    `room` is how many may be free.
    """

    def __init__(self, pool: Pool, room: int) -> None:
        self._pool = pool
        self._room = room
        self._free: list[Session] = []

    @asynccontextmanager
    async def open(self, login: QueryLogin) -> AsyncGenerator[Session]:
        """Lend a session in which nothing is left of an earlier statement.

        One whose statement failed is closed. Raises SessionRefused, psycopg.Error.
        """
        session = await self._take(login) or await self._connect(login)
        is_clean = False
        try:
            yield session
            await session.reset()
            is_clean = True
        finally:
            if is_clean:
                await self._give_back(session)
            else:
                await session.close()

    async def close(self, role: str | None = None) -> None:
        """Close the free sessions of a role, or all of them."""
        closing = [item for item in self._free if role is None or item.login.role == role]
        self._free = [item for item in self._free if item not in closing]
        for session in closing:
            await session.close()

    async def _take(self, login: QueryLogin) -> Session | None:
        """Take the session that was used last, and close those that waited too long."""
        oldest = time.monotonic() - IDLE_SECONDS
        stale = [item for item in self._free if item.free_since < oldest or item.is_lost]
        self._free = [item for item in self._free if item not in stale]
        usable = [item for item in self._free if item.login == login]
        session = usable[-1] if usable else None
        if session is not None:
            self._free.remove(session)
        for item in stale:
            await item.close()
        return session

    async def _give_back(self, session: Session) -> None:
        session.free_since = time.monotonic()
        self._free.append(session)
        if len(self._free) > self._room:
            await self._free.pop(0).close()

    async def _connect(self, login: QueryLogin) -> Session:
        connecting = self._pool.connect(direct=True, login=(login.role, login.password))
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(connecting)
            except psycopg.OperationalError as error:
                if _is_refused_login(error):
                    raise SessionRefused from error
                raise
            # What is reset has no plans that psycopg remembers.
            connection.prepare_threshold = None
            return Session(connection, login, stack.pop_all())
        raise AssertionError("a stack hides no error")


def _is_refused_login(error: psycopg.OperationalError) -> bool:
    """Whether PostgreSQL knows no such login; libpq gives no SQLSTATE while it connects."""
    text = str(error)
    return "authentication failed" in text or "does not exist" in text
