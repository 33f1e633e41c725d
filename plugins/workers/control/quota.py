"""Stops workers whose files take more of the disk than `max_disk_mb`."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import structlog
from anyio import to_thread

from kernel.public import KernelError, failure
from plugins.workers.host import Host
from plugins.workers.isolation.accounts import processes

from .reconciler import Reconciler

log = structlog.get_logger("caudex.workers")


class DiskQuota:
    """Measures what the app of each worker of this process has in `home` and `tmp`."""

    def __init__(
        self, host: Host, reconciler: Reconciler, stop: Callable[[str], Awaitable[None]]
    ) -> None:
        self._host = host
        self._reconciler = reconciler
        self._stop = stop

    async def step(self) -> None:
        """Measure once, and stop the workers of apps that have too much."""
        most = self._host.config.max_disk_mb
        for each in list(self._reconciler.supervisors.values()):
            if not most or each.replica is None or each.leaving:
                continue
            release, uid = each.replica.release, each.replica.spec.bounds.uid
            folders = [self._host.folders.home(release), self._host.folders.tmp(release)]
            used = await to_thread.run_sync(used_mb, folders, uid)
            if used > most:
                await self._end(each.app_id, used, most)

    async def _end(self, app_id: str, used: int, most: int) -> None:
        why = f"its files take {used} MB of the disk, over max_disk_mb = {most}: it is stopped"
        self._host.write_log(app_id, "system", why)
        log.error("a worker is stopped: its files take too much", app_id=app_id, used_mb=used)
        try:
            await self._stop(app_id)
        except KernelError as error:  # the next step tries again
            log.warning("a worker over its quota goes on", app_id=app_id, **failure(error))


def used_mb(folders: list[Path], uid: int | None) -> int:
    """Return the MB on disk of these folders, and of deleted files that an account keeps open.

    Blocking. A tree that cannot be measured within a minute counts as empty.
    """
    words = ["du", "-sxk", "--", *map(str, folders)]
    found = b""
    with suppress(OSError, subprocess.TimeoutExpired):
        quiet = subprocess.DEVNULL
        run = subprocess.run(words, stdout=-1, stderr=quiet, timeout=60, check=False)
        found = run.stdout
    sizes = [line.split()[0] for line in found.splitlines() if line[:1].isdigit()]
    return (sum(map(int, sizes)) + (0 if uid is None else _deleted(folders, uid) // 1024)) // 1024


def _deleted(folders: list[Path], uid: int) -> int:
    """Return the bytes of files that were deleted while processes of an account have them open."""
    devices, sizes = set[int](), dict[tuple[int, int], int]()
    for folder in folders:
        with suppress(OSError):
            devices.add(folder.stat().st_dev)
    for pid, owner in processes():
        if owner != uid:
            continue
        with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                with suppress(OSError):
                    file = entry.stat()
                    if not file.st_nlink and stat.S_ISREG(file.st_mode) and file.st_dev in devices:
                        sizes[file.st_dev, file.st_ino] = file.st_blocks * 512
    return sum(sizes.values())
