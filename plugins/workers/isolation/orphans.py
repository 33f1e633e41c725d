"""Kills processes that a worker started and that left its process group.

A daemon (a new session, two forks) is no child of the worker any more, and not in its group. But a
process keeps its first environment, which `/proc` shows (proc(5)), and a variable there marks it. A
process without that variable, under an account that only the app has, hides.

A server that is killed ends no process. Marks begin with the server's name, which is the name of a
file in the data folder. A live server holds a lock on the file (flock(2)), which the system
releases however the server ends. The next start kills processes whose server's file is not locked.
Another live server holds its lock, and names of another data folder are not there.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final

REPLICA_VARIABLE: Final = "CAUDEX_REPLICA"
"""Variable that every process of a worker inherits; its value identifies the worker."""

_ANY: Final = f"{REPLICA_VARIABLE}=".encode()
PAUSE: Final = 0.01
INIT: Final = 1


@contextmanager
def server_name(folder: Path, draft: Path) -> Generator[str]:
    """Hold a name in the folder for as long as this lasts; `draft` is a path for a new file."""
    name = secrets.token_hex(8)
    with ExitStack() as held:
        with suppress(OSError):  # a name without a lock would look like a dead server's
            file = held.enter_context(draft.open("xb"))
            held.callback(draft.unlink, missing_ok=True)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            name = _origin(file.fileno()) + name
            draft.rename(folder / name)
            held.callback((folder / name).unlink, missing_ok=True)
        yield name


def kill_orphans_of_dead_servers(folder: Path) -> int:
    """Kill what dead servers left, and count it. Blocking, as `kill_orphans` is."""
    begin, own = list[bytes](), os.environ.get(REPLICA_VARIABLE, "")
    with ExitStack() as held:
        for path in islice(folder.iterdir(), 200):  # the next start looks at the rest
            with suppress(OSError):  # it is locked, or another start has just removed it
                file = held.enter_context(path.open("rb"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held.callback(path.unlink, missing_ok=True)
                # Not one of a folder that was copied, whose server may live, nor of who started us.
                if path.name.startswith(_origin(file.fileno())) and path.name not in own:
                    begin.append(f"{REPLICA_VARIABLE}={path.name}.".encode())
        return _kill_all(lambda pid: _is_left(pid, tuple(begin))) if begin else 0


def _origin(fd: int) -> str:
    found = os.fstat(fd)
    return f"{found.st_dev:x}-{found.st_ino:x}-"


def kill_orphans(mark: str, uid: int | None) -> None:
    """Kill what is left of a child that has ended. Blocking: reads the list of all processes.

    `uid` is the account, where only the app has it: a process without the mark and without a parent
    is killed there as well. Never under root's account or our own.
    """
    uid = None if uid in (0, os.geteuid()) else uid
    wanted = _ANY + mark.encode()
    # One search waits so long in all for environments that look empty, as in an execve(2).
    patient = time.monotonic() + 0.25
    _kill_all(lambda pid: _is_orphan(pid, wanted, uid, patient))


def _kill_all(is_meant: Callable[[int], bool], *, rounds: int = 20) -> int:
    """Search several times: one search can miss a process that forks all the time."""
    killed = set[int]()
    for _ in range(rounds):
        found = [pid for pid in _pids() if is_meant(pid)]
        if not found:
            break
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed.update(found)
        time.sleep(PAUSE)
    return len(killed)


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []  # not Linux: the group is all there is


def _is_orphan(pid: int, wanted: bytes, uid: int | None, patient: float) -> bool:
    try:
        if uid is not None and os.stat(f"/proc/{pid}").st_uid != uid:
            return False  # no process of a worker leaves its account (PR_SET_NO_NEW_PRIVS)
        variables = _environment(pid)
        if wanted in variables:
            return _status(pid)[0] != b"Z"
        if uid is None or any(variable.startswith(_ANY) for variable in variables):
            return False
        state, parent = _status(pid)
        if os.getpid() == INIT:
            return False  # here children of our own look like orphans
        if state == b"Z" or parent != INIT:
            return False
        time.sleep(PAUSE)
        while (variables := _environment(pid)) == [b""] and time.monotonic() < patient:
            time.sleep(PAUSE)
        return wanted in variables or not any(variable.startswith(_ANY) for variable in variables)
    except OSError:
        return False  # it has ended, or is not ours


def _is_left(pid: int, begin: tuple[bytes, ...]) -> bool:
    try:
        marked = any(variable.startswith(begin) for variable in _environment(pid))
        return marked and _status(pid)[0] != b"Z"
    except OSError:
        return False


def _environment(pid: int, most: int = 8 * 2**20) -> list[bytes]:
    """Return the variables of a process; none where it has over `most` bytes.

    execve(2) gives 6 MB at most. More is what a process says of itself (PR_SET_MM_MAP of prctl(2)),
    without limit and whether it has them or not.
    """
    with open(f"/proc/{pid}/environ", "rb") as file:
        found = file.read(most + 1)
    return found.split(b"\0") if len(found) <= most else []


def _status(pid: int) -> tuple[bytes, int]:
    """State and parent; the name before them may hold anything."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        state, parent = file.read().rpartition(b")")[2].split()[:2]
    return state, int(parent)
