"""Blobs in a folder."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Final

from kernel.public import Blob, NotFound, StoredBlob, TooLarge

from .folder import PARTS, BlobFolder
from .reading import FileReader, OpenFile
from .threads import DiskThreads
from .writing import BlobWriter

BUFFER: Final = 1024 * 1024
"""Bytes that are collected before they are written."""

PIECES: Final = 1000
"""Pieces that are collected before they are written: a small one takes more memory than it has."""

SYNC_SECONDS: Final = 120.0
"""For the last step of a writer, which waits until the disk has everything."""


class FolderStorage:
    """Provides STORAGE."""

    def __init__(self, folder: BlobFolder, threads: DiskThreads) -> None:
        self._folder = folder
        self._threads = threads

    @property
    def location(self) -> str:
        """The folder."""
        return str(self._folder.root)

    async def write_blob(self, pieces: AsyncIterator[bytes], limit: int) -> Blob:
        """See `Storage.write_blob`."""
        writer = BlobWriter(self._folder)
        try:
            await self._threads.run(writer.begin)
            await self._write(writer, pieces, limit)
            seconds = max(SYNC_SECONDS, self._threads.seconds)
            return await self._threads.run(writer.finish, seconds=seconds)
        finally:
            self._threads.start(writer.discard)

    async def _write(self, writer: BlobWriter, pieces: AsyncIterator[bytes], limit: int) -> None:
        """Write some pieces while the next ones arrive: hashing takes as long as receiving.

        The pieces are not joined, since to copy them takes as long as to hash them.
        """
        size = 0
        waiting_size = 0
        waiting = list[bytes]()
        write = self._threads.begin(writer.write, [])
        async for piece in pieces:
            size += len(piece)
            if size > limit:
                raise TooLarge(limit)
            waiting.append(piece)
            waiting_size += len(piece)
            if waiting_size >= BUFFER or len(waiting) >= PIECES:
                await self._threads.wait(write)
                write = self._threads.begin(writer.write, waiting)
                waiting = []
                waiting_size = 0
        await self._threads.wait(write)
        await self._threads.run(writer.write, waiting)

    def find_file(self, sha256: str) -> Path | None:
        """See `BlobFiles.find_file`."""
        path = self._folder.locate(sha256)
        return path if path is not None and path.is_file() else None

    async def measure_blob(self, sha256: str) -> int | None:
        """See `Storage.measure_blob`."""
        return await self._threads.run(self._folder.measure, sha256)

    async def open_blob(self, sha256: str, start: int = 0, end: int | None = None) -> FileReader:
        """See `Storage.open_blob`."""
        file = OpenFile(self._folder, sha256)
        try:
            size = await self._threads.run(file.open)
        except BaseException:
            self._threads.start(file.close)
            raise
        if size is None:
            raise NotFound("the content of this file is not in the store")
        stop = size if end is None else min(end, size)
        return FileReader(self._threads, file, size, range(max(0, start), stop))

    async def delete_blob(self, sha256: str) -> None:
        """See `Storage.delete_blob`."""
        await self._threads.run(self._folder.delete, sha256)

    async def list_blobs(self) -> AsyncGenerator[StoredBlob]:
        """See `Storage.list_blobs`."""
        for part in PARTS:
            for blob in await self._threads.run(self._folder.list_part, part):
                yield blob

    async def check(self) -> None:
        """See `Storage.check`."""
        await self._threads.run(self._folder.check)
