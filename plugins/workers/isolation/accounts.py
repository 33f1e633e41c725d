"""The accounts of apps, where the server is root: nothing in them outlives the last server.

The accounts are the machine's. So each server holds a shared lock on a file that is named after
them. Only a server that no other shares accounts with may end what it did not start.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Collection, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from .orphans import list_pids, read_state, read_uid, signal_all

LOCKS: Final = Path("/run/caudex/accounts")
SERVERS: Final = Path("/run/caudex/servers")
"""Names of the servers of this machine that run as root, whatever their data folder is."""
SHARED: Final = Path("/dev/shm")


@contextmanager
def hold_accounts(
    accounts: range, name: str, folder: Path = LOCKS, servers: Path = SERVERS
) -> Generator[bool]:
    """Hold these accounts and the name of a server for as long as this lasts.

    Yields False where it is not possible.
    """
    with ExitStack() as stack:
        is_held = False
        with suppress(OSError):
            servers.mkdir(mode=0o700, parents=True, exist_ok=True)
            name_file = stack.enter_context((servers / name).open("ab"))
            stack.callback((servers / name).unlink, missing_ok=True)
            fcntl.flock(name_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = stack.enter_context(_locate_lock(accounts, folder).open("ab"))
            is_held = _lock_shared(file)
        yield is_held


def _lock_shared(file: IO[bytes]) -> bool:
    """Take a lock that a start may have at the moment, which ends leftovers."""
    for _ in range(500):
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
        time.sleep(0.01)
    return False


def end_account_leftovers(accounts: range, used: Collection[int], folder: Path = LOCKS) -> int:
    """End all processes of the accounts in `used` and remove their files in memory.

    Does nothing while a server holds any of `accounts`. Returns the number of processes.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            locks = {_locate_lock(accounts, folder), *_find_overlapping(accounts, folder)}
            for path in locks:
                file = stack.enter_context(path.open("ab"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return 0
        return end_processes(used)


def end_processes(accounts: Collection[int]) -> int:
    """End all processes of these accounts, and remove their files in memory.

    Returns how many were seen; one that is replaced by its child all the time may not be.
    """
    seen = {pid for pid, uid in list_processes() if uid in accounts}
    for _ in range(2):  # one of them may end the first sender
        signal_all(accounts, signal.SIGKILL)
    for _ in range(100):
        if not any(uid in accounts for _, uid in list_processes()):
            break
        time.sleep(0.01)
    remove_shared(accounts)
    return len(seen)


def remove_shared(accounts: Collection[int], folder: Path = SHARED) -> None:
    """Remove the files that these accounts left in memory."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError, subprocess.TimeoutExpired):
                if entry.stat(follow_symlinks=False).st_uid not in accounts:
                    continue
                if entry.is_dir(follow_symlinks=False):  # of any depth
                    remove = ["rm", "-rf", "--", entry.path]
                    subprocess.run(remove, timeout=30, check=False)
                else:
                    os.unlink(entry.path)


def list_processes() -> Iterator[tuple[int, int]]:
    """Yield the ids and accounts of processes that have not ended."""
    for pid in list_pids():
        with suppress(OSError):
            uid = read_uid(pid)
            state, _ = read_state(pid)
            if state not in (b"Z", b"X"):
                yield pid, uid


def _locate_lock(accounts: range, folder: Path) -> Path:
    return folder / f"{accounts.start}-{accounts.stop}"


def _find_overlapping(accounts: range, folder: Path) -> Iterator[Path]:
    """Yield the locks of other ranges that have an account of this one."""
    for path in folder.iterdir():
        start, _, stop = path.name.partition("-")
        is_range = start.isdigit() and stop.isdigit()
        if is_range and int(start) < accounts.stop and accounts.start < int(stop):
            yield path
