"""The plugin as a whole: switched off, switched on again, and what an uninstall leaves."""

import os
import threading
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from kernel.public import APP_LOGINS, DatabaseQuery
from kernel.testing import Postgres, Server, running_server
from plugins.app_logins import AppLoginsPlugin
from plugins.app_logins.service import AppLoginsService
from plugins.app_logins.session_watchdog import SESSION
from plugins.app_logins.store import MAY_BOUND_FILES, OPEN_TO_ALL
from plugins.backup.dumps.postgres import dump
from plugins.backup.dumps.running import run
from tests.plugins.backup.test_older_servers import BUNDLED
from tests.plugins.workers.support import QUICK, deployed, result, status
from tests.waiting import eventually

Start = Any


@pytest.fixture
def start(postgres: Postgres, tmp_path: Path) -> Generator[Start]:
    """Start a server on one database, with the plugin on or off."""
    dsn, passwords = postgres.create(), list[str]()

    def begin(*, enabled: bool = True) -> Any:
        settings = {"workers": QUICK, "app_logins": {"enabled": enabled}}
        config = {"plugins": settings, "server": {"data_dir": str(tmp_path)}}
        return running_server(postgres, config, dsn=dsn)

    def admin(server: Server) -> None:
        if passwords:
            server._admin = server.login("admin", passwords[0])
        else:
            passwords.append(server.admin.password)

    try:
        yield begin, admin
    finally:
        postgres.drop(dsn)


def exists(server: Server, url: str) -> bool:
    query = "select 1 from pg_roles where rolname = %s"
    return bool(server.sql(query, urlsplit(url).username))


def reaches(url: str, table: str) -> bool:
    with suppress(psycopg.OperationalError), psycopg.connect(url) as connection:
        connection.execute(f"select from {table}")
        return True
    return False


@pytest.mark.slow
def test_a_worker_runs_without_a_login_where_it_is_off(start: Start):
    begin, admin = start
    with begin(enabled=False) as server:
        admin(server)
        app = deployed(server)
        assert result(server.admin, app, "facts")["database_url"] is None
        assert "database" not in str(status(server.admin, app)["sandbox"])
    with begin() as server:
        admin(server)
        server.admin.post(f"/api/v1/apps/{app}/worker/start")
        assert result(server.admin, app, "facts")["database_url"]


@pytest.mark.slow
def test_the_login_of_an_app_that_went_while_it_was_off_goes_at_the_next_start(start: Start):
    begin, admin = start
    with begin() as server:
        admin(server)
        app, kept = deployed(server), deployed(server)
        url = result(server.admin, app, "facts")["database_url"]
    with begin(enabled=False) as server:
        admin(server)
        assert server.admin.delete(f"/api/v1/apps/{app}").status_code == 200
        assert exists(server, url)
        assert server.sql("select app_id from caudex_app_logins.logins") == [(kept,)]
    with begin() as server:
        admin(server)
        assert not exists(server, url)
        eventually(lambda: status(server.admin, kept)["status"] == "running", 30)
        other = result(server.admin, kept, "facts")["database_url"]
        assert reaches(other, f"{kept}.contacts")  # its worker opened it


def test_workers_end_where_the_database_has_no_room_for_locks(workers: Server):
    service, called = workers.services.get(APP_LOGINS), threading.Event()
    assert isinstance(service, AppLoginsService)

    async def end() -> None:
        called.set()

    service.on_exhausted(end)
    try:
        assert len(service.listeners) == 2, "the plugin workers has one too"
    finally:
        service.listeners.remove(end)


def answer(answers: dict[str, str]) -> DatabaseQuery:
    """The database as `doctor` asks it; this process is the session."""
    return lambda query: answers.get(query, f"{os.getpid()} 5" if query == SESSION else "True")


def test_doctor_warns_of_what_no_bound_holds() -> None:
    plugin = AppLoginsPlugin.__new__(AppLoginsPlugin)
    texts = [finding.text for finding in plugin.diagnose(answer({MAY_BOUND_FILES: "False"}))]
    assert [text.partition(":")[0] for text in texts] == [
        "temporary files of apps' logins have no bound",
        "apps' logins may write large objects and messages into the log",
        "the memory of apps' logins is not watched, as PostgreSQL is not on this machine",
    ]
    bounded = answer({OPEN_TO_ALL: "False"})
    assert len(plugin.diagnose(bounded)) == 1


@pytest.mark.slow
def test_the_first_server_renews_passwords_and_another_one_keeps_them(start: Start) -> None:
    begin, admin = start
    with begin() as server:
        admin(server)
        app = deployed(server)
        first = result(server.admin, app, "facts")["database_url"]
        with begin() as other:
            admin(other)
            eventually(lambda: status(other.admin, app)["status"] == "running", 30)
            assert result(other.admin, app, "facts")["database_url"] == first
        assert reaches(first, f"{app}.contacts")
        server.sql("truncate caudex_app_logins.passwords")  # as a crash of PostgreSQL does
        assert server.admin.post(f"/api/v1/apps/{app}/worker/stop").status_code == 200
        assert server.admin.post(f"/api/v1/apps/{app}/worker/start").status_code == 200
        assert result(server.admin, app, "facts")["database_url"] == first
    with begin() as server:
        admin(server)
        eventually(lambda: status(server.admin, app)["status"] == "running", 30)
        second = result(server.admin, app, "facts")["database_url"]
        assert urlsplit(second).username == urlsplit(first).username
        assert not reaches(first, f"{app}.contacts")
        assert reaches(second, f"{app}.contacts")


@pytest.mark.slow
def test_a_password_is_in_no_backup(start: Start, tmp_path: Path) -> None:
    begin, admin = start
    with begin() as server:
        admin(server)
        url = result(server.admin, deployed(server), "facts")["database_url"]
        file = tmp_path / "dump"
        counts = dump(BUNDLED / "pg_dump", server.dsn, file)
        script = run([str(BUNDLED / "pg_restore"), "--file=-", str(file)], server.dsn)
    assert "caudex_app_logins.passwords" in script
    assert "caudex_app_logins.passwords" not in counts
    assert (urlsplit(url).password or "") not in script
