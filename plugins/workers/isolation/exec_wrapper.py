"""A program run in place of a worker that becomes it: limits, another account, Landlock.

Run as a file by the interpreter that runs us, with the standard library alone:
`exec_wrapper.py <settings as JSON> <program> <argument>...`. It is a program of its own, not a
function between fork and exec: such a function is not safe while other threads run. uvloop cannot
change the account either. The program starts as root, because the account may have no access to the
interpreter.
"""

import contextlib
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
BIND_TCP = 1
SIZES = {1: 8, 2: 8, 3: 8, 4: 16, 5: 16}
"""Bytes of a ruleset that older versions of Landlock read."""


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
    settings = json.loads(sys.argv[1])
    program = sys.argv[2:]
    if settings["cgroup"]:
        join_cgroup(settings["cgroup"])
    parent_pipe = int(os.environ.pop("CAUDEX_PARENT_PIPE", "2"))
    variables = read_variables(int(os.environ.pop("CAUDEX_VARIABLES_FILE", "-1")))
    # A server with children of its own has inheritable sockets, and uvloop closes none of them.
    os.closerange(3, parent_pipe)
    os.closerange(parent_pipe + 1, max(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 4096))
    give_way(settings["oom_score_adj"], settings["nice"])
    unshare(settings["counts"], settings["private_mb"])
    set_limits(settings["limits"])
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


def read_variables(number: int) -> dict[str, str]:
    """Read the variables of the worker that this process must not have in its own environment."""
    if number < 0:
        return {}
    with open(number, "rb") as file:
        return json.load(file)


def set_limits(limits: dict[str, int]) -> None:
    """Set resource limits, none above what is allowed already."""
    for name, limit in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(kind, (limit, limit))


def join_cgroup(cgroup: str) -> None:
    """Move into a cgroup, whose limits hold for all that this process starts."""
    try:
        write_text(f"{cgroup}/cgroup.procs", "0")
    except OSError as error:
        sys.exit(f"cannot confine the worker: {cgroup}: {error.strerror}")


def give_way(oom_score_adj: int, nice: int) -> None:
    """Have the system end and delay this worker before the server. A container may refuse it."""
    with contextlib.suppress(OSError):
        write_text("/proc/self/oom_score_adj", str(oom_score_adj))
    with contextlib.suppress(OSError):
        os.nice(max(0, nice - os.getpriority(os.PRIO_PROCESS, 0)))


def unshare(counts: bool, private_mb: int) -> None:
    """Move into namespaces of this worker alone.

    `counts`: its processes are counted by themselves, not with all others of the account. It needs
    a user namespace (CLONE_NEWUSER, Linux 5.14), where nothing else changes for an ordinary user.
    The limit is set afterwards, or it would count for the whole account. `private_mb` is the size
    of a `/dev/shm` of its own; that and System V memory end with the worker.
    """
    uid = os.geteuid()
    gid = os.getegid()
    namespaces = 0
    if private_mb:
        namespaces |= 0x08020000  # CLONE_NEWIPC | CLONE_NEWNS
    if counts:
        namespaces |= 0x10000000  # CLONE_NEWUSER
    if namespaces:
        check(libc.unshare(namespaces))
    if counts:
        keep_account(uid, gid)
    if private_mb:
        mount_shared_memory(private_mb)


def keep_account(uid: int, gid: int) -> None:
    """Have the same account within a new user namespace."""
    texts = {"setgroups": "deny", "uid_map": f"{uid} {uid} 1", "gid_map": f"{gid} {gid} 1"}
    for name, text in texts.items():
        try:
            write_text(f"/proc/self/{name}", text)
        except OSError as error:
            sys.exit(f"cannot confine the worker: {name}: {error.strerror}")


def mount_shared_memory(size_mb: int) -> None:
    """Mount a `/dev/shm` that only this worker has."""
    # MS_REC | MS_PRIVATE: else the system would get the new /dev/shm as well.
    check(libc.mount(None, b"/", None, ctypes.c_ulong(0x44000), None))
    options = f"mode=1777,size={size_mb}m".encode()
    # MS_NOSUID | MS_NODEV
    check(libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", ctypes.c_ulong(6), options))


def write_text(path: str, text: str) -> None:
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
    attributes = make_ruleset(abi)
    rights = attributes.fs
    size = ctypes.c_size_t(SIZES.get(abi, ctypes.sizeof(_Ruleset)))
    ruleset = syscall(444, ctypes.byref(attributes), size, 0)
    for path in readable:
        allow_path(ruleset, path, READING & rights)
    for path in writable:
        allow_path(ruleset, path, rights)
    if attributes.net:
        for port in ports:
            syscall(445, ruleset, 2, ctypes.byref(_Port(BIND_TCP, port)), 0)
    syscall(446, ruleset, 0)
    os.close(ruleset)


def make_ruleset(abi: int) -> _Ruleset:
    """Make what a version of Landlock can restrict. Newer versions know more rights on files."""
    rights_on_files = {1: 13, 2: 14}.get(abi, 15)
    attributes = _Ruleset(fs=(1 << rights_on_files) - 1)
    if abi >= 4:
        attributes.net = BIND_TCP
    if abi >= 6:
        attributes.scoped = 0b11  # abstract sockets, and signals
    return attributes


def allow_path(ruleset: int, path: str, rights: int) -> None:
    """Allow what is beneath a path; a path that is not there allows nothing."""
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not os.path.isdir(path):
        rights &= ON_FILES
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

LOAD = 0x20
EQUAL = 0x15
AT_LEAST = 0x35
AND = 0x54
ANSWER = 0x06
"""Instructions of a filter (BPF): load a word of the call, compare it, mask it, answer.

A comparison has two numbers of instructions to skip: where it holds, and where it does not.
"""
ALLOW = 0x7FFF0000
REFUSE = 0x50000
"""Answers: SECCOMP_RET_ALLOW, and SECCOMP_RET_ERRNO with the number of an error."""
NUMBER = 0
ARCHITECTURE = 4
ARGUMENTS = (16, 24, 32, 40)
"""Where the words of a call are (struct seccomp_data): of arguments, the lower half."""
X32 = 0x40000000
"""Numbers from here on are those of another kind of programs of x86-64."""

Step = tuple[int, int, int, int]


def refuse_calls(groups: list[str]) -> None:
    """Refuse system calls that would evade the other limits, by a filter (seccomp(2))."""
    steps = build_filter(os.uname().machine, groups)
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    memory = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(steps), ctypes.cast(memory, ctypes.c_void_p))
    check(libc.prctl(22, 2, ctypes.byref(program), 0, 0))  # PR_SET_SECCOMP, a filter


def build_filter(machine: str, groups: list[str]) -> list[Step]:
    """Build the filter that refuses these groups of calls on an architecture.

    Programs of another architecture have other numbers, so all of their calls are refused.
    """
    numbers = NUMBERS[machine]
    errors: dict[str, int] = {}
    for group in groups:
        errors.update(REFUSED[group])
    steps = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, numbers["architecture"]),
        refuse(errno.ENOSYS),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, X32),
        refuse(errno.ENOSYS),
    ]
    for name, error in errors.items():
        steps.append((EQUAL, 0, 1, numbers[name]))
        steps.append(refuse(error))
    if "uncounted" in groups:
        steps += refuse_shared_mapping(numbers["mmap"])
    steps += refuse_kinds_of_sockets(numbers["socket"])
    steps.append((ANSWER, 0, 0, ALLOW))
    return steps


def refuse_shared_mapping(mmap: int) -> list[Step]:
    """Refuse memory that is shared and has no file: RLIMIT_DATA does not count it.

    Its pages stay when a process releases them (madvise(2)), so no sum over processes has them.
    """
    shared = 0x01
    anonymous = 0x20
    kind = 0x0F
    return [
        (EQUAL, 0, 5, mmap),
        (LOAD, 0, 0, ARGUMENTS[3]),
        (AND, 0, 0, kind | anonymous),
        (EQUAL, 0, 1, shared | anonymous),
        refuse(errno.EPERM),
        (ANSWER, 0, 0, ALLOW),
    ]


def refuse_kinds_of_sockets(socket: int) -> list[Step]:
    """Refuse SMC (a family) and MPTCP (a protocol): they serve TCP clients, and Landlock, which
    judges TCP by its protocol number, does not see them."""
    smc = 43
    mptcp = 262
    return [
        (EQUAL, 0, 6, socket),
        (LOAD, 0, 0, ARGUMENTS[0]),
        (EQUAL, 0, 1, smc),
        refuse(errno.EAFNOSUPPORT),
        (LOAD, 0, 0, ARGUMENTS[2]),
        (EQUAL, 0, 1, mptcp),
        refuse(errno.EPROTONOSUPPORT),
    ]


def refuse(error: int) -> Step:
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
