"""A private folder for the parts of a backup, which are in clear, and the removal of old ones."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from .errors import reported

SCRATCH: Final = ".caudex-backup-"


@contextmanager
def scratch(parent: Path | None) -> Generator[Path]:
    """A private folder; beside the backup, so that a large dump finds the room it needs anyway."""
    _sweep(parent or Path(tempfile.gettempdir()))
    temporary = tempfile.TemporaryDirectory(prefix=SCRATCH, dir=parent)
    with temporary as name:
        folder = Path(name)
        with reported(folder.parent), _locked(folder):
            yield folder


@contextmanager
def _locked(folder: Path) -> Generator[bool]:
    """Lock a folder while it is in use. Yields False where another command has done so, or where
    the file system has no locks of folders, as NFS."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield _lock(handle)
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _sweep(parent: Path) -> None:
    """Remove what commands left that were killed: dumps, and keys, in clear."""
    for folder in parent.glob(f"{SCRATCH}*"):
        with suppress(OSError):
            status = folder.lstat()
            # After a minute the command that created a folder has locked it.
            if status.st_uid == os.geteuid() and status.st_mtime < time.time() - 60.0:
                with _locked(folder) as is_unused:
                    if is_unused:
                        shutil.rmtree(folder)
