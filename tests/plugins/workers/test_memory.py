"""The memory of an app, added up over processes that a test starts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from plugins.workers.isolation.memory import MemorySurvey, Watched
from plugins.workers.isolation.orphans import INIT, REPLICA_VARIABLE, hold_server_name

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")

MB = 1024
SHARED_FILES = Path("/dev/shm")
ACCOUNT = 40_000_000 + os.getpid()
SERVER = f"server{os.getpid()}"
"""By a name of its own, as these tests may run in several processes at once."""
ONE, TWO = f"{SERVER}.a", f"{SERVER}.b"
"""The marks of two of its workers."""
HOARD = """
import os, sys, time
account, code = int(sys.argv[1]), sys.argv[2]
if account:
    os.setgroups([])
    os.setresuid(account, account, account)
def take(mb):
    return b"x" * (mb << 20)
def fork(act):
    if os.fork() == 0:
        held = act()
        print("ready", flush=True)
        time.sleep(300)
def leave(act):
    "Fork twice, without a variable, so that nothing leads back here."
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            held = act()
            print("ready", flush=True)
            time.sleep(300)
        os._exit(0)
    os.wait()
exec(code)
print("ready", flush=True)
time.sleep(300)
"""


@contextmanager
def running(
    code: str, ready: int, mark: str = "", account: int = 0
) -> Generator[subprocess.Popen[bytes]]:
    """Run a program until it has said `ready` so often, and end all that it started."""
    words = ["/usr/bin/python3", "-I", "-S", "-c", HOARD, str(account), code]
    environment = {REPLICA_VARIABLE: mark} if mark else {}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, env=environment, start_new_session=True
    ) as process:
        assert process.stdout
        seen = b""
        try:
            while seen.count(b"ready") < ready:
                read = os.read(process.stdout.fileno(), 4096)
                assert read, "it ended"
                seen += read
            yield process
        finally:
            _end_session(process.pid, mark, account)


def _end_session(leader: int, mark: str, account: int) -> None:
    os.killpg(leader, signal.SIGKILL)
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            folder = Path("/proc") / name
            marked = bool(mark) and f"={mark}".encode() in (folder / "environ").read_bytes()
            owned = (
                bool(account) and f"Uid:\t{account}\t".encode() in (folder / "status").read_bytes()
            )
            if marked or owned:
                os.kill(int(name), signal.SIGKILL)


@pytest.fixture
def survey(tmp_path: Path) -> MemorySurvey:
    return MemorySurvey(SERVER, tmp_path, range(ACCOUNT, ACCOUNT + 2), has_files=False)


def over(survey: MemorySurvey, limit_mb: int, *children: Watched) -> dict[str, int]:
    """The apps over a limit: what has most of it."""
    found = survey.find_over(children, limit_mb * MB)
    return {app: excess.largest for app, excess in found.items()}


def test_all_processes_of_an_app_count_together(survey: MemorySurvey):
    with running("fork(lambda: take(40)); fork(lambda: take(40))", 3, ONE) as process:
        child = Watched(process.pid, ONE, "crm.1")
        assert over(survey, 70, child) == {"crm.1": process.pid}
        assert over(survey, 200, child) == {}


def test_the_child_with_most_of_it_is_named(survey: MemorySurvey):
    """An install of dependencies does not end the worker that runs."""
    with (
        running("held = take(20)", 1, ONE) as worker,
        running("held = take(80)", 1, TWO) as install,
    ):
        children = [
            Watched(worker.pid, ONE, "crm.1"), Watched(install.pid, TWO, "crm.1"),
        ]  # fmt: skip
        assert over(survey, 60, *children) == {"crm.1": install.pid}


def test_memory_that_processes_share_counts_once(survey: MemorySurvey):
    code = "held = take(40)\nfor _ in range(6): fork(lambda: None)"
    with running(code, 7, ONE) as process:
        child = Watched(process.pid, ONE, "crm.1")
        assert over(survey, 150, child) == {}
        assert over(survey, 30, child) == {"crm.1": process.pid}


@pytest.mark.skipif(not SHARED_FILES.is_dir(), reason="no files in memory here")
def test_files_of_others_in_memory_do_not_count(tmp_path: Path):
    """A child that has only just started has no folder of its own for files in memory yet."""
    survey = MemorySurvey(SERVER, tmp_path, range(0), has_files=True)
    with TemporaryDirectory(dir=SHARED_FILES) as folder, running("", 1, ONE) as process:
        (Path(folder) / "of another").write_bytes(bytes(80 * MB * 1024))
        assert over(survey, 70, Watched(process.pid, ONE, "crm.1")) == {}


def test_a_process_that_left_its_worker_counts_by_its_mark(survey: MemorySurvey):
    with running("leave(lambda: take(80))", 2, ONE) as process:
        child = Watched(process.pid, ONE, "crm.1")
        assert over(survey, 70, child) == {"crm.1": 0}
        other = Watched(process.pid, TWO, "crm.1")
        assert over(survey, 70, other) == {}


def test_processes_of_others_do_not_count_and_are_read_once(survey: MemorySurvey):
    with running("held = take(80)", 1), running("", 1, ONE) as process:
        child = Watched(process.pid, ONE, "crm.1")
        assert over(survey, 70, child) == {}
        assert INIT in survey._others
        assert process.pid not in survey._others
        assert INIT not in survey._read_table()


@pytest.mark.skipif(os.geteuid() != 0, reason="accounts are changed as root only")
def test_under_an_account_of_its_own_a_process_counts_however_it_hides(survey: MemorySurvey):
    with running("leave(lambda: take(80))", 2, account=ACCOUNT) as process:
        child = Watched(process.pid, ONE, "crm.1")
        assert over(survey, 70, child) == {"crm.1": 0}


@pytest.mark.skipif(os.geteuid() != 0, reason="accounts are changed as root only")
def test_each_server_process_counts_its_own_replica(tmp_path: Path):
    """They share the account of the app."""
    names = tmp_path / "names"
    names.mkdir()
    with (
        hold_server_name(names, tmp_path / "one") as one,
        hold_server_name(names, tmp_path / "two") as two,
    ):
        accounts = range(ACCOUNT + 1, ACCOUNT + 2)
        surveys = [MemorySurvey(name, names, accounts, has_files=False) for name in (one, two)]
        with (
            running("held = take(60)", 1, f"{one}.a", ACCOUNT + 1) as first,
            running("held = take(60)", 1, f"{two}.a", ACCOUNT + 1) as second,
        ):
            children = (
                Watched(first.pid, f"{one}.a", "crm.1"),
                Watched(second.pid, f"{two}.a", "crm.1"),
            )
            for survey, child in zip(surveys, children, strict=True):
                assert over(survey, 100, child) == {}
                assert over(survey, 50, child) == {"crm.1": child.pid}


def test_a_look_costs_little(survey: MemorySurvey):
    """It happens each second: processor time, not time on the clock."""
    with running("", 1, ONE) as process:
        child = Watched(process.pid, ONE, "crm.1")
        survey.find_over([child], 1000 * MB)
        began = time.process_time()
        for _ in range(20):
            survey.find_over([child], 1000 * MB)
        assert (time.process_time() - began) / 20 < 0.01
