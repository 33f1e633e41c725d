"""Accounts of apps: which servers may end their processes, and what is removed with them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest

from plugins.workers.isolation.accounts import end_account_leftovers, hold_accounts, remove_shared
from plugins.workers.isolation.orphans import read_uid
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="accounts are changed as root only")
FIRST = 40_000_000 + os.getpid() % 40_000 * 1000
RANGE = range(FIRST, FIRST + 10)
HOPS = """
import os
os.setresuid({0}, {0}, {0})
while True:
    if os.fork():
        os._exit(0)
"""


@pytest.fixture
def sleeper() -> Generator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["/bin/sleep", "60"], user=FIRST) as process:
        yield process
        process.kill()


def test_nothing_is_ended_while_a_server_holds_one_of_the_accounts(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
):
    locks, servers = tmp_path / "locks", tmp_path / "servers"
    overlapping = range(FIRST + 9, FIRST + 20)
    with (
        hold_accounts(overlapping, "one", locks, servers) as held,
        hold_accounts(RANGE, "two", locks, servers),
    ):
        assert held
        assert {path.name for path in servers.iterdir()} == {"one", "two"}
        assert end_account_leftovers(RANGE, {FIRST}, locks) == 0
        assert sleeper.poll() is None
    assert not list(servers.iterdir())
    assert end_account_leftovers(RANGE, {FIRST + 1}, locks) == 0
    assert sleeper.poll() is None
    assert end_account_leftovers(RANGE, {FIRST}, locks) == 1
    assert sleeper.wait(5) == -9


def test_a_process_that_has_another_id_each_time_is_ended(tmp_path: Path):
    account = FIRST + 2
    subprocess.run([sys.executable, "-I", "-S", "-c", HOPS.format(account)], check=True, timeout=9)
    before = _ids(account)
    eventually(lambda: _ids(account) != before, why="else this tests nothing")
    end_account_leftovers(RANGE, {account}, tmp_path)
    after = _ids(account)
    time.sleep(0.2)
    assert _ids(account) <= after


def _ids(account: int) -> set[int]:
    """The ids of processes of an account, also of those that have ended."""
    found = set[int]()
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if read_uid(int(path.name)) == account:
                found.add(int(path.name))
    return found


def test_files_in_memory_go_with_their_account_and_no_others(tmp_path: Path):
    for name, owner in (("theirs", FIRST), ("others", FIRST + 1)):
        (tmp_path / name).touch()
        (tmp_path / f"{name} folder" / "within").mkdir(parents=True)
        os.chown(tmp_path / name, owner, owner)
        os.chown(tmp_path / f"{name} folder", owner, owner)
    (tmp_path / "link").symlink_to(tmp_path / "others")
    os.lchown(tmp_path / "link", FIRST, FIRST)
    remove_shared({FIRST}, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"others", "others folder"}
