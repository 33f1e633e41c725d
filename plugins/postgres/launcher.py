"""Drops privileges, ties the process to its parent, then executes PostgreSQL in its place.

Run as a file by the interpreter that runs us, with the standard library alone:
`launcher.py <parent pid> <signal> <uid> <gid> <program> <argument>...`; uid -1 keeps the account.

It is a program of its own, not a function between fork and exec. Such a function is not safe while
other threads run, and PostgreSQL may restart while they run. The program starts as root, because
the unprivileged account may have no access to the interpreter.
"""

import ctypes
import os
import sys

POSTMASTER_OOM_SCORE = -500


def drop_privileges(uid: int, gid: int) -> None:
    """Become another account for good, without the groups of the old one."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def die_with_parent(parent: int, signal: int) -> None:
    """Have the kernel signal this process when the thread that started it ends (Linux only)."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(1, signal)  # PR_SET_PDEATHSIG
    # A parent that died before the call would never be noticed.
    if os.getppid() != parent:
        sys.exit("the process that started PostgreSQL is gone")


def outlive_sessions() -> None:
    """Have the system end sessions before the postmaster, whose end is that of all sessions.

    PostgreSQL gives each child the value in its environment. Only root may lower its own.
    """
    file = "/proc/self/oom_score_adj"
    try:
        with open(file, "r+") as stream:
            before = stream.read().strip()
            stream.seek(0)
            stream.write(str(min(int(before), POSTMASTER_OOM_SCORE)))
    except OSError:
        return
    os.environ["PG_OOM_ADJUST_FILE"] = file
    os.environ["PG_OOM_ADJUST_VALUE"] = before


def main() -> None:
    """Drop privileges, tie the process to its parent, become the program."""
    parent, signal, uid, gid = (int(value) for value in sys.argv[1:5])
    program = sys.argv[5:]
    outlive_sessions()
    # A change of account clears the parent death signal, so this comes first.
    if uid >= 0:
        drop_privileges(uid, gid)
    die_with_parent(parent, signal)
    try:
        os.execv(program[0], program)
    except OSError as error:
        sys.exit(f"FATAL:  cannot run {program[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
