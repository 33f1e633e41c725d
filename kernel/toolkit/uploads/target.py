"""The folder that an archive is unpacked into."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

import msgspec

from kernel.errors import BadRequest
from kernel.toolkit.files import FILE_PIECE

from .archives import ArchiveRules, fold, shorten

MAX_SYNCED: Final = 200
"""Files that are synced one by one; after more of them all are synced at the end."""
MAX_IGNORED: Final = 100
"""Paths that are reported as left out."""

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Unpacked(msgspec.Struct, frozen=True):
    """What an archive held: `size` bytes in some files; `ignored` are paths that were left
    out, at most 100."""

    files: int
    size: int
    ignored: tuple[str, ...]


class Entry(msgspec.Struct, frozen=True):
    """A file or a folder of an archive. `size` is what the archive says that follows."""

    path: str
    size: int
    is_folder: bool = False
    is_executable: bool = False


class ArchiveTarget:
    """Makes files and folders below a folder. No link is made or followed, and nothing replaced."""

    def __init__(self, root: int, rules: ArchiveRules) -> None:
        self._root = root
        self._rules = rules
        self._deadline = time.monotonic() + rules.seconds
        self._seen: dict[str, tuple[str, bool]] = {}
        """Folded path to the path as it was spelled, and whether it is a folder."""
        self._left = rules.max_bytes
        self._files = 0
        self._size = 0
        self._ignored: list[str] = []

    def check_time(self) -> None:
        """Raise BadRequest for an archive that takes too long."""
        if time.monotonic() > self._deadline:
            raise BadRequest("the archive takes too long to unpack")

    def unpack(self, entry: Entry, read: Callable[[int], bytes]) -> None:
        """Unpack an entry; `read` returns exactly so many bytes of its content. It is read whole
        also where the entry is left out."""
        self._left -= entry.size
        if self._left < 0:
            raise self._rules.refuse_size()
        parts = self._rules.split_path(entry.path)
        if not parts:
            self._copy(read, None, entry.size)
        elif self._rules.leave_out(parts):
            if len(self._ignored) < MAX_IGNORED:
                self._ignored.append("/".join(parts))
            self._copy(read, None, entry.size)
        elif entry.is_folder:
            self._note(parts, is_folder=True)
            os.close(self._open_folder(parts))
            self._copy(read, None, entry.size)
        else:
            self._note(parts, is_folder=False)
            self._write(parts, entry, read)

    def finish(self) -> Unpacked:
        """Sync what is not yet on the disk."""
        if self._files > MAX_SYNCED:
            os.sync()
        return Unpacked(self._files, self._size, tuple(self._ignored))

    def _note(self, parts: list[str], *, is_folder: bool) -> None:
        """Count new entries, and refuse repeated ones, also those that differ in case only."""
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            entry = (path, depth < len(parts) or is_folder)
            earlier = self._seen.setdefault(fold(path), entry)
            if earlier is entry:
                continue
            is_same_folder = earlier == entry and entry[1]
            if not is_same_folder:
                raise BadRequest(f"{shorten(path)}: it is in the archive twice")
        limit = self._rules.max_entries
        if len(self._seen) > limit:
            raise BadRequest(f"the archive holds more than {limit} files and folders")

    def _open_folder(self, parts: list[str]) -> int:
        """Open a folder below the root, making what is missing and following no link."""
        folder = os.dup(self._root)
        for name in parts:
            try:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=folder)
                child = os.open(name, _FOLDER, dir_fd=folder)
            finally:
                os.close(folder)
            folder = child
        return folder

    def _write(self, parts: list[str], entry: Entry, read: Callable[[int], bytes]) -> None:
        mode = 0o755 if entry.is_executable else 0o644
        folder = self._open_folder(parts[:-1])
        try:
            handle = os.open(parts[-1], _NEW_FILE, mode, dir_fd=folder)
        finally:
            os.close(folder)
        self._files += 1
        self._size += entry.size
        with os.fdopen(handle, "wb", buffering=0) as file:
            os.fchmod(handle, mode)
            self._copy(read, file, entry.size)
            if self._files <= MAX_SYNCED:
                os.fsync(handle)

    def _copy(self, read: Callable[[int], bytes], file: IO[bytes] | None, size: int) -> None:
        while size > 0:
            self.check_time()
            data = read(min(size, FILE_PIECE))
            size -= len(data)
            if file is not None:
                file.write(data)


@contextmanager
def open_target(folder: Path, rules: ArchiveRules) -> Generator[ArchiveTarget]:
    """Open a new, empty folder to unpack into. What was written before an error remains."""
    root = os.open(folder, _FOLDER)
    try:
        yield ArchiveTarget(root, rules)
    finally:
        os.close(root)
