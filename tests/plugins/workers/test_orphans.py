"""Whatever a worker started ends with it, also what left its process group."""

import errno
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from kernel.testing import Server
from plugins.workers.isolation import orphans as orphans
from plugins.workers.isolation.orphans import (
    REPLICA_VARIABLE,
    hold_server_name,
    kill_orphans,
    kill_orphans_of_dead_servers,
)
from tests.plugins.workers.support import deploy, deployed, reaches, result
from tests.waiting import eventually

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="accounts are changed as root only")
pytestmark = linux


def new_mark(server: str = "") -> str:
    """A mark for one child of a server, as `Child.spawn` makes it."""
    return f"{server}.{secrets.token_hex(8)}"


MINE = new_mark()
ACCOUNT = 300_000 + os.getpid()
"""No one else's: these tests may run twice at the same time, and see all processes."""

WORKER = """
import os, sys
from caudex_worker import Worker

worker = Worker()
SLEEP = [sys.executable, "-c", "import time; time.sleep(120)"]

@worker.rpc
def daemon(params, ctx):
    "Fork twice with a new session, as daemon(7) says; returns the process that is left."
    reading, writing = os.pipe()
    if (first := os.fork()) == 0:
        os.setsid()
        if (second := os.fork()) == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            os.execve(SLEEP[0], SLEEP, {} if params.get("hides") else dict(os.environ))
        os.write(writing, str(second).encode())
        os._exit(0)
    os.waitpid(first, 0)
    return int(os.read(reading, 20))

@worker.rpc
def die(params, ctx):
    os._exit(3)

@worker.rpc
def pid(params, ctx):
    return os.getpid()

worker.run()
"""


def lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def daemon(server: Server, app: str, **params: bool) -> int:
    pid = result(server.admin, app, "daemon", params)
    assert lives(pid)
    assert os.getsid(pid) not in (os.getsid(0), result(server.admin, app, "pid"))
    return pid


def stop(server: Server, app: str) -> None:
    answer = server.admin.post(f"/api/v1/apps/{app}/worker/stop")
    assert answer.status_code == 200, answer.text


def test_a_daemon_ends_when_its_worker_is_stopped_and_no_other_does(workers: Server):
    app, other = deployed(workers, WORKER), deployed(workers, WORKER)
    daemons = [daemon(workers, app) for _ in range(3)]
    theirs = daemon(workers, other)
    stop(workers, app)
    assert not [pid for pid in daemons if lives(pid)], "stop answers when nothing is left"
    assert lives(theirs)
    stop(workers, other)
    assert not lives(theirs)


def test_a_daemon_ends_with_a_worker_that_crashes(workers: Server):
    app = deployed(workers, WORKER)
    pid = daemon(workers, app)
    assert workers.admin.post(f"/api/v1/apps/{app}/rpc", json={"method": "die"}).status_code == 503
    eventually(lambda: not lives(pid))
    reaches(workers.admin, app, "running")


def test_a_daemon_of_the_new_version_outlives_the_old_one(workers: Server):
    app = deployed(workers, WORKER)
    old = daemon(workers, app)
    assert deploy(workers.admin, app, {"worker.py": WORKER}).status_code == 200
    new = daemon(workers, app)
    eventually(lambda: not lives(old))
    time.sleep(0.3)
    assert lives(new)
    stop(workers, app)
    assert not lives(new)


@pytest.mark.slow
@as_root
def test_a_daemon_that_hides_ends_too_where_the_account_is_the_apps_own(workers: Server):
    app, other = deployed(workers, WORKER), deployed(workers, WORKER)
    pid, theirs = daemon(workers, app, hides=True), daemon(workers, other, hides=True)
    if os.getppid() != 1 and _parent(pid) != 1:
        os.kill(pid, signal.SIGKILL)
        pytest.skip("orphans come to another process than init here")
    stop(workers, app)
    assert not lives(pid)
    assert lives(theirs)
    stop(workers, other)
    assert not lives(theirs)


def test_who_is_just_starting_does_not_hide(monkeypatch: pytest.MonkeyPatch):
    """A daemon of the new version, looked for by the old one while it executes its program."""
    looks = list[list[bytes]]()
    usual = orphans._read_environment
    own_thread = threading.get_ident()

    def look(pid: int) -> list[bytes]:
        if threading.get_ident() != own_thread:  # a server of other tests looks for its own
            return usual(pid)
        return looks.pop(0) if looks else [b""]

    monkeypatch.setattr(orphans, "_read_environment", look)
    monkeypatch.setattr(
        orphans, "INIT", -1
    )  # any caller that runs this may be process 1 of a container
    monkeypatch.setattr(orphans, "read_state", lambda pid: (b"S", -1))
    own, uid = os.getpid(), os.stat(f"/proc/{os.getpid()}").st_uid
    mark = orphans.REPLICA_VARIABLE.encode() + b"="

    def is_orphan(pid: int, patient: float) -> bool:
        return orphans._Search(b"mine", uid, bool, patient).is_orphan(pid)

    for number in (1, 10):
        looks += [[b""]] * number + [[mark + b"of-another"]]
        assert not is_orphan(own, time.monotonic() + 60)
        looks += [[b""]] * number + [[mark + b"mine"]]
        assert is_orphan(own, time.monotonic() + 60)
        assert looks == []
    assert is_orphan(own, time.monotonic() + 0.1)  # it stays empty


def _parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def test_no_other_is_ended(monkeypatch: pytest.MonkeyPatch):
    """Neither a process with another mark, nor one without a mark of root's account or ours."""
    ended: list[int] = []
    monkeypatch.setattr(
        "plugins.workers.isolation.orphans.os.kill", lambda pid, _: ended.append(pid)
    )
    monkeypatch.setitem(orphans._kill_all.__kwdefaults__, "seconds", 0.001)
    environments = [
        {REPLICA_VARIABLE: MINE},
        {REPLICA_VARIABLE: new_mark()},
        {},
        {"X": f"{REPLICA_VARIABLE}={MINE}"},
    ]
    pids = [
        os.spawnve(os.P_NOWAIT, "/bin/sleep", ["sleep", "60"], environment)
        for environment in environments
    ]
    try:
        eventually(lambda: all(map(_is_up, pids, environments)))
        for uid in (None, 0, os.geteuid()):
            kill_orphans(MINE, uid)
        assert ended == [pids[0]] * 3
    finally:
        monkeypatch.undo()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


LARGE = """
import ctypes, sys
size = int(sys.argv[1])
libc = ctypes.CDLL(None)
libc.mmap.restype = libc.sbrk.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
start = libc.mmap(None, size, 1, 0x22, -1, 0)  # readable, private, of zeros
with open("/proc/self/stat") as file:
    stat = [0, 0, 0, *file.read().rpartition(")")[2].split()]
# proc(5): start and end of code, data and heap, then stack, start and end of arguments.
code, data, heap = stat[26:28], stat[45:47], [stat[47], libc.sbrk(0)]
numbers = [int(each) for each in (*code, *data, *heap, stat[28], *stat[48:50])]
reported = (ctypes.c_uint64 * 13)(*numbers, start, start + size, 0, 0xFFFFFFFF << 32)
PR_SET_MM, PR_SET_MM_MAP = 35, 14
print(libc.prctl(PR_SET_MM, PR_SET_MM_MAP, reported, ctypes.sizeof(reported), 0), flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_an_environment_without_end_is_not_read_to_its_end():
    """Any process may say where its own is: here in zeros, which take no memory there."""
    most = 8 * 2**20
    for size, found in ((most, most + 1), (most + 4096, 0), (1 << 36, 0)):
        with _Saying(LARGE, str(size)) as process:
            if process.said != b"0":
                pytest.skip("this kernel does not let a process say that")
            assert len(orphans._read_environment(process.pid)) == found
            kill_orphans(MINE, None)
            assert process.poll() is None


@as_root
def test_of_other_accounts_nothing_is_read_where_the_app_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
):
    read = list[int]()
    usual = orphans._read_environment
    own_thread = threading.get_ident()

    def noted(pid: int) -> list[bytes]:
        if threading.get_ident() == own_thread:  # no server of other tests
            read.append(pid)
        return usual(pid)

    monkeypatch.setattr(orphans, "_read_environment", noted)
    marks = {REPLICA_VARIABLE: MINE}
    with _Sleeping(marks, user=ACCOUNT) as process, _Sleeping(marks) as other:
        kill_orphans(new_mark(), ACCOUNT)
        assert set(read) == {process.pid}
        kill_orphans(MINE, ACCOUNT)
        assert process.wait(5) == -signal.SIGKILL
        assert other.poll() is None


def test_only_what_is_marked_with_a_name_that_no_one_holds_is_left_over(folder: Path):
    with hold_server_name(folder, folder / "draft") as ours, ExitStack() as stack:
        gone = _name_of_the_dead(folder)
        left, *others = [
            stack.enter_context(_Sleeping({REPLICA_VARIABLE: mark}))
            for mark in (new_mark(gone), new_mark(ours), new_mark("0-0-b"), new_mark(gone + "a"))
        ]
        assert kill_orphans_of_dead_servers(folder) == 1
        assert left.wait(5) == -signal.SIGKILL
        assert [each.poll() for each in others] == [None] * 3
        assert [path.name for path in folder.iterdir()] == [ours]
        assert kill_orphans_of_dead_servers(folder) == 0
    assert not list(folder.iterdir())


def test_the_copy_of_a_folder_says_nothing_about_who_lives(folder: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    with (
        hold_server_name(folder, folder / "draft") as ours,
        _Sleeping({REPLICA_VARIABLE: new_mark(ours)}) as process,
    ):
        shutil.copytree(folder, copy)
        assert kill_orphans_of_dead_servers(copy) == 0
        assert process.poll() is None
        assert not list(copy.iterdir())


def test_who_was_started_by_what_is_left_over_does_not_end_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    mark = new_mark(_name_of_the_dead(folder))
    monkeypatch.setenv(REPLICA_VARIABLE, mark)
    with _Sleeping({REPLICA_VARIABLE: mark}) as process:
        assert kill_orphans_of_dead_servers(folder) == 0
        assert process.poll() is None


def test_a_name_that_cannot_be_locked_is_not_shown(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Another server would take it for that of one that is gone."""

    def fails(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    name = _name_of_the_dead(folder)
    monkeypatch.setattr(fcntl, "flock", fails)
    with hold_server_name(folder, folder / "draft"):
        assert kill_orphans_of_dead_servers(folder) == 0
        assert {path.name for path in folder.iterdir()} == {name, "draft"}
    assert [path.name for path in folder.iterdir()] == [name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where servers have their names."""
    made = tmp_path / "servers"
    made.mkdir()
    return made


def _name_of_the_dead(folder: Path) -> str:
    """A name as a server leaves it that is killed."""
    kept = folder.with_name("kept")
    with hold_server_name(folder, folder / "draft") as name:
        (folder / name).rename(kept)
    kept.rename(folder / name)
    return name


class _Sleeping(subprocess.Popen[bytes]):
    """A process that has been given its environment, and ends with the block."""

    def __init__(self, environment: dict[str, str], user: int | None = None) -> None:
        super().__init__(["/bin/sleep", "60"], env=environment, user=user)
        eventually(lambda: _is_up(self.pid, environment))

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.wait()


class _Saying(subprocess.Popen[bytes]):
    """A program in Python that says something and then waits."""

    def __init__(self, code: str, *arguments: str) -> None:
        command = [sys.executable, "-c", code, *arguments]
        super().__init__(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.stdout is not None
        self.said = self.stdout.readline().strip()

    def __exit__(self, *details: Any) -> None:
        self.kill()
        super().__exit__(*details)


def _is_up(pid: int, environment: Mapping[str, str]) -> bool:
    """Whether it is `sleep` and has its environment: execve(2) gives it its name before that."""
    with open(f"/proc/{pid}/comm") as names, open(f"/proc/{pid}/environ", "rb") as variables:
        name, found = names.read(), variables.read().split(b"\0")
    reported = (f"{key}={value}".encode() for key, value in environment.items())
    return "sleep" in name and all(each in found for each in reported)
