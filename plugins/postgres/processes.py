"""Starting the programs of PostgreSQL, and finding those that run in a data folder."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from .account import Account
from .errors import EmbeddedPostgresError
from .programs import environment, run

LAUNCHER = Path(__file__).with_name("launcher.py")
LINUX = sys.platform.startswith("linux")
# A shell, because the interpreter may lie where the other account cannot reach it.
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
    uid, gid = (account.uid, account.gid) if account.switch else (-1, -1)
    tie = [os.getpid(), int(death_signal), uid, gid]
    command = [sys.executable, "-I", "-S", LAUNCHER, *map(str, tie), *program]
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
    """The live PostgreSQL processes of a data folder; a zombie does not count.

    Every one of them has the data folder as its working directory, and nothing else tells to which
    cluster a stray backend belongs.
    """
    if not pgdata.is_dir():
        return []
    return _scan_proc(pgdata) if LINUX else _scan_ps(pgdata)


def _scan_proc(pgdata: Path) -> list[int]:
    wanted = os.path.realpath(pgdata)
    found: list[int] = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        if not _named_postgres(name):
            continue
        try:
            if os.readlink(f"/proc/{name}/cwd") == wanted:
                found.append(int(name))
        except PermissionError:
            if os.geteuid() == 0:
                return _scan_as_owner(pgdata)
        except OSError:
            continue
    return found


def _named_postgres(pid: str) -> bool:
    with contextlib.suppress(OSError):
        return "postgres" in Path(f"/proc/{pid}/comm").read_text()
    return False


def _scan_as_owner(pgdata: Path) -> list[int]:
    """Ask as the owner: root in a container often lacks the right to trace other accounts."""
    owner = pgdata.stat()
    command = ["/bin/sh", "-c", SCAN, "sh", pgdata]
    done = run(command, uid=owner.st_uid, gid=owner.st_gid)
    return [int(pid) for pid in done.stdout.split() if _named_postgres(pid)]


def _scan_ps(pgdata: Path) -> list[int]:
    done = run(["ps", "-axo", "pid=,stat=,args="])
    found: list[int] = []
    for line in done.stdout.splitlines():
        pid, _, rest = line.strip().partition(" ")
        state, _, arguments = rest.strip().partition(" ")
        ours = "postgres" in arguments and f" -D {pgdata} " in f"{arguments} "
        if ours and not state.startswith("Z"):
            found.append(int(pid))
    return found


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
