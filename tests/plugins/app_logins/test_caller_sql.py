"""SQL of workers: it sees what its caller may read, whatever the statement tries."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Generator
from typing import Any

import pytest

from kernel.public import BadRequest
from kernel.testing import Client, Postgres, Server, running_server
from plugins.app_logins.queries.service import BOUNDS
from plugins.app_logins.queries.values import write_values
from tests.plugins.data.conftest import overrides
from tests.plugins.data.witness import ScopePlugin
from tests.plugins.workers.support import QUICK, deploy, result

PYTHON = """
from caudex_worker import CollectionError, Worker

worker = Worker()

@worker.rpc
def sql(params, ctx):
    try:
        return ctx.sql(params["query"], params.get("values"))
    except CollectionError as error:
        return {"error": str(error), "status": error.status}

@worker.rpc
async def sql_async(params, ctx):
    return await ctx.sql(params["query"])

@worker.rpc
async def own(params, ctx):
    return await worker.sql(params["query"])

worker.run()
"""
JAVASCRIPT = """
serve({
  async sql({ query, values }, caller, ctx) {
    try {
      return await ctx.sql(query, values);
    } catch (error) {
      return { error: error.message, status: error.status };
    }
  },
});
"""
FIELDS: list[dict[str, Any]] = [
    {"name": "title", "type": "text"},
    {"name": "value", "type": "number"},
    {"name": "margin", "type": "number", "access": {"read": "boss"}},
    {"name": "closed_on", "type": "date"},
    {"name": "tags", "type": "[text]"},
    {"name": "more", "type": "json"},
    {"name": "company_id", "type": "entity_link", "references": {"entity": "companies"}},
]
MANIFEST: dict[str, Any] = {
    "appId": "shop",
    "name": "Shop",
    "dataContract": [
        {"entityName": "companies", "fields": [{"name": "name", "type": "text"}]},
        {"entityName": "deals", "fields": FIELDS},
        {"entityName": "notes", "fields": [{"name": "text", "type": "text"}]},
    ],
}


@pytest.fixture(scope="module")
def site(postgres: Postgres) -> Generator[Server]:
    config = overrides("ScopePlugin")
    config["plugins"] = {**config.get("plugins", {}), "workers": {**QUICK, "rpc_timeout": 20}}
    config["database"] = {"statement_timeout": 2.0}
    with running_server(postgres, config) as server:
        server.install(MANIFEST)
        answer = deploy(server.admin, "shop", {"worker.py": PYTHON})
        assert answer.status_code == 200, answer.text
        yield server


@pytest.fixture(scope="module")
def clerk(site: Server) -> Client:
    """Reads its own deals and all companies, and no notes."""
    keys = ["deals.read.own", "deals.create", "companies.read"]
    clerk = site.user("clerk", permissions={"shop": keys})
    api = "/api/v1/apps/shop/collections"
    company = site.admin.post(f"{api}/companies", json={"name": "Acme"}).json()
    deals = [
        {"title": "secret", "value": 1000, "margin": 9, "company_id": company["id"]},
        {"title": "other", "value": 500, "margin": 8},
    ]
    for deal in deals:
        assert site.admin.post(f"{api}/deals", json=deal).status_code == 201
    mine = {
        "title": "7", "value": 20, "closed_on": "2026-02-01", "tags": ["a", "b"],
        "more": {"x": 1}, "company_id": company["id"],
    }  # fmt: skip
    assert clerk.post(f"{api}/deals", json=mine).status_code == 201
    assert site.admin.post(f"{api}/notes", json={"text": "private"}).status_code == 201
    return clerk


def sql(client: Client, query: str, *values: Any) -> Any:
    return result(client, "shop", "sql", {"query": query, "values": list(values)})


def error(client: Client, query: str, *values: Any) -> str:
    answer = sql(client, query, *values)
    assert isinstance(answer, dict), answer
    assert answer["status"] == 400, answer
    return answer["error"]


def scope_of(server: Server) -> ScopePlugin:
    return next(plugin for plugin in server.kernel.instances if isinstance(plugin, ScopePlugin))


JOIN = """
select c.name, count(*) as n, sum(d.value) as total
from deals as d left join companies as c on c.id = d.company_id
group by c.name order by c.name nulls last"""


def test_a_report_is_one_statement(site: Server, clerk: Client):
    everything = [{"name": "Acme", "n": 2, "total": 1020}, {"name": None, "n": 1, "total": 500}]
    assert sql(site.admin, JOIN) == everything
    assert sql(clerk, JOIN) == [{"name": "Acme", "n": 1, "total": 20}]
    assert result(clerk, "shop", "sql_async", {"query": JOIN}) == sql(clerk, JOIN)
    assert result(clerk, "shop", "own", {"query": JOIN}) == everything, "the app's own rights"


def test_rows_and_fields_are_those_of_the_routes(site: Server, clerk: Client):
    [row] = sql(clerk, "select * from deals")
    [record] = clerk.get("/api/v1/apps/shop/collections/deals").json()
    assert list(row) == list(record)
    assert {**row, "created_at": 0, "updated_at": 0} == {**record, "created_at": 0, "updated_at": 0}
    assert 'column "margin" does not exist' in error(clerk, "select margin from deals")
    assert 'column "_owner" does not exist' in error(site.admin, "select _owner from deals")
    assert 'relation "notes" does not exist' in error(clerk, "select * from notes")
    assert sql(site.admin, "select sum(margin) as m from deals") == [{"m": 17}]
    stranger = site.user(permissions={"shop": ["notes.create"]})
    assert 'relation "deals" does not exist' in error(stranger, "select * from deals")


def test_values_have_the_types_of_their_places(clerk: Client):
    query = """select title from deals where value = $1 and closed_on = $2 and tags @> $3
        and more = $4 and ($5::text is null) and title = any ($6) and (value > 1) = $7"""
    values = [20, "2026-02-01", ["a"], {"x": 1}, None, ["7", 'a "b" \\ c', None], True]
    assert sql(clerk, query, *values) == [{"title": "7"}]
    assert sql(clerk, "select $1::text as t", "'; select 1 --\\") == [{"t": "'; select 1 --\\"}]
    assert "wrong number of parameters" in error(clerk, "select $1::text as t")
    assert "invalid input syntax" in error(clerk, "select id from deals where value = $1", "x")
    with pytest.raises(BadRequest, match="U\\+0000"):
        write_values(["a\0b"])
    assert "500 values" in error(clerk, "select 1 as one", *range(501))


def test_scopes_of_plugins_hold(site: Server, clerk: Client):
    scope = scope_of(site)
    scope.trees = {"deals": {"$or": [{"title": "it's \\ $1"}, {"value": {"$gt": 100}}]}}
    try:
        assert sql(site.admin, "select title from deals order by 1") == [
            {"title": "other"},
            {"title": "secret"},
        ]
        assert sql(clerk, "select title from deals") == []
        scope.trees = {"deals": {"company_id": {"$has": {"name": "Acme"}}, "margin": {"$gt": 1}}}
        assert sql(site.admin, "select title from deals") == [{"title": "secret"}]
    finally:
        scope.trees = {}


ONLY_QUERIES = [
    "set role postgres", "reset role", "reset all", "set session authorization default", "begin",
    "commit", "rollback", "do $$ begin end $$", "explain select * from deals", "show all",
    "copy deals to stdout", "copy (select 1) to program 'true'", "lock table deals",
    "create temp table mine (i int)", "create temp view mine as select 1",
    "declare c cursor for select 1", "fetch all from c", "listen x", "notify x",
    "prepare mine as select 1", "execute caudex_query", "deallocate all", "discard all", "vacuum",
    "call mine()", "alter role current_user superuser", "grant all on deals to public",
    "select 1; select 2", "select 1; reset role; select 2", "", " ", ";", "select 1 /*",
    "(int) as select $1", "as select 1", "select * into mine from deals",
]  # fmt: skip


@pytest.mark.parametrize("statement", ONLY_QUERIES)
def test_it_is_one_query_and_nothing_else(clerk: Client, statement: str):
    assert error(clerk, statement).startswith("sql: ")


@pytest.mark.parametrize(
    "statement",
    [
        "with gone as (delete from deals returning *) select * from gone",
        "delete from notes",
        "delete from pg_class",
        "insert into _changes (op, entity, data) values ('insert', 'notes', '{}')",
        "select * from deals for update",
        "select * from shop.deals",
        "select * from shop.notes",
        "select * from caudex_auth.users",
        "select * from caudex_vault.secrets",
        "select * from caudex_audit.log",
        "select * from caudex_app_logins.query_passwords",
        "select * from pg_authid",
        (
            "select caudex_app_logins.show_records('x', 'shop', array['stolen'],"
            " array['select * from shop.notes'], array[false], 0)"
        ),
        (
            "select caudex_app_logins.show_records(null, 'shop', array['stolen'],"
            " array['select * from shop.notes'], array[false], 0)"
        ),
        "select caudex_app_logins.purged()",
        "select set_config('role', 'postgres', true)",
        "select set_config('session_authorization', 'postgres', true)",
        (
            "select set_config('transaction_read_only', 'off', true), query_to_xml("
            "'select 1', true, false, '')"
        ),
        (
            "select set_config('search_path', 'shop', true), query_to_xml("
            "'select * from notes', true, false, '')"
        ),
        "select query_to_xml('select * from shop.deals', true, false, '')",
        "select query_to_xml('explain analyze select * from deals', true, false, '')",
        "select query_to_xml('reset role', true, false, '')",
        "select table_to_xml('shop.deals', true, false, '')",
        "select schema_to_xml('shop', true, false, '') from deals where title = 'x' or 1 / 0 = 1",
        "select pg_read_file('/etc/passwd')",
        "select pg_ls_dir('.')",
        "select lo_import('/etc/passwd')",
        "select pg_reload_conf()",
        "select pg_terminate_backend(pid) from pg_stat_activity where usename <> session_user",
        "select nextval('caudex_audit.log_id')",
        "select dblink('x')",
    ],
)
def test_it_reaches_nothing_else(site: Server, clerk: Client, statement: str):
    answer = error(clerk, statement)
    for secret in ("secret", "private", "argon2"):
        assert secret not in answer
    titles = [row["title"] for row in sql(site.admin, "select title from deals order by title")]
    assert titles == ["7", "other", "secret"]


def test_records_out_of_scope_reach_no_function_of_a_statement(clerk: Client):
    # Without a barrier PostgreSQL computes the cheaper condition first, and its error is an oracle.
    query = "select title from deals where 1 / (case when title = 'secret' then 0 else 1 end) = 1"
    assert sql(clerk, query) == [{"title": "7"}]
    assert sql(clerk, "select title from deals where title::int > 0") == [{"title": "7"}]
    hidden = "select count(*) as n from deals where to_jsonb(deals)::text like '%margin%'"
    assert sql(clerk, hidden) == [{"n": 0}]


def test_it_is_bounded(clerk: Client):
    assert "took longer than it may" in error(clerk, "select pg_sleep(20)::text as x")
    endless = "select set_config('statement_timeout', '0', false), pg_sleep(20)::text as x"
    assert "took longer than it may" in error(clerk, endless)
    rows = "select i from generate_series(1, $1::int) as i"
    assert len(sql(clerk, rows, BOUNDS.rows)) == BOUNDS.rows
    assert f"more than {BOUNDS.rows} rows" in error(clerk, rows, BOUNDS.rows + 1)
    assert "more than 8000000 bytes" in error(clerk, "select repeat('x', 9000000) as x")
    assert len(error(clerk, "select repeat('x', 50000000)::int as x")) < 600
    assert len(error(clerk, "select (repeat('x', 50000000) || title)::int from deals")) < 600
    assert "same name" in error(clerk, "select 1 as a, 2 as a")
    assert "characters at most" in error(clerk, "select 1 -- " + "x" * BOUNDS.characters)


def test_nothing_is_left_behind(site: Server, clerk: Client):
    query = "select pg_advisory_lock(4711)::text as x, set_config('timezone', 'Asia/Tokyo', false)"
    for _ in range(3):
        sql(clerk, query)
    assert sql(clerk, "select current_setting('timezone') as zone") == [{"zone": "UTC"}]
    for statement in ("select lo_create(0)", "select lo_from_bytea(0, 'x')"):
        sql(clerk, statement)  # PostgreSQL 15 allows it within a transaction that only reads
    assert site.sql("select count(*) from pg_largeobject_metadata") == [(0,)]
    count = "select count(*) from pg_class where relname = 'deals' and relpersistence = 't'"
    assert site.sql(count) == [(0,)]
    assert sql(clerk, "select 1 as one -- a comment") == [{"one": 1}]
    assert sql(clerk, "select 1 as one;") == [{"one": 1}]


def test_a_session_is_used_again_and_replaced_when_it_is_gone(site: Server, clerk: Client):
    backend = "select pg_backend_pid() as pid"
    [first] = sql(clerk, backend)
    assert sql(site.admin, backend) == [first]
    numbers = set[float]()
    for _ in range(2):
        sql(clerk, "select setseed(0.5)::text as x")
        [row] = sql(clerk, "select random() as number")
        numbers.add(row["number"])
    assert len(numbers) == 2, "a statement chooses no random numbers for the next one"
    assert "division by zero" in error(clerk, "select 1 / 0 as x")
    [second] = sql(clerk, backend)
    assert second != first, "a statement that failed ends its session"
    site.sql("select pg_terminate_backend(%s)", second["pid"])
    [third] = sql(clerk, backend)
    assert third != second
    assert sql(clerk, "select title from deals") == [{"title": "7"}]


def test_an_install_is_followed_and_not_held_up(site: Server, clerk: Client):
    fields = [{"name": "text", "type": "text"}, {"name": "rank", "type": "text"}]
    for kind, value in (("text", "5"), ("number", 5)):
        fields[1]["type"] = kind
        entity = {"entityName": "ranks", "fields": fields}
        site.install({**MANIFEST, "dataContract": [*MANIFEST["dataContract"], entity]})
        if kind == "text":
            body = {"rank": "5"}
            path = "/api/v1/apps/shop/collections/ranks"
            assert site.admin.post(path, json=body).status_code == 201
        assert sql(site.admin, "select rank from ranks") == [{"rank": value}]


def test_a_lost_password_is_replaced(site: Server, clerk: Client):
    assert sql(clerk, "select 1 as one") == [{"one": 1}]
    site.sql("truncate caudex_app_logins.query_passwords")  # as a crash of PostgreSQL does
    assert sql(clerk, "select title from deals") == [{"title": "7"}]


def test_its_login_goes_with_the_app(site: Server):
    site.install({**MANIFEST, "appId": "brief"})
    assert deploy(site.admin, "brief", {"worker.py": PYTHON}).status_code == 200
    assert result(site.admin, "brief", "sql", {"query": "select count(*) as n from deals"})
    query = """select rolname from pg_roles as r, caudex_app_logins.logins as l, pg_database as d
        where app_id = 'brief' and datname = current_database()
        and rolname = format('caudex_%s_q%s', d.oid, l.number)"""
    [(role,)] = site.sql(query)
    assert site.admin.delete("/api/v1/apps/brief").status_code == 200
    assert site.sql("select from pg_roles where rolname = %s", role) == []


def test_without_the_plugin_a_worker_gets_an_error(site: Server, monkeypatch: pytest.MonkeyPatch):
    find = site.services.find
    monkeypatch.setattr(
        site.services, "find", lambda key: None if key.name == "caller_sql" else find(key)
    )
    assert "runs no SQL of workers" in error(site.admin, "select 1 as one")


# Writes


@pytest.fixture
def ledger(site: Server) -> Generator[str]:
    """An entity of its own with three entries, and the path of its records."""
    path = "/api/v1/apps/books/collections/entries"
    site.install(BOOKS)
    if site.admin.get("/api/v1/apps/books/worker/status").json()["status"] != "running":
        assert deploy(site.admin, "books", {"worker.py": PYTHON}).status_code == 200
    site.admin.post(f"{path}/delete-where", json={"where": {}, "max": 1000})
    rows = [{"title": title, "value": value} for title, value in [("a", 1), ("b", 2), ("c", 3)]]
    assert site.admin.post(f"{path}/bulk", json=rows).status_code == 201
    return path


BOOKS: dict[str, Any] = {
    "appId": "books",
    "name": "Books",
    "dataContract": [
        {
            "entityName": "entries",
            "fields": [
                {"name": "title", "type": "text", "required": True},
                {"name": "value", "type": "number"},
                {
                    "name": "kind",
                    "type": "text",
                    "enum_values": ["in", "out"],
                    "default_value": "in",
                },
                {"name": "secret", "type": "number", "access": {"read": "boss", "write": "boss"}},
                {"name": "locked", "type": "number", "access": {"write": "boss"}},
                {"name": "label", "type": "text", "generated": {"$concat": ["title", "!"]}},
                {"name": "seen_at", "type": "timestamp"},
                {"name": "tags", "type": "[text]"},
                {"name": "more", "type": "json"},
            ],
        }
    ],
}


def write(client: Client, query: str, *values: Any) -> Any:
    return result(client, "books", "sql", {"query": query, "values": list(values)})


def refusal(client: Client, query: str, *values: Any) -> tuple[int, str]:
    answer = write(client, query, *values)
    assert isinstance(answer, dict), answer
    return answer["status"], answer["error"]


def titles(client: Client, path: str) -> list[str]:
    return sorted(row["title"] for row in client.get(path).json())


def test_it_writes_what_the_routes_would(site: Server, ledger: str):
    admin = site.admin
    changed = write(admin, "update entries set value = value * $1 where value > 1", 10)
    assert sorted(row["value"] for row in changed) == [20, 30]
    assert {row["label"] for row in changed} == {"b!", "c!"}
    query = """insert into entries (title, value, seen_at, tags, more)
        select title || '2', value, '2026-02-01T10:00:00+02:00', array['x', 'y'], '{"n": null}'
        from entries where title = 'a'"""
    [made] = write(admin, query)
    assert (made["title"], made["value"], made["kind"], made["tags"]) == ("a2", 1, "in", ["x", "y"])
    assert (made["seen_at"], made["more"]) == ("2026-02-01T08:00:00Z", {"n": None})
    assert admin.get(f"{ledger}/{made['id']}").json() == made
    assert write(admin, "delete from entries where title = 'a2'") == [{"id": made["id"]}]
    assert titles(admin, ledger) == ["a", "b", "c"]
    assert write(admin, "update entries set value = value") == [], "nothing changes"
    assert write(admin, "delete from entries where false") == []
    [row] = write(admin, "update entries set value = null, tags = null where title = 'a'")
    assert (row["value"], row["tags"]) == (None, None)

    trail = admin.get("/api/v1/audit", params={"record_id": made["id"]}).json()
    assert [row["operation"] for row in trail] == ["DELETE", "INSERT"]
    assert {row["actor_id"] for row in trail} == {admin.id}
    assert all(row["request_id"] for row in trail)


def test_it_writes_with_the_rights_of_its_caller_only(site: Server, ledger: str):
    reader = site.user(permissions={"books": ["entries.read"]})
    status, message = refusal(reader, "update entries set value = 0")
    assert (status, "entries.update" in message) == (403, True)
    assert refusal(reader, "delete from entries")[0] == 403
    assert refusal(reader, "insert into entries (title) values ('x')")[0] == 403

    keys = ["entries.read", "entries.create", "entries.update.own", "entries.delete.own"]
    writer = site.user(permissions={"books": keys})
    [mine] = write(writer, "insert into entries (title) values ('mine')")
    assert refusal(writer, "update entries set value = 0")[0] == 404, "some are not its own"
    assert refusal(writer, "delete from entries")[0] == 404
    changed = write(writer, "update entries set value = 9 where title = 'mine'")
    assert [row["id"] for row in changed] == [mine["id"]]
    assert refusal(writer, "update entries set locked = 1 where title = 'mine'")[0] == 403
    status, message = refusal(writer, "update entries set secret = 1 where title = 'mine'")
    assert (status, 'column "secret"' in message) == (400, True)
    assert write(writer, "delete from entries where title = 'mine'") == [{"id": mine["id"]}]

    narrow = site.user(permissions={"books": ["entries.read.own", "entries.delete"]})
    assert write(narrow, "delete from entries") == [], "it sees none"
    assert titles(site.admin, ledger) == ["a", "b", "c"]
    values = [row["value"] for row in site.admin.get(ledger).json()]
    assert sorted(values) == [1, 2, 3]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("insert into entries (value) values (1)", "entries.title is required"),
        ("update entries set kind = 'up'", "entries.kind must be one of"),
        ("update entries set label = 'x'", "label"),
        ("update entries set id = gen_random_uuid()", "the id of a record cannot be changed"),
        ("update entries set value = 0 returning id", "leave out `returning`"),
        ("with gone as (delete from entries returning *) select * from gone", "leave out"),
        ("insert into entries (title) select 't' from generate_series(1, 1001)", "1000 records"),
        (
            "insert into entries (title) select repeat('x', 90000) from generate_series(1, 100)",
            "8000000 bytes",
        ),
        (
            "insert into entries (title) values ('x') on conflict (id) do update set value = 1",
            "sql: ",
        ),
        ("update books.entries set value = 0", "permission denied"),
        ("update entries set value = 0; delete from entries", "multiple commands"),
        ("select * from entries for update", "changes records of the app, and nothing else"),
        ("update entries set nothing = 0", 'column "nothing"'),
    ],
)
def test_what_it_cannot_write_changes_nothing(
    site: Server, ledger: str, statement: str, message: str
):
    before = site.admin.get(ledger).json()
    status, text = refusal(site.admin, statement)
    assert (status, message in text) == (400, True), text
    assert site.admin.get(ledger).json() == before


def test_no_change_is_lost_where_statements_meet(site: Server, ledger: str):
    statement = "update entries set value = value + 1 where title = 'a'"
    counts = list[int]()

    def add() -> None:
        for _ in range(5):
            answer = write(site.admin, statement)
            if isinstance(answer, list):
                counts.append(len(answer))
            else:
                assert answer["status"] in (412, 503), answer

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [row] = write(site.admin, "select value from entries where title = 'a'")
    assert row["value"] == 1 + sum(counts)
    assert counts


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("node"), reason="no node on this machine")
def test_it_is_the_same_in_javascript(site: Server, clerk: Client):
    assert deploy(site.admin, "shop", {"index.js": JAVASCRIPT}).status_code == 200
    try:
        assert sql(clerk, JOIN) == [{"name": "Acme", "n": 1, "total": 20}]
        assert sql(clerk, "select title from deals where value = $1", 20) == [{"title": "7"}]
        assert 'relation "notes" does not exist' in error(clerk, "select * from notes")
    finally:
        assert deploy(site.admin, "shop", {"worker.py": PYTHON}).status_code == 200
