"""System calls that a worker may not make, tried from inside of its sandbox."""

import errno
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from plugins.workers.config import WorkersConfig
from plugins.workers.isolation.exec_wrapper import NUMBERS
from plugins.workers.isolation.sandbox import Sandbox
from plugins.workers.isolation.wrapping import Place
from plugins.workers.releases.folders import SDK

TRIES = """
import ctypes, errno, json, mmap, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
def tried(act):
    ctypes.set_errno(0)
    try:
        result = act()
    except OSError as error:
        return error.errno
    failed = isinstance(result, int) and result < 0
    return ctypes.get_errno() if failed else 0
def listen(family, port=0):
    own = socket.socket(family)
    if port:
        own.setsockopt(socket.IPPROTO_IP, 51, struct.pack("I", port | port << 16))
    own.listen()
"""


@pytest.fixture
def sandbox() -> Generator[Sandbox]:
    folder = Path(tempfile.mkdtemp(prefix="caudex-filter-"))
    folder.chmod(0o755)
    made = Sandbox(WorkersConfig(memory_mb=64), folder)
    made.prepare()
    if not made.support.filters:
        pytest.skip("this machine has no filter of system calls")
    yield made
    shutil.rmtree(folder)


def run(sandbox: Sandbox, code: str, place: Place | None = None) -> Any:
    """Run a program in a sandbox, and return what it prints."""
    program = "/usr/bin/python3" if os.geteuid() == 0 else sys.executable
    command = sandbox.wrap([program, "-I", "-c", TRIES + code], 7, place or Place())
    done = subprocess.run(
        command, capture_output=True, text=True, env={}, cwd="/", check=False, timeout=20
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_socket_that_is_not_bound_does_not_listen(sandbox: Sandbox):
    low = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]
    code = f"""
print(json.dumps([
    tried(lambda: listen(socket.AF_INET)), tried(lambda: listen(socket.AF_INET6)),
    tried(lambda: listen(socket.AF_INET, {low})), tried(lambda: socket.socket().accept()),
]))
"""
    assert run(sandbox, code) == [errno.EACCES] * 4


def test_a_worker_with_a_port_listens_there(sandbox: Sandbox):
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = f"""
def serve(port):
    own = socket.socket()
    own.bind(("127.0.0.1", port))
    own.listen()
print(json.dumps([tried(lambda: serve({port})), tried(lambda: serve({port + 1}))]))
"""
    # Where no port is judged, the second one is open as well.
    other = errno.EACCES if sandbox.support.keeps_port else 0
    assert run(sandbox, code, Place(ports=(port,))) == [0, other]


def test_of_ports_that_the_system_chooses_only_that_of_an_unbound_socket_is_left(sandbox: Sandbox):
    """Landlock judges bind(2), also with port 0. Nothing judges a listen(2) without it (ADR 22)."""
    code = """
def bind_any(address):
    own = socket.socket()
    own.bind((address, 0))
    own.listen()
print(json.dumps([
    tried(lambda: bind_any("127.0.0.1")), tried(lambda: bind_any("0.0.0.0")),
    tried(lambda: listen(socket.AF_INET)),
]))
"""
    bound = errno.EACCES if sandbox.support.keeps_port else 0
    assert run(sandbox, code, Place(ports=(8080,))) == [bound, bound, 0]


def test_calls_of_other_kinds_of_programs_are_refused(sandbox: Sandbox):
    """A filter that did not look at the kind would take their numbers for other calls."""
    if platform.machine() != "x86_64":
        pytest.skip("here only one kind of programs runs")
    x32 = 0x40000000
    code = f"""
def as_i386(number):
    "Make a system call as a program of 32 bits does; in a child, which may not survive it."
    code = b"\\x53\\xb8" + struct.pack("<I", number) + b"\\x31\\xdb\\x31\\xc9\\xcd\\x80\\x5b\\xc3"
    page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
                     prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    child = os.fork()
    if not child:
        os._exit(-ctypes.CFUNCTYPE(ctypes.c_int)(address)() & 0xFF)
    status = os.waitpid(child, 0)[1]
    return errno.ENOSYS if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
print(json.dumps([
    as_i386(102), as_i386(363),
    *[tried(lambda n=n: libc.syscall({x32} | n, 0, 0)) for n in (41, 50, 9, 319)],
]))
"""
    assert run(sandbox, code) == [errno.ENOSYS] * 6


def test_io_uring_is_refused(sandbox: Sandbox):
    number = NUMBERS[os.uname().machine]["io_uring_setup"]
    code = f"print(json.dumps(tried(lambda: libc.syscall({number}, 1, bytes(120)))))"
    assert run(sandbox, code) == errno.ENOSYS


@pytest.mark.parametrize(("ports", "shown"), [((), "closed"), ((8080,), [8080])])
def test_the_status_says_what_holds(sandbox: Sandbox, ports: tuple[int, ...], shown: Any):
    found = sandbox.describe_limits(7, ports)
    if not sandbox.support.keeps_port:
        pytest.skip("this kernel has no Landlock that judges ports")
    assert found["ports"] == shown
    said = any("a port that the system chooses" in note for note in found.get("notes", ()))
    assert said is bool(ports)


def test_a_machine_without_a_filter_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("plugins.workers.isolation.sandbox.NUMBERS", {})
    sandbox = Sandbox(WorkersConfig(), tmp_path)
    sandbox.prepare()
    found = sandbox.describe_limits(None)
    assert found["ports"] is None
    assert any("this needs seccomp" in note for note in found["notes"])
    assert '"refused":[]' in sandbox.wrap(["/bin/true"], 7, Place())[4]


def test_processes_of_python_start_without_a_socket_that_listens(sandbox: Sandbox):
    """Python 3.14 would start them by a server, which listens: here a Python that says so."""
    code = f"""
import sys
sys.path.insert(0, {str(sdk_for_all(sandbox))!r})
sys.version_info = (3, 14)
import caudex_worker, multiprocessing
with multiprocessing.Pool(1) as pool:
    squares = pool.map(abs, [-1, -2])
print(json.dumps([multiprocessing.get_start_method(), squares]))
"""
    assert run(sandbox, code, Place(readable=(sdk_for_all(sandbox),))) == ["spawn", [1, 2]]


def sdk_for_all(sandbox: Sandbox) -> Path:
    """A copy of the SDK that the account of a worker can read."""
    folder = sandbox._data_dir / "sdk"
    if not folder.exists():
        shutil.copytree(SDK, folder)
    return folder


MEMORY = """
def shared(path):
    with open(path, "r+b", buffering=0) as file:
        return mmap.mmap(file.fileno(), 4096) and 0
def of_processes():
    return [tried(act) for act in (
        lambda: mmap.mmap(-1, 4096) and 0, lambda: os.memfd_create("x"),
        lambda: libc.shmget(0, 4096, 0o1600), lambda: libc.semget(0, 1, 0o1600),
        lambda: libc.msgget(0, 0o1600),
    )]
private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
print(json.dumps([
    of_processes(), tried(lambda: shared("/dev/zero")),
    tried(lambda: mmap.mmap(-1, 4096, flags=private) and 0),
]))
"""


def test_memory_that_no_limit_of_a_process_counts_is_refused(sandbox: Sandbox):
    refused, zero, private = run(sandbox, MEMORY)
    assert refused == [errno.EPERM, *[errno.ENOSYS] * 4]
    assert private == 0
    if sandbox.support.landlock:
        assert zero == errno.EACCES


def test_where_a_cgroup_counts_all_memory_it_is_not(sandbox: Sandbox):
    sandbox.support.group_memory = True
    refused, _, private = run(sandbox, MEMORY)
    assert refused[:2] == [0, 0]
    assert private == 0
    kept = 0 if sandbox.support.private else errno.ENOSYS
    assert refused[2:] == [kept] * 3
