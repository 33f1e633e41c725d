"""Files that survive a crash, and files that others wrote."""

from __future__ import annotations

import errno
import io
import os
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from kernel.errors import BadRequest, Unavailable

SMALL_FILE: Final = 1_000_000
"""Bytes of a file that is read as a whole. What people write by hand is a hundredth of it."""

FILE_PIECE: Final = 256 * 1024
"""Bytes of a file that are read at once, and sent on before the next ones."""


def write_file(file: Path, content: bytes, *, replace: bool = True) -> None:
    """Write a file in one step (rename(2)), readable for its owner only. Raises OSError.

    A crash leaves the old content or the new one, and perhaps a file `.new-…` beside it. On return
    the new one is on the disk. Unless `replace`, a file that exists is kept.
    """
    handle, name = tempfile.mkstemp(prefix=f".new-{file.name}.", dir=file.parent)
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if replace:
            aside.replace(file)
        else:
            with suppress(FileExistsError):
                os.link(aside, file)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(file.parent)


@contextmanager
def full_disk() -> Generator[None]:
    """Turn the error of a full disk into Unavailable."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Unavailable("the server's disk is full", retry_after=60) from None
        raise


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk (fsync(2)), to survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_plain_file(file: Path) -> io.BufferedReader:
    """Open a file that others wrote, to read it.

    Raises BadRequest for a link, a folder, a pipe or a device, which could lead elsewhere or never
    end. Raises FileNotFoundError where there is nothing.
    """
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, or a socket
            raise BadRequest(f"{file.name} must be a plain file") from None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise BadRequest(f"{file.name} must be a plain file")
    return os.fdopen(handle, "rb")


def read_small_file(file: Path, limit: int = SMALL_FILE) -> bytes:
    """Return the content of a file that others wrote, and that is about to be parsed.

    Raises BadRequest with the file's name, as `open_plain_file` does, and for one over `limit`
    bytes, of which no more than that is read. Raises FileNotFoundError.
    """
    with open_plain_file(file) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise BadRequest(f"{file.name} is over the limit of {limit:,} bytes")
    return content
