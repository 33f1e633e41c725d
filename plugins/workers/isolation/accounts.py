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
from typing import Final

from .orphans import pids, real_uid, signal_all, status

LOCKS: Final = Path("/run/caudex/accounts")
SERVERS: Final = Path("/run/caudex/servers")
"""Names of the servers of this machine that run as root, whatever their data folder is."""
SHARED: Final = Path("/dev/shm")


@contextmanager
def holding(
    accounts: range, name: str, folder: Path = LOCKS, servers: Path = SERVERS
) -> Generator[bool]:
    """Hold these accounts and the name of a server for as long as this lasts.

    Yields False where it is not possible.
    """
    with ExitStack() as held:
        done = False
        with suppress(OSError):
            servers.mkdir(mode=0o700, parents=True, exist_ok=True)
            named = held.enter_context((servers / name).open("ab"))
            held.callback((servers / name).unlink, missing_ok=True)
            fcntl.flock(named, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = held.enter_context(_own(accounts, folder).open("ab"))
            for _ in range(500):  # another start ends leftovers at the moment
                with suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    done = True
                    break
                time.sleep(0.01)
        yield done


def end_account_leftovers(accounts: range, used: Collection[int], folder: Path = LOCKS) -> int:
    """End all processes of the accounts in `used` and remove their files in memory.

    Does nothing while a server holds any of `accounts`. Returns the number of processes.
    """
    with ExitStack() as held:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in {_own(accounts, folder), *_overlapping(accounts, folder)}:
                file = held.enter_context(path.open("ab"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return 0
        return end_processes(used)


def end_processes(accounts: Collection[int]) -> int:
    """End all processes of these accounts, and remove their files in memory.

    Returns how many were seen; one that is replaced by its child all the time may not be.
    """
    seen = {pid for pid, uid in processes() if uid in accounts}
    for _ in range(2):  # one of them may end the first sender
        signal_all(accounts, signal.SIGKILL)
    for _ in range(100):
        if not any(uid in accounts for _, uid in processes()):
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


def processes() -> Iterator[tuple[int, int]]:
    """Yield the ids and accounts of processes that have not ended."""
    for pid in pids():
        with suppress(OSError):
            uid = real_uid(pid)
            if status(pid)[0] not in (b"Z", b"X"):
                yield pid, uid


def _own(accounts: range, folder: Path) -> Path:
    return folder / f"{accounts.start}-{accounts.stop}"


def _overlapping(accounts: range, folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        first, _, stop = path.name.partition("-")
        known = first.isdigit() and stop.isdigit()
        if known and int(first) < accounts.stop and accounts.start < int(stop):
            yield path
