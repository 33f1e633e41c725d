"""One owner per data folder: a lock that ends with the process that holds it."""

import fcntl
import os
import time
from pathlib import Path

from .errors import EmbeddedPostgresError

ATTEMPTS = 5
PAUSE = 0.02
"""Seconds until the next one: `is_held` has the lock itself for a moment."""


class DataLock:
    """Held from the start of the server to its end; released by the system if we are killed."""

    def __init__(self, path: Path) -> None:
        """Take the lock or raise EmbeddedPostgresError naming the process that holds it."""
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not self._taken():
            holder = os.read(self._handle, 20).decode("ascii", "replace").strip()
            os.close(self._handle)
            raise EmbeddedPostgresError(_refusal(path.parent, holder))
        os.ftruncate(self._handle, 0)
        os.write(self._handle, f"{os.getpid()}\n".encode())

    def _taken(self) -> bool:
        for _ in range(ATTEMPTS):
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except OSError:
                time.sleep(PAUSE)
        return False

    def release(self) -> None:
        """Let the next process in. The file stays: removing it would let two of them in."""
        os.close(self._handle)


def is_held(path: Path) -> bool:
    """Whether a server lives that owns the data folder."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _refusal(data_dir: Path, holder: str) -> str:
    who = f" (process {holder})" if holder else ""
    return (
        f"the data folder {data_dir} is in use by another Caudex server{who}: "
        "stop that one, or choose another --data-dir"
    )
