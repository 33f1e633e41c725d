"""Removes and walks trees that an app may have built to do harm, and may still be changing.

An app can nest folders without end, shut them by their mode, replace one by a link or a pipe at any
moment, and go on adding files.
"""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kernel.public import BadRequest

MAX_DEPTH: Final = 100
MAX_ENTRIES: Final = 1_000_000
SCARCE: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that are about this process, not about the entry that was to be opened."""

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def remove(path: Path, seconds: float = 300.0) -> bool:
    """Remove a file or a tree without following links, and return whether nothing is left of it.

    `rm` in a child process does it: depth costs it neither stack nor open files, which
    `shutil.rmtree` needs for each level. What an app's account owns is removed under that account,
    so that a link planted there leads to nothing that the app cannot remove itself.
    """
    try:
        os.unlink(path)
        return True
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass  # a folder
    deadline = time.monotonic() + seconds
    for attempt in range(3):
        for uid in _owners(path):
            if attempt:  # a folder may be shut by its mode
                _run(["chmod", "-R", "u+rwx", "--", str(path)], uid, deadline)
            _run(["rm", "-rf", "--", str(path)], uid, deadline)
        if not os.path.lexists(path):
            return True
    return False


def _owners(path: Path) -> list[int | None]:
    """Return the accounts that own a folder and what is directly in it; None is ours, the last."""
    found = set[int]()
    if os.geteuid() == 0:
        with suppress(OSError), os.scandir(path) as entries:
            found = {entry.stat(follow_symlinks=False).st_uid for entry in entries}
            found.add(path.lstat().st_uid)
    return [*sorted(found - {0}), None]


def _run(command: list[str], uid: int | None, deadline: float) -> None:
    quiet = subprocess.DEVNULL
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            command, stdin=quiet, stdout=quiet, stderr=quiet, cwd="/", check=False,
            timeout=max(0.0, deadline - time.monotonic()),
            user=uid, group=uid, extra_groups=None if uid is None else [],
        )  # fmt: skip


@dataclass
class _Level:
    fd: int
    name: str = ""
    folders: list[str] = field(default_factory=list[str])
    listed: bool = False


def walk(top: Path, *, inside_first: bool = False) -> Generator[tuple[int, str]]:
    """Yield each folder of a tree, open, with an empty name, and each other entry with the folder
    that it is in. A folder comes before its contents, or after them.

    `os.fwalk` is not used: it recurses, and lists a folder whole. Raises BadRequest for a tree that
    is too deep or too large.
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


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False
