"""One blob on its way out of the folder."""

from __future__ import annotations

import os
import threading
from typing import Self

from kernel.public import FILE_PIECE, Unavailable

from .folder import BlobFolder
from .threads import DiskThreads


class OpenFile:
    """An open blob. Its methods block; `close` waits for one that still runs."""

    def __init__(self, folder: BlobFolder, sha256: str) -> None:
        self._folder = folder
        self._sha256 = sha256
        self._lock = threading.Lock()
        self._handle: int | None = None
        self._is_closed = False

    def open(self) -> int | None:
        """Open the file and return its size; None without one."""
        with self._lock:
            if self._is_closed:
                return None
            self._handle = self._folder.open(self._sha256)
            if self._handle is None:
                return None
            return os.fstat(self._handle).st_size

    def read(self, position: int, size: int) -> bytes:
        """Read at a position; nothing once it is closed."""
        with self._lock:
            if self._handle is None:
                return b""
            return os.pread(self._handle, size, position)

    def close(self) -> None:
        """Close the file once."""
        with self._lock:
            self._is_closed = True
            handle = self._handle
            self._handle = None
        if handle is not None:
            os.close(handle)


class FileReader:
    """The pieces of a blob, each read when it is asked for."""

    def __init__(self, threads: DiskThreads, file: OpenFile, size: int, span: range) -> None:
        self.size = size
        self._threads = threads
        self._file = file
        self._position = span.start
        self._end = span.stop

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        size = min(FILE_PIECE, self._end - self._position)
        if size <= 0:
            await self.aclose()
            raise StopAsyncIteration
        try:
            data = await self._threads.run(self._file.read, self._position, size)
        except BaseException:
            self._threads.start(self._file.close)
            raise
        if not data:
            await self.aclose()
            raise Unavailable("the file was cut off while it was read")
        self._position += len(data)
        return data

    async def aclose(self) -> None:
        """Close the file."""
        self._position = self._end
        self._threads.start(self._file.close)
