"""The ordinary role that serves, and the clusters of earlier versions that it takes over."""

from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from plugins.postgres import EmbeddedServer, PostgresConfig, attach
from plugins.postgres.launcher import POSTMASTER_OOM_SCORE
from plugins.postgres.role import role_password
from tests.faults.support import NOTES, Site, notes
from tests.plugins.postgres.support import ask
from tests.plugins.postgres.test_plugin import service

BEFORE = """
create schema crm;
create type crm.state as enum ('new', 'old');
create domain crm.positive as int check (value > 0);
create type crm.pair as (one int, two int);
create table crm.notes (
    id bigint generated always as identity, number serial, state crm.state, body text
);
create statistics crm.states (dependencies) on state, body from crm.notes;
create table crm.days (day date) partition by range (day);
create table crm.days_1 partition of crm.days for values from ('2026-01-01') to ('2026-02-01');
create view crm.shown as select * from crm.notes;
create materialized view crm.kept as select * from crm.notes;
create sequence crm.numbers;
create function crm.one(int, text) returns int language sql security definer as 'select 1';
create procedure crm.go() language sql as 'select 1';
create text search configuration crm.words (copy = pg_catalog.simple);
create text search dictionary crm.plain (template = pg_catalog.simple);
create schema ext;
create extension citext schema ext;
create role caudex_5_w1 login;
grant select on crm.notes to caudex_5_w1;
insert into crm.notes (body) values ('kept');
"""

FOREIGN = """
with spaces as (
    select oid from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
), of_extensions as (select objid from pg_depend where deptype = 'e')
select string_agg(what, ', ') from (
    select nspname::text, nspowner, oid, oid from pg_namespace where nspname <> 'public'
    union all select relname, relowner, oid, relnamespace from pg_class
    union all select proname, proowner, oid, pronamespace from pg_proc
    union all select typname, typowner, oid, typnamespace from pg_type
    union all select cfgname, cfgowner, oid, cfgnamespace from pg_ts_config
    union all select dictname, dictowner, oid, dictnamespace from pg_ts_dict
    union all select stxname, stxowner, oid, stxnamespace from pg_statistic_ext
) as every (what, owner, oid, space)
where space in (select oid from spaces) and oid not in (select objid from of_extensions)
    and owner <> 'caudex'::regrole"""


def test_a_cluster_of_an_earlier_version_is_taken_over(data: Path) -> None:
    with EmbeddedServer(data, PostgresConfig(port=0)) as before:
        ask(before.dsn(), BEFORE)
    server = service(data)
    dsn = server.start()
    try:
        assert ask(dsn, "show is_superuser") == "off"
        assert ask(dsn, FOREIGN) is None
        assert ask(dsn, "select body from crm.notes") == "kept"
        ask(dsn, "insert into crm.notes (body) values ('more')")
        ask(dsn, "alter table crm.notes add column more text")
        ask(dsn, "alter role caudex_5_w1 nologin; drop owned by caudex_5_w1; drop role caudex_5_w1")
        ask(dsn, "create role caudex_5_w2 login; alter role caudex_5_w2 set work_mem = '5MB'")
        ask(dsn, "create extension pg_trgm")
        ask(dsn, "drop schema crm cascade")
        assert service(data).attach() == dsn
    finally:
        server.stop()


def test_what_an_operator_adds_as_superuser_is_taken_over_at_the_next_start(data: Path) -> None:
    server = service(data)
    server.start()
    ask(attach(data) or "", "create table public.added ()")
    server.stop()
    dsn = server.start()
    assert ask(dsn, FOREIGN) is None
    server.stop()


@pytest.mark.parametrize(
    "statement",
    [
        "copy (select 1) to program 'true'",
        "copy crm.x from '/etc/passwd'",
        "select pg_read_file('/etc/passwd')",
        "alter system set work_mem = '5MB'",
        "create role boss superuser",
        "alter role postgres password 'x'",
        "set role postgres",
    ],
)
def test_the_role_reaches_nothing_beyond_the_database(data: Path, statement: str) -> None:
    server = service(data)
    dsn = server.start()
    try:
        ask(dsn, "create schema crm; create table crm.x (line text)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ask(dsn, statement)
    finally:
        server.stop()


def test_its_password_does_not_reveal_that_of_the_superuser() -> None:
    assert role_password("secret") == role_password("secret") != role_password("secret2")
    assert "secret" not in role_password("secret")


@pytest.mark.slow
def test_a_deployment_of_an_earlier_version_goes_on(folder: Path) -> None:
    """With its apps, and a new one beside them."""
    with Site(folder, plugins__workers={"enabled": False}) as site:
        # So does a superuser serve, as in earlier versions.
        with site.serve(env={"CAUDEX_PLUGINS__POSTGRES__EPHEMERAL": "true"}) as server:
            user = site.user(server)
            path = notes(user.install("before"))
            user.post(path, json={"name": "kept"}).raise_for_status()
            assert site.sql("select rolname from pg_roles where rolname = 'caudex'") == []
        with site.serve() as server:
            user = site.user(server)
            assert [note["name"] for note in user.get(path).json()] == ["kept"]
            user.post(path, json={"name": "more"}).raise_for_status()
            more = {"entityName": "more", "fields": [{"name": "name", "type": "text"}]}
            user.install("before", entities=[NOTES, more])
            user.install("after")
            rows = site.sql(
                "select distinct usename from pg_stat_activity where application_name ~ '^caudex'"
            )
            assert rows == [("caudex",)]
            assert user.delete("/api/v1/apps/before").is_success
            assert site.sql(FOREIGN) == [(None,)]


WRITES = (
    "select lo_create(0)",
    "select lo_from_bytea(0, 'x')",
    "select pg_logical_emit_message(false, 'a', 'b')",
    "select pg_logical_emit_message(true, 'a', 'b'::bytea)",
)


def test_a_login_of_an_app_writes_neither_large_objects_nor_messages_into_the_log(
    data: Path,
) -> None:
    server = service(data)
    dsn = server.start()
    try:
        ask(dsn, "create role caudex_5_w9 login password 'x'")
        ask(dsn, "alter role caudex_5_w9 set temp_file_limit = '8MB'")
        login = make_conninfo(dsn, user="caudex_5_w9", password="x")
        for statement in WRITES:
            ask(dsn, statement)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                ask(login, statement)
        assert ask(login, "show temp_file_limit") == "8MB"
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ask(login, "set temp_file_limit = -1")
    finally:
        server.stop()


def test_the_system_ends_sessions_before_the_postmaster(shared: EmbeddedServer) -> None:
    score = int(Path(f"/proc/{shared.pid}/oom_score_adj").read_text())
    if score != POSTMASTER_OOM_SCORE:
        pytest.skip("this account may not lower the score")
    with psycopg.connect(shared.dsn()) as connection:
        pid = connection.info.backend_pid
        session = int(Path(f"/proc/{pid}/oom_score_adj").read_text())
    assert session == int(Path("/proc/self/oom_score_adj").read_text())
