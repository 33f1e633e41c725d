"""What a login of an app may not do to everyone: fill what all share, or go on for ever."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from kernel.config.settings import load_config
from kernel.contracts.server import DATABASE_SERVER
from kernel.loading.loader import load
from kernel.testing import Postgres, Server, running_server
from plugins.app_logins.store import SHUT
from tests.plugins.workers.support import QUICK, deployed, install, reaches, result, rpc, status
from tests.waiting import eventually

pytestmark = pytest.mark.slow

PATIENCE = 30.0
"""Seconds in which all works again: a look takes two, and this machine may be busy."""

FULL = "53200"
ADVISORY = ("select pg_advisory_lock(g) from generate_series(1, 1000000) as g",)
SAVEPOINTS = (
    "create temp table written (i int)",
    "begin;" + "savepoint s; insert into written values (1);" * 12_000,
)
"""Each part of a transaction that writes has a number of its own, and that is a lock."""

SMALL = {"max_notify_queue_pages": 64, "max_locks_per_transaction": 32}
"""So that what all share is filled quickly."""


@pytest.fixture(scope="module")
def cluster() -> Generator[Postgres]:
    """A PostgreSQL of its own: nothing else that runs is to meet a full table of locks."""
    folder = Path(tempfile.mkdtemp(prefix="caudex-test-"))
    folder.chmod(0o755)
    settings = {"port": 0, "ephemeral": True, "max_connections": 100, "settings": SMALL}
    changes = {"server.data_dir": str(folder), "plugins.postgres": settings}
    server = load(load_config("", environ={}, overrides=changes)).services.build_early(
        DATABASE_SERVER
    )
    assert server is not None
    try:
        with closing(Postgres(server.start())) as made:
            yield made
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module", params=["superuser", "modest"])
def site(request: pytest.FixtureRequest, cluster: Postgres) -> Generator[Server]:
    """A server on that PostgreSQL: as superuser, and as a login that may only create roles."""
    config = {"plugins": {"workers": dict(QUICK)}}
    if request.param == "superuser":
        with running_server(cluster, config) as server:
            yield server
        return
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute("create role modest login createrole password 'x'")
        connection.execute("create database modest owner modest template template0")
    dsn = make_conninfo(cluster.url, user="modest", password="x", dbname="modest")
    with running_server(cluster, config, dsn=dsn) as server:
        yield server


class Flood(threading.Thread):
    """Code of an app that does one thing with its login again and again, and reconnects."""

    def __init__(self, url: str, statements: Sequence[LiteralString]) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.statements = statements
        self.states = set[str | None]()
        self.full = threading.Event()
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            with suppress(psycopg.Error), psycopg.connect(self.url, autocommit=True) as connection:
                while not self.over.is_set() and not connection.closed:
                    self.once(connection)

    def once(self, connection: psycopg.Connection[Any]) -> None:
        try:
            for statement in self.statements:
                connection.execute(statement)
        except psycopg.Error as error:
            self.states.add(error.sqlstate)
            if error.sqlstate == FULL:
                self.full.set()
            self.over.wait(0.02)


@contextmanager
def flooding(server: Server, url: str, statements: Sequence[LiteralString]) -> Generator[Flood]:
    flood = Flood(url, statements)
    flood.start()
    try:
        yield flood
    finally:
        flood.over.set()
        flood.join(60)
        assert not flood.is_alive()
    eventually(lambda: no_one(server, url), PATIENCE)  # what it held goes with its session


def login(server: Server, app: str) -> str:
    return result(server.admin, app, "facts")["database_url"]


def shut(server: Server, url: str) -> bool:
    role = urlsplit(url).username
    with suppress(psycopg.OperationalError):  # while the table is full no one connects
        return server.sql("select rolcanlogin from pg_roles where rolname = %s", role) == [(False,)]
    return False


def no_one(server: Server, url: str) -> bool:
    """Whether the login of a connection string has no session left."""
    role = urlsplit(url).username
    query = "select pid from pg_stat_activity where usename = %s"
    with suppress(psycopg.OperationalError):
        return server.sql(query, role) == []
    return False


def written(server: Server, app: str) -> bool:
    answer = server.admin.post(f"/api/v1/apps/{app}/collections/contacts", json={"name": "x"})
    assert answer.status_code in (200, 201, 503), answer.text
    return answer.status_code != 503


def stopped(server: Server, app: str) -> bool:
    answer = server.admin.post(f"/api/v1/apps/{app}/worker/stop")
    assert answer.status_code in (200, 503), answer.text
    return answer.status_code == 200


def notes(server: Server, app: str) -> list[str]:
    said = status(server.admin, app)["sandbox"].get("notes", [])
    return [note for note in said if "database" in note]


@pytest.mark.parametrize("statements", [ADVISORY, SAVEPOINTS], ids=["advisory", "savepoints"])
def test_a_login_that_fills_the_table_of_locks_is_shut_and_an_admin_opens_it(
    site: Server, statements: Sequence[LiteralString]
):
    app, other = deployed(site), install(site)
    url = login(site, app)
    with flooding(site, url, statements) as flood:
        eventually(lambda: flood.full.is_set() or shut(site, url), PATIENCE)
        eventually(lambda: written(site, other), PATIENCE)
        # The last session that came in may hold all that there is.
        eventually(lambda: shut(site, url) and no_one(site, url), PATIENCE)
        assert written(site, other)
        [note] = eventually(lambda: notes(site, app))
        assert "login is shut: it held" in note
        assert rpc(site.admin, app, "die").status_code == 503
        reaches(site.admin, app, "running")
        assert login(site, app) is None, "a crash opens nothing"
        assert stopped(site, app)
    answer = site.admin.post(f"/api/v1/apps/{app}/worker/start")
    assert answer.status_code == 200, answer.text
    with psycopg.connect(login(site, app)) as connection:
        connection.execute(f"select from {app}.contacts")
    eventually(lambda: not notes(site, app))
    assert site.admin.delete(f"/api/v1/apps/{app}").status_code == 200


def test_a_start_opens_the_login_or_starts_nothing(postgres: Postgres):
    config = {"plugins": {"workers": QUICK}, "database": {"lock_timeout": 0.5}}
    with running_server(postgres, config) as server:
        app = deployed(server)
        role = urlsplit(login(server, app)).username or ""
        assert stopped(server, app)
        server.sql(f"alter role {role} nologin")  # type: ignore[arg-type]
        server.sql(f"comment on role {role} is '{SHUT}a test'")  # type: ignore[arg-type]
        start = f"/api/v1/apps/{app}/worker/start"
        with psycopg.connect(server.dsn) as other:  # which keeps the login from being opened
            other.execute(f"comment on role {role} is '{SHUT}more'")  # type: ignore[arg-type]
            assert server.admin.post(start).status_code == 503
            other.rollback()
        assert server.sql("select wanted from caudex_workers.apps where app_id = %s", app) == [
            (False,)
        ]
        answer = server.admin.post(start)
        assert answer.status_code == 200, answer.text
        psycopg.connect(login(server, app)).close()


def test_a_stop_gets_through_a_full_table_of_locks(site: Server):
    app = deployed(site)
    with flooding(site, login(site, app), ADVISORY) as flood:
        assert flood.full.wait(PATIENCE), flood.states
        eventually(lambda: stopped(site, app), PATIENCE)


def test_a_process_that_reads_no_notifications_stops_no_other_from_sending(site: Server):
    app = deployed(site)
    url = login(site, app)
    many = (
        "select count(pg_notify('x', repeat('x', 7900) || g)) from generate_series(1, 20) as g",
    )
    with psycopg.connect(url, autocommit=True) as idle:
        idle.execute("set idle_in_transaction_session_timeout = 0")
        idle.execute("listen x")
        idle.execute("begin; select 1")
        with flooding(site, url, many) as flood:
            eventually(lambda: "54000" in flood.states, PATIENCE)
            eventually(lambda: stopped(site, app), PATIENCE)
        with pytest.raises(psycopg.OperationalError):
            idle.execute("select 1")
    # Asking is what lets PostgreSQL empty a full queue; the watch does so at its next look.
    eventually(lambda: site.sql("select pg_notification_queue_usage() < 0.1") == [(True,)])


def test_where_the_table_cannot_be_examined_all_workers_are_restarted(site: Server):
    app, other = deployed(site), install(site)
    process = result(site.admin, app, "facts")["pid"]
    cut = (
        "select count(pg_terminate_backend(pid)) from pg_stat_get_activity(null)"
        " where query like '%with held as materialized%' and pid <> pg_backend_pid()"
    )
    # Nothing here takes a lock that has to be in the table.
    with psycopg.connect(site.dsn, autocommit=True) as boss:
        boss.execute("set statement_timeout = 0")
        with flooding(site, login(site, app), ADVISORY) as flood:
            eventually(lambda: boss.execute(cut) and flood.full.is_set(), PATIENCE)
            eventually(
                lambda: boss.execute(cut) and not Path(f"/proc/{process}").exists(), PATIENCE
            )

    def again() -> bool:  # the server may not have heard yet that the first one is gone
        answer = rpc(site.admin, app, "pid")
        return answer.status_code == 200 and answer.json() != process

    eventually(again, PATIENCE)
    assert written(site, other)


def test_a_login_from_before_comes_within_reach(site: Server):
    app = deployed(site)
    [(superuser,)] = site.sql("select rolsuper from pg_roles where rolname = current_user")
    if superuser:
        pytest.skip("a superuser reaches all")
    role = urlsplit(login(site, app)).username or ""
    site.sql(f"revoke {role} from current_user")  # type: ignore[arg-type]
    eventually(
        lambda: site.sql("select pg_has_role(%s::name, 'usage')", role) == [(True,)], PATIENCE
    )


def test_a_transaction_ends_whatever_its_session_sets(postgres: Postgres):
    config = {"plugins": {"workers": QUICK, "app_logins": {"transaction_timeout": 1}}}
    with running_server(postgres, config) as server:
        url = login(server, deployed(server))
        with (
            psycopg.connect(url, autocommit=True) as calm,
            psycopg.connect(url, autocommit=True) as old,
        ):
            for each in (calm, old):
                each.execute("set idle_in_transaction_session_timeout = 0")
                each.execute("set statement_timeout = 0")
            old.execute("begin; select 1")
            eventually(lambda: gone(server, old), PATIENCE)
            with pytest.raises(psycopg.OperationalError):
                old.execute("select 1")
            calm.execute("select 1")


def gone(server: Server, connection: psycopg.Connection[Any]) -> bool:
    pid = connection.info.backend_pid
    return server.sql("select pid from pg_stat_activity where pid = %s", pid) == []


GREEDY = (
    "set work_mem = '4GB'",
    """select count(*) from (select repeat('x', 100) || g as text
    from generate_series(1, 20000000) as g order by 1 desc) as sorted""",
)
"""A sort in memory, of more than the bound of the test."""


def test_a_login_that_takes_too_much_memory_loses_its_sessions_and_then_its_login(
    cluster: Postgres,
):
    limits = {"memory_mb": 64}
    config = {"plugins": {"workers": dict(QUICK), "app_logins": limits}}
    with running_server(cluster, config) as server:
        app, other = deployed(server), deployed(server)
        url = login(server, app)
        with psycopg.connect(login(server, other)) as calm:
            with psycopg.connect(url) as greedy:
                greedy.execute(GREEDY[0])
                with pytest.raises(psycopg.OperationalError):
                    greedy.execute(GREEDY[1])
            with flooding(server, url, GREEDY):
                eventually(lambda: shut(server, url) and no_one(server, url), PATIENCE)
            [note] = eventually(lambda: notes(server, app))
            assert "MB of memory in the database" in note
            calm.execute("select 1")


def test_temporary_files_of_a_login_are_bounded(cluster: Postgres):
    config = {"plugins": {"workers": dict(QUICK), "app_logins": {"temp_files_mb": 8}}}
    with running_server(cluster, config) as server:
        url = login(server, deployed(server))
        with psycopg.connect(url, autocommit=True) as connection:
            with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
                connection.execute(GREEDY[1])
            for statement in ("set temp_file_limit = -1", "alter role current_user reset all"):
                with suppress(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement)
        with psycopg.connect(url) as connection:
            assert connection.execute("show temp_file_limit").fetchone() == ("8MB",)
