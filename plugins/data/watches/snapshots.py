"""Reads that also say what their statement saw, so that a caller can follow changes from there."""

from __future__ import annotations

from typing import Final

from kernel.public import Param, Query, Reader


class SnapshotReader:
    """Adds an expression to each statement that returns one value, and keeps what it gave last."""

    def __init__(self, reader: Reader, expression: Query) -> None:
        self._reader = reader
        self._expression = as_bytes(expression)
        self.snapshot = b""

    async def fetch(
        self, query: Query, *params: Param, custom_plan: bool = False, quick: bool = True
    ) -> bytes | None:
        """See `Reader.fetch`."""
        statement = _WITH_SNAPSHOT % (self._expression, as_bytes(query))
        raw = await self._reader.fetch(statement, *params, custom_plan=custom_plan, quick=quick)
        if raw is None:
            return None
        self.snapshot, _, value = raw.partition(b"\n")
        return value

    async def fetch_all(
        self, query: Query, *params: Param, custom_plan: bool = False, quick: bool = True
    ) -> list[bytes]:
        """See `Reader.fetch_all`; the rows come without the expression."""
        return await self._reader.fetch_all(query, *params, custom_plan=custom_plan, quick=quick)


def put_first(expression: Query, query: bytes) -> bytes:
    """Return a statement whose first row is the value of an expression.

    PostgreSQL reads the parts of a cursor one after the other.
    """
    return _SNAPSHOT_FIRST % (as_bytes(expression), query)


def as_bytes(query: Query) -> bytes:
    """Return a statement as bytes."""
    return query.encode() if isinstance(query, str) else query


_WITH_SNAPSHOT: Final = b"select %b || E'\\n' || (%b)"
_SNAPSHOT_FIRST: Final = b"select %b union all select _q.json::text from (%b) as _q(json)"
