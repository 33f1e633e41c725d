"""Returns memory to the system after large bodies and replies.

glibc keeps what is freed: it raises its threshold for mapped blocks with each large block that is
freed (mallopt(3), M_MMAP_THRESHOLD), so that later ones stay within its heaps.
"""

from __future__ import annotations

import asyncio
import ctypes
from typing import Final

MAPPED: Final = 128 * 1024
"""Bytes from which a block is mapped, and goes back when it is freed."""
LARGE: Final = 1_000_000
"""Bytes of a body or a reply after which memory is given back."""
TRIM_THRESHOLD: Final = -1
MMAP_THRESHOLD: Final = -3
"""Numbers of parameters in malloc.h."""


class Memory:
    """The memory of this process; on systems without glibc it does nothing."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._known = hasattr(self._libc, "malloc_trim") and hasattr(self._libc, "mallopt")
        self._timer: asyncio.TimerHandle | None = None

    def settle(self) -> None:
        """Keep the thresholds, which are raised otherwise."""
        if self._known:
            self._libc.mallopt(MMAP_THRESHOLD, MAPPED)
            self._libc.mallopt(TRIM_THRESHOLD, MAPPED)

    def used(self, size: int) -> None:
        """Give memory back a second after a large body or reply; many share one."""
        if self._known and size > LARGE and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(1, self._start)

    def _start(self) -> None:
        # It takes up to 0.1 s, so not in the event loop.
        asyncio.get_running_loop().run_in_executor(None, self._trim)
        self._timer = None

    def _trim(self) -> None:
        self._libc.malloc_trim(0)


MEMORY: Final = Memory()
