"""What a server that was killed leaves behind: processes, lock files, half-made clusters."""

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

from .errors import EmbeddedPostgresError
from .layout import Layout
from .processes import postgres_processes

PATIENCE = 60.0
# As in `Postmaster.stop`: quickly but in order, then without order, then by force.
ORDER_PATIENCE = 30.0
# As long as an immediate shutdown of PostgreSQL waits before it kills children that do not quit.
QUIT_PATIENCE = 5.0
INIT_PREFIX = "postgres.init-"
INIT_CLUSTER = "cluster"


def clear_leftovers(layout: Layout, patience: float = PATIENCE) -> None:
    """Stop orphans and remove stale lock files; only for the holder of the lock.

    A lock file may name a recycled pid or a zombie, which PostgreSQL takes for a live server. It is
    removed only when no process of the cluster is left: otherwise two servers could share the data.
    """
    began = time.monotonic()
    while alive := stop_orphans(layout.pgdata, time.monotonic() - began):
        if time.monotonic() - began > patience:
            raise EmbeddedPostgresError(
                f"PostgreSQL processes of an earlier run do not stop: end {_listed(alive)} by hand"
            )
        time.sleep(0.1)
    remove_lock_files(layout.pgdata)


def stop_orphans(pgdata: Path, waited: float = 0.0) -> list[int]:
    """Signal the processes that still run in a data folder and tell which they are; the more
    roughly, the longer one has `waited` for them."""
    alive = postgres_processes(pgdata)
    for pid, number in _signals(alive, postmaster_pid(pgdata), waited).items():
        with contextlib.suppress(OSError):
            os.kill(pid, number)
    return alive


def _signals(alive: list[int], postmaster: int, waited: float) -> dict[int, signal.Signals]:
    # The postmaster ends its children in order; without it they quit one by one. Any program
    # may bear the name and work in the folder, so in the end all go by force, and all together: no
    # child outlives its postmaster for long, and a start waits until none is left.
    if postmaster not in alive:
        number = signal.SIGQUIT if waited <= QUIT_PATIENCE else signal.SIGKILL
        return dict.fromkeys(alive, number)
    if waited <= ORDER_PATIENCE:
        return {postmaster: signal.SIGINT}
    if waited <= ORDER_PATIENCE + 2 * QUIT_PATIENCE:
        return {postmaster: signal.SIGQUIT}
    return dict.fromkeys(alive, signal.SIGKILL)


def remove_lock_files(pgdata: Path) -> None:
    """Remove the lock files of a server that is known to be gone."""
    for file in [pgdata / "postmaster.pid", *pgdata.glob(".s.PGSQL.*")]:
        file.unlink(missing_ok=True)


def postmaster_pid(pgdata: Path) -> int:
    """The pid in the cluster's lock file, 0 when there is none."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int((pgdata / "postmaster.pid").read_text().split()[0])
    return 0


def sweep_init_folders(data_dir: Path) -> None:
    """Remove the clusters whose making was cut short; only for the holder of the lock."""
    for folder in data_dir.glob(f"{INIT_PREFIX}*"):
        give_up = time.monotonic() + PATIENCE
        while folder.exists() and time.monotonic() < give_up:
            # initdb died with its parent, but the server it had started may still write.
            for pid in postgres_processes(folder / INIT_CLUSTER):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            shutil.rmtree(folder, ignore_errors=True)
            time.sleep(0.02)


def _listed(pids: list[int]) -> str:
    return ", ".join(str(pid) for pid in pids)
