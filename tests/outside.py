"""CHANGES without a server: a reader with one connection to the database."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from kernel.database.dialect import to_texts
from kernel.public import Param, Unavailable
from plugins.audit.changes.service import ChangesService


class OutsideStatements:
    """The statements of a reader; it is not used any more after one that failed."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def fetch_all(self, query: str, *params: Param, **_: bool) -> list[bytes]:
        cursor = await self._run(query, params)
        return [b"null" if row[0] is None else row[0] for row in await cursor.fetchall()]

    async def fetch(self, query: str, *params: Param, **_: bool) -> bytes | None:
        rows = await self.fetch_all(query, *params)
        return rows[0] if rows and rows[0] != b"null" else None

    async def execute(self, query: str, *params: Param) -> None:
        await self._run(query, params)

    async def _run(self, query: str, params: Sequence[Param]) -> psycopg.AsyncCursor[Any]:
        values = [None if value is None else value.decode() for value in to_texts(params)]
        try:
            return await self._connection.execute(query.encode(), values)
        except psycopg.Error as error:
            raise Unavailable("PostgreSQL is away") from error


class TextAsBytes(psycopg.adapt.Loader):
    """Reads values as PostgreSQL printed them."""

    def load(self, data: Any) -> bytes:
        return bytes(data)


@asynccontextmanager
async def reading(dsn: str) -> AsyncGenerator[ChangesService]:
    """Read changes by a connection of one's own. Raises Unavailable."""
    try:
        connection = await psycopg.AsyncConnection.connect(
            dsn, autocommit=True, cursor_factory=psycopg.AsyncRawCursor, connect_timeout=5
        )
    except psycopg.Error as error:
        raise Unavailable("PostgreSQL is away") from error
    for name in ("text", "json", "jsonb"):
        connection.adapters.register_loader(name, TextAsBytes)
    statements = OutsideStatements(connection)
    try:
        await statements.execute("set timezone = 'UTC'")
        yield ChangesService(statements)  # type: ignore[arg-type]
    finally:
        await connection.close()
