"""Kills processes that a worker started and that left its process group.

A daemon (a new session, two forks) is no child of the worker any more, and not in its group. Where
there are cgroups, they end it (`cgroups.py`). Elsewhere a variable marks it: a process keeps its
first environment, which `/proc` shows (proc(5)). A process without that variable, or with one that
marks no running worker, hides; it is found under an account that only the app has.

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
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from . import cgroups

REPLICA_VARIABLE: Final = "CAUDEX_REPLICA"
"""Variable that every process of a worker inherits; its value identifies the worker."""

_ASSIGNMENT: Final = f"{REPLICA_VARIABLE}=".encode()
PAUSE: Final = 0.01
INIT: Final = 1
SENDER: Final = """
import os, sys
number, found = int(sys.argv[1]), False
for uid in map(int, sys.argv[2:]):
    child = os.fork()
    if not child:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        try:
            os.kill(-1, number)
        except ProcessLookupError:
            os._exit(1)
        os._exit(0)
    found |= os.waitpid(child, 0)[1] == 0
sys.exit(not found)
"""
"""Signals all processes of an account in one call, however fast they fork."""


@contextmanager
def hold_server_name(folder: Path, draft: Path) -> Generator[str]:
    """Hold a name in the folder for as long as this lasts; `draft` is a path for a new file.

    Write the path of a cgroup into the file: the next start ends what is left in it.
    """
    name = secrets.token_hex(8)
    with ExitStack() as stack:
        with suppress(OSError):  # a name without a lock would look like a dead server's
            file = stack.enter_context(draft.open("xb"))
            stack.callback(draft.unlink, missing_ok=True)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            name = _find_origin(file.fileno()) + name
            draft.rename(folder / name)
            stack.callback((folder / name).unlink, missing_ok=True)
        yield name


def server_of(mark: str) -> str:
    """Return the name of the server that a mark begins with."""
    return mark.rpartition(".")[0]


def kill_orphans_of_dead_servers(folder: Path) -> int:
    """Kill what dead servers left, and count it. Blocking, as `kill_orphans` is."""
    marks = list[bytes]()
    ancestors = os.environ.get(REPLICA_VARIABLE, "")
    with ExitStack() as stack:
        for path in islice(folder.iterdir(), 200):  # the next start looks at the rest
            with suppress(OSError):  # it is locked, or another start has just removed it
                file = stack.enter_context(path.open("rb"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stack.callback(path.unlink, missing_ok=True)
                # Skip a copied folder (its server may run), and the server that started this one.
                is_copied = not path.name.startswith(_find_origin(file.fileno()))
                if is_copied or path.name in ancestors:
                    continue
                marks.append(f"{REPLICA_VARIABLE}={path.name}.".encode())
                cgroup = file.read(4096)
                if cgroup:
                    cgroups.end_processes(Path(os.fsdecode(cgroup)))
        if not marks:
            return 0
        return _kill_all(lambda pid: _has_mark(pid, tuple(marks)))


def _find_origin(fd: int) -> str:
    """Return what the name of a server's file begins with, which no copy of the file has."""
    status = os.fstat(fd)
    return f"{status.st_dev:x}-{status.st_ino:x}-"


def kill_orphans(mark: str, uid: int | None, is_live: Callable[[str], bool] = bool) -> None:
    """Kill what is left of a child that has ended. Blocking: reads the list of all processes.

    `uid` is the account, where only the app has it: what descends from no live worker is killed
    there as well. Never under root's account or our own. `is_live` says so of a mark.
    """
    if uid in (0, os.geteuid()):
        uid = None
    # One search waits so long in all for environments that look empty, as in an execve(2).
    search = _Search(mark.encode(), uid, is_live, time.monotonic() + 0.25)
    _kill_all(search.is_orphan)
    # A process that is replaced by its child all the time has another id at each search.
    if uid is not None and signal_all({uid}, 0):
        with _stop_processes(uid):
            _kill_all(search.is_orphan)


def is_held(folder: Path, name: str) -> bool:
    """Return whether a live server holds a name in the folder."""
    try:
        with (folder / name).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, ValueError):
        return False
    return False


def _kill_all(is_meant: Callable[[int], bool], *, seconds: float = 5.0) -> int:
    """Search until nothing is found: one search can miss a process that forks all the time."""
    killed = set[int]()
    deadline = time.monotonic() + seconds
    while True:
        pids = [pid for pid in list_pids() if is_meant(pid)]
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed.update(pids)
        if not pids or time.monotonic() > deadline:
            return len(killed)
        time.sleep(PAUSE)


def signal_all(accounts: Collection[int], number: int) -> bool:
    """Send a signal to all processes of these accounts, and return whether there are any."""
    if not accounts:
        return False
    words = [sys.executable, "-I", "-S", "-c", SENDER, str(int(number)), *map(str, accounts)]
    with suppress(OSError, subprocess.TimeoutExpired):
        quiet = subprocess.DEVNULL
        done = subprocess.run(words, cwd="/", env={}, stderr=quiet, timeout=30, check=False)
        return done.returncode == 0
    return False


@contextmanager
def _stop_processes(uid: int) -> Generator[None]:
    signal_all({uid}, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all({uid}, signal.SIGCONT)


def list_pids() -> list[int]:
    """Return the ids of all processes."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []  # not Linux: the group is all there is


class _Search(NamedTuple):
    """Recognizes orphans of the child with a mark."""

    mark: bytes
    uid: int | None
    is_live: Callable[[str], bool]
    patient_until: float

    def is_orphan(self, pid: int) -> bool:
        try:
            if self.uid is not None and read_uid(pid) != self.uid:
                return False  # no process of a worker leaves its account (PR_SET_NO_NEW_PRIVS)
            state, _ = read_state(pid)
            if state == b"Z":
                return False
            marks = _select_marks(_read_environment(pid))
            if self.mark in marks:
                return True
            # Children of our own look like orphans where we are the first process.
            if self.uid is None or os.getpid() == INIT or self._belongs(pid, marks):
                return False
            marks = _select_marks(self._read_patiently(pid))
            return self.mark in marks or not self._belongs(pid, marks)
        except OSError:
            return False  # it has ended, or is not ours

    def _read_patiently(self, pid: int) -> list[bytes]:
        """Read the environment again, a moment later: it is empty within an execve(2)."""
        time.sleep(PAUSE)
        variables = _read_environment(pid)
        while variables == [b""] and time.monotonic() < self.patient_until:
            time.sleep(PAUSE)
            variables = _read_environment(pid)
        return variables

    def _belongs(self, pid: int, marks: Sequence[bytes]) -> bool:
        """Return whether a process, or one that it descends from, is of a live worker."""
        for _ in range(1000):
            if any(self.is_live(mark.decode("utf-8", "replace")) for mark in marks):
                return True
            _, pid = read_state(pid)
            if pid <= INIT or read_uid(pid) != self.uid:
                return pid > INIT
            marks = _select_marks(_read_environment(pid))
        return False


def read_marks(pid: int) -> list[str]:
    """Return the marks in the first environment of a process. Raises OSError."""
    marks = _select_marks(_read_environment(pid))
    return [mark.decode("utf-8", "replace") for mark in marks]


def _select_marks(variables: Sequence[bytes]) -> list[bytes]:
    return [
        variable.removeprefix(_ASSIGNMENT)
        for variable in variables
        if variable.startswith(_ASSIGNMENT)
    ]


def _has_mark(pid: int, beginnings: tuple[bytes, ...]) -> bool:
    """Return whether a process that has not ended has a mark that begins like one of these."""
    try:
        if not any(variable.startswith(beginnings) for variable in _read_environment(pid)):
            return False
        state, _ = read_state(pid)
        return state != b"Z"
    except OSError:
        return False


def _read_environment(pid: int, limit: int = 8 * 2**20) -> list[bytes]:
    """Return the variables of a process; none where it has over `limit` bytes.

    execve(2) gives 6 MB at most. More is what a process says of itself (PR_SET_MM_MAP of prctl(2)),
    without limit and whether it has them or not.
    """
    with open(f"/proc/{pid}/environ", "rb") as file:
        block = file.read(limit + 1)
    return block.split(b"\0") if len(block) <= limit else []


def read_uid(pid: int) -> int:
    """Return the account of a process; the owner of its folder in `/proc` may be another.

    Raises OSError if it has ended.
    """
    with open(f"/proc/{pid}/status", "rb") as file:
        for line in file:
            if line.startswith(b"Uid:"):
                return int(line.split()[1])
    raise ProcessLookupError(pid)


def read_state(pid: int) -> tuple[bytes, int]:
    """Return the state and the parent of a process. Raises OSError if it has ended."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        # The name before them may hold anything.
        state, parent = file.read().rpartition(b")")[2].split()[:2]
    return state, int(parent)
