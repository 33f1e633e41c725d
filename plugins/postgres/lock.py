"""One owner per data folder: a lock that ends with the process that holds it."""

import fcntl
import os
from pathlib import Path

from .errors import EmbeddedPostgresError


class DataLock:
    """Held from the start of the server to its end; released by the system if we are killed."""

    def __init__(self, path: Path) -> None:
        """Take the lock or raise EmbeddedPostgresError naming the process that holds it."""
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._handle, 20).decode("ascii", "replace").strip()
            os.close(self._handle)
            raise EmbeddedPostgresError(_refusal(path.parent, holder)) from None
        os.ftruncate(self._handle, 0)
        os.write(self._handle, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let the next process in. The file stays: removing it would let two of them in."""
        os.close(self._handle)


def _refusal(data_dir: Path, holder: str) -> str:
    who = f" (process {holder})" if holder else ""
    return (
        f"the data folder {data_dir} is in use by another Caudex server{who}: "
        "stop that one, or choose another --data-dir"
    )
