"""What the triggers write, any caller that writes the table."""

import hashlib
import json
import uuid
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from kernel.testing import Server
from tests.plugins.audit.conftest import TABLE, install

USER = "11111111-1111-4111-8111-111111111111"


def last(server: Server, count: int = 1) -> list[dict[str, Any]]:
    rows = server.sql(
        "select row_to_json(l)::text from caudex_audit.log as l order by id desc limit %s", count
    )
    return [json.loads(row[0]) for row in rows]


def test_insert_has_no_old_row(trail: Server) -> None:
    [(known,)] = trail.sql("insert into crm.contacts (name) values ('Alice') returning id::text")
    [row] = last(trail)
    assert (row["table_schema"], row["table_name"]) == ("crm", "contacts")
    assert (row["operation"], row["record_id"]) == ("INSERT", known)
    assert row["old_record"] is None
    assert row["new_record"]["name"] == "Alice"


def test_update_has_both_rows_complete(trail: Server) -> None:
    trail.sql("insert into crm.contacts (name, tags) values ('Bob', '{vip,\"a,b\"}')")
    trail.sql("update crm.contacts set name = 'Rob' where name = 'Bob'")
    [row] = last(trail)
    assert row["operation"] == "UPDATE"
    assert row["old_record"] | {"name": "Rob"} == row["new_record"]
    assert row["old_record"]["tags"] == ["vip", "a,b"]
    assert set(row["old_record"]) == {"id", "name", "tags", "data", "at", "created_at"}


def test_delete_has_no_new_row(trail: Server) -> None:
    trail.sql("insert into crm.contacts (name) values ('Carol')")
    trail.sql("delete from crm.contacts where name = 'Carol'")
    [row] = last(trail)
    assert row["operation"] == "DELETE"
    assert row["new_record"] is None
    assert row["old_record"]["name"] == "Carol"
    assert row["record_id"] == row["old_record"]["id"]


def test_the_owner_is_left_out(trail: Server) -> None:
    trail.sql("insert into crm.contacts (name, _owner) values ('Dave', %s)", USER)
    assert "_owner" not in last(trail)[0]["new_record"]


def test_a_session_keeps_one_plan_however_many_rows_its_first_statements_have(trail: Server):
    said: list[str] = []
    with psycopg.connect(trail.dsn, autocommit=True) as connection:
        for _ in range(8):
            connection.execute(
                "insert into crm.contacts (name) select n::text from generate_series(1, 100) as n"
            )
        connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
        connection.execute("load 'auto_explain'")
        connection.execute("set auto_explain.log_min_duration = 0")
        connection.execute("set auto_explain.log_nested_statements = on")
        connection.execute("set auto_explain.log_verbose = on")
        connection.execute("set client_min_messages = log")
        connection.execute("insert into crm.contacts (name) values ('Frank')")
    [plan] = [each for each in said if "Insert on caudex_audit.log" in each]
    output = plan.partition("Insert on")[2]
    assert "$" in output  # a plan for these very values would have them in place of parameters


def test_truncate_is_recorded(trail: Server) -> None:
    trail.sql("truncate crm.contacts")
    [row] = last(trail)
    assert (row["operation"], row["table_name"], row["record_id"]) == ("TRUNCATE", "contacts", None)


def test_a_rolled_back_write_leaves_no_row(trail: Server) -> None:
    before = last(trail)
    with psycopg.connect(trail.dsn) as connection:
        connection.execute("insert into crm.contacts (name) values ('no one')")
        connection.rollback()
    assert last(trail) == before


def test_actor_and_request_come_from_the_settings(trail: Server) -> None:
    with psycopg.connect(trail.dsn) as connection:
        connection.execute("select set_config('caudex.actor_id', %s, true)", [USER])
        connection.execute("select set_config('caudex.request_id', 'r-1', true)")
        connection.execute("insert into crm.contacts (name) values ('Erin')")
    [row] = last(trail)
    assert (row["actor_id"], row["request_id"]) == (USER, "r-1")


def test_empty_and_missing_settings_are_null(trail: Server) -> None:
    with psycopg.connect(trail.dsn) as connection:
        connection.execute("select set_config('caudex.actor_id', '', true)")
        connection.execute("select set_config('caudex.request_id', '', true)")
        connection.execute("insert into crm.contacts (name) values ('Frank')")
    trail.sql("insert into crm.contacts (name) values ('Grace')")
    for row in last(trail, 2):
        assert (row["actor_id"], row["request_id"]) == (None, None)


@pytest.fixture
def superuser(trail: Server) -> None:
    """What an ordinary login cannot try is left to test runs that can."""
    [(found,)] = trail.sql("select rolsuper from pg_roles where rolname = current_user")
    if not found:
        pytest.skip("needs a superuser")


@pytest.mark.usefixtures("superuser")
def test_a_login_that_is_not_the_servers_cannot_name_an_actor(trail: Server) -> None:
    trail.sql("drop role if exists caudex_test_worker")
    trail.sql("create role caudex_test_worker login")
    try:
        trail.sql("grant usage on schema crm to caudex_test_worker")
        trail.sql("grant insert, select, truncate on crm.contacts to caudex_test_worker")
        with psycopg.connect(trail.dsn, autocommit=True) as connection:
            connection.execute("set session authorization caudex_test_worker")
            connection.execute("select set_config('caudex.actor_id', %s, false)", [USER])
            connection.execute("insert into crm.contacts (name) values ('Heidi')")
            for statement in (
                "select * from caudex_audit.log",
                "insert into caudex_audit.log (operation) values ('FAKE')",
                "select caudex_audit.record()",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement)
    finally:
        trail.sql("drop owned by caudex_test_worker")
        trail.sql("drop role caudex_test_worker")
    [row] = last(trail)
    assert (row["new_record"]["name"], row["actor_id"]) == ("Heidi", None)


HOSTILE = """
create temp table made_the_schema ();
create function pg_temp.run(value pg_catalog.jsonb) returns pg_catalog.bool language plpgsql as $$
begin
    raise exception 'it runs as %', current_user;
end $$;
create domain pg_temp.jsonb as pg_catalog.jsonb check (pg_temp.run(value));
create domain pg_temp.uuid as pg_catalog.uuid check (pg_temp.run('0'));
create domain pg_temp.text as pg_catalog.text check (pg_temp.run('0'));
create temp table pg_class (x int);
"""


@pytest.mark.usefixtures("superuser")
def test_what_a_login_makes_for_its_session_is_not_run_by_the_trigger(trail: Server) -> None:
    """A schema of the session comes first, for types too, where the path does not say otherwise."""
    trail.sql("drop role if exists caudex_test_worker")
    trail.sql("create role caudex_test_worker login")
    trail.sql(f"grant temporary on database {conninfo_to_dict(trail.dsn)['dbname']} to public")
    try:
        trail.sql("grant usage on schema crm to caudex_test_worker")
        trail.sql("grant insert, select, update on crm.contacts to caudex_test_worker")
        with psycopg.connect(trail.dsn, autocommit=True) as connection:
            connection.execute("set session authorization caudex_test_worker")
            connection.execute(HOSTILE)
            large = "x" * 1_100_000
            connection.execute("insert into crm.contacts (name) values (%s)", [large])
            connection.execute("update crm.contacts set name = 'Mallory'")
    finally:
        trail.sql("drop owned by caudex_test_worker")
        trail.sql("drop role caudex_test_worker")
    assert last(trail)[0]["new_record"]["name"] == "Mallory"


def test_numbers_are_reported_as_they_are_whatever_the_session_says(trail: Server) -> None:
    with psycopg.connect(trail.dsn, autocommit=True) as connection:
        connection.execute("alter table crm.contacts add column if not exists score float8")
        connection.execute("set extra_float_digits = -15")
        connection.execute("insert into crm.contacts (score) values (1234567.125)")
    assert last(trail)[0]["new_record"]["score"] == 1234567.125


@pytest.mark.parametrize("text", ["x" * 1_000_001, "é" * 600_000, '\\"' * 600_000])
def test_a_value_over_1_mb_is_kept_as_length_and_hash(trail: Server, text: str) -> None:
    trail.sql("insert into crm.contacts (name, data) values (%s, '{\"small\": 1}')", text)
    [row] = last(trail)
    raw = text.encode()
    assert row["new_record"]["name"] == {
        "length": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
    }
    assert row["new_record"]["data"] == {"small": 1}
    assert row["record_id"] == row["new_record"]["id"]


def test_values_that_are_large_together_stay_whole(trail: Server) -> None:
    name, data = "x" * 900_000, json.dumps({"y": "z" * 900_000})
    trail.sql("insert into crm.contacts (name, data) values (%s, %s)", name, data)
    new = last(trail)[0]["new_record"]
    assert (new["name"], new["data"]) == (name, json.loads(data))


def test_a_large_json_value_is_kept_as_length_and_hash(trail: Server) -> None:
    trail.sql("insert into crm.contacts (data) values (%s)", json.dumps({"y": "z" * 1_100_000}))
    assert last(trail)[0]["new_record"]["data"]["length"] > 1_100_000


LARGE = [f"large_{index}" for index in range(10)]


@pytest.fixture
def wide(trail: Server) -> dict[str, str]:
    """A record of ten large values, each below 1 MB and unlike the others, and a short one."""
    columns = ", ".join(f"{name} text" for name in ("short", *LARGE))
    trail.sql(f"create table if not exists crm.wide (id text primary key, _owner uuid, {columns})")
    install(trail, "crm", "wide", make=False)
    trail.sql("truncate crm.wide")
    values = {name: str(index) * (900_000 + index) for index, name in enumerate(LARGE)}
    names, places = ", ".join(values), ", ".join(["%s"] * len(values))
    trail.sql(f"insert into crm.wide (id, {names}) values ('w', {places})", *values.values())
    return values


def hashed(text: str) -> dict[str, Any]:
    raw = text.encode()
    return {"length": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def test_what_an_update_leaves_alone_in_a_large_row_is_not_written_again(
    trail: Server, wide: dict[str, str]
) -> None:
    [made] = last(trail)
    assert {name: made["new_record"][name] for name in LARGE} == wide
    trail.sql("update crm.wide set short = 'x'")
    [row] = last(trail)
    assert (row["old_record"]["short"], row["new_record"]["short"]) == (None, "x")
    # The smallest one fits.
    unlike = {name: hashed(text) for name, text in wide.items()} | {"large_0": wide["large_0"]}
    for record in (row["old_record"], row["new_record"]):
        assert {name: record[name] for name in LARGE} == unlike
        assert list(record) == list(made["new_record"])
        assert len(json.dumps(record)) <= 1_000_000
    assert row["record_id"] == row["new_record"]["id"] == "w"


def test_what_an_update_changes_in_a_large_row_is_reported_whole(
    trail: Server, wide: dict[str, str]
) -> None:
    trail.sql("update crm.wide set large_3 = large_4, large_5 = null, large_6 = 'new'")
    [row] = last(trail)
    old, new = row["old_record"], row["new_record"]
    assert [old[name] for name in LARGE[3:4] + LARGE[5:7]] == [
        wide[n] for n in LARGE[3:4] + LARGE[5:7]
    ]
    assert (new["large_3"], new["large_5"], new["large_6"]) == (wide["large_4"], None, "new")
    for name in set(LARGE) - {"large_3", "large_5", "large_6"}:
        assert old[name] == new[name] == hashed(wide[name])
    trail.sql("delete from crm.wide")
    [row] = last(trail)
    assert row["old_record"]["large_9"] == wide["large_9"]


def test_a_row_of_up_to_1_mb_is_reported_whole_by_an_update(trail: Server) -> None:
    text = "x" * 990_000
    trail.sql("insert into crm.contacts (name, tags) values (%s, '{a}')", text)
    trail.sql("update crm.contacts set tags = '{b}' where name = %s", text)
    [row] = last(trail)
    assert row["old_record"]["name"] == row["new_record"]["name"] == text


def test_timestamps_are_in_utc_whatever_the_session_says(trail: Server) -> None:
    with psycopg.connect(trail.dsn, autocommit=True) as connection:
        connection.execute("set timezone = 'Asia/Tokyo'")
        connection.execute("insert into crm.contacts (at) values ('2025-01-01 09:00:00')")
    assert last(trail)[0]["new_record"]["at"] == "2025-01-01T00:00:00+00:00"


def test_rows_have_the_transaction_the_installation_and_the_owner(trail: Server) -> None:
    install(trail, "owned", "notes")
    owner = str(uuid.uuid4())
    with psycopg.connect(trail.dsn) as connection:
        [[xid]] = connection.execute("select pg_current_xact_id()::text").fetchall()
        connection.execute("insert into owned.notes (name, _owner) values ('Olga', %s)", [owner])
        connection.execute("update owned.notes set name = 'Inga' where _owner = %s", [owner])
        connection.execute("delete from owned.notes where _owner = %s", [owner])
        connection.execute("insert into owned.notes (name) values ('of no owner')")
    rows = trail.sql(
        "select operation, owner_id::text, app_key from caudex_audit.log"
        " where xid = %s::xid8 order by id",
        xid,
    )
    [(key,)] = trail.sql("select key from caudex_kernel.apps where app_id = 'owned'")
    assert rows == [
        ("INSERT", owner, key),
        ("UPDATE", owner, key),
        ("DELETE", owner, key),
        ("INSERT", None, key),
    ]
    [newest] = last(trail)
    assert "_owner" not in str([newest["old_record"], newest["new_record"]])


STATEMENTS = [
    "update {} set operation = 'FAKE'",
    "update {} set operation = 'FAKE' where false",
    "delete from {}",
    "truncate {}",
]


def refuses(server: Server, statement: str, *settings: str) -> None:
    """Try a statement on the trail and on each of its partitions."""
    server.sql("insert into crm.contacts (name) values ('Ivan')")
    partitions = server.sql(
        "select inhrelid::regclass::text from pg_inherits"
        " where inhparent = 'caudex_audit.log'::regclass"
    )
    assert len(partitions) >= 4
    kept = server.sql("select count(*) from caudex_audit.log")
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        for setting in settings:
            connection.execute(f"set {setting}")
        for relation in ["caudex_audit.log", *(name for (name,) in partitions)]:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.format(relation))
    assert server.sql("select count(*) from caudex_audit.log") == kept


@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_trail_is_append_only(trail: Server, statement: str) -> None:
    refuses(trail, statement)


@pytest.mark.usefixtures("superuser")
@pytest.mark.parametrize("statement", STATEMENTS)
def test_it_is_so_for_a_superuser_who_switches_triggers_off(trail: Server, statement: str) -> None:
    refuses(trail, statement, "session_replication_role = replica")


def test_the_right_to_change_the_trail_is_taken_from_its_owner(trail: Server) -> None:
    rights = trail.sql(
        "select c.relname, a.privilege_type from pg_class as c, aclexplode(c.relacl) as a"
        " where c.relnamespace = 'caudex_audit'::regnamespace and c.relname like 'log%'"
        " and c.relkind in ('r', 'p')"
    )
    assert {name for name, _ in rights} >= {"log", "log_default"}
    assert not {right for _, right in rights} & {"UPDATE", "DELETE", "TRUNCATE"}


def test_functions_pin_their_search_path_and_are_revoked_from_others(trail: Server) -> None:
    rows = trail.sql(
        "select proname, proconfig::text, proacl::text from pg_proc"
        " where pronamespace = 'caudex_audit'::regnamespace"
    )
    called = {
        "record", "record_all", "refuse", "shrunk", "switched", "as_json_in_utc", "branch", "seen",
        "reshaped",
    }  # fmt: skip
    inlined = {"in_utc", "hidden"}  # into those above, where their search path applies
    assert {name for name, _, _ in rows} == called | inlined
    for name, settings, rights in rows:
        assert name in inlined or "search_path=pg_catalog, pg_temp" in settings
        assert "{=X" not in rights
        assert ",=X" not in rights


def test_a_second_install_attaches_what_is_missing_and_nothing_twice(trail: Server) -> None:
    install(trail, "hr", "people")
    trail.sql(TABLE.format("hr", "absences"))
    install(trail, "hr", "people", "absences", make=False)
    attached = trail.sql(
        "select tgrelid::regclass::text, tgname from pg_trigger"
        " where tgrelid in ('hr.people'::regclass, 'hr.absences'::regclass) order by 1, 2"
    )
    names = ["caudex_audit" + suffix for suffix in ("", "_delete", "_insert", "_truncate")]
    assert attached == [(table, name) for table in ("hr.absences", "hr.people") for name in names]


def test_rows_of_one_statement_are_recorded_in_their_order(trail: Server) -> None:
    trail.sql("insert into crm.contacts (name) select 'c' || n from generate_series(1, 3) as n")
    created = last(trail, 3)
    assert [row["new_record"]["name"] for row in created] == ["c3", "c2", "c1"]
    trail.sql("delete from crm.contacts where name in ('c1', 'c2')")
    deleted = last(trail, 2)
    assert {row["operation"] for row in deleted} == {"DELETE"}
    assert {row["record_id"] for row in deleted} == {row["record_id"] for row in created[1:]}
    assert all(row["new_record"] is None and row["old_record"]["name"] for row in deleted)


def test_triggers_of_an_older_version_are_replaced(trail: Server) -> None:
    install(trail, "old", "people")
    trail.sql("drop trigger caudex_audit_insert on old.people")
    trail.sql("drop trigger caudex_audit_delete on old.people")
    trail.sql(
        "create or replace trigger caudex_audit after insert or update or delete on old.people"
        " for each row execute function caudex_audit.record('1')"
    )
    install(trail, "old", "people", make=False)
    trail.sql("insert into old.people (name) values ('x')")
    [row] = last(trail)
    before = trail.sql("select count(*) from caudex_audit.log where table_schema = 'old'")
    assert row["operation"] == "INSERT"
    assert before == [(1,)]


def test_a_text_id_is_the_record_id(trail: Server) -> None:
    trail.sql("create schema ops")
    trail.sql("create table ops.parts (id text primary key, _owner uuid, n float8)")
    install(trail, "ops", "parts", make=False)
    trail.sql("insert into ops.parts (id, n) values ('bolt', 'nan')")
    [row] = last(trail)
    assert (row["record_id"], row["new_record"]["n"]) == ("bolt", "NaN")
