"""Processes that a worker started and that left its process group: a mark tells them.

Who starts a daemon properly (a new session, two forks) is no child of the worker any more and in no
group of its. But a process keeps the environment that it was given, and the system shows it in
`/proc` (proc(5)). What has none of our marks, under an account that is the app's alone, hides.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from contextlib import suppress
from typing import Final

MARK: Final = "CAUDEX_REPLICA"
"""Variable that every process of a worker inherits; it means nothing but which one it is."""

_ANY: Final = f"{MARK}=".encode()
ROUNDS: Final = 20
"""Looks for what is left; a process that forks all the time can be missed by one."""

PAUSE: Final = 0.01
INIT: Final = 1


def new_mark() -> str:
    """A mark for one child."""
    return secrets.token_hex(8)


def kill_strays(mark: str, uid: int | None) -> None:
    """Kill what is left of a child that has ended. Blocking: reads the list of all processes.

    `uid` is the account, where it is no other's than the app's: who hides from the mark and belongs
    to nobody any more is ended there as well. Never under root's account or our own.
    """
    uid = None if uid in (0, os.geteuid()) else uid
    wanted = _ANY + mark.encode()
    for _ in range(ROUNDS):
        found = [pid for pid in _pids() if _is_stray(pid, wanted, uid)]
        if not found:
            return
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(PAUSE)


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []  # not Linux: the group is all there is


def _is_stray(pid: int, wanted: bytes, uid: int | None) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            variables = file.read().split(b"\0")
        if wanted in variables:
            return _status(pid)[0] != b"Z"
        if uid is None or any(variable.startswith(_ANY) for variable in variables):
            return False
        state, parent = _status(pid)
        if os.getpid() == INIT:
            return False  # here children of our own look as if they were nobody's
        return state != b"Z" and parent == INIT and os.stat(f"/proc/{pid}").st_uid == uid
    except OSError:
        return False  # it has ended, or is none of ours


def _status(pid: int) -> tuple[bytes, int]:
    """State and parent; the name before them may hold anything."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        state, parent = file.read().rpartition(b")")[2].split()[:2]
    return state, int(parent)
