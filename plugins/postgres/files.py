"""Small files written so that neither a crash nor another account can spoil them."""

import os
import shutil
import tempfile
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Put a file in place in one step, on disk before the call returns, for our eyes only."""
    # mkstemp makes the file with mode 0600: there is no moment at which others could open it.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rotate_log(log: Path, limit: int) -> None:
    """Move the content of a log over `limit` bytes to `<log>.1`, keeping the file itself.

    The server holds the file open for appending, so it is emptied, not renamed.
    """
    try:
        if log.stat().st_size <= limit:
            return
    except FileNotFoundError:
        return
    older = log.with_name(log.name + ".1")
    older.unlink(missing_ok=True)
    older.touch(mode=0o600)
    shutil.copyfile(log, older)
    os.truncate(log, 0)


def complaint(log: Path, offset: int) -> str:
    """The last complaint in a log after `offset`, as one line: what to show an operator."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            lines = file.read()[-20_000:].decode("utf-8", "replace").split("\n")
    except OSError:  # somebody moved it away; the server is to come back all the same
        return "no message"
    for mark in ("PANIC:", "FATAL:", "ERROR:", "error:"):
        for line in reversed(lines):
            if mark in line:
                return line[line.index(mark) :].strip()
    return next((line.strip() for line in reversed(lines) if line.strip()), "no message")
