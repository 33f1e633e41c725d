"""Trees that hostile hands may have built, and may still be at: removed, and gone through.

An app can nest folders without end, shut them by their mode, put a link or a pipe in the place of
one at any moment, and go on adding. So a folder is opened from the one above it and never through
a link, depth costs neither stack nor open files, and whatever is asked for ends.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kernel.public import BadRequest

SECONDS: Final = 300.0
"""What a removal may take; only a process that goes on adding makes one take so long."""

HELD: Final = 16
"""Folders that a removal holds open; what lies deeper is moved up to the top first."""

BATCH: Final = 2000
"""Folders of one folder that a removal knows by name at a time."""

IDLE: Final = 3
"""Rounds without any effect after which a removal gives up: in one, entries may have changed."""

MAX_DEPTH: Final = 100
MAX_ENTRIES: Final = 1_000_000
SCARCE: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that say nothing about what was to be opened."""

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SHUT: Final = getattr(os, "O_PATH", 0) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class _Level:
    fd: int
    name: str = ""
    folders: list[str] = field(default_factory=list[str])
    listed: bool = False


def remove(path: Path, seconds: float = SECONDS) -> bool:
    """Remove a file or a tree, no link followed; returns whether nothing is left of it.

    What cannot be removed stays, and so does the rest when the time is over.
    """
    try:
        top = _open(path)
    except FileNotFoundError:
        return True
    except OSError:
        return _done(os.unlink, path)  # no folder
    try:
        removal, idle = _Removal(top, time.monotonic() + seconds), 0
        while idle < IDLE and not removal.late():
            idle = 0 if removal.go_through() else idle + 1
            if _done(os.rmdir, path):
                return True
        return False
    finally:
        os.close(top)


class _Removal:
    """Of what is in one folder, in as many rounds as it takes."""

    def __init__(self, top: int, deadline: float) -> None:
        self._top = top
        self._deadline = deadline
        self._count = 0

    def late(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self._deadline

    def go_through(self) -> int:
        """Remove what can be; returns how many entries went, or are nearer to the top now."""
        before, levels = self._count, [_Level(self._top)]
        try:
            self._list(levels[0])
            while levels and not self.late():
                level = levels[-1]
                if level.folders:
                    self._enter(levels, level.folders.pop())
                    continue
                levels.pop()
                if levels:
                    os.close(level.fd)
                    self._do(os.rmdir, level.name, dir_fd=levels[-1].fd)
        finally:
            for level in levels[1:]:
                os.close(level.fd)
        return self._count - before

    def _enter(self, levels: list[_Level], name: str) -> None:
        at = levels[-1].fd
        try:
            fd = _open(name, at)
        except OSError:
            return  # it is no folder any more, or not ours: rmdir(2) of the one above tells
        if len(levels) < HELD:
            levels.append(_Level(fd, name))
            self._list(levels[-1])
        else:
            os.close(fd)
            new = secrets.token_hex(16)
            self._do(os.rename, name, new, src_dir_fd=at, dst_dir_fd=self._top)

    def _list(self, level: _Level) -> None:
        """Remove files and empty folders, and note others; where they are many the next round goes
        on."""
        with suppress(OSError), os.scandir(level.fd) as entries:
            for entry in entries:
                if len(level.folders) == BATCH or self.late():
                    break
                if not _is_folder(entry):
                    self._do(os.unlink, entry.name, dir_fd=level.fd)
                elif not self._do(os.rmdir, entry.name, dir_fd=level.fd):
                    level.folders.append(entry.name)

    def _do(self, call: Callable[..., None], *arguments: str, **at: int) -> bool:
        done = _done(call, *arguments, **at)
        self._count += done
        return done


def walk(top: Path, *, inside_first: bool = False) -> Generator[tuple[int, str]]:
    """Give each folder of a tree, open, with an empty name, and each other entry with the folder it
    is in. A folder comes before it is looked into, or after all that is in it.

    Raises BadRequest for a tree that is too deep or too large.
    """
    levels, count = [_Level(os.open(top, _FOLDER))], 0
    try:
        while levels:
            level = levels[-1]
            if not level.listed:
                if not inside_first:
                    yield level.fd, ""
                level.listed = True
                with os.scandir(level.fd) as entries:
                    for entry in entries:
                        count += 1
                        if count > MAX_ENTRIES:
                            raise BadRequest(
                                f"what was installed has more than {MAX_ENTRIES} files and folders"
                            )
                        if _is_folder(entry):
                            level.folders.append(entry.name)
                        else:
                            yield level.fd, entry.name
            elif level.folders:
                if len(levels) > MAX_DEPTH:
                    raise BadRequest(f"what was installed lies more than {MAX_DEPTH} folders deep")
                try:
                    fd = os.open(level.folders.pop(), _FOLDER, dir_fd=level.fd)
                except OSError as error:
                    if error.errno in SCARCE:
                        raise
                else:
                    levels.append(_Level(fd))
            else:
                if inside_first:
                    yield level.fd, ""
                os.close(levels.pop().fd)
    finally:
        for level in levels:
            os.close(level.fd)


def _open(name: str | Path, at: int | None = None) -> int:
    """Open a folder that is to be emptied, whatever its mode is. Raises OSError for all else."""
    try:
        fd = os.open(name, _FOLDER, dir_fd=at)
    except PermissionError:
        _let_in(name, at)
        fd = os.open(name, _FOLDER, dir_fd=at)
    with suppress(OSError):
        if os.fstat(fd).st_mode & 0o700 != 0o700:
            os.fchmod(fd, 0o700)
    return fd


def _let_in(name: str | Path, at: int | None) -> None:
    """Open a folder of ours to ourselves. Before Linux 6.6 chmod(2) follows links, unless it is
    asked by way of a file that is open already."""
    fd = os.open(name, _SHUT, dir_fd=at)
    try:
        os.chmod(f"/proc/self/fd/{fd}", 0o700)
    finally:
        os.close(fd)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _done(call: Callable[..., None], *arguments: Any, **at: int) -> bool:
    try:
        call(*arguments, **at)
    except FileNotFoundError:
        return True  # another one was faster
    except OSError:
        return False
    return True
