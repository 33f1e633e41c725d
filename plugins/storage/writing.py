"""One blob on its way into the folder."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kernel.public import Blob

from .folder import BlobFolder

FLUSHED: Final = 16 * 1024 * 1024
"""Bytes after which the system is asked to begin writing them, so that the last step is short."""


class BlobWriter:
    """A file that becomes a blob, or nothing.

    Its methods block and run in threads. `discard` may come while another one still runs, after a
    caller has given up: it waits, and the file is closed once.
    """

    def __init__(self, folder: BlobFolder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._handle: int | None = None
        self._path: Path | None = None
        self._is_discarded = False
        self._hash = hashlib.sha256()
        self._size = 0
        self._flushed = 0

    def begin(self) -> None:
        """Create the file."""
        with self._lock:
            self._check()
            self._handle, self._path = self._folder.create()

    def write(self, pieces: Sequence[bytes]) -> None:
        """Append some bytes."""
        with self._lock:
            handle = self._check_open()
            for piece in pieces:
                self._append(handle, piece)
            if self._size - self._flushed >= FLUSHED:
                self._flush(handle)

    def finish(self) -> Blob:
        """Write everything to the disk, and put the file into its place."""
        with self._lock:
            handle = self._check_open()
            os.fsync(handle)
            sha256 = self._hash.hexdigest()
            assert self._path is not None
            self._folder.publish(self._path, sha256)
            self._path = None
            return Blob(sha256, self._size)

    def discard(self) -> None:
        """Close the file, and delete it unless it has its place."""
        with self._lock:
            self._is_discarded = True
            handle = self._handle
            self._handle = None
            try:
                if self._path is not None:
                    self._path.unlink(missing_ok=True)
            finally:
                if handle is not None:
                    os.close(handle)

    def _append(self, handle: int, piece: bytes) -> None:
        self._hash.update(piece)
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(handle, rest) :]
        self._size += len(piece)

    def _flush(self, handle: int) -> None:
        self._folder.check_room(FLUSHED)
        if hasattr(os, "posix_fadvise"):
            size = self._size - self._flushed
            os.posix_fadvise(handle, self._flushed, size, os.POSIX_FADV_DONTNEED)
        self._flushed = self._size

    def _check(self) -> None:
        if self._is_discarded:
            raise OSError(errno.ECANCELED, "the writer was discarded")

    def _check_open(self) -> int:
        self._check()
        assert self._handle is not None
        return self._handle
