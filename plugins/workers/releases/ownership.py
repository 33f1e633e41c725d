"""Gives a tree to the account of an app, and takes it back, while the app may be changing it.

An app can nest folders without end, shut them by their mode, replace one by a link or a pipe at any
moment, and go on adding files.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kernel.public import BadRequest

from .unpack import OURS

SCARCE: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that are about this process, not about the entry that was to be opened."""

_AS_IT_IS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_FOLDER: Final = _AS_IT_IS | os.O_DIRECTORY | os.O_CLOEXEC


def give_to_account(folder: Path, uid: int | None) -> None:
    """Give a folder that we filled to an account, so that it can install dependencies there."""
    (folder / OURS).mkdir()
    if uid is not None:
        # Contents first: into a folder of its own the account could put files of others.
        with closing(walk(folder, inside_first=True)) as entries:
            for fd, name in entries:
                if name:
                    os.chown(name, uid, uid, dir_fd=fd, follow_symlinks=False)
                else:
                    os.fchown(fd, uid, uid)


def reclaim(folder: Path, uid: int | None) -> None:
    """Take back what an account installed, for it to read and run but not to change.

    Only root can do that, and only then it is needed. The account may still be changing files:
    what it does not own remains as it is, and so does a link, which only the owner of its folder
    can change. Raises BadRequest for a tree that is too large, or a file that a process holds.
    """
    if uid is None:
        return
    with closing(walk(folder)) as entries:
        for fd, name in entries:
            if not name:
                _reclaim_file(fd, uid)
                continue
            file = _open_entry(name, fd)
            if file is not None:
                try:
                    _reclaim_file(file, uid)
                finally:
                    os.close(file)


def _open_entry(name: str, fd: int) -> int | None:
    """Open an entry of a folder; None where it cannot be opened. Raises BadRequest."""
    try:
        return os.open(name, _AS_IT_IS, dir_fd=fd)
    except BlockingIOError:  # a lease (fcntl(2), F_SETLEASE): its holder would keep the file
        raise BadRequest(f"{name!a} was installed, and a process holds it") from None
    except OSError as error:
        if error.errno in SCARCE:
            raise
        return None  # a link, or a socket


def _reclaim_file(fd: int, uid: int) -> None:
    status = os.fstat(fd)
    if status.st_uid == uid:
        # Every account may read and run what its owner may; only we may change it.
        usable = status.st_mode & 0o500
        os.fchown(fd, os.geteuid(), os.getegid())
        os.fchmod(fd, (status.st_mode & 0o755) | usable >> 3 | usable >> 6)


@dataclass
class _Level:
    fd: int
    name: str = ""
    folders: list[str] = field(default_factory=list[str])
    is_listed: bool = False


def walk(
    top: Path, *, inside_first: bool = False, depth: int = 100, limit: int = 1_000_000
) -> Generator[tuple[int, str]]:
    """Yield each folder of a tree, open, with an empty name, and each other entry with the folder
    that it is in. A folder comes before its contents, or after them.

    `os.fwalk` is not used: it recurses, and lists a folder whole. Raises BadRequest for a tree that
    is deeper than `depth`, or has more entries than `limit`.
    """
    levels = [_Level(os.open(top, _FOLDER))]
    count = 0
    try:
        while levels:
            level = levels[-1]
            if not level.is_listed:
                level.is_listed = True
                if not inside_first:
                    yield level.fd, ""
                with os.scandir(level.fd) as entries:
                    for entry in entries:
                        count += 1
                        if count > limit:
                            why = f"what was installed has more than {limit} files and folders"
                            raise BadRequest(why)
                        if _is_folder(entry):
                            level.folders.append(entry.name)
                        else:
                            yield level.fd, entry.name
            elif level.folders:
                if len(levels) > depth:
                    raise BadRequest(f"an installed file is more than {depth} folders deep")
                fd = _open_folder(level.folders.pop(), level.fd)
                if fd is not None:
                    levels.append(_Level(fd))
            else:
                if inside_first:
                    yield level.fd, ""
                os.close(levels.pop().fd)
    finally:
        for level in levels:
            os.close(level.fd)


def _open_folder(name: str, parent: int) -> int | None:
    """Open a folder; None where it is no folder any more, or shut."""
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except OSError as error:
        if error.errno in SCARCE:
            raise
        return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False
