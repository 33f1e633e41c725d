"""The database login of a worker: its own tables under their own names, and nothing else."""

from urllib.parse import urlsplit

import psycopg
import pytest

from kernel.public import STATEMENTS
from kernel.testing import Server
from plugins.workers.logins import Logins
from plugins.workers.models import Login
from tests.plugins.workers.support import deployed, install, result, status


@pytest.fixture(scope="module")
def app(workers: Server) -> str:
    return deployed(workers)


@pytest.fixture(scope="module")
def url(workers: Server, app: str) -> str:
    return result(workers.admin, app, "facts")["database_url"]


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


def test_where_the_server_may_make_no_roles_there_is_none_and_the_status_says_so(
    workers: Server, app: str, monkeypatch: pytest.MonkeyPatch
):
    service = workers.services.get(STATEMENTS)
    logins = Logins(service, "", 10)
    logins.allowed = False
    assert workers.run(logins.may) is False
    own = workers.kernel.instances
    plugin = next(plugin for plugin in own if plugin.name == "workers")
    monkeypatch.setattr(plugin._service.logins, "allowed", False)  # type: ignore[attr-defined]
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
        ({"listens": ""}, "", "postgresql://r:p%2Fw@/d%20b?host=%2Frun%2Fpg&port=5432"),
        ({"listens": "10.1.1.1"}, "", "postgresql://r:p%2Fw@/d%20b?host=%2Frun%2Fpg&port=5432"),
    ],
)
def test_the_address_is_what_a_worker_can_reach(
    workers: Server, changes: dict, address: str, expected: str
):
    told = {
        "role": "r", "password": "p/w", "database": "d b", "address": None, "port": 5432,
        "listens": "localhost, ::1", "socket_folder": "/run/pg",
    }  # fmt: skip
    logins = Logins(workers.services.get(STATEMENTS), address, 10)
    assert logins._url(Login(**(told | changes))) == expected
