"""Results of any size, read from a cursor in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from time import monotonic
from typing import Final

import anyio
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult

from kernel.contracts.statements import Param, Query
from kernel.database.dialect import Connection, ConnectionLost, first_column
from kernel.database.open_work import OpenWork, OpenWorkRegistry
from kernel.errors.source_lines import own_steps_here

BATCH: Final = 1000
PIECE: Final = 4000
"""The pieces of rows that one fetch returns, and the bytes of each: 4 MB at most."""

# The size of the next rows is unknown, so rows are fetched in pieces. A NUL byte, which no text
# contains, ends a row. The condition on its length does not depend on `n`: PostgreSQL looks at it
# first, and cuts only what is longer than a piece.
_IN_PIECES: Final = b"""declare stream binary no scroll cursor for
select coalesce(piece, bytes)
from (select textsend(coalesce(r::text, 'null')) || '\\x00' as bytes from (%%b
    ) as q (r) offset 0) as s
left join lateral (select substring(bytes from n for %d) as piece
    from generate_series(1, octet_length(bytes), %d) as n
    where octet_length(bytes) > %d offset 0) as p on true""" % (PIECE, PIECE, PIECE)  # fmt: skip


class Cursor:
    """A cursor in the transaction of a connection."""

    def __init__(self, connection: Connection, answer_timeout: float | None) -> None:
        """Each step has `answer_timeout` seconds: a frozen server would hold it for ever."""
        self._connection = connection
        self._answer_timeout = answer_timeout
        self._used_at = monotonic()

    def idle_since(self) -> float | None:
        """Return when rows were last read; None while some are being read."""
        is_reading = self._connection.status == TransactionStatus.ACTIVE
        return None if is_reading else self._used_at

    async def open(self, query: Query, params: Sequence[Param]) -> None:
        """Run the query up to its first row. Raises Unavailable."""
        text = query.encode() if isinstance(query, str) else query
        # PostgreSQL assumes a thousand pieces for each row, which would make it compile any query.
        await self._run(b"set local jit = off")
        await self._run(_IN_PIECES % text, params, prepare=True)

    async def batches(self) -> AsyncGenerator[list[bytes]]:
        """Read the first columns of the rows. Raises Unavailable.

        While one batch is used, PostgreSQL makes the next one, and it is read: never more.
        """
        begun = list[bytes]()  # pieces of a row whose end is not fetched yet
        fetch = _begin(self._fetch())
        try:
            while True:
                await asyncio.wait([fetch])
                pieces = fetch.result()
                is_last = len(pieces) < BATCH
                if not is_last:
                    fetch = _begin(self._fetch())
                    await asyncio.sleep(0)  # it is sent before the batch is used
                if pieces:
                    *batch, unfinished = b"".join(pieces).split(b"\0")
                    del pieces
                    if batch:
                        batch[0] = b"".join([*begun, batch[0]])
                        begun.clear()
                        yield batch
                    begun.append(unfinished)
                if is_last:
                    return
        finally:
            await _end(fetch)

    async def _fetch(self) -> list[bytes]:
        """Read as many pieces as a batch has, fewer where no more follow."""
        # Not prepared: only the simple protocol respects that the cursor is binary.
        return first_column(await self._run(b"fetch %d from stream" % BATCH))

    async def _run(
        self, query: Query, params: Sequence[Param] = (), *, prepare: bool = False
    ) -> PGresult | None:
        try:
            with anyio.move_on_after(self._answer_timeout):
                return await self._connection.run(query, params, prepare=prepare)
            raise ConnectionLost("the database is not available")
        finally:
            self._used_at = monotonic()


OpenCursor = tuple[Cursor, AsyncIterator[list[bytes]]]


class Stream:
    """Opens a cursor for a context; also closed with the request that opened it, if not before."""

    def __init__(self, opening: AsyncGenerator[OpenCursor], open_work: OpenWorkRegistry) -> None:
        """`opening` yields once, and closes the cursor when it goes on."""
        self._opening = opening
        self._open_work = open_work
        self._work: OpenWork | None = None

    async def __aenter__(self) -> AsyncIterator[list[bytes]]:
        code = own_steps_here()
        cursor, batches = await anext(self._opening)
        self._work = OpenWork(
            "stream", lambda: code, self._open_work, cursor.idle_since, self._opening.aclose
        )
        self._open_work.add(self._work)
        return batches

    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: object
    ) -> None:
        if self._work is not None:
            self._open_work.remove(self._work)
        if error is None:
            await self._opening.aclose()
            return
        try:
            await self._opening.athrow(error)
        except BaseException as raised:
            if raised is not error:  # it goes on by itself
                raise


def _begin(fetch: Coroutine[None, None, list[bytes]]) -> asyncio.Task[list[bytes]]:
    return asyncio.get_running_loop().create_task(fetch)


async def _end(fetch: asyncio.Task[list[bytes]]) -> None:
    """Cancel a fetch that no caller waits for any more; psycopg ends it in PostgreSQL too."""
    fetch.cancel()
    with anyio.CancelScope(shield=True):  # its connection is needed for the end of the transaction
        await asyncio.wait([fetch])
    if not fetch.cancelled():
        fetch.exception()  # said where it was waited for, or no caller asks
