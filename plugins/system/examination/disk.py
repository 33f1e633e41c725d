"""Disks that are full: that of the data folder, and that of the database."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg
import structlog

from kernel.public import DatabaseQuery, Finding, Health, dialect

FULL: Final = 16 * 2**20
"""Bytes: one file of PostgreSQL's log. With less on the disk, nothing works for long."""
SPILL: Final = "select count(*) from generate_series(1, 1000000)"
"""PostgreSQL keeps these 14 MB in a temporary file."""

log = structlog.get_logger("caudex.system")


class Disk:
    """The disk of the data folder, and what PostgreSQL said of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._was_full = False

    async def watch(self) -> None:
        """Log when the disk of the data folder becomes full."""
        is_full = self._is_full()
        if is_full and not self._was_full:
            log.error("the disk of the data folder is full", folder=str(self._folder))
        self._was_full = is_full

    def health(self) -> Health:
        """While the database cannot write, the server is not ready."""
        problems: list[str] = []
        if dialect.disk.full:
            problems.append("the disk of the database is full")
        if self._is_full():
            problems.append("the disk of the data folder is full")
        usage = shutil.disk_usage(_find_existing(self._folder))
        return Health(
            name="disk",
            state="Error" if problems else "Online",
            ready=not dialect.disk.full,
            problems=tuple(problems),
            detail={"free": usage.free, "size": usage.total},
        )

    def _is_full(self) -> bool:
        return shutil.disk_usage(_find_existing(self._folder)).free < FULL


def disk_findings(folder: Path, query: DatabaseQuery) -> Iterator[Finding]:
    """Report how much room is left, and whether PostgreSQL can write."""
    usage = shutil.disk_usage(_find_existing(folder))
    share = usage.free / (usage.total or 1)
    text = f"{usage.free / 2**30:.1f} GB left ({share:.0%})"
    if usage.free < FULL:
        yield Finding(name="disk", text=f"{text}: {folder} is full; make room", state="fail")
    elif share < 0.05:
        yield Finding(name="disk", text=f"{text}; make room", state="warn")
    else:
        yield Finding(name="disk", text=text)
    try:
        query(SPILL)
    except psycopg.errors.DiskFull:
        text = "its disk is full; make room: writes are refused"
        yield Finding(name="database disk", text=text, state="fail")


def _find_existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if os.path.exists(path))
