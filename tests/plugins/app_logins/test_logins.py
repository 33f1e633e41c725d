"""The database login of a worker: its own tables under their own names, and nothing else."""

import threading
import time
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from kernel.public import APPS, STATEMENTS, Unavailable
from kernel.testing import Postgres, Server
from plugins.app_logins.config import AppLoginsConfig
from plugins.app_logins.service import SERVICE, AppLoginsService
from plugins.app_logins.store import Login
from tests.plugins.workers.support import PYTHON, deploy, deployed, install, result, status


@pytest.fixture(scope="module")
def app(workers: Server) -> str:
    return deployed(workers)


@pytest.fixture(scope="module")
def url(workers: Server, app: str) -> str:
    return result(workers.admin, app, "facts")["database_url"]


def roles(server: Server, url: str) -> list[tuple[bool]]:
    """Whether the login of a connection string may sign in, if there is one."""
    role = urlsplit(url).username
    return server.sql("select rolcanlogin from pg_roles where rolname = %s", role)


def number_of(server: Server, app: str) -> int:
    query = "select number from caudex_app_logins.logins where app_id = %s"
    [(number,)] = server.sql(query, app)
    return number


def refused(url: str, statement: str) -> str:
    with psycopg.connect(url) as connection, pytest.raises(psycopg.Error) as raised:
        connection.execute(statement)  # type: ignore[arg-type]
    return raised.value.sqlstate or ""


def test_it_reads_and_writes_the_apps_own_tables(workers: Server, app: str, url: str):
    with psycopg.connect(url) as connection:
        connection.execute(f"insert into {app}.contacts (name) values ('by sql')")
        connection.execute(f"update {app}.contacts set age = 3")
        [(name, age)] = connection.execute(f"select name, age from {app}.contacts").fetchall()
        connection.commit()
    assert (name, age) == ("by sql", 3)
    rows = workers.admin.get(f"/api/v1/apps/{app}/collections/contacts").json()
    assert [row["name"] for row in rows] == ["by sql"]
    trail = workers.admin.get("/api/v1/audit", params={"record_id": rows[0]["id"]}).json()
    assert [row["operation"] for row in trail] == ["UPDATE", "INSERT"]
    with psycopg.connect(url) as connection:
        connection.execute(f"delete from {app}.contacts")


def test_it_reaches_nothing_else(workers: Server, app: str, url: str):
    other = install(workers)
    denied = "42501"
    assert refused(url, f"select * from {other}.contacts") == denied
    assert refused(url, "select * from caudex_auth.users") == denied
    assert refused(url, "select * from caudex_workers.apps") == denied
    assert refused(url, "select * from caudex_app_logins.logins") == denied
    assert refused(url, "select * from caudex_app_logins.passwords") == denied
    assert refused(url, "lock table caudex_app_logins.servers in access share mode") == denied
    assert refused(url, "select * from caudex_audit.log") == denied
    assert refused(url, f"create table {app}.more (id int)") == denied
    assert refused(url, f"alter table {app}.contacts add column x int") == denied
    assert refused(url, f"drop table {app}.contacts") == denied
    assert refused(url, f"truncate {app}.contacts") == denied
    assert refused(url, "create schema mine") == denied
    assert refused(url, "create role more") == denied
    assert refused(url, "select pg_read_file('/etc/passwd')") == denied
    assert refused(url, "copy (select 1) to program 'true'") == denied


def test_its_time_is_limited(url: str):
    with psycopg.connect(url) as connection:
        [(statement,)] = connection.execute("show statement_timeout").fetchall()
        [(idle,)] = connection.execute("show idle_in_transaction_session_timeout").fetchall()
    assert (statement, idle) == ("30s", "1min")


def test_its_name_carries_the_database_and_its_connections_are_counted(workers: Server, url: str):
    [(oid,)] = workers.sql("select oid from pg_database where datname = current_database()")
    role = urlsplit(url).username
    assert role
    assert role.startswith(f"caudex_{oid}_w")
    [row] = workers.sql(
        "select rolconnlimit, rolsuper, rolcreaterole, rolcreatedb from pg_roles"
        " where rolname = %s",
        role,
    )
    assert row == (10, False, False, False)


def test_it_follows_what_is_installed(workers: Server):
    app = deployed(workers)
    url = result(workers.admin, app, "facts")["database_url"]
    deals = {"entityName": "deals", "fields": [{"name": "title", "type": "text"}]}
    manifest = {"appId": app, "name": app, "dataContract": [deals]}
    assert workers.admin.post("/api/v1/apps", json=manifest).status_code == 200
    with psycopg.connect(url) as connection:
        connection.execute(f"insert into {app}.deals (title) values ('x')")
    assert refused(url, f"select * from {app}.contacts") == "42501", "retired"


def test_it_goes_with_its_app(workers: Server):
    app = deployed(workers)
    url = result(workers.admin, app, "facts")["database_url"]
    with psycopg.connect(url) as connection:
        connection.execute(f"select * from {app}.contacts")
        assert workers.admin.delete(f"/api/v1/apps/{app}").status_code == 200
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    role = urlsplit(url).username
    assert workers.sql("select from pg_roles where rolname = %s", role) == []


MADE = ("select 1", "select lo_create(0)", "create temp table x (i int)")
"""What every login may do."""


@pytest.mark.parametrize("statement", MADE)
def test_it_goes_whatever_its_worker_made(workers: Server, statement: str):
    app = deployed(workers)
    url = result(workers.admin, app, "facts")["database_url"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[arg-type]
        answer = workers.admin.delete(f"/api/v1/apps/{app}")
    assert answer.status_code == 200, answer.text
    assert roles(workers, url) == []


@pytest.mark.slow
@pytest.mark.parametrize("statement", MADE)
def test_a_server_that_is_no_superuser_makes_it_changes_it_and_removes_it(
    modest: Server, statement: str
):
    app = deployed(modest)
    for verb in ("stop", "start"):
        answer = modest.admin.post(f"/api/v1/apps/{app}/worker/{verb}")
        assert answer.status_code == 200, answer.text
    assert deploy(modest.admin, app, {"worker.py": PYTHON}).status_code == 200
    deals = {"entityName": "deals", "fields": [{"name": "title", "type": "text"}]}
    modest.install({"appId": app, "name": app, "dataContract": [deals]})
    url = result(modest.admin, app, "facts")["database_url"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"insert into {app}.deals (title) values ('x')")
        connection.execute(statement)  # type: ignore[arg-type]
        answer = modest.admin.delete(f"/api/v1/apps/{app}")
        assert answer.status_code == 200, answer.text
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    assert roles(modest, url) == []


@pytest.mark.slow
@pytest.mark.parametrize("which", ["workers", "modest"])
@pytest.mark.parametrize("made", ["elsewhere", "too much"])
def test_one_that_cannot_go_is_shut_and_its_app_goes(
    request: pytest.FixtureRequest, postgres: Postgres, which: str, made: str
):
    server: Server = request.getfixturevalue(which)
    app = deployed(server)
    url = result(server.admin, app, "facts")["database_url"]
    number = number_of(server, app)
    away = urlsplit(url)._replace(path="/" + urlsplit(postgres.url).path.strip("/")).geturl()
    with psycopg.connect(away if made == "elsewhere" else url, autocommit=True) as connection:
        many = 1 if made == "elsewhere" else 40_000
        connection.execute("select count(lo_create(0)) from generate_series(1, %s)", [many])
        answer = server.admin.delete(f"/api/v1/apps/{app}")
        assert answer.status_code == 200, answer.text
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    assert roles(server, url) == [(False,)]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    # As after a restore of a database that still knows the app.
    app = install(server)
    server.sql("insert into caudex_app_logins.logins values (%s, %s)", app, number)
    assert deploy(server.admin, app, {"worker.py": PYTHON}).status_code == 200
    again = result(server.admin, app, "facts")["database_url"]
    assert urlsplit(again).username == urlsplit(url).username
    with psycopg.connect(again) as connection:
        connection.execute(f"select from {app}.contacts")
    with psycopg.connect(postgres.url) as connection:
        role = sql.Identifier(urlsplit(url).username or "")
        connection.execute(sql.SQL("drop owned by {}").format(role))


@pytest.mark.slow
def test_installs_and_starts_at_once_are_no_fault(workers: Server):
    app = deployed(workers)
    service = workers.services.get(SERVICE)
    faults, done = list[BaseException](), threading.Event()

    async def start() -> None:
        found = await workers.services.get(APPS).app(app)
        assert await service.url(found)

    def starts() -> None:
        while not done.is_set():
            try:
                workers.run(start)
            except BaseException as error:
                faults.append(error)

    took = list[float]()
    threads = [threading.Thread(target=starts) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        fields = [{"name": "name", "type": "text"}]
        for count in range(40):
            fields.append({"name": f"f{count}", "type": "text"})
            contacts = {"entityName": "contacts", "fields": fields}
            manifest = {"appId": app, "name": app, "dataContract": [contacts]}
            for _ in range(2):  # the second changes no table, and renews the rights all the same
                began = time.monotonic()
                answer = workers.admin.post("/api/v1/apps", json=manifest)
                took.append(time.monotonic() - began)
                assert answer.status_code == 200, answer.text
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert faults == []
    assert sorted(took)[60] < 1, "each deadlock takes PostgreSQL a second"


def test_a_start_waits_for_an_install_and_not_for_ever(
    workers: Server, monkeypatch: pytest.MonkeyPatch
):
    app = deployed(workers)
    service = workers.services.get(SERVICE)

    async def start() -> str | None:
        found = await workers.services.get(APPS).app(app)
        return await service.url(found)

    with psycopg.connect(workers.dsn) as connection:
        connection.execute(f"lock table {app}.contacts")
        timer = threading.Timer(0.4, connection.rollback)
        timer.start()
        assert workers.run(start)
        timer.join()
        connection.execute(f"lock table {app}.contacts")
        monkeypatch.setattr(service, "patience", 0.2)
        with pytest.raises(Unavailable, match="is being installed"):
            workers.run(start)
        connection.execute("update caudex_app_logins.logins set number = number")


def test_where_the_server_may_make_no_roles_there_is_none_and_the_status_says_so(
    workers: Server, app: str, monkeypatch: pytest.MonkeyPatch
):
    service = workers.services.get(SERVICE)
    monkeypatch.setattr(service, "allowed", False)
    assert workers.run(service.may) is False
    assert "may not make roles" in status(workers.admin, app)["sandbox"]["notes"][-1]
    other = deployed(workers)
    assert result(workers.admin, other, "facts")["database_url"] is None


@pytest.mark.parametrize(
    ("changes", "address", "expected"),
    [
        ({}, "", "postgresql://r:p%2Fw@127.0.0.1:5432/d%20b"),
        ({"address": "10.0.0.5"}, "", "postgresql://r:p%2Fw@10.0.0.5:5432/d%20b"),
        ({"address": "fd00::1"}, "", "postgresql://r:p%2Fw@[fd00::1]:5432/d%20b"),
        ({}, "db.internal:6432", "postgresql://r:p%2Fw@db.internal:6432/d%20b"),
        (
            {},
            "a:5432,b:5432",
            "postgresql://r:p%2Fw@a:5432,b:5432/d%20b?target_session_attrs=read-write",
        ),
        ({"listens": ""}, "", "postgresql://r:p%2Fw@/d%20b?host=%2Frun%2Fpg&port=5432"),
        ({"listens": "10.1.1.1"}, "", "postgresql://r:p%2Fw@/d%20b?host=%2Frun%2Fpg&port=5432"),
        ({"listens": "", "socket_folder": ""}, "", "postgresql://r:p%2Fw@/d%20b?port=5432"),
    ],
)
def test_the_address_is_what_a_worker_can_reach(
    workers: Server, changes: dict, address: str, expected: str
):
    reported = {
        "role": "r", "number": 1, "password": "p/w", "database": "d b", "address": None,
        "port": 5432, "listens": "localhost, ::1", "socket_folder": "/run/pg",
    }  # fmt: skip
    config = AppLoginsConfig(address=address)
    logins = AppLoginsService(workers.services.get(STATEMENTS), config)
    assert logins.url_of(Login(**(reported | changes))) == expected
