"""Control groups (cgroup v2): limits for an app as a whole, and an end for all of its processes.

No process leaves its cgroup, however it forks. The system must have delegated a part of the
hierarchy to the server, as systemd does with `Delegate=yes` (cgroups(7), "Cgroups delegation").
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from kernel.public import BootError
from plugins.workers.config import WorkersConfig

CONTROLLERS: Final = ("memory", "pids", "cpu")


class Cgroups:
    """The cgroups of one server process: `<base>/<server>/<app>.<key>/<replica>`. Blocking."""

    def __init__(self, config: WorkersConfig) -> None:
        self._config = config
        self.base: Path | None = None
        """The delegated cgroup, if any."""
        if config.sandbox != "off":
            self.base = find_base(config.cgroup)
        self.controllers: tuple[str, ...] = ()
        """Those that limit apps here. Without any, processes are ended all the same."""
        self._server = ""

    def look(self) -> None:
        """Find out which controllers limit apps here, without a change."""
        if self.base is not None:
            offered = _read(self.base / "cgroup.controllers").split()
            self.controllers = tuple(name for name in CONTROLLERS if name in offered)

    def open(self, server: str) -> bool:
        """Make the cgroup of this server process, and return whether one is delegated.

        Call the methods that make or end cgroups only then. Raises BootError where a cgroup was
        configured and cannot be used.
        """
        self.look()
        if self.base is None:
            return False
        try:
            self.base.mkdir(parents=True, exist_ok=True)
            _make_room(self.base)
            group = self.base / server
            group.mkdir()
            for folder in (self.base, group):
                for name in self.controllers:
                    _write(folder / "cgroup.subtree_control", f"+{name}")
        except OSError as error:
            if self._config.cgroup != "auto":
                problem = f"{error.filename}: {error.strerror}"
                remedy = 'name a delegated cgroup v2, or set cgroup = "auto"'
                raise BootError("[plugins.workers] cgroup", problem, remedy) from None
            self.base = None
            self.controllers = ()
            return False
        self._server = server
        return True

    @property
    def _group(self) -> Path:
        """The cgroup of this server process."""
        assert self.base is not None, "no cgroup is delegated"
        assert self._server, "no cgroup is open"
        return self.base / self._server

    @property
    def level(self) -> Sequence[str] | None:
        """The limits that hold for an app as a whole; None where its processes have their own."""
        if self.base is None or not self.controllers:
            return None
        return list(self.controllers)

    def make_limits(self) -> Mapping[str, str]:
        """Return what is written to the files of an app's cgroup."""
        config = self._config
        half = (os.cpu_count() or 1) / 2
        cpus = config.cpus or max(1.0, half)
        texts = {
            "memory": ("memory.max", str(config.memory_mb * 2**20)),
            "pids": ("pids.max", str(config.processes)),
            "cpu": ("cpu.max", f"{int(cpus * 100_000)} 100000"),
        }
        return dict(texts[name] for name in self.controllers)

    def make(self, app: str) -> str:
        """Make a cgroup for a process of an app and return its path. Raises OSError."""
        group = self._group / app
        group.mkdir(exist_ok=True)
        for name, text in self.make_limits().items():
            _write(group / name, text)
        leaf = group / secrets.token_hex(8)
        leaf.mkdir()
        return str(leaf)

    def end_app(self, app: str) -> None:
        """End all processes of an app in this server process."""
        end_processes(self._group / app)

    @property
    def path(self) -> str:
        """The cgroup of this server process."""
        return str(self._group)

    def close(self) -> None:
        """End every process that is left, and remove the cgroups of this server process."""
        end_processes(self._group)


def find_base(setting: str) -> Path | None:
    """Return the cgroup that a configuration means; None where none is delegated."""
    if setting == "off":
        return None
    if setting == "auto":
        return _find_delegated()
    return Path(setting)


def _find_delegated() -> Path | None:
    """Return the cgroup of this process, or the one above it, that systemd marked as delegated."""
    mounts = [line.split() for line in _read(Path("/proc/self/mountinfo")).splitlines()]
    mount = next((words[4] for words in mounts if "cgroup2" in words[words.index("-") :]), None)
    lines = _read(Path("/proc/self/cgroup")).splitlines()
    path = next((line[4:] for line in lines if line.startswith("0::/")), "")
    if mount is None or not path:
        return None
    group = Path(mount) / path
    for folder in (group, group.parent):
        if _is_delegated(folder):
            return folder
    return None


def _is_delegated(folder: Path) -> bool:
    for name in ("user.delegate", "trusted.delegate"):
        with suppress(OSError, AttributeError):  # macOS has no such attributes
            if os.getxattr(folder, name) == b"1":
                return os.access(folder / "cgroup.procs", os.W_OK)
    return False


def end_processes(group: Path, seconds: float = 5.0) -> bool:
    """End all processes in a cgroup and below it, and remove it. False if some are left."""
    if not group.is_dir():
        return True
    deadline = time.monotonic() + seconds
    while _is_populated(group) and time.monotonic() <= deadline:
        _kill(group)
        time.sleep(0.01)
    is_empty = not _is_populated(group)
    for folder in (*_list_below(group), group):
        with suppress(OSError):
            folder.rmdir()
    return is_empty


def _is_populated(group: Path) -> bool:
    return "populated 1" in _read(group / "cgroup.events")


def _make_room(base: Path) -> None:
    """Move processes in the base itself aside: a cgroup with children has none of its own."""
    pids = _read(base / "cgroup.procs").split()
    if str(os.getpid()) in pids:
        leaf = base / "server"
        leaf.mkdir(exist_ok=True)
        for pid in pids:
            with suppress(ProcessLookupError):
                _write(leaf / "cgroup.procs", pid)


def _kill(group: Path) -> None:
    try:
        _write(group / "cgroup.kill", "1", create=False)
    except OSError:  # before Linux 5.14
        for folder in (*_list_below(group), group):
            for pid in _read(folder / "cgroup.procs").split():
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(int(pid), signal.SIGKILL)


def _list_below(group: Path) -> Iterator[Path]:
    """Yield the cgroups below one, those farthest down first."""
    for folder, _, _ in os.walk(group, topdown=False):
        if Path(folder) != group:
            yield Path(folder)


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""


def _write(path: Path, text: str, *, create: bool = True) -> None:
    """Write a file of a cgroup. A test's folder in place of the hierarchy needs it created."""
    mode = "w" if create else "r+"
    with open(path, mode, encoding="ascii") as file:
        file.write(text)
