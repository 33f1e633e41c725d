"""A pipe that breaks when this process ends, however it ends: the children of children hear it."""

from __future__ import annotations

import fcntl
import os
import resource
import sys
from functools import cache

HIGH = 4096


def open_parent_pipe() -> int | None:
    """Open the readable end anew for one child, whose group gets a signal when the pipe breaks.

    It is to be kept open until the child is gone: the end of this process ends the child first, and
    the signal is sent only while somebody has this open. None where the system has no such signal.
    """
    if not sys.platform.startswith("linux"):
        return None
    return os.open(f"/proc/self/fd/{_readable()}", os.O_RDONLY | os.O_NONBLOCK)


@cache
def _readable() -> int:
    """Make the pipe; its other end stays open as long as this process lives.

    That has a number above those of other files: Linux lets go of them in reverse order, and it
    must be gone before what `parent_pipe` opens is.
    """
    reading, writing = os.pipe()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    fcntl.fcntl(writing, fcntl.F_DUPFD_CLOEXEC, min(HIGH, most * 3 // 4))
    os.close(writing)
    return reading
