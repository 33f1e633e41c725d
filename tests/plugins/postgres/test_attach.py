"""Commands beside a running server find it through the state file."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from plugins.postgres import (
    EmbeddedPostgresError,
    EmbeddedServer,
    PostgresConfig,
    attach,
    pg_bin,
    running_state,
)
from plugins.postgres.layout import Layout
from plugins.postgres.state import DataLock, attach_in_time, is_held, read_state, write_state
from tests.plugins.postgres.support import ROOT, Owner, ask, kill
from tests.waiting import eventually

ATTACH = "import sys; from plugins.postgres import attach; print(attach(sys.argv[1]))"


def test_another_process_attaches(shared: EmbeddedServer) -> None:
    command = [sys.executable, "-c", ATTACH, str(shared.data_dir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == shared.dsn()
    assert ask(done.stdout.strip(), "SELECT 1") == 1


def test_where_nothing_ever_ran_there_is_nothing_to_attach_to(folder: Path) -> None:
    assert attach(folder) is None
    assert attach(folder / "missing") is None


def test_a_stopped_server_is_gone(data: Path) -> None:
    with EmbeddedServer(data, PostgresConfig(port=0, ephemeral=True)):
        assert attach(data)
    assert attach(data) is None


def test_a_killed_owner_is_gone_even_while_its_server_ends(data: Path) -> None:
    with Owner(data) as owner:
        owner.news()
        assert attach(data)
        owner.kill()
        assert attach(data) is None
    assert (data / "postgres.json").exists()


def test_a_killed_postmaster_is_gone_even_as_a_zombie(data: Path) -> None:
    with Owner(data) as owner:
        news = owner.news()
        os.kill(owner.process.pid, signal.SIGSTOP)
        kill(news["postmaster"])
        eventually(lambda: attach(data) is None)
        assert Path(f"/proc/{news['postmaster']}").exists()


@pytest.mark.slow
def test_a_command_waits_for_a_server_that_starts_again(data: Path) -> None:
    with Owner(data) as owner:
        news = owner.news()
        before = attach(data)
        os.kill(owner.process.pid, signal.SIGSTOP)
        kill(news["postmaster"])
        eventually(lambda: attach(data) is None)
        with pytest.raises(EmbeddedPostgresError, match="its PostgreSQL is down: try again"):
            attach_in_time(data, timeout=0.3)
        os.kill(owner.process.pid, signal.SIGCONT)
        assert attach_in_time(data) == before
        owner.kill()
        assert attach_in_time(data) is None


def test_looking_at_the_lock_keeps_no_server_from_it(folder: Path) -> None:
    lock = folder / "postgres.lock"
    assert not is_held(lock)
    held = DataLock(lock)
    assert is_held(lock)
    with pytest.raises(EmbeddedPostgresError, match=f"process {os.getpid()}"):
        DataLock(lock)
    held.release()
    assert not is_held(lock)
    DataLock(lock).release()


def test_a_living_stranger_with_the_same_pid_is_not_believed(shared: EmbeddedServer) -> None:
    layout = Layout(shared.data_dir)
    true = read_state(layout)
    assert true
    try:
        write_state(layout, msgspec.structs.replace(true, postmaster=os.getpid()))
        assert attach(shared.data_dir) is None
    finally:
        write_state(layout, true)
    assert attach(shared.data_dir)


def test_a_damaged_state_file_is_no_server(folder: Path) -> None:
    (folder / "postgres.json").write_text('{"pid": ')
    assert attach(folder) is None


def test_a_password_that_may_not_be_read_is_said(
    shared: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path, *_: object) -> str:
        raise PermissionError

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(EmbeddedPostgresError, match="run as the account that runs the server"):
        attach(shared.data_dir)


def test_the_state_shows_what_runs(shared: EmbeddedServer) -> None:
    state = running_state(shared.data_dir)
    assert state
    assert (state.pid, state.postmaster, state.port) == (os.getpid(), shared.pid, shared.port)
    assert state.version == ask(shared.dsn(), "SHOW server_version").split()[0]


def test_a_dump_is_made_by_the_programs_of_the_server(shared: EmbeddedServer) -> None:
    program, state = pg_bin("pg_dump", shared.data_dir), running_state(shared.data_dir)
    assert state
    assert program == Path(state.bin_dir) / "pg_dump"
    done = subprocess.run(
        [program, shared.dsn()], cwd="/", capture_output=True, text=True, check=True
    )
    assert "CREATE TABLE public.kept" in done.stdout


def test_programs_are_found_for_a_cluster_at_rest(template: Path) -> None:
    assert pg_bin("psql", template).name == "psql"
    assert pg_bin("psql").name == "psql"


def test_a_program_that_is_not_there_is_said(shared: EmbeddedServer) -> None:
    with pytest.raises(EmbeddedPostgresError, match="pg_magic is not among"):
        pg_bin("pg_magic", shared.data_dir)
