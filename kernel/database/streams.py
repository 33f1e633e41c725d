"""Results of any size, read from a cursor in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Final

from kernel.contracts.statements import Param, Query
from kernel.database.dialect import Connection, every

BATCH: Final = 500
PIECE: Final = 8000
"""The pieces of rows that one fetch returns, and the bytes of each: 4 MB at most."""

# The size of the next rows is unknown, so rows are fetched in pieces. A NUL byte, which no text
# contains, ends a row.
_IN_PIECES: Final = b"""declare stream binary no scroll cursor for
select substring(bytes from generate_series(1, octet_length(bytes), %d) for %d)
from (select convert_to(coalesce(r::text, 'null'), 'UTF8') || '\\x00' as bytes from (%%b
    ) as q (r) offset 0) as s""" % (PIECE, PIECE)  # fmt: skip


async def begin(connection: Connection, query: Query, params: Sequence[Param]) -> None:
    """Open the cursor in a transaction."""
    text = query.encode() if isinstance(query, str) else query
    # PostgreSQL assumes a thousand pieces for each row, which would make it compile any query.
    await connection.run(b"set local jit = off")
    await connection.run(_IN_PIECES % text, params, prepare=True)


async def batches(connection: Connection) -> AsyncGenerator[list[bytes]]:
    """Read the first columns of the rows."""
    begun = list[bytes]()  # pieces of a row whose end is not fetched yet
    # Not prepared: only the simple protocol respects that the cursor is binary.
    while pieces := every(await connection.run(b"fetch %d from stream" % BATCH)):
        *batch, rest = b"".join(pieces).split(b"\0")
        if batch:
            batch[0] = b"".join([*begun, batch[0]])
            begun.clear()
            yield batch
        begun.append(rest)
