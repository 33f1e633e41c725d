"""Processes of PostgreSQL: start them, find them, and end those of an earlier run."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from .account import Account, environment, run
from .config import EmbeddedPostgresError

LAUNCHER = Path(__file__).with_name("launcher.py")
LINUX = sys.platform.startswith("linux")
# A shell, because the other account may have no access to the interpreter.
SCAN = 'for p in /proc/[0-9]*; do [ "$p/cwd" -ef "$1" ] && echo "${p#/proc/}"; done; :'


def spawn(
    program: Sequence[str | os.PathLike[str]],
    account: Account,
    *,
    death_signal: signal.Signals,
    cwd: Path,
    output: IO[bytes] | int,
) -> subprocess.Popen[bytes]:
    """Start a program under an account; it gets `death_signal` when our process dies.

    On Linux only the main thread may do this: the signal follows the thread that started the
    program, so one started by a worker thread would end with that thread.
    """
    if LINUX and threading.current_thread() is not threading.main_thread():
        raise EmbeddedPostgresError(
            "the embedded PostgreSQL has to be started on the main thread: "
            "start it before the server's threads, or set database.url"
        )
    uid = -1
    gid = -1
    if account.switch:
        uid = account.uid
        gid = account.gid
    launcher_arguments = [os.getpid(), int(death_signal), uid, gid]
    command = [sys.executable, "-I", "-S", LAUNCHER, *map(str, launcher_arguments), *program]
    # A session of its own keeps Ctrl-C from stopping PostgreSQL before our last queries are done.
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd=cwd,
        env=environment(),
        start_new_session=True,
    )


def postgres_processes(pgdata: Path) -> list[int]:
    """Return the live PostgreSQL processes of a data folder, without zombies.

    Each has the data folder as its working directory; nothing else shows the cluster of an
    orphaned backend.
    """
    if not pgdata.is_dir():
        return []
    if LINUX:
        return _scan_proc(pgdata)
    return _scan_ps(pgdata)


def _scan_proc(pgdata: Path) -> list[int]:
    folder = os.path.realpath(pgdata)
    pids: list[int] = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        if not _is_postgres(name):
            continue
        try:
            if os.readlink(f"/proc/{name}/cwd") == folder:
                pids.append(int(name))
        except PermissionError:
            if os.geteuid() == 0:
                return _scan_as_owner(pgdata)
        except OSError:
            continue
    return pids


def _is_postgres(pid: str) -> bool:
    with contextlib.suppress(OSError):
        return "postgres" in Path(f"/proc/{pid}/comm").read_text()
    return False


def _scan_as_owner(pgdata: Path) -> list[int]:
    """Ask as the owner: root in a container often lacks the right to trace other accounts."""
    owner = pgdata.stat()
    command = ["/bin/sh", "-c", SCAN, "sh", pgdata]
    process = run(command, uid=owner.st_uid, gid=owner.st_gid)
    return [int(pid) for pid in process.stdout.split() if _is_postgres(pid)]


def _scan_ps(pgdata: Path) -> list[int]:
    process = run(["ps", "-axo", "pid=,stat=,args="])
    pids: list[int] = []
    for line in process.stdout.splitlines():
        pid, _, state_and_arguments = line.strip().partition(" ")
        state, _, arguments = state_and_arguments.strip().partition(" ")
        is_postgres = "postgres" in arguments and f" -D {pgdata} " in f"{arguments} "
        if is_postgres and not state.startswith("Z"):
            pids.append(int(pid))
    return pids


def is_alive(pid: int) -> bool:
    """Whether a process exists; a zombie counts as gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return not LINUX


# As in `Postmaster.stop`: quickly but in order, then without order, then by force.
ORDERLY_TIMEOUT = 30.0
# As long as an immediate shutdown of PostgreSQL waits before it kills children that do not quit.
QUIT_TIMEOUT = 5.0
INIT_PREFIX = "postgres.init-"
INIT_CLUSTER = "cluster"


def clear_orphans(pgdata: Path, timeout: float = 60.0) -> None:
    """Stop orphans and remove stale lock files; only for the holder of the lock.

    A lock file may name a recycled pid or a zombie, which PostgreSQL takes for a live server. It is
    removed only when no process of the cluster is left: otherwise two servers could share the data.
    """
    began = time.monotonic()
    while True:
        alive = stop_orphans(pgdata, time.monotonic() - began)
        if not alive:
            break
        if time.monotonic() - began > timeout:
            pids = ", ".join(map(str, alive))
            raise EmbeddedPostgresError(
                f"PostgreSQL processes of an earlier run do not stop: end {pids} by hand"
            )
        time.sleep(0.1)
    remove_lock_files(pgdata)


def stop_orphans(pgdata: Path, waited: float = 0.0) -> list[int]:
    """Signal the processes that still run in a data folder and return their pids. The signal
    depends on the seconds `waited` so far."""
    alive = postgres_processes(pgdata)
    for pid, number in _signals(alive, postmaster_pid(pgdata), waited).items():
        with contextlib.suppress(OSError):
            os.kill(pid, number)
    return alive


def _signals(alive: list[int], postmaster: int, waited: float) -> dict[int, signal.Signals]:
    # The postmaster ends its children in order; without it they quit one by one. Other programs of
    # that name may work in the folder, so in the end all are killed, and all together: no child
    # outlives its postmaster for long, and a start waits until all are gone.
    if postmaster not in alive:
        number = signal.SIGKILL
        if waited <= QUIT_TIMEOUT:
            number = signal.SIGQUIT
        return dict.fromkeys(alive, number)
    if waited <= ORDERLY_TIMEOUT:
        return {postmaster: signal.SIGINT}
    if waited <= ORDERLY_TIMEOUT + 2 * QUIT_TIMEOUT:
        return {postmaster: signal.SIGQUIT}
    return dict.fromkeys(alive, signal.SIGKILL)


def remove_lock_files(pgdata: Path) -> None:
    """Remove the lock files of a server that has ended."""
    for file in [pgdata / "postmaster.pid", *pgdata.glob(".s.PGSQL.*")]:
        file.unlink(missing_ok=True)


def postmaster_pid(pgdata: Path) -> int:
    """Return the pid in the cluster's lock file, or 0."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int((pgdata / "postmaster.pid").read_text().split()[0])
    return 0


def sweep_init_folders(data_dir: Path) -> None:
    """Remove clusters whose creation was interrupted; only for the holder of the lock."""
    for folder in data_dir.glob(f"{INIT_PREFIX}*"):
        give_up = time.monotonic() + 60.0
        while folder.exists() and time.monotonic() < give_up:
            # initdb died with its parent, but the server it had started may still write.
            for pid in postgres_processes(folder / INIT_CLUSTER):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            shutil.rmtree(folder, ignore_errors=True)
            time.sleep(0.02)
