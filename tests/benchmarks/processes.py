"""Processor time and memory of processes with all that they started, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def tree(root: int, without: int | None = None) -> Iterator[int]:
    """A process and everything below it, except what is below `without`."""
    children: dict[int, list[int]] = {}
    for entry in PROC.glob("[0-9]*"):
        if fields := _stat(int(entry.name)):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    todo = [root]
    while todo:
        if (pid := todo.pop()) != without:
            yield pid
            todo += children.get(pid, ())


def cpu(root: int, without: int | None = None) -> float:
    """Seconds of processor time so far, to 10 ms, those of ended children included; 0 off Linux."""
    ticks = sum(
        sum(map(int, fields[11:15])) for pid in tree(root, without) if (fields := _stat(pid))
    )
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(root: int, without: int | None = None) -> float:
    """Resident MB; memory that processes share counts once."""
    return sum(map(_resident, tree(root, without)))


def _resident(pid: int) -> float:
    with suppress(OSError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    with suppress(OSError):
        pages = int((PROC / str(pid) / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return 0.0


def _stat(pid: int) -> list[str]:
    """The fields behind the name: state, parent, ..., none where it has gone."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
