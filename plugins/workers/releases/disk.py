"""What apps take of the disk: their files, and the code of their versions."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from plugins.workers.isolation.accounts import list_processes

from .folders import discard, list_entries


class DiskUse:
    """Measures the folders of apps against `max_mb`, 0 for no limit. Blocking."""

    def __init__(self, max_mb: int) -> None:
        self._max_mb = max_mb
        self._versions: dict[Path, int] = {}
        """The kB of unpacked versions. They do not change, so each is measured once."""

    def find_excess(
        self, app: Path, uid: int | None, spared: Collection[Path] | None = None
    ) -> str | None:
        """Return in words how far an app is over its limit; None if it is not.

        With `spared`, other versions of its code make room before that, the oldest first. The
        newest one stays, because a deploy may be about to start it. A version that is put back into
        service is unpacked and installed again.
        """
        if not self._max_mb:
            return None
        limit = self._max_mb * 1024
        versions = self._measure_versions(app)
        others = [path for path in list_entries(app) if path not in versions]
        used = sum(versions.values()) + measure(others, uid)
        if spared is not None:
            used -= self._make_room(versions, spared, used - limit)
        if used <= limit:
            return None
        return f"its files take {used // 1024} MB of the disk, over max_disk_mb = {self._max_mb}"

    def _make_room(self, versions: dict[Path, int], spared: Collection[Path], excess: int) -> int:
        """Remove versions until so many kB are free, and return how many are."""
        freed = 0
        for path in sorted(versions, key=_find_version)[:-1]:
            if freed < excess and path not in spared:
                discard(path)
                freed += versions[path]
        return freed

    def _measure_versions(self, app: Path) -> dict[Path, int]:
        present = {path for path in list_entries(app) if path.name[:1].isdigit()}
        for path in present - self._versions.keys():
            self._versions[path] = measure([path], None)
        for path in self._versions.keys() - present:
            if path.parent == app:
                del self._versions[path]
        return {path: self._versions[path] for path in present}


def _find_version(folder: Path) -> int:
    return int(folder.name.partition("-")[0])


def measure(folders: Iterable[Path], uid: int | None) -> int:
    """Return the kB on disk of these folders, and of deleted files that an account keeps open.

    A tree that cannot be measured within a minute counts as empty.
    """
    paths = list(folders)
    if not paths:  # else `du` measures the folder that it runs in
        return 0
    words = ["du", "-sxk", "--", *map(str, paths)]
    output = b""
    with suppress(OSError, subprocess.TimeoutExpired):
        quiet = subprocess.DEVNULL
        run = subprocess.run(words, stdout=-1, stderr=quiet, timeout=60, check=False)
        output = run.stdout
    sizes = [int(line.split()[0]) for line in output.splitlines() if line[:1].isdigit()]
    used = sum(sizes)
    if uid is not None:
        used += _measure_deleted(paths, uid) // 1024
    return used


def _measure_deleted(folders: Iterable[Path], uid: int) -> int:
    """Return the bytes of files that were deleted while processes of an account have them open."""
    devices = set[int]()
    for folder in folders:
        with suppress(OSError):
            devices.add(folder.stat().st_dev)
    sizes = dict[tuple[int, int], int]()
    for pid, owner in list_processes():
        if owner != uid:
            continue
        with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                with suppress(OSError):
                    file = entry.stat()
                    is_deleted = not file.st_nlink and stat.S_ISREG(file.st_mode)
                    if is_deleted and file.st_dev in devices:
                        sizes[file.st_dev, file.st_ino] = file.st_blocks * 512
    return sum(sizes.values())
