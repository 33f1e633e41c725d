"""One blob on its way out of the bucket."""

from __future__ import annotations

from typing import Final, Self

from kernel.public import Unavailable

from .bucket import Bucket

RANGE: Final = 2 * 2**20
"""Bytes of one request: a client that reads slowly holds no connection to the store."""
PIECE: Final = 2**20


class ObjectReader:
    """The pieces of a blob, in ranges that are asked for one after the other."""

    def __init__(self, bucket: Bucket, key: str, size: int, span: range) -> None:
        self.size = size
        self._bucket = bucket
        self._key = key
        self._position = span.start
        self._end = span.stop
        self._rest = b""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._rest:
            self._rest = await self._read()
        piece = self._rest[:PIECE]
        self._rest = self._rest[PIECE:]
        return piece

    async def _read(self) -> bytes:
        end = min(self._position + RANGE, self._end)
        if end <= self._position:
            raise StopAsyncIteration
        try:
            data = await self._bucket.read(self._key, self._position, end)
        except FileNotFoundError:
            raise Unavailable("the file was deleted while it was read") from None
        if len(data) != end - self._position:
            raise Unavailable("the file store sent less than was asked for")
        self._position = end
        return data

    async def aclose(self) -> None:
        """Read no further."""
        self._position = self._end
        self._rest = b""
