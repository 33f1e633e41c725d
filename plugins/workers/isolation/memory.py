"""The memory of apps, added up over their processes, where no cgroup limits it.

The system limits each process by itself (RLIMIT_DATA). What an app has in all of them is read from
`/proc` (proc(5)): memory of its own, also swapped out, its page tables, and files in memory. What
these do not show is refused (see `UNCOUNTED` in the exec wrapper).
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from .accounts import SERVERS
from .orphans import is_held, list_pids, read_marks, server_of

PAUSE: Final = 0.05
"""Seconds between two measures. A process that is about to run another program (vfork(2)) shows the
memory of its parent as well, for a moment."""
PATIENCE: Final = 0.25
"""Seconds that one exact measure may take; then the larger figures of `status` count."""

_LINES: Final = re.compile(rb"^(PPid|Uid|RssAnon|RssShmem|VmSwap|VmPTE):\s+(\d+)", re.MULTILINE)
_EXACT: Final = re.compile(rb"^(Pss_Anon|Pss_Shmem|SwapPss):\s+(\d+)", re.MULTILINE)


class Watched(NamedTuple):
    """A child of this server: its id, its mark, and the app that it belongs to."""

    pid: int
    mark: str
    app: str


class Process(NamedTuple):
    """A process as its `status` shows it; sizes in kB."""

    parent: int
    uid: int
    private: int
    """Memory that is not shared, or a copy that is made when it is written to."""
    tables: int
    shared: int
    root: int = 0
    """The child that it descends from; 0 for none."""


class Excess(NamedTuple):
    """What an app has in memory, in kB, and the child that has most of it.

    `largest` is 0 where that is a process which left its worker.
    """

    used: int
    largest: int


Weigh = Callable[[int, Process], tuple[int, int]]
"""Returns what a process has by itself and what it shares, in kB."""


class MemorySurvey:
    """Finds the processes of apps, and adds up their memory. Blocking, and not for many threads.

    `accounts` are those of apps. A process under one of them counts however it hides. Without an
    account of its own, one counts that descends from a worker or has the variable that marks it.
    `has_files` is whether each worker has a `/dev/shm` of its own, and cannot replace it.
    """

    def __init__(self, server: str, servers: Path, accounts: range, *, has_files: bool) -> None:
        self._server = server
        self._servers = servers
        self._accounts = accounts
        self._has_files = has_files
        self._others = set[int]()
        """Processes of this machine that belong to no app. Each is read once."""
        self._marks: dict[int, list[str]] = {}
        """The marks of processes that left their worker. Reading them takes time."""

    def find_over(self, children: Sequence[Watched], limit_kb: int) -> dict[str, Excess]:
        """Return the apps that have more memory than that.

        What shares memory counts several times at first. Only if that is too much, three exact
        measures follow, and all of them have to be over.
        """
        suspects = {child.app for child in children}
        over = dict[str, Excess]()
        for weigh in (_weigh_roughly, _Exact(), _Exact(), _Exact()):
            processes = self._group_by_app(children)
            sums = {app: self._add_up(processes[app], weigh) for app in suspects}
            over = {app: excess for app, excess in sums.items() if excess.used > limit_kb}
            if not over:
                break
            suspects = over.keys()
            time.sleep(PAUSE)
        return over

    def _add_up(self, processes: Mapping[int, Process], weigh: Weigh) -> Excess:
        private_by_child = Counter[int]()
        shared_by_all = 0
        for pid, process in processes.items():
            private, shared = weigh(pid, process)
            private_by_child[process.root] += private
            shared_by_all += shared
        files = 0
        if self._has_files:
            files = sum(_measure_files(child) for child in private_by_child if child)
        # A file in memory may also be mapped, so the two are not added.
        used = private_by_child.total() + max(shared_by_all, files)
        largest = max(private_by_child, key=private_by_child.__getitem__, default=0)
        return Excess(used, largest)

    def _group_by_app(self, children: Sequence[Watched]) -> dict[str, dict[int, Process]]:
        """Return the processes of each app."""
        table = self._read_table()
        apps = {child.pid: child.app for child in children}
        marks = {child.mark: child.app for child in children}
        accounts = dict[int, str]()
        for child in children:
            process = table.get(child.pid)
            if process is not None and process.uid in self._accounts:
                accounts[process.uid] = child.app

        groups: dict[str, dict[int, Process]] = {child.app: {} for child in children}
        for pid, process in table.items():
            eldest = _find_eldest(pid, table, apps)
            app = apps.get(eldest)
            if app is not None:
                process = process._replace(root=eldest)
            elif process.uid in accounts and not self._is_elsewhere(eldest):
                app = accounts[process.uid]
            elif process.uid not in self._accounts:
                app = next((marks[mark] for mark in self._read_marks(pid) if mark in marks), None)
            if app is not None:
                groups[app][pid] = process
            elif process.uid not in self._accounts and process.parent != os.getpid():
                self._others.add(pid)
        return groups

    def _read_table(self) -> dict[int, Process]:
        present = set(list_pids())
        self._others &= present
        self._marks = {pid: marks for pid, marks in self._marks.items() if pid in present}
        table = dict[int, Process]()
        for pid in present - self._others:
            with suppress(OSError):  # it has ended
                table[pid] = _read_process(pid)
        return table

    def _is_elsewhere(self, pid: int) -> bool:
        """Return whether a process is of another server that runs, which counts it."""
        for mark in self._read_marks(pid):
            server = server_of(mark)
            if server == self._server:
                continue
            if is_held(self._servers, server) or is_held(SERVERS, server):
                return True
        return False

    def _read_marks(self, pid: int) -> list[str]:
        if pid not in self._marks:
            self._marks[pid] = []
            with suppress(OSError):  # it has ended, or it is not ours to look at
                self._marks[pid] = read_marks(pid)
        return self._marks[pid]


class _Exact:
    """Weighs by the share that a process has of each page (PSS), as long as that takes no time."""

    def __init__(self) -> None:
        self._spent = 0.0

    def __call__(self, pid: int, process: Process) -> tuple[int, int]:
        if self._spent > PATIENCE:
            return _weigh_roughly(pid, process)
        began = time.monotonic()
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                shares = _read_numbers(_EXACT, file.read())
        except OSError:  # it has ended, or it is not ours to look at
            shares = {}
        self._spent += time.monotonic() - began
        if b"Pss_Anon" not in shares:
            return _weigh_roughly(pid, process)
        private = shares[b"Pss_Anon"] + shares.get(b"SwapPss", 0) + process.tables
        return private, shares.get(b"Pss_Shmem", 0)


def _weigh_roughly(_pid: int, process: Process) -> tuple[int, int]:
    return process.private + process.tables, process.shared


def _find_eldest(pid: int, table: Mapping[int, Process], apps: Mapping[int, str]) -> int:
    """Return the child that a process descends from; else the first of its line and account."""
    for _ in range(len(table)):
        parent = table[pid].parent
        if pid in apps or parent not in table or table[parent].uid != table[pid].uid:
            break
        pid = parent
    return pid


def _read_process(pid: int) -> Process:
    """Read the status of a process. Raises OSError if it has ended."""
    with open(f"/proc/{pid}/status", "rb") as file:
        numbers = _read_numbers(_LINES, file.read())
    return Process(
        parent=numbers.get(b"PPid", 0),
        uid=numbers.get(b"Uid", 0),
        private=numbers.get(b"RssAnon", 0) + numbers.get(b"VmSwap", 0),
        tables=numbers.get(b"VmPTE", 0),
        shared=numbers.get(b"RssShmem", 0),
    )


def _read_numbers(lines: re.Pattern[bytes], text: bytes) -> dict[bytes, int]:
    return {name: int(number) for name, number in lines.findall(text)}


def _measure_files(pid: int) -> int:
    """Return the kB of files in the `/dev/shm` of a child.

    A child that has only just started still sees that of the machine, where others have files.
    """
    folder = Path("/proc", str(pid), "root", "dev", "shm")
    try:
        if os.stat(folder).st_dev == os.stat("/dev/shm").st_dev:
            return 0
        usage = os.statvfs(folder)
    except OSError:  # it has ended, or it is not ours to look at
        return 0
    return (usage.f_blocks - usage.f_bfree) * usage.f_frsize // 1024
