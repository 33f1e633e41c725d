"""Keeps the memory of a server process small, and quick to reach.

glibc keeps what is freed: it raises its threshold for mapped blocks with each large block that is
freed (mallopt(3), M_MMAP_THRESHOLD), so that later ones stay within its heaps. Here the threshold
is fixed, so large blocks go back. It is above what one reading of a connection brings
(256 KiB): a mapped block is new memory each time, and to touch it first takes longer than to hash
and write its bytes.

A request touches some hundred pages. To find one, a processor walks four tables of addresses, and
in a virtual machine those of the host for each of them. It remembers few small pages, but a huge
page replaces 512 of them.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MAPPED: Final = 1024 * 1024
"""Bytes from which a block is mapped, and goes back when it is freed."""
LARGE: Final = 1_000_000
"""Bytes of a body or a reply after which memory is given back."""
TRIM_THRESHOLD: Final = -1
MMAP_THRESHOLD: Final = -3
"""Numbers of parameters in malloc.h."""
COLLAPSE: Final = 25
"""MADV_COLLAPSE of madvise(2): move pages to huge ones now. Linux 6.1 and newer know it."""
HUGE_PAGES: Final = Path("/sys/kernel/mm/transparent_hugepage")
"""What the system says of huge pages; missing where it has none."""


class Memory:
    """The memory of this process; what a system does not offer is left out."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._is_glibc = hasattr(self._libc, "malloc_trim") and hasattr(self._libc, "mallopt")
        self._timer: asyncio.TimerHandle | None = None

    def settle(self) -> None:
        """Keep the thresholds, which are raised otherwise."""
        if self._is_glibc:
            self._libc.mallopt(MMAP_THRESHOLD, MAPPED)
            self._libc.mallopt(TRIM_THRESHOLD, MAPPED)

    def give_back(self, size: int) -> None:
        """Give memory back a second after a large body or reply; many share one."""
        if self._is_glibc and size > LARGE and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(1, self._start_trim)

    def use_huge_pages(self) -> None:
        """Move what a start has built to huge pages, in a thread: each takes about a millisecond.

        What is allocated later stays on small pages, as it comes and goes.
        """
        size = huge_page_size(HUGE_PAGES)
        if size is not None:
            asyncio.get_running_loop().run_in_executor(None, self._collapse, size)

    def _start_trim(self) -> None:
        # It takes up to 0.1 s, so not in the event loop.
        asyncio.get_running_loop().run_in_executor(None, self._trim)
        self._timer = None

    def _trim(self) -> None:
        self._libc.malloc_trim(0)

    def _collapse(self, size: int) -> None:
        for begin, end in own_mappings(Path("/proc/self/maps").read_text("ascii", "replace")):
            aligned_begin = -(-begin // size) * size
            aligned_end = end // size * size
            if aligned_begin < aligned_end:
                # A failure leaves the pages as they are: an older Linux, or no room for a huge one.
                self._libc.madvise(
                    ctypes.c_void_p(aligned_begin),
                    ctypes.c_size_t(aligned_end - aligned_begin),
                    ctypes.c_int(COLLAPSE),
                )


def huge_page_size(folder: Path) -> int | None:
    """Return the bytes of a huge page; None where the system has none, or forbids them."""
    try:
        if "[never]" in (folder / "enabled").read_text("ascii"):
            return None
        return int((folder / "hpage_pmd_size").read_text("ascii"))
    except (OSError, ValueError):
        return None


def own_mappings(maps: str) -> Iterator[tuple[int, int]]:
    """Find the addresses of the process's own memory in the text of `/proc/self/maps`, proc(5)."""
    for line in maps.splitlines():
        addresses, permissions, _, _, _, *name = line.split(maxsplit=5)
        is_own = not name or name[0] == "[heap]"
        if permissions == "rw-p" and is_own:
            begin, _, end = addresses.partition("-")
            yield int(begin, 16), int(end, 16)


MEMORY: Final = Memory()
