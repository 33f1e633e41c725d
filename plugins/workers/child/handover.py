"""Open files that a child inherits: its variables, and a pipe that breaks with the server."""

from __future__ import annotations

import fcntl
import os
import resource
import sys
import tempfile
from functools import cache


def make_nameless_file(data: bytes) -> int:
    """Put data into a file that only processes which inherit its number can read."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("caudex")
    else:
        with tempfile.TemporaryFile() as file:
            number = os.dup(file.fileno())
    with open(number, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(number, 0, os.SEEK_SET)
    return number


def open_parent_pipe() -> int | None:
    """Open a pipe that breaks when this process ends, however it ends.

    `exec_wrapper.die_with_parent` asks for a signal to the group of the child when that happens.
    The signal is sent only while this end is open, so it must stay open until the child is gone.
    Returns None where the system has no such signal.
    """
    if not sys.platform.startswith("linux"):
        return None
    return os.open(f"/proc/self/fd/{_make_parent_pipe()}", os.O_RDONLY | os.O_NONBLOCK)


@cache
def _make_parent_pipe() -> int:
    """Make the pipe; its other end stays open as long as this process lives.

    That end has a number above those of other files: Linux closes files in reverse order, and it
    must be closed before the ends that `open_parent_pipe` opens.
    """
    reading, writing = os.pipe()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    fcntl.fcntl(writing, fcntl.F_DUPFD_CLOEXEC, min(4096, limit * 3 // 4))
    os.close(writing)
    return reading
