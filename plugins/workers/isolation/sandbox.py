"""What this machine confines workers with: found out at the start, and described in the status."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from kernel.public import BootError
from plugins.workers.config import WorkersConfig

from .exec_wrapper import NUMBERS
from .wrapping import Place, Support, Wrapper

LANDLOCK_VERSION: Final = (444, None, 0, 1)
SYSTEM: Final = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/proc", "/sys",
    "/dev", "/run/systemd/resolve", "/run/resolvconf", "/var/lib/ca-certificates", "/nix/store",
)  # fmt: skip
"""What programs need to read."""

FORK: Final = "import os\nos.fork() or os._exit(0)"
"""Starts a second process."""

HIDDEN: Final = ("/etc/caudex",)
FILE_VARIABLE: Final = re.compile(r"CAUDEX_\w+_FILE")
"""Names a file that holds a value of the configuration, such as a key."""

CHOSEN_PORTS: Final = (
    "it may listen, so it may also serve at a port that the system chooses"
    " (net.ipv4.ip_local_port_range)"
)

log = structlog.get_logger("caudex.workers")


class Sandbox:
    """Blocking: it starts processes under the account of a worker to find out what that reaches."""

    def __init__(self, config: WorkersConfig, data_dir: Path, config_file: str = "") -> None:
        self._config = config
        self._data_dir = data_dir
        self._config_file = config_file
        self.support = Support()
        if config.sandbox != "off":
            self.support.landlock = landlock_version()
            self.support.switches = os.geteuid() == 0
        self.notes: list[str] = []
        """Limits that are missing here, for status and log."""
        self._wrapper = Wrapper(config, self.support)
        self._runnable: dict[str, bool] = {}
        """Whether the account of a worker can run a program."""

    def prepare(self) -> None:
        """Find out what this machine supports and log what is missing. Raises BootError."""
        try:
            self.look()
        finally:
            for note in self.notes:
                log.warning(note)
        if os.geteuid() != 0 and not self.support.landlock and sys.platform.startswith("linux"):
            # Else a worker, which runs as we do, reads our memory and environment.
            ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE

    def look(self, *, has_folder: bool = True) -> None:
        """Find out what this machine supports. Raises BootError where that is not enough.

        `has_folder` is False before a server has made the data folder.
        """
        support = self.support
        if support.switches:
            self._config.check_accounts(self._data_dir)
        if support.landlock:
            self._wrapper.readable = self._list_readable()
        elif self._config.sandbox == "auto":
            self.notes.append(
                "this kernel has no Landlock: files that others may read, workers read too"
            )
        if has_folder and support.switches and not self._can_enter():
            support.switches = False
            self.notes.append(
                "workers run with the server's own account: theirs cannot enter the data folder"
            )
        if self._config.sandbox == "required" and not support.switches and not support.landlock:
            raise BootError(
                "[plugins.workers] sandbox",
                "this machine can neither change the account of workers nor confine them",
                'set sandbox = "auto" to run them all the same',
            )
        if self._config.sandbox == "off":
            return
        if not support.switches:
            support.counts = self._can_count()
            if not support.counts:
                self.notes.append("nothing limits how many processes a worker starts")
        self._look_further()

    def _list_readable(self) -> list[str]:
        """List the folders of the system without the files that hold keys of the server."""
        named = [path for name, path in os.environ.items() if FILE_VARIABLE.fullmatch(name)]
        hidden = [*HIDDEN, self._config_file, *named, str(self._data_dir)]
        real = [os.path.realpath(path) for path in hidden if path and os.path.exists(path)]
        return [path for root in SYSTEM for path in around(root, real)]

    def _look_further(self) -> None:
        """Find out what keeps workers from the server's port, and from leaving memory behind."""
        support = self.support
        is_linux = sys.platform.startswith("linux")
        can_filter = is_linux and os.uname().machine in NUMBERS
        can_separate = is_linux and (os.geteuid() == 0 or support.counts)
        for filters, private in ((True, True), (True, False), (False, True), (False, False)):
            if (filters and not can_filter) or (private and not can_separate):
                continue
            support.filters = filters
            support.private = private
            if not (filters or private) or self._can_run_anything():
                break
        if support.landlock < 4:
            self.notes.append(
                "a worker that goes on after a server was killed can take its port: this needs"
                " Linux 6.7 with Landlock"
            )
        if not support.filters:
            self.notes.append(
                "workers can listen at ports that they may not serve at: this needs seccomp, on"
                " x86-64 or ARM64"
            )
        if not support.private and not support.filters:
            self.notes.append("System V memory of a worker outlives it")

    def _can_run_anything(self) -> bool:
        return _succeeds(self._wrapper.wrap(["/bin/sh", "-c", "true"], self.find_uid(0), Place()))

    def find_uid(self, number: int) -> int | None:
        """Return the account of an app, or None where it is the server's own."""
        if not self.support.switches:
            return None
        return self._config.uid_base + number % self._config.uid_count

    def find_uid_for(self, program: str, number: int) -> int | None:
        """Return the account that a program runs under, None for the server's own."""
        uid = self.find_uid(number)
        if uid is not None and not self.can_run(program):
            self._add_note(f"{program} runs with the server's own account: no other can reach it")
            return None
        return uid

    def can_run(self, program: str) -> bool:
        """Return whether the account of a worker can run a program."""
        if program not in self._runnable:
            test = ["/bin/sh", "-c", 'test -x "$1"', "sh", program]
            wrapped = self._wrapper.wrap(test, self.find_uid(0), Place())
            self._runnable[program] = not self.support.switches or _succeeds(wrapped)
        return self._runnable[program]

    def wrap(self, argv: Sequence[str], number: int, place: Place) -> list[str]:
        """Wrap an argument list (its program an absolute path) in the exec wrapper."""
        return self._wrapper.wrap(argv, self.find_uid_for(argv[0], number), place)

    def describe_limits(self, uid: int | None, ports: Sequence[int] = ()) -> dict[str, Any]:
        """Describe the active limits, for the status; `ports` are those of a worker that runs."""
        config = self._config
        support = self.support
        counts_processes = self._wrapper.counts_processes(uid)
        limits: dict[str, Any] = {
            "uid": uid,
            "landlock": support.landlock or None,
            "memory_mb": config.memory_mb,
            "disk_mb": config.max_disk_mb or None,
            "files": config.files,
            "processes": config.processes if counts_processes else None,
            "ports": self._describe_ports(ports),
            "shared_memory": "private" if support.private else None,
        }
        notes = list(self.notes)
        if ports and support.keeps_port:
            notes.append(CHOSEN_PORTS)
        if notes:
            limits["notes"] = notes
        return limits

    def _describe_ports(self, ports: Sequence[int]) -> str | list[int] | None:
        """Describe the TCP ports that a worker can serve at; None where nothing limits them."""
        if self.support.filters and not ports:
            return "closed"  # it cannot listen
        if self.support.keeps_port:
            return list(ports)
        return None

    def _can_count(self) -> bool:
        """Test whether this machine counts a worker's processes by themselves, by a limit of one.

        Older kernels and containers may not, and root has no limit.
        """
        if os.geteuid() == 0 or not sys.platform.startswith("linux"):
            return False
        self.support.counts = True
        argv = [str(Path(sys.executable).resolve()), "-I", "-S", "-c", FORK]
        with_two = self._wrapper.wrap(argv, None, Place(), NPROC=2)
        with_one = self._wrapper.wrap(argv, None, Place(), NPROC=1)
        return _succeeds(with_two) and not _succeeds(with_one)

    def _can_enter(self) -> bool:
        wrapped = self._wrapper.wrap(
            ["/bin/sh", "-c", 'cd "$1"', "sh", str(self._data_dir)],
            self.find_uid(0),
            Place(readable=(self._data_dir,)),
        )
        return _succeeds(wrapped)

    def _add_note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            log.warning(text)


def landlock_version() -> int:
    """The version of Landlock's interface that the kernel has; 0 for none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, int(ctypes.CDLL(None).syscall(*LANDLOCK_VERSION)))


def around(root: str, hidden: Iterable[str]) -> list[str]:
    """Paths that together are `root` without what is hidden below it: Landlock only allows."""
    inner = [path for path in hidden if path == root or path.startswith(root.rstrip("/") + "/")]
    if not inner:
        return [root]
    if root in inner:
        return []
    try:
        with os.scandir(root) as entries:
            children = sorted(entry.path for entry in entries)
    except OSError:
        return []
    return [path for child in children for path in around(child, inner)]


def _succeeds(command: Sequence[str]) -> bool:
    try:
        done = subprocess.run(
            command,
            cwd="/",
            env={"PATH": os.defpath, "HOME": "/", "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
