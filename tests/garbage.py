"""What only the garbage collector frees: it runs rarely in a server."""

from __future__ import annotations

import gc
from collections.abc import Callable


def large_in_cycles(work: Callable[[], object], size: int) -> int:
    """Return the bytes of large texts and bytes that cycles keep once some work is done.

    Large are those of at least `size` characters or bytes.
    """
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        work()
        gc.collect()
        found = {
            id(each): len(each)
            for kept in gc.garbage
            for each in gc.get_referents(kept)
            if isinstance(each, str | bytes | bytearray) and len(each) >= size
        }
        return sum(found.values())
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.collect()
        if enabled:
            gc.enable()
