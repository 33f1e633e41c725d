"""Files that survive a crash."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


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


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk (fsync(2)), to survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
