"""Limits of workers: account, Landlock, resources, and which of them this machine supports."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from kernel.public import BootError
from plugins.workers.config import WorkersConfig

from .exec_wrapper import NUMBERS

EXEC_WRAPPER: Final = Path(__file__).with_name("exec_wrapper.py")
LANDLOCK_VERSION: Final = (444, None, 0, 1)
SYSTEM: Final = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/proc", "/sys",
    "/dev", "/run/systemd/resolve", "/run/resolvconf", "/var/lib/ca-certificates", "/nix/store",
)  # fmt: skip
"""What programs need to read."""

FORK: Final = "import os\nos.fork() or os._exit(0)"
"""Starts a second process."""

DEVICES: Final = ("/dev/null", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
"""Not `/dev/zero`: a shared mapping of it is memory that no limit of a process counts."""
SHARED: Final = "/dev/shm"
"""Files in memory. What a worker leaves there must not outlive it."""
HIDDEN: Final = ("/etc/caudex",)
FILE_VARIABLE: Final = re.compile(r"CAUDEX_\w+_FILE")
"""Names a file that holds a value of the configuration, such as a key."""

CHOSEN_PORTS: Final = (
    "it may listen, so it may also serve at a port that the system chooses"
    " (net.ipv4.ip_local_port_range)"
)

log = structlog.get_logger("caudex.workers")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a process may read and write, beside the system's folders."""

    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    ports: tuple[int, ...] = ()
    """TCP ports that it may serve at."""
    cgroup: str = ""


class Sandbox:
    """Blocking: it starts processes under the account of a worker to find out what that reaches."""

    def __init__(self, config: WorkersConfig, data_dir: Path, config_file: str = "") -> None:
        self._config = config
        self._data_dir = data_dir
        self._config_file = config_file
        self._runnable: dict[str, bool] = {}
        self.notes: list[str] = []
        """Limits that are missing here, for status and log."""
        off = config.sandbox == "off"
        self.landlock = 0 if off else landlock_version()
        self.switches = os.geteuid() == 0 and not off
        self.counts = False
        """Whether processes of a worker are counted by themselves under our account."""
        self.private = False
        """Whether each worker has a `/dev/shm` and System V memory of its own."""
        self.filters = False
        """Whether system calls that evade the other limits are refused."""
        self.group_memory = False
        """Whether a cgroup limits the memory of each app: it counts memory of every kind."""
        self._readable: list[str] = []

    def prepare(self) -> None:
        """Find out what this machine supports and log what is missing. Raises BootError."""
        try:
            self.look()
        finally:
            for note in self.notes:
                log.warning(note)
        if os.geteuid() != 0 and not self.landlock and sys.platform.startswith("linux"):
            # Else a worker, which runs as we do, reads our memory and environment.
            ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE

    def look(self, *, made: bool = True) -> None:
        """Find out what this machine supports. Raises BootError where that is not enough.

        `made` is False before a server has made the data folder.
        """
        if self.switches:
            self._config.check_accounts(self._data_dir)
        if self.landlock:
            values = [path for name, path in os.environ.items() if FILE_VARIABLE.fullmatch(name)]
            hidden = [*HIDDEN, self._config_file, *values, str(self._data_dir)]
            real = [os.path.realpath(path) for path in hidden if path and os.path.exists(path)]
            self._readable = [path for root in SYSTEM for path in around(root, real)]
        elif self._config.sandbox == "auto":
            self.notes.append(
                "this kernel has no Landlock: files that others may read, workers read too"
            )
        if made and self.switches and not self._can_enter():
            self.switches = False
            self.notes.append(
                "workers run with the server's own account: theirs cannot enter the data folder"
            )
        if self._config.sandbox == "required" and not (self.switches or self.landlock):
            raise BootError(
                "[plugins.workers] sandbox",
                "this machine can neither change the account of workers nor confine them",
                'set sandbox = "auto" to run them all the same',
            )
        if not self.switches and self._config.sandbox != "off":
            self.counts = self._can_count()
            if not self.counts:
                self.notes.append("nothing limits how many processes a worker starts")
        if self._config.sandbox != "off":
            self._look_further()

    def _look_further(self) -> None:
        """Find out what keeps workers from the server's port, and from leaving memory behind."""
        linux = sys.platform.startswith("linux")
        known = linux and os.uname().machine in NUMBERS
        spaces = linux and (os.geteuid() == 0 or self.counts)
        for self.filters, self.private in ((True, True), (True, False), (False, True)):
            if self.filters <= known and self.private <= spaces and self._can_run_anything():
                break
        else:
            self.filters = self.private = False
        if self.landlock < 4:
            self.notes.append(
                "a worker that goes on after a server was killed can take its port: this needs"
                " Linux 6.7 with Landlock"
            )
        if not self.filters:
            self.notes.append(
                "workers can listen at ports that they may not serve at: this needs seccomp, on"
                " x86-64 or ARM64"
            )
        if not (self.private or self.filters):
            self.notes.append("System V memory of a worker outlives it")

    def _can_run_anything(self) -> bool:
        return _succeeds(self._wrapped(["/bin/sh", "-c", "true"], self.uid(0), Place()))

    @property
    def keeps_port(self) -> bool:
        """Whether no worker can serve at the server's port."""
        return self.landlock >= 4 and self.filters

    def uid(self, number: int) -> int | None:
        """The account of an app, or None where it is the server's own."""
        config = self._config
        return config.uid_base + number % config.uid_count if self.switches else None

    def command(self, argv: Sequence[str], number: int, place: Place) -> list[str]:
        """Wrap an argument list (its program an absolute path) in the exec wrapper."""
        return self._wrapped(argv, self.uid_for(argv[0], number), place)

    def uid_for(self, program: str, number: int) -> int | None:
        """Return the account that a program runs under, None for the server's own."""
        uid = self.uid(number)
        if uid is not None and not self.can_run(program):
            self._note(f"{program} runs with the server's own account: no other can reach it")
            return None
        return uid

    def can_run(self, program: str) -> bool:
        """Return whether the account of a worker can run a program."""
        if program not in self._runnable:
            asked = ["/bin/sh", "-c", 'test -x "$1"', "sh", program]
            wrapped = self._wrapped(asked, self.uid(0), Place())
            self._runnable[program] = not self.switches or _succeeds(wrapped)
        return self._runnable[program]

    def active_limits(self, uid: int | None, ports: Sequence[int] = ()) -> dict[str, Any]:
        """Describe the active limits, for the status; `ports` are those of a worker that runs."""
        config = self._config
        found: dict[str, Any] = {
            "uid": uid,
            "landlock": self.landlock or None,
            "memory_mb": config.memory_mb,
            "disk_mb": config.max_disk_mb or None,
            "files": config.files,
            "processes": config.processes if "NPROC" in self._limits(uid) else None,
            "ports": self._shown_ports(ports),
            "shared_memory": "private" if self.private else None,
        }
        notes = [*self.notes, CHOSEN_PORTS] if ports and self.keeps_port else self.notes
        return found | ({"notes": notes} if notes else {})

    def _shown_ports(self, ports: Sequence[int]) -> str | list[int] | None:
        """Describe the TCP ports that a worker can serve at; None where nothing limits them."""
        if self.filters and not ports:
            return "closed"  # it cannot listen
        return list(ports) if self.keeps_port else None

    def _wrapped(
        self, argv: Sequence[str], uid: int | None, place: Place, **limits: int
    ) -> list[str]:
        # Without a /dev/shm of its own, an account of its own says whose files are left there.
        shared = [SHARED] if self.private or uid is not None else []
        writable = [*map(str, place.writable), *DEVICES, *shared]
        own = [*map(str, place.readable), *self._config.readable, *_homes(argv[0])]
        settings = {
            "parent": os.getpid(),
            "uid": uid,
            "powerless": self._config.sandbox != "off",
            "counts": self.counts and uid is None,
            "private_mb": self._config.memory_mb if self._is_private(uid) else 0,
            "refused": self._refused(uid, place.ports),
            "ports": place.ports,
            "cgroup": place.cgroup,
            "oom_score_adj": self._config.oom_score_adj,
            "nice": self._config.nice,
            "limits": self._limits(uid) | limits,
            "landlock": self.landlock,
            "readable": [*self._readable, *own] if self.landlock else [],
            "writable": writable if self.landlock else [],
        }
        text = msgspec.json.encode(settings).decode()
        return [sys.executable, "-I", "-S", str(EXEC_WRAPPER), text, *argv]

    def _refused(self, uid: int | None, ports: Sequence[int]) -> list[str]:
        """Name the groups of system calls that a filter refuses (see the exec wrapper)."""
        if not self.filters:
            return []
        refused = ["evading"]
        if not ports:
            refused.append("listening")
        if not self._is_private(uid):
            refused.append("lasting")
        if not self.group_memory:
            refused.append("uncounted")
        return refused

    def _is_private(self, uid: int | None) -> bool:
        """Return whether a process gets namespaces: as root, or in a user namespace."""
        return self.private and (os.geteuid() == 0 or (self.counts and uid is None))

    def _limits(self, uid: int | None) -> dict[str, int]:
        config = self._config
        limits = {
            "DATA": config.memory_mb * 2**20,
            "NOFILE": config.files,
            "FSIZE": config.file_mb * 2**20,
            "CORE": 0,
        }
        # RLIMIT_NPROC counts all processes of an account, so it must not be the server's.
        apart = uid is not None or self.counts
        return limits | {"NPROC": config.processes} if apart else limits

    def _can_count(self) -> bool:
        """Test whether this machine counts a worker's processes by themselves, by a limit of one.

        Older kernels and containers may not, and root has no limit.
        """
        if os.geteuid() == 0 or not sys.platform.startswith("linux"):
            return False
        self.counts = True
        argv = [str(Path(sys.executable).resolve()), "-I", "-S", "-c", FORK]
        two, one = (self._wrapped(argv, None, Place(), NPROC=most) for most in (2, 1))
        return _succeeds(two) and not _succeeds(one)

    def _can_enter(self) -> bool:
        wrapped = self._wrapped(
            ["/bin/sh", "-c", 'cd "$1"', "sh", str(self._data_dir)],
            self.uid(0),
            Place(readable=(self._data_dir,)),
        )
        return _succeeds(wrapped)

    def _note(self, text: str) -> None:
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
    found: list[str] = []
    try:
        with os.scandir(root) as entries:
            paths = sorted(entry.path for entry in entries)
    except OSError:
        return []
    for path in paths:
        found += around(path, inner)
    return found


def _homes(program: str) -> list[str]:
    """The folder that a program is installed in: with `bin/` beside `lib/`, the one above; and the
    folder where it was found, where others that it calls by name are."""
    real = Path(program).resolve()
    homes = {real.parent.parent if real.parent.name == "bin" else real, Path(program).parent}
    return sorted(str(home) for home in homes if str(home) not in ("/", "/usr"))


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
