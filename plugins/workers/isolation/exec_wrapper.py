"""A program run in place of a worker that becomes it: limits, another account, Landlock.

Run as a file by the interpreter that runs us, with the standard library alone:
`exec_wrapper.py <settings as JSON> <program> <argument>...`. It is a program of its own, not a
function between fork and exec: such a function is not safe while other threads run. uvloop cannot
change the account either. The program starts as root, because the account may have no access to the
interpreter.
"""

import ctypes
import enum
import errno
import fcntl
import json
import os
import resource
import signal
import struct
import sys


class Right(enum.IntFlag):
    """Rights of Landlock on files and folders (landlock(7))."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    TRUNCATE = 1 << 14


ON_FILES = Right.EXECUTE | Right.WRITE_FILE | Right.READ_FILE | Right.TRUNCATE
READING = Right.EXECUTE | Right.READ_FILE | Right.READ_DIR


class _Ruleset(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


class _Port(ctypes.Structure):
    _fields_ = [("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def main() -> None:
    """Restrict this process, then become the worker."""
    settings, program = json.loads(sys.argv[1]), sys.argv[2:]
    if settings["cgroup"]:
        join(settings["cgroup"])
    parent_pipe = int(os.environ.pop("CAUDEX_PARENT_PIPE", "2"))
    variables = handed_over(int(os.environ.pop("CAUDEX_VARIABLES_FILE", "-1")))
    # A server with children of its own has inheritable sockets, and uvloop closes none of them.
    os.closerange(3, parent_pipe)
    os.closerange(parent_pipe + 1, max(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 4096))
    give_way(settings["oom_score_adj"], settings["nice"])
    unshare(settings["counts"], settings["private_mb"])
    limit(settings["limits"])
    os.umask(0o077)
    if settings["powerless"] and os.geteuid() == 0 and sys.platform.startswith("linux"):
        drop_capabilities()
    if settings["uid"] is not None:
        change_account(settings["uid"])
    if sys.platform.startswith("linux"):
        # A change of account clears the parent death signal, so this comes after it.
        die_with_parent(settings["parent"], parent_pipe)
        prctl(38, 1)  # PR_SET_NO_NEW_PRIVS
        if settings["landlock"]:
            confine(
                settings["landlock"], settings["readable"], settings["writable"], settings["ports"]
            )
        if settings["refused"]:
            refuse_calls(settings["refused"])
    try:
        os.execve(program[0], program, {**variables, **os.environ})
    except (OSError, ValueError) as error:
        sys.exit(f"cannot run {program[0]}: {getattr(error, 'strerror', error)}")


def handed_over(number: int) -> dict[str, str]:
    """Read the variables of the worker that this process must not have in its own environment."""
    if number < 0:
        return {}
    with open(number, "rb") as file:
        return json.load(file)


def limit(limits: dict[str, int]) -> None:
    """Set resource limits, none above what is allowed already."""
    for name, wanted in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is not None:
            hard = resource.getrlimit(kind)[1]
            value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(kind, (value, value))


def join(cgroup: str) -> None:
    """Move into a cgroup, whose limits hold for all that this process starts."""
    try:
        put(f"{cgroup}/cgroup.procs", "0")
    except OSError as error:
        sys.exit(f"cannot confine the worker: {cgroup}: {error.strerror}")


def give_way(oom_score_adj: int, nice: int) -> None:
    """Have the system end and delay this worker before the server. A container may refuse it."""
    for act in (
        lambda: put("/proc/self/oom_score_adj", str(oom_score_adj)),
        lambda: os.nice(max(0, nice - os.getpriority(os.PRIO_PROCESS, 0))),
    ):
        try:
            act()
        except OSError:
            continue


def unshare(counts: bool, private_mb: int) -> None:
    """Move into namespaces of this worker alone.

    `counts`: its processes are counted by themselves, not with all others of the account. It needs
    a user namespace (CLONE_NEWUSER, Linux 5.14), where nothing else changes for an ordinary user.
    The limit is set afterwards, or it would count for the whole account. `private_mb` is the size
    of a `/dev/shm` of its own; that and System V memory end with the worker.
    """
    uid, gid = os.geteuid(), os.getegid()
    private = 0x08020000 if private_mb else 0  # CLONE_NEWIPC | CLONE_NEWNS
    if flags := private | (0x10000000 if counts else 0):
        check(libc.unshare(flags))
    if counts:
        for name, text in (
            ("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1"),
        ):  # fmt: skip
            try:
                put(f"/proc/self/{name}", text)
            except OSError as error:
                sys.exit(f"cannot confine the worker: {name}: {error.strerror}")
    if private:
        # MS_REC | MS_PRIVATE: else the system would get the new /dev/shm as well.
        check(libc.mount(None, b"/", None, ctypes.c_ulong(0x44000), None))
        options = f"mode=1777,size={private_mb}m".encode()
        # MS_NOSUID | MS_NODEV
        check(libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", ctypes.c_ulong(6), options))


def put(path: str, text: str) -> None:
    """Write a file of the system. Raises OSError."""
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def change_account(uid: int) -> None:
    """Become another account for good, without the groups of the old one."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def drop_capabilities() -> None:
    """Drop root's capabilities with the next exec: with them a worker that remains root could read
    the memory of others in spite of Landlock."""
    for capability in range(64):
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; unknown ones fail


def die_with_parent(parent: int, parent_pipe: int) -> None:
    """Have the kernel kill this process when the server ends, however it ends, and its children.

    The children share its process group. A pipe that breaks counts as input, and the system signals
    input to the owner of the file, here the group (fcntl(2), F_SETOWN, F_SETSIG).
    """
    prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if parent_pipe > 2:
        fcntl.fcntl(parent_pipe, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(parent_pipe, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(parent_pipe, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        os.close(parent_pipe)
    if os.getppid() != parent:  # it died before the calls
        sys.exit("the server is gone")


def confine(abi: int, readable: list[str], writable: list[str], ports: list[int]) -> None:
    """Leave nothing but these folders to this process and its children (Landlock).

    From version 4 on, it binds these TCP ports only. From version 6 on, abstract sockets and
    signals reach no process outside of the worker.
    """
    handled = (1 << (13 if abi < 2 else 14 if abi < 3 else 15)) - 1
    attributes = _Ruleset(handled, 1 if abi >= 4 else 0, 0b11 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = syscall(444, ctypes.byref(attributes), ctypes.c_size_t(size), 0)
    for path in readable:
        allow(ruleset, path, READING & handled)
    for path in writable:
        allow(ruleset, path, handled)
    for port in ports if abi >= 4 else ():
        syscall(445, ruleset, 2, ctypes.byref(_Port(1, port)), 0)
    syscall(446, ruleset, 0)
    os.close(ruleset)


def allow(ruleset: int, path: str, rights: int) -> None:
    """Allow what is beneath a path; a path that is not there allows nothing."""
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    rights = rights if os.path.isdir(path) else rights & ON_FILES
    syscall(445, ruleset, 1, ctypes.byref(_Beneath(rights, parent)), 0)
    os.close(parent)


NUMBERS = {
    "x86_64": {
        "architecture": 0xC000003E, "socket": 41, "mmap": 9, "io_uring_setup": 425,
        "listen": 50, "accept": 43, "accept4": 288,
        "memfd_create": 319, "memfd_secret": 447,
        "shmget": 29, "semget": 64, "msgget": 68, "mq_open": 240,
    },
    "aarch64": {
        "architecture": 0xC00000B7, "socket": 198, "mmap": 222, "io_uring_setup": 425,
        "listen": 201, "accept": 202, "accept4": 242,
        "memfd_create": 279, "memfd_secret": 447,
        "shmget": 194, "semget": 190, "msgget": 186, "mq_open": 180,
    },
}  # fmt: skip
"""Of each architecture: its name for the kernel (AUDIT_ARCH), and the numbers of system calls."""

EVADING = {"io_uring_setup": errno.ENOSYS}
LISTENING = {"listen": errno.EACCES, "accept": errno.EACCES, "accept4": errno.EACCES}
LASTING = {
    "shmget": errno.ENOSYS, "semget": errno.ENOSYS, "msgget": errno.ENOSYS,
    "mq_open": errno.ENOSYS,
}  # fmt: skip
UNCOUNTED = {"memfd_create": errno.ENOSYS, "memfd_secret": errno.ENOSYS, **LASTING}
REFUSED = {
    "evading": EVADING, "listening": LISTENING, "lasting": LASTING, "uncounted": UNCOUNTED,
}  # fmt: skip
"""System calls that a filter may refuse, and the error that each returns.

`evading`: io_uring makes sockets that listen, without a system call for each.
`listening`: a socket that was not bound gets a port of the system's choice, so a rule for bind(2)
does not apply. The filter sees no family, so local sockets cannot listen either.
`lasting`: System V memory and message queues, which outlive the process.
`uncounted`: these as well, and files in memory: no limit of a process counts them.
"""

LOAD, EQUAL, AT_LEAST, AND, ANSWER = 0x20, 0x15, 0x35, 0x54, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x50000
"""Instructions of a filter, and answers: SECCOMP_RET_ALLOW and SECCOMP_RET_ERRNO."""


def refuse_calls(groups: list[str]) -> None:
    """Refuse system calls that would evade the other limits, by a filter (seccomp(2)).

    Programs of another architecture have other numbers, so all of their calls are refused. Landlock
    judges TCP by its protocol number: MPTCP and SMC serve TCP clients under another one.
    """
    numbers = NUMBERS[os.uname().machine]
    steps = [
        (LOAD, 0, 0, 4), (EQUAL, 1, 0, numbers["architecture"]), answer(errno.ENOSYS),
        (LOAD, 0, 0, 0), (AT_LEAST, 0, 1, 0x40000000), answer(errno.ENOSYS),
    ]  # fmt: skip
    refused: dict[str, int] = {}
    for group in groups:
        refused.update(REFUSED[group])
    for name, error in refused.items():
        steps += [(EQUAL, 0, 1, numbers[name]), answer(error)]
    if "uncounted" in groups:
        steps += shared_mapping(numbers["mmap"])
    steps += [
        (EQUAL, 1, 0, numbers["socket"]), (ANSWER, 0, 0, ALLOW),
        (LOAD, 0, 0, 16), (EQUAL, 0, 1, 43), answer(errno.EAFNOSUPPORT),
        (LOAD, 0, 0, 32), (EQUAL, 0, 1, 262), answer(errno.EPROTONOSUPPORT),
        (ANSWER, 0, 0, ALLOW),
    ]  # fmt: skip
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    held = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(steps), ctypes.cast(held, ctypes.c_void_p))
    check(libc.prctl(22, 2, ctypes.byref(program), 0, 0))  # PR_SET_SECCOMP, a filter


def shared_mapping(mmap: int) -> list[tuple[int, int, int, int]]:
    """Refuse memory that is shared and has no file: RLIMIT_DATA does not count it.

    Its pages stay when a process releases them (madvise(2)), so no sum over processes has them.
    """
    shared, anonymous, kind = 0x01, 0x20, 0x0F
    return [
        (EQUAL, 0, 5, mmap),
        (LOAD, 0, 0, 40), (AND, 0, 0, kind | anonymous), (EQUAL, 0, 1, shared | anonymous),
        answer(errno.EPERM), (ANSWER, 0, 0, ALLOW),
    ]  # fmt: skip


def answer(error: int) -> tuple[int, int, int, int]:
    """Make the instruction that ends a filter: the call returns this error."""
    return ANSWER, 0, 0, REFUSE | error


def prctl(option: int, value: int) -> None:
    """Call prctl(2), with an option by its number in linux/prctl.h."""
    check(libc.prctl(option, value, 0, 0, 0))


def syscall(number: int, *arguments: object) -> int:
    """Make a system call of Landlock by its number; libc has no name for it."""
    return check(libc.syscall(number, *arguments))


def check(result: int) -> int:
    """Exit where a call failed: a worker is never run with fewer limits than reported."""
    if result < 0:
        sys.exit(f"cannot confine the worker: {os.strerror(ctypes.get_errno())}")
    return result


libc = ctypes.CDLL(None, use_errno=True)
if __name__ == "__main__":
    main()
