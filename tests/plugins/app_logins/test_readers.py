"""Readers: what a BI tool sees with its login, and all that it can never do."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from kernel.cli.main import main
from kernel.public import BadRequest
from kernel.testing import Postgres, Server, running_server
from plugins.app_logins.readers.models import Bounds
from plugins.app_logins.readers.service import READERS
from plugins.app_logins.service import SERVICE
from tests.plugins.workers.support import QUICK, deployed, result
from tests.waiting import eventually

Run = Callable[..., tuple[int, str, str]]
DENIED = "42501"

FLOOD = """select pg_sleep(30) from (
    select count(pg_advisory_lock(i)) as locks from generate_series(1, 3000) as i) as flood
    where locks > 0"""

# As `caudex doctor` asks an operator to do; the embedded PostgreSQL has it so.
TAKE_BACK = """do $$ declare routine regprocedure; begin
    for routine in select oid from pg_proc where pronamespace = 'pg_catalog'::regnamespace
        and (proname ~ '^(lo_|loread$|lowrite$)' or proname = 'pg_logical_emit_message')
    loop execute format('revoke execute on function %s from public', routine); end loop;
end $$"""

DEALS: dict[str, Any] = {
    "entityName": "deals",
    "search": {"fields": ["title"]},
    "fields": [
        {"name": "title", "type": "text"},
        {"name": "stage", "type": "text"},
        {"name": "margin", "type": "number", "access": {"read": "boss"}},
        {"name": "twice", "type": "number", "generated": {"$sum": ["margin", "margin"]}},
        {"name": "locked", "type": "number", "access": {"write": "boss"}},
    ],
}
NOTES = {"entityName": "notes", "fields": [{"name": "text", "type": "text"}]}


def install(server: Server, app: str, *entities: dict[str, Any]) -> str:
    server.install({"appId": app, "name": app, "dataContract": list(entities)})
    return app


def commands_of(server: Server, folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    config = folder / "caudex.toml"
    data_dir = server.kernel.context.data_dir
    config.write_text(f"[server]\ndata_dir = '{data_dir}'\n[database]\nurl = '''{server.dsn}'''\n")

    def run(*words: str) -> tuple[int, str, str]:
        status = main(["sql-reader", *words, "--config", str(config)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture
def reader(workers: Server, tmp_path: Path, monkeypatch, capsys) -> Run:
    """Run `caudex sql-reader ...` against the server's database and return (status, out, err)."""
    monkeypatch.delenv("CAUDEX_TEST_DATABASE_URL", raising=False)
    return commands_of(workers, tmp_path, capsys)


@pytest.fixture(scope="module")
def url(workers: Server) -> str:
    """The connection string of a reader of the app `crm`, in which there is a deal."""
    workers.sql(TAKE_BACK)
    install(workers, "crm", DEALS)
    row = {"title": "boat", "stage": "Lead", "margin": 7, "locked": 1}
    answer = workers.admin.post("/api/v1/apps/crm/collections/deals", json=row)
    assert answer.status_code == 201, answer.text
    bounds = Bounds(connections=2, timeout=60)
    made = workers.run(lambda: workers.services.get(READERS).create("bi", "crm", bounds))
    assert made.remarks == ()
    return made.address.url


def shown(out: str, name: str) -> str:
    [line] = [line for line in out.splitlines() if line.split()[0] == name]
    return line.split(maxsplit=1)[1]


def open_session(url: str, *, autocommit: bool = False) -> psycopg.Connection:
    """Connect as a reader: PostgreSQL counts a session that was closed until its process ends."""

    def attempt() -> psycopg.Connection | None:
        try:
            return psycopg.connect(url, autocommit=autocommit)
        except psycopg.OperationalError as error:
            if "too many connections" not in str(error):
                raise
            return None

    return eventually(attempt)


def refused(url: str, statement: str) -> str:
    with open_session(url, autocommit=True) as connection:
        connection.execute("set default_transaction_read_only = off")
        with pytest.raises(psycopg.Error) as raised:
            connection.execute(statement)  # type: ignore[arg-type]
    return raised.value.sqlstate or ""


def read(url: str, query: str) -> list[tuple[Any, ...]]:
    with open_session(url, autocommit=True) as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


def connects(url: str) -> bool:
    with suppress(psycopg.OperationalError), psycopg.connect(url):
        return True
    return False


def recorded(server: Server, name: str) -> list[str]:
    rows = server.admin.get("/api/v1/audit", params={"record_id": name}).json()
    kinds = [(row["table_schema"], row["table_name"]) for row in rows]
    assert set(kinds) == {("core", "sql_readers")}
    return [row["operation"] for row in reversed(rows)]


def test_it_reads_what_every_user_sees_who_may_read_the_records(url: str):
    assert read(url, "select title, stage, locked from crm.deals") == [("boat", "Lead", 1)]
    assert read(url, "select title from deals"), "its search path is the app's schema"
    assert read(url, "select count(id), max(created_at) < now() from deals") == [(1, True)]


@pytest.mark.parametrize("column", ["margin", "twice", "_owner", "_search", "*"])
def test_hidden_columns_are_refused_also_in_conditions(url: str, column: str):
    assert refused(url, f"select {column} from crm.deals") == DENIED
    if column != "*":
        assert refused(url, f"select id from crm.deals order by {column}") == DENIED
        assert refused(url, f"select id from crm.deals where {column} is not null") == DENIED


@pytest.mark.parametrize(
    "statement",
    [
        "insert into crm.deals (title) values ('x')",
        "update crm.deals set title = 'x'",
        "delete from crm.deals",
        "truncate crm.deals",
        "select id from crm.deals for update",
        "begin; lock table crm.deals in exclusive mode",
        "copy crm.deals (title) from stdin",
        "copy (select 1) to program 'true'",
        "create table crm.mine (i int)",
        "create table public.mine (i int)",
        "create temp table mine (i int)",
        "create schema mine",
        "create view public.mine as select 1",
        "create function public.mine() returns int language sql as 'select 1'",
        "create role mine",
        "alter table crm.deals add column mine int",
        "grant select on crm.deals to public",
        "select lo_create(0)",
        "select lo_from_bytea(0, 'x')",
        "select pg_logical_emit_message(false, 'a', 'b')",
        "select pg_read_file('/etc/passwd')",
        "select pg_terminate_backend(pid) from pg_stat_activity where usename <> session_user",
        "select * from pg_authid",
        "select * from caudex_auth.users",
        "select * from caudex_auth.sessions",
        "select * from caudex_vault.secrets",
        "select * from caudex_audit.log",
        "select * from caudex_app_logins.readers",
        "select * from caudex_app_logins.passwords",
        "select * from caudex_kernel.apps",
        "select caudex_app_logins.switched(true, now())",
        "select id from other_crm.notes",
        "set session authorization postgres",
    ],
)
def test_it_does_nothing_but_read(workers: Server, url: str, statement: str):
    install(workers, "other_crm", NOTES)
    assert refused(url, statement) in (DENIED, "22023"), statement
    rows = workers.admin.get("/api/v1/apps/crm/collections/deals").json()
    assert [row["title"] for row in rows] == ["boat"]


def test_it_is_no_member_of_any_role(workers: Server, url: str):
    role = urlsplit(url).username
    query = "select count(*) from pg_auth_members where member = to_regrole(%s)"
    assert workers.sql(query, role) == [(0,)]
    query = """select rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls
        from pg_roles where rolname = %s"""
    assert workers.sql(query, role) == [(False,) * 5]


def test_its_connections_and_times_are_limited(url: str):
    with open_session(url) as one, open_session(url) as two:
        for name, value in [
            ("statement_timeout", "1min"),
            ("idle_in_transaction_session_timeout", "1min"),
            ("default_transaction_read_only", "on"),
            ("temp_file_limit", "512MB"),
        ]:
            assert one.execute(f"show {name}").fetchone() == (value,)  # type: ignore[arg-type]
        two.execute("select 1")
        assert not connects(url)
    with open_session(url) as connection, pytest.raises(psycopg.Error):
        connection.execute("set temp_file_limit = '1GB'")


def test_workers_still_make_temporary_tables(workers: Server, url: str):
    app = deployed(workers)
    worker = result(workers.admin, app, "facts")["database_url"]
    with psycopg.connect(worker) as connection:
        connection.execute("create temp table mine (i int)")
    assert refused(url, "create temp table mine (i int)") == DENIED


def test_it_follows_what_is_installed(workers: Server, reader: Run):
    app = install(workers, "follows", DEALS)
    status, out, _ = reader("follower", "--app", app)
    assert status == 0
    url = shown(out, "url")
    read(url, "select title, stage from deals")
    deals = {**DEALS, "fields": DEALS["fields"][1:]}
    deals["search"] = {"fields": ["stage"]}
    install(workers, app, deals, NOTES)
    read(url, "select stage from deals")
    read(url, "select text from notes")
    assert refused(url, "select title from deals") == DENIED, "retired"
    guarded = {"name": "text", "type": "text", "access": {"read": "boss"}}
    install(workers, app, {**NOTES, "fields": [guarded]})
    assert refused(url, "select text from notes") == DENIED
    assert refused(url, "select stage from deals") == DENIED, "retired with its entity"


def test_views_leave_out_the_same_and_follow_what_is_installed(workers: Server, reader: Run):
    app = install(workers, "viewed", DEALS)
    path = f"/api/v1/apps/{app}/collections/deals"
    row = {"title": "5", "stage": "Lead", "margin": 7}
    assert workers.admin.post(path, json=row).status_code == 201
    status, out, _ = reader("viewer", "--app", app, "--views")
    assert (status, shown(out, "schema")) == (0, "caudex_read_viewer")
    url = shown(out, "url")
    with open_session(url, autocommit=True) as connection:
        cursor = connection.execute("select * from deals")
        names = [column.name for column in cursor.description or ()]
        assert names == ["id", "title", "stage", "locked", "created_at", "updated_at"]
        assert len(cursor.fetchall()) == 1
    for statement in (
        "select margin from deals",
        f"select title from {app}.deals",
        "insert into deals (title) values ('x')",
        "update deals set title = 'x'",
        "delete from deals",
        "create view caudex_read_viewer.mine as select 1",
        "select text from crm.notes",
    ):
        assert refused(url, statement) in (DENIED, "42703"), statement

    with open_session(url) as connection:
        connection.execute("select * from deals")  # in a transaction, which has a lock on the view
        install(workers, app, DEALS)

    fields = [{"name": "title", "type": "number"}, *DEALS["fields"][1:]]
    install(workers, app, {"entityName": "deals", "fields": fields}, NOTES)
    assert read(url, "select title from deals") == [(5.0,)], "no view prevents another type"
    assert read(url, "select text from notes") == []
    install(workers, app, NOTES)
    assert refused(url, "select title from deals") == "42P01", "retired"
    prune = f"/api/v1/apps/{app}/schema/prune"
    assert workers.admin.post(prune, json={"entity": "deals"}).status_code == 200

    again = shown(reader("viewer", "--renew")[1], "url")
    assert read(again, "select * from notes") == []
    assert reader("viewer", "--revoke")[0] == 0
    assert workers.sql("select to_regnamespace('caudex_read_viewer')::text") == [(None,)]
    assert reader("viewer", "--app", app, "--views")[0] == 0
    assert workers.admin.delete(f"/api/v1/apps/{app}").status_code == 200
    assert workers.sql("select to_regnamespace('caudex_read_viewer')::text") == [(None,)]


def test_it_is_made_renewed_listed_and_revoked(workers: Server, reader: Run):
    install(workers, "life", NOTES)
    status, out, err = reader("living", "--app", "life", "--connections", "3")
    assert (status, err) == (0, "")
    first = shown(out, "url")
    assert urlsplit(first).password == shown(out, "password")
    assert urlsplit(first).username == shown(out, "user")
    status, out, _ = reader("--list")
    line = next(line for line in out.splitlines() if line.startswith("living"))
    assert line.split()[1:6] == ["life", "tables", urlsplit(first).username, "ready", "3"]
    assert (urlsplit(first).password or "") not in out

    with open_session(first, autocommit=True) as connection:
        status, out, _ = reader("living", "--renew")
        assert status == 0
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    second = shown(out, "url")
    assert (connects(first), connects(second)) == (False, True)

    with open_session(second, autocommit=True) as connection:
        assert reader("living", "--revoke")[0] == 0
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    assert not connects(second)
    role = urlsplit(second).username
    assert workers.sql("select from pg_roles where rolname = %s", role) == []
    assert "living" not in reader("--list")[1]
    operations = ["SQL_READER_CREATED", "SQL_READER_RENEWED", "SQL_READER_REVOKED"]
    assert recorded(workers, "living") == operations
    trail = str(workers.sql("select new_record, old_record from caudex_audit.log"))
    assert (urlsplit(first).password or "") not in trail


def test_it_goes_with_its_app(workers: Server, reader: Run):
    install(workers, "leaving", NOTES)
    url = shown(reader("leaver", "--app", "leaving")[1], "url")
    with open_session(url, autocommit=True) as connection:
        connection.execute("select text from notes")
        assert workers.admin.delete("/api/v1/apps/leaving").status_code == 200
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    role = urlsplit(url).username
    assert workers.sql("select from pg_roles where rolname = %s", role) == []
    assert "leaver" not in reader("--list")[1]
    assert reader("leaver", "--renew")[0] == 1


def test_one_that_was_restored_has_no_login_until_it_is_renewed(workers: Server, reader: Run):
    install(workers, "restored", NOTES)
    url = shown(reader("returning", "--app", "restored")[1], "url")
    role = urlsplit(url).username
    workers.sql(f"drop owned by {role}; drop role {role}")  # another cluster has no such role
    line = next(line for line in reader("--list")[1].splitlines() if line.startswith("returning"))
    assert "no login, renew it" in line
    again = shown(reader("returning", "--renew")[1], "url")
    read(again, "select text from notes")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("x", "--app", "nothing"), "app 'nothing' not found"),
        (("Big", "--app", "crm"), "a reader's name has 1 to 40 characters"),
        (("bi", "--app", "crm"), "there is a reader 'bi' already: --renew gives it a new password"),
        (("missing", "--renew"), "there is no reader 'missing'"),
        (("missing", "--revoke"), "there is no reader 'missing'"),
        (("bi",), "one of these"),
        ((), "one of these"),
        (("bi", "--renew", "--revoke"), "one of these"),
        (("bi", "--app", "crm", "--renew"), "one of these"),
        (("bi", "--list"), "one of these"),
        (("bi", "--renew", "--views"), "--views goes with --app"),
    ],
)
def test_what_makes_no_sense_is_refused(
    url: str, reader: Run, words: tuple[str, ...], message: str
):
    status, out, err = reader(*words)
    assert (status, out) == (1, "")
    assert message in err
    assert connects(url)


def test_a_server_that_may_make_no_roles_says_so(workers: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers.services.get(SERVICE), "allowed", False)
    readers = workers.services.get(READERS)
    with pytest.raises(BadRequest, match="may not make roles in this PostgreSQL"):
        workers.run(lambda: readers.create("late", "crm", Bounds(connections=1, timeout=1)))


@pytest.mark.slow
def test_a_server_that_is_no_superuser_makes_it_and_says_what_remains_open(
    modest: Server, tmp_path: Path, monkeypatch, capsys
):
    monkeypatch.delenv("CAUDEX_TEST_DATABASE_URL", raising=False)
    reader = commands_of(modest, tmp_path, capsys)
    install(modest, "crm", DEALS)
    status, out, err = reader("bi", "--app", "crm")
    assert (status, "temporary tables" in err) == (0, False)
    assert "let a superuser revoke execute on the functions lo_*" in err
    url = shown(out, "url")
    assert read(url, "select title from deals") == []
    assert refused(url, "create temp table mine (i int)") == DENIED
    assert refused(url, "select margin from deals") == DENIED
    assert refused(url, "select id from caudex_auth.users") == DENIED
    with open_session(url, autocommit=True) as connection:
        assert reader("bi", "--revoke")[0] == 0
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")


@pytest.mark.slow
def test_a_flood_of_locks_ends_its_sessions_and_then_shuts_it(workers: Server, reader: Run):
    install(workers, "flooded", NOTES)
    url = shown(reader("flood", "--app", "flooded")[1], "url")
    for _ in range(2):
        with open_session(url) as connection, pytest.raises(psycopg.OperationalError):
            connection.execute(FLOOD)
    eventually(lambda: "shut by the server" in reader("--list")[1], 20)
    assert not connects(url)
    assert connects(shown(reader("flood", "--renew")[1], "url"))


@pytest.fixture
def dsn(postgres: Postgres) -> Generator[str]:
    dsn = postgres.create()
    try:
        yield dsn
    finally:
        postgres.drop(dsn)


@pytest.mark.slow
def test_it_is_shut_while_the_plugin_is_off(postgres: Postgres, dsn: str, tmp_path: Path):
    def begin(*, enabled: bool) -> Any:
        settings = {"workers": QUICK, "app_logins": {"enabled": enabled}}
        config = {"plugins": settings, "server": {"data_dir": str(tmp_path)}}
        return running_server(postgres, config, dsn=dsn)

    with begin(enabled=True) as server:
        password = server.admin.password
        install(server, "crm", NOTES)
        bounds = Bounds(connections=2, timeout=60)
        made = server.run(lambda: server.services.get(READERS).create("bi", "crm", bounds))
        url = made.address.url
    with begin(enabled=False) as server:
        server._admin = server.login("admin", password)
        assert not connects(url)
        guarded = {"name": "text", "type": "text", "access": {"read": "boss"}}
        install(server, "crm", {**NOTES, "fields": [guarded, {"name": "new", "type": "text"}]})
    with begin(enabled=True):
        read(url, "select new from notes")
        assert refused(url, "select text from notes") == DENIED
