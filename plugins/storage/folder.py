"""The folder of the blobs.

    <folder>/3a/3a5f…        a blob, under its hash
    <folder>/incoming/…      one that is being written

Everything here blocks, and raises OSError.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from kernel.public import BLOB_HASH, StoredBlob, sync_folder

PARTS: Final[Sequence[str]] = [f"{number:02x}" for number in range(256)]
"""The folders below, named by the first byte of a hash."""

_PART: Final = re.compile(r"[0-9a-f]{2}")
_DAY: Final = 86_400.0


class BlobFolder:
    """Blobs by hash. A name in `incoming` has a lock for as long as its writer lives."""

    def __init__(self, root: Path, min_free: int) -> None:
        self.root = root
        self._incoming = root / "incoming"
        self._min_free = min_free

    def prepare(self) -> None:
        """Make the folders, and delete what killed writers have left."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._incoming.mkdir(mode=0o700, exist_ok=True)
        with os.scandir(self._incoming) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    _sweep(Path(entry.path))

    def locate(self, sha256: str) -> Path | None:
        """Return the path that a blob has or would have; None for what is no hash."""
        if not BLOB_HASH.fullmatch(sha256):
            return None
        return self.root / sha256[:2] / sha256

    def create(self) -> tuple[int, Path]:
        """Create an empty file for a blob, open and locked. Raises OSError without enough room."""
        self.check_room(0)
        while True:
            handle, name = tempfile.mkstemp(dir=self._incoming)
            with suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:
                return handle, Path(name)
            os.close(handle)  # another process, which started just then, took it for a leftover

    def check_room(self, size: int) -> None:
        """Check that so many bytes leave the free space that others need."""
        state = os.statvfs(self.root)
        if state.f_bavail * state.f_frsize - size < self._min_free:
            raise OSError(errno.ENOSPC, "less than min_free_mb would remain")

    def publish(self, file: Path, sha256: str) -> None:
        """Give a complete file its place, on the disk when this returns."""
        part = self.root / sha256[:2]
        with suppress(FileExistsError):
            part.mkdir(mode=0o700)
            sync_folder(self.root)
        # A blob that is there already is replaced, so that one which the disk has damaged heals.
        file.rename(part / sha256)
        sync_folder(part)

    def measure(self, sha256: str) -> int | None:
        """Return the size of a blob; None without one."""
        path = self.locate(sha256)
        if path is None:
            return None
        try:
            return path.lstat().st_size
        except FileNotFoundError:
            self._check_root()
            return None

    def open(self, sha256: str) -> int | None:
        """Open a blob to read it; None without one."""
        path = self.locate(sha256)
        if path is None:
            return None
        try:
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            self._check_root()
            return None

    def delete(self, sha256: str) -> None:
        """Delete a blob if there is one."""
        path = self.locate(sha256)
        if path is None:
            return
        try:
            path.unlink()
        except FileNotFoundError:
            self._check_root()
            return
        sync_folder(path.parent)

    def list_part(self, part: str) -> list[StoredBlob]:
        """Return the blobs whose hashes begin with a byte."""
        blobs = list[StoredBlob]()
        try:
            entries = os.scandir(self.root / part)
        except FileNotFoundError:
            self._check_root()
            return blobs
        with entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    blobs += _read_entry(entry)
        return blobs

    def check(self) -> None:
        """Check that a blob could be written now."""
        handle, path = self.create()
        try:
            os.write(handle, b"x")
        finally:
            os.close(handle)
            path.unlink(missing_ok=True)

    def _check_root(self) -> None:
        """Raise OSError if the folder is gone: then nothing in it is known to be missing."""
        self._incoming.lstat()


def _read_entry(entry: os.DirEntry[str]) -> Iterator[StoredBlob]:
    """Yield the blob that an entry of a folder is, if it is one."""
    state = entry.stat(follow_symlinks=False)
    if BLOB_HASH.fullmatch(entry.name) and stat.S_ISREG(state.st_mode):
        modified_at = datetime.fromtimestamp(state.st_mtime, UTC)
        yield StoredBlob(entry.name, state.st_size, modified_at)


def _sweep(file: Path) -> None:
    """Delete a file that no writer holds any more."""
    handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_abandoned = True
    except BlockingIOError:
        is_abandoned = False
    except OSError:  # a file system without locks
        is_abandoned = os.fstat(handle).st_mtime < time.time() - _DAY
    if is_abandoned:
        file.unlink()
    os.close(handle)
