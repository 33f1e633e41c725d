"""What is left when someone is killed, and how the next start deals with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plugins.postgres import (
    EmbeddedPostgresError,
    EmbeddedServer,
    PostgresConfig,
    pg_bin,
    processes,
)
from plugins.postgres.layout import rotate_log
from plugins.postgres.postmaster import DELAYS, Keeper
from plugins.postgres.processes import postgres_processes, postmaster_pid
from tests.plugins.postgres.support import Owner, ask, can_connect, kill
from tests.waiting import eventually


def server_on(data: Path) -> EmbeddedServer:
    return EmbeddedServer(data, PostgresConfig(port=0, ephemeral=True))


def log_of(data: Path) -> str:
    return (data / "postgres.log").read_text()


def watch_until(server: EmbeddedServer, words: str) -> list[str]:
    news: list[str] = []

    def look() -> bool:
        news.extend(filter(None, [server.watch()]))
        return any(words in line for line in news)

    eventually(look)
    return news


def test_a_killed_owner_takes_its_server_along_in_order(data: Path) -> None:
    with Owner(data) as owner:
        ask(owner.news()["dsn"], "INSERT INTO kept VALUES (7)")
        owner.kill()
    eventually(lambda: not postgres_processes(data / "postgres"))
    assert "received fast shutdown request" in log_of(data)
    assert "database system is shut down" in log_of(data)
    with server_on(data) as server:
        assert ask(server.dsn(), "SELECT number FROM kept") == 7


def test_a_start_right_after_the_kill_waits_for_the_orphan(data: Path) -> None:
    with Owner(data) as owner:
        owner.news()
        owner.kill()
    with server_on(data) as server:
        assert ask(server.dsn(), "SELECT 1") == 1


def test_rows_outlive_the_kill_of_owner_and_postmaster(data: Path) -> None:
    with Owner(data, ephemeral=False) as owner:
        news = owner.news()
        ask(news["dsn"], "INSERT INTO kept VALUES (7)")
        os.kill(owner.process.pid, signal.SIGSTOP)
        kill(news["postmaster"])
        owner.kill()
    with server_on(data) as server:
        assert ask(server.dsn(), "SELECT number FROM kept") == 7
    assert "automatic recovery in progress" in log_of(data)


def test_an_orphan_without_an_owner_is_stopped(data: Path) -> None:
    with server_on(data) as server:
        command = [str(pg_bin("pg_ctl", data)), "-D", str(data / "postgres"), "-w", "restart"]
        # Someone starts it by hand: not our child, and not tied to us.
        ids = (data / "postgres").stat()
        drop = {"user": ids.st_uid, "group": ids.st_gid} if os.geteuid() == 0 else {}
        subprocess.run(
            [*command, "-l", "/dev/null"], check=True, cwd="/", capture_output=True, **drop
        )
        orphan = postmaster_pid(data / "postgres")
        assert orphan != server.pid
        watch_until(server, "is back")
        assert orphan not in postgres_processes(data / "postgres")
        assert ask(server.dsn(), "SELECT 1") == 1


@pytest.mark.parametrize("name", ["postmaster.pid", ".s.PGSQL.{port}.lock"])
def test_a_lock_file_that_names_a_living_stranger_is_stale(data: Path, name: str) -> None:
    owner = (data / "postgres").stat()
    ids = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
    stranger = subprocess.Popen(["/bin/sleep", "60"], cwd="/", **ids)
    port = free_port()
    try:
        lock = data / "postgres" / name.format(port=port)
        lock.write_text(f"{stranger.pid}\n{data / 'postgres'}\n1\n{port}\n")
        with EmbeddedServer(data, PostgresConfig(port=port, ephemeral=True)) as server:
            assert ask(server.dsn(), "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


IMPOSTOR = """
import ctypes, os, signal, sys
PR_SET_NAME = 15
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
os.setgroups([]) if os.geteuid() == 0 else None
if (uid := int(sys.argv[2])) != os.geteuid():
    os.setresuid(uid, uid, uid)
os.chdir(sys.argv[1])
ctypes.CDLL(None).prctl(PR_SET_NAME, b"postgres")
print("here", flush=True)
sys.stdin.read()
"""


def impostor(data: Path) -> subprocess.Popen[bytes]:
    """Something under the account of PostgreSQL that looks like it and ends for no polite word."""
    uid = (data / "postgres").stat().st_uid
    process = subprocess.Popen(
        [sys.executable, "-c", IMPOSTOR, str(data / "postgres"), str(uid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stdout.readline() == b"here\n"
    assert process.pid in postgres_processes(data / "postgres")
    return process


@pytest.mark.slow
@pytest.mark.parametrize("named", [False, True])
def test_what_does_not_quit_is_killed_before_a_start(
    data: Path, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that the lock file takes for the postmaster."""
    monkeypatch.setattr("plugins.postgres.processes.ORDERLY_TIMEOUT", 0.5, raising=False)
    monkeypatch.setattr("plugins.postgres.processes.QUIT_TIMEOUT", 0.5, raising=False)
    monkeypatch.setattr(processes.clear_orphans, "__defaults__", (8.0,))
    with impostor(data) as process:
        if named:
            (data / "postgres" / "postmaster.pid").write_text(f"{process.pid}\n")
        with server_on(data) as server:
            assert process.poll() == -signal.SIGKILL
            assert ask(server.dsn(), "SELECT 1") == 1


@pytest.mark.slow
def test_what_does_not_quit_is_killed_before_a_restart(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugins.postgres.processes.QUIT_TIMEOUT", 0.5, raising=False)
    with server_on(data) as server, impostor(data) as process:
        assert server.pid
        kill(server.pid)
        watch_until(server, "is back")
        assert process.wait(5) == -signal.SIGKILL
        assert ask(server.dsn(), "SELECT 1") == 1


def free_port() -> int:
    from plugins.postgres.state import choose_port

    return choose_port(0, strict=False)


def test_a_zombie_in_the_lock_files_is_gone(data: Path) -> None:
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    eventually(lambda: "Z" in Path(f"/proc/{zombie.pid}/stat").read_text().rpartition(")")[2])
    (data / "postgres" / "postmaster.pid").write_text(f"{zombie.pid}\n")
    with server_on(data) as server:
        assert ask(server.dsn(), "SELECT 1") == 1
    zombie.wait()


def killed_at_making(data: Path) -> bool:
    """Whether an owner was killed before its cluster was in place: it may be quicker than we."""
    made = data / "postgres"
    with Owner(data) as owner:
        eventually(lambda: any(data.glob("postgres.init-*/cluster/base")) or made.exists())
        owner.kill()
    return not made.exists()


@pytest.mark.slow
def test_a_cluster_whose_making_was_killed_is_made_again(folder: Path) -> None:
    data = next(filter(killed_at_making, (folder / f"data{attempt}" for attempt in range(5))))
    assert list(data.glob("postgres.init-*"))
    with server_on(data) as server:
        assert ask(server.dsn(), "SELECT 1") == 1
        assert not list(data.glob("postgres.init-*"))


@pytest.mark.slow
def test_the_socket_folder_of_a_killed_server_is_swept(folder: Path) -> None:
    data = folder / ("x" * 120)
    with Owner(data) as owner:
        news = owner.news()
        os.kill(owner.process.pid, signal.SIGSTOP)
        kill(news["postmaster"])
        owner.kill()
    old = Path((data / "postgres.json").read_text().split('"socket_dir":"')[1].split('"')[0])
    assert old.exists()
    with server_on(data):
        assert not old.exists()


def test_a_dead_postmaster_is_brought_back_at_the_same_address(data: Path) -> None:
    with EmbeddedServer(data, PostgresConfig(port=0)) as server:
        dsn, first = server.dsn(), server.pid
        ask(dsn, "INSERT INTO kept VALUES (7)")
        assert server.watch() is None
        assert first
        kill(first)
        eventually(lambda: not can_connect(dsn))
        news = watch_until(server, "is back")
        assert news == ["PostgreSQL ended (signal 9); starting it again", "PostgreSQL is back"]
        assert server.ready
        assert server.pid != first
        assert ask(dsn, "SELECT number FROM kept") == 7
        assert f'"postmaster":{server.pid}' in (data / "postgres.json").read_text()


def test_a_server_whose_log_was_moved_away_is_brought_back(data: Path) -> None:
    with EmbeddedServer(
        data, PostgresConfig(port=0, ephemeral=True, settings={"restart_after_crash": "off"})
    ) as s:
        dsn = s.dsn()
        (data / "postgres.log").unlink()
        # A child that is killed makes the postmaster itself end, with a status and no signal.
        writer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"
        eventually(lambda: ask(dsn, writer))  # the server is ready before this one has begun
        kill(ask(dsn, writer))
        news = watch_until(s, "is back")
        assert news[0] == "PostgreSQL ended (no message); starting it again"
        assert ask(dsn, "SELECT 1") == 1
        assert (data / "postgres.log").exists()


@pytest.mark.slow
def test_an_owner_that_watches_restarts_a_server_shut_down_by_hand(data: Path) -> None:
    with Owner(data) as owner:
        news = owner.news()
        os.kill(news["postmaster"], signal.SIGINT)
        eventually(lambda: postmaster_pid(data / "postgres") not in (0, news["postmaster"]))
        eventually(lambda: can_connect(news["dsn"]))


def test_stopping_while_it_is_down_leaves_nothing(data: Path) -> None:
    server = server_on(data)
    server.start()
    assert server.pid
    kill(server.pid)
    eventually(lambda: (server.watch() or "").startswith("PostgreSQL ended"))
    assert not server.ready
    assert server.pid is None
    server.stop()
    with server_on(data):
        pass


class Dead:
    """A postmaster that never lives."""

    ready = False

    def end(self) -> str:
        return "FATAL:  no luck"


def test_patience_grows_while_it_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    keeper = Keeper(Dead(), Dead, lambda _: None)  # type: ignore[arg-type]
    delays: list[float] = []
    while len(delays) < len(DELAYS) + 1:
        began = now[0]
        assert keeper.step() == keeper_line(DELAYS[min(len(delays), len(DELAYS) - 1)])
        while keeper.postmaster is None:
            assert keeper.step() is None
            now[0] += 0.5
        delays.append(now[0] - began - 0.5)
    assert delays == [*DELAYS, DELAYS[-1]]


def keeper_line(delay: float) -> str:
    later = f" in {delay:g} s" if delay else ""
    return f"PostgreSQL ended (FATAL:  no luck); starting it again{later}"


def test_a_relaunch_that_fails_is_tried_again() -> None:
    def impossible() -> None:
        raise EmbeddedPostgresError("the programs are gone")

    keeper = Keeper(Dead(), impossible, lambda _: None)  # type: ignore[arg-type]
    keeper.step()
    assert keeper.step() == (
        "PostgreSQL cannot be started (the programs are gone); starting it again in 0.5 s"
    )


def test_a_large_log_is_moved_aside_while_its_writer_goes_on(folder: Path) -> None:
    log = folder / "postgres.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 100)
        rotate_log(log, 1000)
        assert not (folder / "postgres.log.1").exists()
        rotate_log(log, 100)
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    assert (folder / "postgres.log.1").read_bytes() == b"old\n" * 100
