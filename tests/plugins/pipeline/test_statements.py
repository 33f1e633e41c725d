"""The pipelined driver answers what the pool answers, without a connection for each request."""

import asyncio
from collections.abc import Generator
from functools import partial
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from psycopg.errors import SyntaxError as SqlSyntaxError

from kernel.contracts.statements import POOL, SETTINGS, STATEMENTS
from kernel.errors import BadRequest, BootError, ConstraintViolation, SchemaChanged, Unavailable
from kernel.testing import MakeServer, Postgres, Server
from plugins.pipeline.config import PipelineConfig
from plugins.pipeline.service import LIMITS, PipelinedStatements
from tests.kernel.databases import ACTOR, sql, table
from tests.plugins.pipeline.groups import pipelined, started
from tests.waiting import eventually

ONE = PipelineConfig(reads=1, filters=1, writes=1)
BACKEND = "select pg_backend_pid() from (select pg_sleep($1::float8)) as s"


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> Generator[str]:
    """A database that the tests of this module share."""
    url = postgres.create()
    yield url
    postgres.drop(url)


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("select $1::text", ["Zoë \\ ' \" 🎈"]),
        ("select $1::text", [None]),
        ("select 1 where false", []),
        ("select x from (values (null), ('1'), (''), ('null')) as v(x)", []),
        ("select to_json($1::text[])", [["a", None, 'say "hi"', "back\\slash", ""]]),
        ("select $1::jsonb", [b'{"a": [1, "\\u00e9"]}']),
        ("select generate_series(1, $1::int)", [1000]),
        ("select repeat('x', $1::int)", [3_000_000]),
        ("select length($1::text)", ["y" * 3_000_000]),
        ("show timezone", []),
        ("", []),
    ],
)  # fmt: skip
async def test_every_call_answers_as_the_pool_does(dsn: str, query: str, params: list[Any]) -> None:
    text = query.encode()
    async with pipelined(dsn, ONE) as (driver, pool):
        for custom in (False, True):
            for _ in range(2):
                wanted = await pool.fetch(text, *params, custom_plan=custom)
                assert await driver.fetch(text, *params, custom_plan=custom) == wanted
                rows = await pool.fetch_all(text, *params, custom_plan=custom)
                assert await driver.fetch_all(text, *params, custom_plan=custom) == rows
        assert await driver.execute(text, *params) == await pool.execute(text, *params)
        assert await driver.execute_all(text, *params) == await pool.execute_all(text, *params)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("select 1 / $1::int", BadRequest),
        ("select '2024-02-30'::date where $1::int = 0", BadRequest),
        ("select * from nowhere where $1::int = 0", SchemaChanged),
        ("selec $1::int", SqlSyntaxError),
        ("select pg_sleep(2) where $1::int = 0", Unavailable),
        ("do $$ begin raise 'x' using errcode = '40001'; end $$", Unavailable),
    ],
)
async def test_every_error_is_the_same_as_that_of_the_pool(
    dsn: str, query: str, error: type[Exception]
) -> None:
    params = [0] if "$1" in query else []
    timeout = 0.5 if "pg_sleep" in query else 10  # which only one is to meet
    async with pipelined(dsn, ONE, statement_timeout=timeout) as (driver, pool):
        for call, same in (
            (driver.fetch, pool.fetch), (driver.fetch_all, pool.fetch_all),
            (driver.execute, pool.execute), (driver.execute_all, pool.execute_all),
        ):  # fmt: skip
            with pytest.raises(error) as reported:
                await call(query.encode(), *params)
            with pytest.raises(error) as wanted:
                await same(query.encode(), *params)
            assert type(reported.value) is type(wanted.value)
            assert str(reported.value) == str(wanted.value)
            assert await driver.fetch("select 'still here'") == b"still here"


async def test_a_violation_names_its_table_column_and_constraint(dsn: str) -> None:
    name = table(dsn)
    async with pipelined(dsn, ONE) as (driver, _):
        insert = f"insert into {name} (id) values ($1::int)".encode()
        await driver.execute(insert, 1)
        with pytest.raises(ConstraintViolation) as reported:
            await driver.execute(insert, 1)
        assert reported.value.constraint == f"{name}_pkey"
        assert reported.value.table == name


async def test_a_rule_that_is_checked_at_the_commit_is_reported(dsn: str) -> None:
    parent = table(dsn, "id int primary key")
    child = table(dsn, f"id int references {parent} deferrable initially deferred")
    async with pipelined(dsn, ONE) as (driver, _):
        for _ in range(2):
            with pytest.raises(ConstraintViolation):
                await driver.execute(f"insert into {child} values (7) returning id".encode())
        assert await driver.fetch(f"select count(*) from {child}".encode()) == b"0"


async def test_text_that_cannot_be_stored_is_refused_before_it_is_sent(dsn: str) -> None:
    async with pipelined(dsn, ONE) as (driver, _):
        for bad in ("a\0b", "\ud800", b"a\0b"):
            with pytest.raises(BadRequest):
                await driver.fetch("select $1::text", bad)
        with pytest.raises(BadRequest):
            await driver.fetch("select $1::text", b"\xff\xfe")
        assert await driver.fetch("select 1") == b"1"


async def test_a_write_carries_its_settings_and_leaves_none_behind(dsn: str) -> None:
    query = SETTINGS + b" select current_setting('caudex.request_id') from settings"
    after = "select coalesce(current_setting('caudex.request_id', true), '')"
    async with pipelined(dsn, ONE) as (driver, _):
        for _ in range(3):
            assert await driver.execute(query, driver.settings(ACTOR)) == b"req-1"
            assert await driver.execute(after) == b""


async def test_many_statements_share_few_connections_and_none_waits_for_another(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whom a busy machine holds up is not relieved.
    monkeypatch.setattr("plugins.pipeline.groups.TICK_SECONDS", 10.0)
    config = PipelineConfig(reads=2, filters=1, writes=1)
    async with pipelined(dsn, config) as (driver, _):
        query = "select json_build_array($1::int, pg_backend_pid())"
        found = await asyncio.gather(*(driver.fetch(query, n) for n in range(100)))
        rows = [msgspec.json.decode(each or b"") for each in found]
        assert [row[0] for row in rows] == list(range(100))
        assert len({row[1] for row in rows}) == 2


async def test_one_that_fails_takes_nothing_of_its_neighbours_with_it(dsn: str) -> None:
    name = table(dsn)
    async with pipelined(dsn, ONE) as (driver, _):
        insert = f"insert into {name} (id) select $1::int where 1 / $2::int = 1".encode()
        calls = [driver.execute(insert, n, n % 2) for n in range(100)]
        calls += [driver.fetch("select 1 / $1::int", n % 2) for n in range(100)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(each) for each in answers[:100]] == [BadRequest, type(None)] * 50
        assert [type(each) for each in answers[100:]] == [BadRequest, bytes] * 50
    assert sql(dsn, f"select count(*), min(id % 2) from {name}") == [(50, 1)]


async def test_three_reads_of_a_turn_share_a_sync_and_so_a_transaction(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugins.pipeline.groups.TICK_SECONDS", 10.0)  # as above
    async with pipelined(dsn, ONE) as (driver, _):
        began = "select extract(epoch from now())"
        await driver.fetch(began)
        found = await asyncio.gather(*(driver.fetch(began) for _ in range(7)))
        assert [found.index(each) for each in found] == [0, 0, 0, 3, 3, 3, 6]
        filters = await asyncio.gather(*(driver.fetch(began, custom_plan=True) for _ in range(3)))
        assert len(set(filters)) == 3


async def test_reads_use_one_connection_while_it_answers_at_once(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = replace(LIMITS["reads"], joined=5.0)  # for a busy machine
    monkeypatch.setitem(LIMITS, "reads", patient)
    async with pipelined(dsn) as (driver, _):
        assert len({*await asyncio.gather(*(driver.fetch(BACKEND, 0.0) for _ in range(20)))}) == 1


async def test_reads_use_another_connection_while_one_is_slow(dsn: str) -> None:
    async with pipelined(dsn) as (driver, _):
        slow = started(driver.fetch(BACKEND, 0.5))
        await asyncio.sleep(0.015)
        quick = [await driver.fetch(BACKEND, 0.0) for _ in range(20)]
        assert not slow.done()
        assert len({*quick, await slow}) == 2


async def test_a_quick_read_waits_for_no_slow_one_that_shares_its_sync(dsn: str) -> None:
    async with pipelined(dsn, ONE) as (driver, _):
        queries = ("select 1", "select pg_sleep(1.5)", "select 2")
        quick, slow, last = [started(driver.fetch(query)) for query in queries]
        assert [await quick, await last] == [b"1", b"2"]
        assert not slow.done()
        assert await slow == b""


async def test_transactions_and_streams_are_the_pools(dsn: str) -> None:
    async with pipelined(dsn, ONE) as (driver, _):

        async def twice(tx: Any) -> list[bytes]:
            query = "select json_build_array(pg_backend_pid(), pg_current_xact_id()::text)"
            return [await tx.fetch(query), await tx.fetch(query)]

        one, two = await driver.run(ACTOR, twice)
        assert one == two
        async with driver.stream("select generate_series(1, 2000)") as batches:
            assert len([row async for batch in batches for row in batch]) == 2000


def connections(server: Server) -> int:
    """How many connections a server has, those that listen apart."""
    query = "select count(*) from pg_stat_activity where application_name = 'caudex'"
    return server.sql(f"{query} and datname = current_database()")[0][0]


def connected(server: Server, least: int) -> bool:
    """Whether a server has at least so many."""
    return connections(server) >= least


@pytest.mark.slow
def test_it_is_in_force_unless_the_kernel_is_chosen_or_a_pooler_is_between(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CAUDEX_TEST_STATEMENTS", raising=False)
    pooled: list[dict[str, Any]] = [
        {"services": {"statements": "kernel"}},
        {"database": {"prepare": False}},
        {"plugins": {"pipeline": {"enabled": False}}},
    ]
    for tables in pooled:
        server = make_server(tables)
        assert server.services.get(STATEMENTS) is server.services.get(POOL)
        assert connections(server) <= 6, tables
    one = make_server({}).kernel.config
    tables = {"database": {"direct_url": one.database.url}}
    behind_pooler = make_server(tables, dsn=one.database.url, data_dir=one.data_dir)
    assert behind_pooler.services.get(STATEMENTS) is behind_pooler.services.get(POOL)
    for tables in ({}, {"services": {"statements": "pipeline"}}):
        server = make_server({**tables, "plugins": {"pipeline": {"writes": 8}}})
        assert isinstance(server.services.get(STATEMENTS), PipelinedStatements)
        eventually(partial(connected, server, 11), 20, partial(connections, server))


def test_it_does_not_start_where_nothing_can_be_prepared(make_server: MakeServer) -> None:
    tables = {"services": {"statements": "pipeline"}, "database": {"prepare": False}}
    with pytest.raises(BootError, match='set statements = "kernel"'):
        make_server(tables)
