"""Start, stop, endpoints and settings of the embedded server."""

import os
import socket
import stat
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from plugins.postgres import EmbeddedPostgresError, EmbeddedServer, PostgresConfig, postmaster
from plugins.postgres.postmaster import Postmaster
from plugins.postgres.processes import postgres_processes
from tests.plugins.postgres.support import Owner, ask

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop privileges")


def server_on(data: Path, **arguments) -> EmbeddedServer:
    strict = arguments.pop("strict_port", False)
    report = arguments.pop("report", lambda _: None)
    config = PostgresConfig(**{"port": 0, "ephemeral": True} | arguments)
    return EmbeddedServer(data, config, strict_port=strict, report=report)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refusal(server: EmbeddedServer) -> str:
    with pytest.raises(EmbeddedPostgresError) as caught:
        server.start()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("tcp", [False, True])
def test_it_answers_over_the_socket_and_over_tcp(shared: EmbeddedServer, tcp: bool) -> None:
    assert ask(shared.dsn(tcp=tcp), "SELECT 41 + 1") == 42


@pytest.mark.parametrize("tcp", [False, True])
def test_a_wrong_password_is_refused(shared: EmbeddedServer, tcp: bool) -> None:
    dsn = conninfo.make_conninfo(shared.dsn(tcp=tcp), password="guessed")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        ask(dsn, "SELECT 1")


def test_it_listens_on_loopback_only(shared: EmbeddedServer) -> None:
    assert ask(shared.dsn(), "SHOW listen_addresses") == "127.0.0.1"


def test_names_sort_by_bytes_and_letters_beyond_ascii_have_cases(shared: EmbeddedServer) -> None:
    assert ask(shared.dsn(), "SELECT upper('é') || (('a' < 'B')::text)") == "Éfalse"


@needs_root
def test_as_root_it_runs_under_an_unprivileged_account(shared: EmbeddedServer) -> None:
    assert Path(f"/proc/{shared.pid}").stat().st_uid != 0
    status = Path(f"/proc/{shared.pid}/status").read_text()
    groups = next(line for line in status.splitlines() if line.startswith("Groups:"))
    assert groups.split() == ["Groups:"]


def test_no_secret_of_our_environment_reaches_it(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAUDEX_MASTER_KEY", "s3cret")
    monkeypatch.setenv("PGPORT", "1")
    with server_on(data) as server:
        seen = Path(f"/proc/{server.pid}/environ").read_bytes()
    assert b"s3cret" not in seen
    assert b"PGPORT" not in seen


def test_private_files_are_for_us_alone(shared: EmbeddedServer) -> None:
    for name in ("password", "lock", "log", "json"):
        assert mode(shared.data_dir / f"postgres.{name}") == 0o600
    assert mode(shared.data_dir / "postgres") == 0o700


def test_the_data_folder_is_made_with_its_parents_whatever_the_umask(folder: Path) -> None:
    old = os.umask(0o077)
    try:
        with server_on(folder / "new" / "data") as server:
            assert ask(server.dsn(), "SELECT 1") == 1
    finally:
        os.umask(old)
    assert mode(folder / "new" / "data") == (0o711 if os.geteuid() == 0 else 0o700)


@needs_root
def test_an_empty_closed_folder_is_opened_but_never_a_full_one(folder: Path) -> None:
    ours, foreign = folder / "ours", folder / "foreign"
    ours.mkdir(mode=0o700)
    foreign.mkdir(mode=0o700)
    (foreign / "letters.txt").touch()
    with server_on(ours):
        assert mode(ours) == 0o701
    assert "cannot be entered by the account" in refusal(server_on(foreign))
    assert mode(foreign) == 0o700


@needs_root
def test_a_data_folder_below_a_closed_one_is_refused(folder: Path) -> None:
    folder.chmod(0o700)
    assert "chmod o+x" in refusal(server_on(folder / "data"))
    assert mode(folder) == 0o700


def test_rows_are_kept_from_one_run_to_the_next(data: Path) -> None:
    with server_on(data) as server:
        ask(server.dsn(), "INSERT INTO kept VALUES (7)")
    with server_on(data) as server:
        assert ask(server.dsn(), "SELECT number FROM kept") == 7


def test_a_stopped_server_starts_again_and_stopping_twice_does_no_harm(data: Path) -> None:
    server = server_on(data)
    server.stop()
    assert not server.start().new_cluster
    server.stop()
    server.stop()
    assert server.start().new_cluster is False
    assert "start it once only" in refusal(server)
    server.stop()
    assert sorted(path.name for path in data.iterdir()) == [
        "postgres",
        "postgres.lock",
        "postgres.log",
        "postgres.password",
    ]


def test_a_taken_port_is_replaced_and_reported(data: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        wanted = other.getsockname()[1]
        server = server_on(data, port=wanted)
        started = server.start()
        assert started.plan.port != wanted
        assert started.notices[-1] == (
            f"port {wanted} is taken: the embedded PostgreSQL uses {started.plan.port}"
        )
        assert ask(server.dsn(tcp=True), "SHOW port") == str(started.plan.port)
        server.stop()
        assert f"port {wanted} is taken" in refusal(server_on(data, port=wanted, strict_port=True))


def test_a_port_taken_at_the_last_moment_is_replaced_too(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        choices = iter([taken])

        from plugins.postgres import server as module

        choose = module.choose_port
        monkeypatch.setattr(
            module, "choose_port", lambda *a, **k: next(choices, None) or choose(*a, **k)
        )
        with server_on(data) as server:
            assert server.port != taken


def test_a_free_port_asked_for_by_zero_is_no_surprise(shared: EmbeddedServer, data: Path) -> None:
    server = server_on(data)
    assert len(server.start().notices) == 1
    server.stop()


def test_settings_take_effect(shared: EmbeddedServer) -> None:
    assert ask(shared.dsn(), "SHOW max_connections") == "33"
    assert ask(shared.dsn(), "SHOW fsync") == "off"
    assert ask(shared.dsn(), "SHOW timezone") == "UTC"


def test_it_is_durable_unless_configured_otherwise(data: Path) -> None:
    with server_on(data, ephemeral=False) as server:
        assert ask(server.dsn(), "SHOW fsync") == "on"
        assert ask(server.dsn(), "SHOW synchronous_commit") == "on"


@pytest.mark.parametrize("name", ["port", "Listen_Addresses", "unix_socket_directories"])
def test_where_it_listens_is_not_for_settings(folder: Path, name: str) -> None:
    with pytest.raises(EmbeddedPostgresError, match="is decided by Caudex"):
        server_on(folder, settings={name: "1"})


def test_a_setting_that_is_no_name_is_refused(folder: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="is no PostgreSQL parameter"):
        server_on(folder, settings={"fsync=off -c x": "1"})


def test_a_wrong_setting_is_named_and_the_folder_is_free_again(data: Path) -> None:
    message = refusal(server_on(data, settings={"shared_buffers": "much"}))
    assert 'invalid value for parameter "shared_buffers"' in message
    assert str(data / "postgres.log") in message
    with server_on(data):
        pass


@pytest.mark.slow
def test_the_second_of_two_owners_is_refused(shared: EmbeddedServer) -> None:
    with Owner(shared.data_dir) as second:
        code, error = second.finish()
    assert code == 1
    assert error == (
        f"the data folder {shared.data_dir} is in use by another Caudex server "
        f"(process {os.getpid()}): stop that one, or choose another --data-dir"
    )
    assert ask(shared.dsn(), "SELECT 1") == 1


@pytest.mark.slow
def test_of_simultaneous_owners_one_wins(folder: Path) -> None:
    owners = [Owner(folder / "data") for _ in range(3)]
    for owner in owners:
        assert owner.process.stdin
        owner.process.stdin.close()
        owner.process.stdin = None
    ends = [owner.finish() for owner in owners]
    assert 0 in {code for code, _ in ends}
    assert all("in use by another" in error for code, error in ends if code)


@pytest.mark.parametrize("name", ["with space", "100%25", "a,b", "ü & ?#", 'quo"te', "x" * 120])
def test_unusual_paths_work(folder: Path, template: Path, name: str) -> None:
    data = folder / name
    data.mkdir(mode=0o711)
    os.system(f"cp -a {template}/. '{data}'")
    server = server_on(data)
    started = server.start()
    assert ask(server.dsn(), "SELECT 1") == 1
    fits = len(os.fsencode(data)) < 80 and not set(name) & set(',"')
    assert (started.plan.socket_dir == data / "postgres") is fits
    if not fits:
        assert mode(started.plan.socket_dir) == 0o700
    server.stop()
    assert started.plan.socket_dir.exists() is fits


def test_a_cluster_of_another_major_version_is_refused(data: Path) -> None:
    (data / "postgres" / "PG_VERSION").write_text("9\n")
    message = refusal(server_on(data))
    assert "was made by PostgreSQL 9, and versions do not mix (found: 18." in message


def test_a_folder_with_something_else_is_refused(folder: Path) -> None:
    (folder / "postgres").mkdir()
    (folder / "postgres" / "letter.txt").touch()
    if os.geteuid() == 0:
        os.chown(folder / "postgres", 65534, 65534)
    assert "holds files but no PostgreSQL cluster" in refusal(server_on(folder))


def test_a_lost_password_is_said_before_anything_starts(data: Path) -> None:
    (data / "postgres.password").unlink()
    assert "put it back from a backup" in refusal(server_on(data))


def test_a_worker_thread_may_not_start_it(data: Path) -> None:
    messages: list[str] = []
    thread = threading.Thread(target=lambda: messages.append(refusal(server_on(data))))
    thread.start()
    thread.join()
    assert "on the main thread" in messages[0]


def test_a_start_cut_short_by_the_operator_leaves_nothing(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Postmaster, "wait_ready", interrupted)
        with pytest.raises(KeyboardInterrupt):
            server_on(data).start()
    with server_on(data) as server:
        assert ask(server.dsn(), "SELECT 1") == 1


def count_launches(patch: pytest.MonkeyPatch) -> list[int]:
    launched: list[int] = []
    launch = Postmaster.__init__

    def counted(self: Postmaster, *arguments: Any) -> None:
        launch(self, *arguments)
        launched.append(self.pid)

    patch.setattr(Postmaster, "__init__", counted)
    return launched


@pytest.mark.slow
def test_a_long_recovery_is_waited_for_and_reported_of(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, real, reported = time.monotonic() + 30, Postmaster.status, list[str]()

    def recovering(self: Postmaster) -> str:
        """`starting` until it was reported of twice, which takes longer than the patience."""
        status = real.fget(self)
        awaited = len(reported) < 2 and time.monotonic() < over
        return "starting" if awaited or status != "ready" else status

    monkeypatch.setattr(postmaster, "START_TIMEOUT", 0.5)
    monkeypatch.setattr(Postmaster.wait_ready, "__defaults__", (0.5,))
    monkeypatch.setattr(Postmaster, "status", property(recovering))
    launched = count_launches(monkeypatch)
    with server_on(data, report=reported.append) as server:
        assert ask(server.dsn(), "SELECT 1") == 1
    assert len(launched) == 1
    assert len(reported) > 1
    assert all("PostgreSQL is starting for" in line for line in reported), reported


def test_a_server_that_says_nothing_is_ended_before_its_port_is_blamed(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postmaster, "START_TIMEOUT", 0.5)
    monkeypatch.setattr(Postmaster, "status", property(lambda _: ""))
    launched = count_launches(monkeypatch)
    assert "not ready after" in refusal(server_on(data))
    assert len(launched) == 1
    assert not postgres_processes(data / "postgres")


def test_before_the_start_there_is_no_address(folder: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="start it first"):
        server_on(folder).dsn()


def test_a_forked_child_does_not_stop_the_server(shared: EmbeddedServer) -> None:
    child = os.fork()
    if child == 0:
        shared.stop()
        os._exit(0)
    os.waitpid(child, 0)
    assert ask(shared.dsn(), "SELECT 1") == 1
    assert (shared.data_dir / "postgres.json").exists()
