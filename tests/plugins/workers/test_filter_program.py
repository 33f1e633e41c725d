"""The filter of system calls as a program, for each architecture: read by an interpreter of BPF.

What the filter of this machine does is tried in `test_filter.py`, with real calls.
"""

from __future__ import annotations

import errno
import re
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from plugins.workers.isolation.exec_wrapper import ALLOW, NUMBERS, REFUSE, REFUSED, build_filter

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64 of linux/audit.h."""
LAST = 500
"""Above the number of each system call that there is."""
GENERIC = Path("/usr/include/asm-generic/unistd.h")
"""The numbers of ARM64, and of every other architecture of late."""

AARCH64 = {
    "listen": 201, "accept": 202, "accept4": 242, "io_uring_setup": 425,
    "memfd_create": 279, "memfd_secret": 447, "shmget": 194, "semget": 190, "msgget": 186,
    "mq_open": 180,
}  # fmt: skip
X86_64 = {
    "listen": 50, "accept": 43, "accept4": 288, "io_uring_setup": 425,
    "memfd_create": 319, "memfd_secret": 447, "shmget": 29, "semget": 64, "msgget": 68,
    "mq_open": 240,
}  # fmt: skip
MMAP = {"x86_64": 9, "aarch64": 222}
SOCKET = {"x86_64": 41, "aarch64": 198}

MAP_SHARED = 0x01
MAP_PRIVATE = 0x02
MAP_SHARED_VALIDATE = 0x03
MAP_ANONYMOUS = 0x20
AF_SMC = 43
IPPROTO_MPTCP = 262

machines = pytest.mark.parametrize("machine", sorted(ARCHITECTURES))


def judge(
    machine: str,
    groups: Sequence[str],
    number: int,
    *arguments: int,
    architecture: int | None = None,
) -> int:
    """Run the filter for a call, and return the error that it answers; 0 if it allows the call."""
    if architecture is None:
        architecture = ARCHITECTURES[machine]
    words = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    call = struct.pack("<IIQ6Q", number, architecture, 0x7F00_0000_0000, *words)
    answer = run(build_filter(machine, list(groups)), call)
    if answer == ALLOW:
        return 0
    assert answer & ~0xFFFF == REFUSE
    return answer & 0xFFFF


def run(program: Sequence[tuple[int, int, int, int]], call: bytes) -> int:
    """Interpret a program of classic BPF, as far as a filter uses it (bpf(4), struct sock_filter).

    `call` is a struct seccomp_data. No program ends without an answer, and none jumps back.
    """
    accumulator = 0
    position = 0
    while True:
        code, if_true, if_false, operand = program[position]
        position += 1
        match code:
            case 0x20:  # BPF_LD | BPF_W | BPF_ABS
                assert operand % 4 == 0
                accumulator = int.from_bytes(call[operand : operand + 4], "little")
            case 0x54:  # BPF_ALU | BPF_AND | BPF_K
                accumulator &= operand
            case 0x15:  # BPF_JMP | BPF_JEQ | BPF_K
                position += if_true if accumulator == operand else if_false
            case 0x35:  # BPF_JMP | BPF_JGE | BPF_K
                position += if_true if accumulator >= operand else if_false
            case 0x06:  # BPF_RET | BPF_K
                return operand
            case _:
                raise AssertionError(f"instruction {code:#x} at {position - 1}")


def find_refused(machine: str, groups: Sequence[str]) -> dict[int, int]:
    """Return the numbers of all calls that the filter refuses whatever their arguments are."""
    answers = {number: judge(machine, groups, number) for number in range(LAST)}
    return {number: error for number, error in answers.items() if error}


@machines
@pytest.mark.parametrize("group", sorted(REFUSED))
def test_a_filter_refuses_the_calls_of_its_group_and_no_others(machine: str, group: str):
    numbers = {"x86_64": X86_64, "aarch64": AARCH64}[machine]
    expected = {numbers[name]: error for name, error in REFUSED[group].items()}
    assert find_refused(machine, [group]) == expected


def test_both_architectures_refuse_the_same_calls():
    groups = list(REFUSED)
    names = [
        {name: refused.get(number) for name, number in numbers.items()}
        for numbers, refused in (
            (X86_64, find_refused("x86_64", groups)),
            (AARCH64, find_refused("aarch64", groups)),
        )
    ]
    assert names[0] == names[1]
    assert set(names[0].values()) == {errno.EACCES, errno.ENOSYS}


@machines
def test_calls_of_other_kinds_of_programs_are_refused(machine: str):
    i386, arm, x32 = 0x40000003, 0x40000028, 0x40000000
    others = {i386, arm, *ARCHITECTURES.values()} - {ARCHITECTURES[machine]}
    for architecture in others:
        for number in range(LAST):
            assert judge(machine, [], number, architecture=architecture) == errno.ENOSYS
    for number in range(LAST):
        assert judge(machine, [], x32 | number) == errno.ENOSYS


@machines
def test_shared_memory_without_a_file_is_refused_where_it_is_not_counted(machine: str):
    mmap = MMAP[machine]
    for kind in (MAP_SHARED, MAP_SHARED | 0x8000, MAP_SHARED | 0x4_0000):
        flags = kind | MAP_ANONYMOUS
        assert judge(machine, ["uncounted"], mmap, 0, 4096, 3, flags) == errno.EPERM
        assert judge(machine, ["lasting"], mmap, 0, 4096, 3, flags) == 0
    for flags in (MAP_PRIVATE | MAP_ANONYMOUS, MAP_SHARED, MAP_SHARED_VALIDATE, MAP_PRIVATE):
        assert judge(machine, ["uncounted"], mmap, 0, 4096, 3, flags) == 0


@machines
@pytest.mark.parametrize("groups", [[], ["evading", "listening"], list(REFUSED)])
def test_sockets_that_landlock_does_not_judge_are_refused(machine: str, groups: list[str]):
    number = SOCKET[machine]

    def make(family: int, protocol: int = 0) -> int:
        return judge(machine, groups, number, family, socket.SOCK_STREAM, protocol)

    assert make(AF_SMC) == errno.EAFNOSUPPORT
    assert make(socket.AF_INET, IPPROTO_MPTCP) == errno.EPROTONOSUPPORT
    assert make(socket.AF_INET6, IPPROTO_MPTCP) == errno.EPROTONOSUPPORT
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        assert make(family) == 0
    assert make(socket.AF_INET, socket.IPPROTO_TCP) == 0


def test_the_numbers_of_arm64_are_those_of_the_kernel():
    if not GENERIC.is_file():
        pytest.skip("this machine has no headers of Linux")
    defined = dict(re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", GENERIC.read_text()))
    for name, number in NUMBERS["aarch64"].items():
        if name != "architecture":
            assert defined[name] == str(number), name
