"""Processes that a worker started and that left its process group: a mark tells them.

Who starts a daemon properly (a new session, two forks) is no child of the worker any more and in no
group of its. But a process keeps the environment that it was given, and the system shows it in
`/proc` (proc(5)). What has none of our marks, under an account that is the app's alone, hides.

A server that is killed ends nobody. Marks begin with its name, which a file in the data folder has;
while it lives it holds a lock on that (flock(2)), and the system lets go of it however the server
ends. Whoever starts next ends what is marked with names that nobody holds: never what is another
live server's, or of another data folder, whose names are not there.
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
"""Variable that every process of a worker inherits; it means nothing but which one it is."""

_ANY: Final = f"{REPLICA_VARIABLE}=".encode()
ROUNDS: Final = 20
"""Looks for what is left; a process that forks all the time can be missed by one."""

PAUSE: Final = 0.01
PATIENCE: Final = 0.25
"""Seconds that one search waits, all in all, for environments that look empty, as they do in the
middle of execve(2)."""

NOTHING: Final = [b""]
INIT: Final = 1
MAX_ENVIRONMENT: Final = 8 * 2**20
"""Bytes. execve(2) gives 6 MB at most; more is what a process says of itself (PR_SET_MM_MAP of
prctl(2)), without limit and whether it has them or not."""

MAX_NAMES: Final = 200
"""Of servers that are looked at in one start; what is above is left to the next."""


def new_mark(server: str = "") -> str:
    """A mark for one child of a server."""
    return f"{server}.{secrets.token_hex(8)}"


@contextmanager
def server_name(folder: Path, draft: Path) -> Generator[str]:
    """Have a name in the folder for as long as this lasts; `draft` is a path for a new file."""
    name = secrets.token_hex(8)
    with ExitStack() as held:
        with suppress(OSError):  # a name that cannot be locked would pass for that of the dead
            file = held.enter_context(draft.open("xb"))
            held.callback(draft.unlink, missing_ok=True)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            name = _origin(file.fileno()) + name
            draft.rename(folder / name)
            held.callback((folder / name).unlink, missing_ok=True)
        yield name


def kill_orphans_of_dead_servers(folder: Path) -> int:
    """Kill what servers left that were killed, and count it. Blocking, as `kill_strays` is."""
    begin, own = list[bytes](), os.environ.get(REPLICA_VARIABLE, "")
    with ExitStack() as held:
        for path in islice(folder.iterdir(), MAX_NAMES):
            with suppress(OSError):  # it is held, or another one has just removed it
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

    `uid` is the account, where it is no other's than the app's: who hides from the mark and belongs
    to nobody any more is ended there as well. Never under root's account or our own.
    """
    uid = None if uid in (0, os.geteuid()) else uid
    wanted = _ANY + mark.encode()
    patient = time.monotonic() + PATIENCE
    _kill_all(lambda pid: _is_orphan(pid, wanted, uid, patient))


def _kill_all(is_meant: Callable[[int], bool]) -> int:
    killed = set[int]()
    for _ in range(ROUNDS):
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
            return False  # here children of our own look as if they were nobody's
        if state == b"Z" or parent != INIT:
            return False
        time.sleep(PAUSE)
        while (variables := _environment(pid)) == NOTHING and time.monotonic() < patient:
            time.sleep(PAUSE)
        return wanted in variables or not any(variable.startswith(_ANY) for variable in variables)
    except OSError:
        return False  # it has ended, or is none of ours


def _is_left(pid: int, begin: tuple[bytes, ...]) -> bool:
    try:
        marked = any(variable.startswith(begin) for variable in _environment(pid))
        return marked and _status(pid)[0] != b"Z"
    except OSError:
        return False


def _environment(pid: int) -> list[bytes]:
    """The variables of a process; none where it has more than there can be."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        found = file.read(MAX_ENVIRONMENT + 1)
    return found.split(b"\0") if len(found) <= MAX_ENVIRONMENT else []


def _status(pid: int) -> tuple[bytes, int]:
    """State and parent; the name before them may hold anything."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        state, parent = file.read().rpartition(b")")[2].split()[:2]
    return state, int(parent)
