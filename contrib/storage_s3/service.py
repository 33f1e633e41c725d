"""Blobs as objects of a bucket.

    <prefix>/blobs/3a5f…       a blob, under its hash
    <prefix>/incoming/…        a large one whose hash is not known yet

A large blob is uploaded in parts, then copied to its hash within the store: an object appears
complete or not at all.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

import anyio

from kernel.public import BLOB_HASH, Blob, NotFound, StoredBlob, TooLarge, Unavailable

from .bucket import Bucket, Upload
from .reading import PIECE, ObjectReader

SMALL: Final = 4 * 2**20
"""Bytes of a blob that is held in memory and written in one request."""
CHECK: Final = "incoming/check"
"""An object that is written to see whether any can be."""
ABANDONED: Final = timedelta(days=1)
"""After which a large blob that did not get its hash is deleted."""


class S3Storage:
    """Provides STORAGE."""

    def __init__(self, bucket: Bucket, location: str) -> None:
        self._bucket = bucket
        self.location = location

    async def write_blob(self, pieces: AsyncIterator[bytes], limit: int) -> Blob:
        """See `Storage.write_blob`."""
        writer = _Writer(self._bucket)
        try:
            size = 0
            async for piece in pieces:
                size += len(piece)
                if size > limit:
                    raise TooLarge(limit)
                await writer.write(piece)
            return await writer.finish()
        except FileNotFoundError:
            raise Unavailable("the bucket of the file store is missing", retry_after=60) from None

    async def measure_blob(self, sha256: str) -> int | None:
        """See `Storage.measure_blob`."""
        if not BLOB_HASH.fullmatch(sha256):
            return None
        return await self._bucket.measure(_locate(sha256))

    async def open_blob(self, sha256: str, start: int = 0, end: int | None = None) -> ObjectReader:
        """See `Storage.open_blob`."""
        size = await self.measure_blob(sha256)
        if size is None:
            raise NotFound("the content of this file is not in the store")
        stop = size if end is None else min(end, size)
        return ObjectReader(self._bucket, _locate(sha256), size, range(max(0, start), stop))

    async def delete_blob(self, sha256: str) -> None:
        """See `Storage.delete_blob`."""
        if BLOB_HASH.fullmatch(sha256):
            await self._bucket.delete(_locate(sha256))

    async def list_blobs(self) -> AsyncIterator[StoredBlob]:
        """See `Storage.list_blobs`."""
        async for item in self._bucket.list("blobs"):
            name = item.key.rpartition("/")[2]
            if BLOB_HASH.fullmatch(name):
                yield StoredBlob(name, item.size, item.modified_at)

    async def check(self) -> None:
        """See `Storage.check`."""
        try:
            await self._bucket.put(CHECK, b"x")
        except FileNotFoundError:
            raise Unavailable("the bucket of the file store is missing") from None

    def check_now(self) -> None:
        """Check the same where no event loop runs. It blocks."""
        try:
            self._bucket.put_now(CHECK, b"x")
        except FileNotFoundError:
            raise Unavailable("the bucket of the file store is missing") from None

    async def sweep(self) -> None:
        """Delete what killed writers have left under `incoming`."""
        async for item in self._bucket.list("incoming"):
            if item.modified_at < datetime.now(UTC) - ABANDONED:
                await self._bucket.delete(item.key)


class _Writer:
    """One blob on its way into the bucket: in memory first, in parts once it is large."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._hash = hashlib.sha256()
        self._size = 0
        self._buffer = bytearray()
        self._upload: Upload | None = None
        self._aside = f"incoming/{secrets.token_hex(16)}"

    async def write(self, data: bytes) -> None:
        self._hash.update(data)
        self._size += len(data)
        self._buffer += data
        if self._size <= SMALL:
            return
        if self._upload is None:
            self._upload = Upload(self._bucket, self._aside)
        if len(self._buffer) >= PIECE:
            await self._flush(self._upload)

    async def finish(self) -> Blob:
        sha256 = self._hash.hexdigest()
        if self._upload is None:
            await self._bucket.put(_locate(sha256), bytes(self._buffer))
            return Blob(sha256, self._size)
        await self._flush(self._upload)
        await self._upload.finish()
        try:
            await self._bucket.copy(self._aside, _locate(sha256))
        finally:
            with anyio.CancelScope(shield=True):
                await self._bucket.delete(self._aside)
        return Blob(sha256, self._size)

    async def _flush(self, upload: Upload) -> None:
        data = bytes(self._buffer)
        self._buffer.clear()
        if data:
            await upload.write(data)


def _locate(sha256: str) -> str:
    return f"blobs/{sha256}"
