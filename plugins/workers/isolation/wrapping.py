"""How programs of apps are wrapped: the settings of the exec wrapper."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from plugins.workers.config import WorkersConfig

EXEC_WRAPPER: Final = Path(__file__).with_name("exec_wrapper.py")
DEVICES: Final = ("/dev/null", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
"""Not `/dev/zero`: a shared mapping of it is memory that no limit of a process counts."""
SHARED: Final = "/dev/shm"
"""Files in memory. What a worker leaves there must not outlive it."""


class Support(msgspec.Struct, kw_only=True):
    """What this machine confines workers with."""

    landlock: int = 0
    """The version of Landlock; 0 for none."""
    switches: bool = False
    """Whether each app has an account of its own."""
    counts: bool = False
    """Whether processes of a worker are counted by themselves under our account."""
    private: bool = False
    """Whether each worker has a `/dev/shm` and System V memory of its own."""
    filters: bool = False
    """Whether system calls that evade the other limits are refused."""
    group_memory: bool = False
    """Whether a cgroup limits the memory of each app: it counts memory of every kind."""

    @property
    def keeps_port(self) -> bool:
        """Whether no worker can serve at the server's port."""
        return self.landlock >= 4 and self.filters


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a process may read and write, beside the system's folders."""

    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    ports: tuple[int, ...] = ()
    """TCP ports that it may serve at."""
    cgroup: str = ""


class Wrapper:
    """Wraps programs in the exec wrapper, with all limits that this machine supports."""

    def __init__(self, config: WorkersConfig, support: Support) -> None:
        self._config = config
        self._support = support
        self.readable: list[str] = []
        """Folders of the system that every program may read."""

    def wrap(self, argv: Sequence[str], uid: int | None, place: Place, **limits: int) -> list[str]:
        """Wrap an argument list for an account, None for ours; `limits` replace the usual ones."""
        writable = [*map(str, place.writable), *DEVICES]
        # Without a /dev/shm of its own, an account of its own says whose files are left there.
        if self._support.private or uid is not None:
            writable.append(SHARED)
        readable = [
            *self.readable,
            *map(str, place.readable),
            *self._config.readable,
            *_list_homes(argv[0]),
        ]
        settings = {
            "parent": os.getpid(),
            "uid": uid,
            "powerless": self._config.sandbox != "off",
            "counts": self._support.counts and uid is None,
            "private_mb": self._config.memory_mb if self._is_private(uid) else 0,
            "refused": self._list_refused(uid, place.ports),
            "ports": place.ports,
            "cgroup": place.cgroup,
            "oom_score_adj": self._config.oom_score_adj,
            "nice": self._config.nice,
            "limits": self._make_limits(uid) | limits,
            "landlock": self._support.landlock,
            "readable": readable if self._support.landlock else [],
            "writable": writable if self._support.landlock else [],
        }
        text = msgspec.json.encode(settings).decode()
        return [sys.executable, "-I", "-S", str(EXEC_WRAPPER), text, *argv]

    def _list_refused(self, uid: int | None, ports: Sequence[int]) -> list[str]:
        """Name the groups of system calls that a filter refuses (see the exec wrapper)."""
        if not self._support.filters:
            return []
        refused = ["evading"]
        if not ports:
            refused.append("listening")
        if not self._is_private(uid):
            refused.append("lasting")
        if not self._support.group_memory:
            refused.append("uncounted")
        return refused

    def _is_private(self, uid: int | None) -> bool:
        """Return whether a process gets namespaces: as root, or in a user namespace."""
        return self._support.private and (
            os.geteuid() == 0 or (self._support.counts and uid is None)
        )

    def counts_processes(self, uid: int | None) -> bool:
        """Return whether RLIMIT_NPROC limits a worker: it counts all processes of an account, so it
        must not be the server's."""
        return uid is not None or self._support.counts

    def _make_limits(self, uid: int | None) -> dict[str, int]:
        config = self._config
        limits = {
            "DATA": config.memory_mb * 2**20,
            "NOFILE": config.files,
            "FSIZE": config.file_mb * 2**20,
            "CORE": 0,
        }
        if self.counts_processes(uid):
            limits["NPROC"] = config.processes
        return limits


def _list_homes(program: str) -> list[str]:
    """The folder that a program is installed in: with `bin/` beside `lib/`, the one above; and the
    folder where it was found, where others that it calls by name are."""
    home = Path(program).resolve()
    if home.parent.name == "bin":
        home = home.parent.parent
    homes = {home, Path(program).parent}
    return sorted(str(home) for home in homes if str(home) not in ("/", "/usr"))
