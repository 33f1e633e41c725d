"""A failure on a shared connection affects only the request that caused it."""

import asyncio
import time
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import anyio
import msgspec
import psycopg
import pytest

from kernel.contracts.statements import Transaction
from kernel.database.dialect import OutcomeUnknown
from kernel.errors import BadRequest, KernelError, TransactionFailed, Unavailable
from kernel.testing import Postgres
from plugins.pipeline import groups, reconnect, service
from plugins.pipeline.config import PipelineConfig
from plugins.pipeline.connections.prepared import MAX_BYTES
from tests.kernel.databases import ACTOR, SLEEPS, kill, sql, table
from tests.plugins.pipeline.groups import pids, pipelined, started
from tests.waiting import until

ONE = PipelineConfig(reads=1, filters=1, writes=1, prepared=10)
PID = "select pg_backend_pid()"
SLOWLY = "with s as materialized (select pg_sleep({})) insert into {} select $1::int from s"


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> Generator[str]:
    """A database that the tests of this module share."""
    url = postgres.create()
    yield url
    postgres.drop(url)


async def caught(call: Any) -> Any:
    """What a call returns, or the error that it raises."""
    try:
        return await call
    except KernelError as error:
        return error


# --- connections that break -----------------------------------------------------------------


async def test_reads_on_a_connection_that_breaks_are_sent_again(dsn: str) -> None:
    async with pipelined(dsn, ONE) as (driver, _):
        [pid] = pids(driver, "reads")
        slow = [started(driver.fetch("select pg_sleep(0.3), $1::int", 1))]
        quick = [started(driver.fetch("select $1::int", n)) for n in range(50)]
        await asyncio.sleep(0)
        sql(dsn, "select pg_terminate_backend(%s)", pid)
        assert await asyncio.gather(*quick) == [b"%d" % n for n in range(50)]
        assert await asyncio.gather(*slow) == [b""]


async def test_writes_on_a_connection_that_breaks_are_refused_and_never_repeated(dsn: str) -> None:
    name = table(dsn)
    slow, insert = SLOWLY.format(9, name), SLOWLY.format(0, name)
    async with pipelined(dsn, PipelineConfig(writes=3)) as (driver, _):
        before = set(pids(driver, "writes"))
        writes = [started(caught(driver.execute(slow.encode(), n))) for n in range(3)]
        await until(lambda: len(sql(dsn, SLEEPS, name)) == 3)
        assert kill(dsn) > 0
        answers = await asyncio.gather(*writes)
        assert [type(answer) for answer in answers] == [OutcomeUnknown] * 3
        assert all("may have been made" in answer.message for answer in answers)
        assert not any("retry-after" in answer.headers for answer in answers)
        assert sql(dsn, f"select * from {name}") == []
        await until(lambda: len(driver.groups["writes"].members) == 3)
        assert not before & set(pids(driver, "writes"))
        await driver.execute(insert.encode(), 4)


@pytest.mark.slow
async def test_statements_use_the_pool_while_no_connection_is_open(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pipelined(dsn, ONE) as (driver, pool):
        real, attempts = pool.connect, list[float]()

        def refused() -> Any:
            attempts.append(time.monotonic())
            raise psycopg.OperationalError("too many connections")

        monkeypatch.setattr(pool, "connect", refused)
        kill(dsn)
        await until(lambda: not any(each.members for each in driver.groups.values()))
        assert await driver.fetch("select $1::int", 1) == b"1"
        assert await driver.fetch("select $1::int", 2, custom_plan=True) == b"2"
        assert await driver.execute("select $1::int", 3) == b"3"
        await asyncio.sleep(1)
        assert len(attempts) < 4 * 6, "it does not slow down"
        monkeypatch.setattr(pool, "connect", real)
        await until(lambda: all(each.members for each in driver.groups.values()))
        assert pids(driver, "reads")


async def test_a_server_that_is_away_is_reported_at_once(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pipelined(dsn, ONE) as (driver, pool):
        monkeypatch.setattr(pool, "online", False)
        for call in (driver.fetch, driver.fetch_all, driver.execute, driver.execute_all):
            attempt = started(caught(call("select 1")))
            for _ in range(20):  # turns of the event loop, in which nothing is waited for
                await asyncio.sleep(0)
            assert attempt.done()
            reported = await attempt
            assert isinstance(reported, Unavailable)
            assert reported.headers["retry-after"]


async def test_a_connection_that_never_answers_is_given_up(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pipelined(dsn, ONE) as (driver, _):
        await driver.execute("select 1")
        with monkeypatch.context() as hasty:  # with this one only
            for each in driver.groups.values():
                hasty.setattr(each, "max_ticks", 5)
            with pytest.raises(OutcomeUnknown):
                await driver.execute("select pg_sleep(5)")
        await until(lambda: len(driver.groups["writes"].members) == 1)
        assert await driver.execute("select 1") == b"1"


# --- callers that give up -------------------------------------------------------------------


async def test_the_answer_of_who_gave_up_reaches_no_caller(dsn: str) -> None:
    async with pipelined(dsn, ONE) as (driver, _):
        for call in (driver.fetch, driver.execute):
            tasks = [started(call("select $1::int", n)) for n in range(200)]
            await asyncio.sleep(0)
            for task in tasks[::3]:
                task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            for n, answer in enumerate(answers):
                assert answer == b"%d" % n or (
                    n % 3 == 0 and type(answer) is asyncio.CancelledError
                )


async def test_who_gives_up_cancels_nothing_on_the_connection(dsn: str) -> None:
    name = table(dsn)
    insert = SLOWLY.format(0.2, name)
    async with pipelined(dsn, ONE) as (driver, _):
        given_up = started(driver.execute(insert.encode(), 1))
        await asyncio.sleep(0.05)
        given_up.cancel()
        before = pids(driver, "writes")
        await until(lambda: not driver.groups["writes"].members[0].pending)
        assert sql(dsn, f"select id from {name}") == [(1,)]
        assert pids(driver, "writes") == before
        assert await driver.execute("select 1") == b"1"


# --- slow ones ------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_way_out")
async def test_no_request_waits_behind_a_slow_read(dsn: str) -> None:
    patient = {"lock_timeout": 30, "statement_timeout": 30}
    async with pipelined(dsn, ONE, **patient) as (driver, _):
        await driver.fetch("select $1::int", 0)
        with psycopg.connect(dsn, autocommit=True) as holder:
            for custom in (False, True):
                holder.execute("select pg_advisory_lock(1)")
                wait = "select pg_advisory_xact_lock(1)"
                slow = started(driver.fetch(wait, custom_plan=custom))
                await asyncio.sleep(0)
                quick = [driver.fetch("select $1::int", n, custom_plan=custom) for n in range(60)]
                assert await asyncio.gather(*quick) == [b"%d" % n for n in range(60)]
                assert not slow.done()
                holder.execute("select pg_advisory_unlock(1)")
                assert await slow == b""
                assert await driver.fetch(PID, custom_plan=custom) in await named(driver, custom)


async def named(driver: Any, custom: bool) -> list[bytes]:
    """The server processes of a driver's connections, after a slow one is in use again."""
    return [b"%d" % pid for pid in pids(driver, "filters" if custom else "reads")]


@pytest.mark.slow
async def test_no_request_waits_behind_a_write_that_waits_for_a_lock(dsn: str) -> None:
    name, free = table(dsn), table(dsn)
    insert = "insert into {} (id) values ($1::int)"
    async with pipelined(dsn, PipelineConfig(writes=2), lock_timeout=5) as (driver, _):
        with psycopg.connect(dsn) as holder:
            holder.execute(f"lock table {name} in access exclusive mode")
            locked = [
                started(caught(driver.execute(insert.format(name).encode(), n))) for n in range(4)
            ]
            await asyncio.sleep(0.01)
            began = time.monotonic()
            for n in range(20):
                await driver.execute(insert.format(free).encode(), n)
            assert time.monotonic() - began < 4
            assert [type(each) for each in await asyncio.gather(*locked)] == [Unavailable] * 4
        await driver.execute(insert.format(name).encode(), 1)


@pytest.mark.usefixtures("no_way_out")
async def test_a_write_that_a_lock_holder_waits_for_is_not_behind_one_that_waits_for_it(
    dsn: str,
) -> None:
    name, free = table(dsn), table(dsn)
    sql(dsn, f"insert into {name} values (1)")
    patient = {"lock_timeout": 20, "statement_timeout": 30}
    async with pipelined(dsn, ONE, **patient) as (driver, _):
        update = f"update {name} set n = n + 1 where id = 1".encode()

        async def hold(tx: Any) -> None:
            await tx.execute(update)
            waits = started(driver.execute(update))
            await asyncio.sleep(0.1)
            await driver.execute(f"insert into {free} values (1)".encode())
            waiting.append(waits)

        waiting: list[asyncio.Task[Any]] = []
        await driver.run(ACTOR, hold)
        await waiting[0]
    assert sql(dsn, f"select n from {name}") == [(2,)]


@pytest.mark.slow
async def test_a_timeout_ends_a_statement_and_not_its_neighbours(dsn: str) -> None:
    async with pipelined(dsn, ONE, statement_timeout=2) as (driver, _):
        calls = [caught(driver.fetch("select pg_sleep($1::float8)", n % 2 * 5)) for n in range(6)]
        answers = await asyncio.gather(*calls)
        assert [type(each) for each in answers] == [bytes, Unavailable] * 3
        # Half a second of work each, together on one connection, is no one's timeout.
        calls = [caught(driver.fetch("select pg_sleep(0.5)")) for _ in range(6)]
        assert await asyncio.gather(*calls) == [b""] * 6


# --- plans and preparations -----------------------------------------------------------------


async def test_statements_are_prepared_once_and_bounded(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "TICK_SECONDS", 10.0)  # a busy machine slows no test down
    async with pipelined(dsn, ONE) as (driver, _):
        count = "select count(*) from pg_prepared_statements"
        for _ in range(3):
            queries = [f"select {n}".encode() for n in range(40)]
            answers = await asyncio.gather(*(driver.fetch(query) for query in queries))
            assert answers == [b"%d" % n for n in range(40)]
            assert await driver.fetch(count) == b"10"
        used = "select generic_plans + custom_plans from pg_prepared_statements"
        used += " where statement = 'select $1::text'"
        for n in range(5):
            await driver.fetch("select $1::text", n)
        assert await driver.fetch(used) == b"5"


async def test_prepared_statements_are_bounded_in_bytes_too(dsn: str) -> None:
    """PostgreSQL holds each in many times its size, and a filter of 34 kB is a statement of 40."""
    held = "select json_build_array(count(*), sum(length(statement))) from pg_prepared_statements"
    async with pipelined(dsn, PipelineConfig(filters=1)) as (driver, _):
        for n in range(60):
            wide = f"select {n} where true {'or true ' * 4000}"
            assert await driver.fetch(wide, custom_plan=True) == b"%d" % n
        count, size = msgspec.json.decode(await driver.fetch(held, custom_plan=True) or b"")
        assert 5 < count < 20
        assert size <= MAX_BYTES
        for n in range(20):
            assert await driver.fetch(f"select {n}", custom_plan=True) == b"%d" % n
        assert msgspec.json.decode(await driver.fetch(held, custom_plan=True) or b"")[0] > 20


async def test_a_connection_that_took_a_large_buffer_is_replaced(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libpq keeps the buffer of its largest message: 93 MB for one of 49."""
    monkeypatch.setattr(reconnect, "CHECK_INTERVAL", 0.05)
    async with pipelined(dsn, ONE) as (driver, _):
        before = pids(driver, "writes")
        assert await driver.execute("select length($1::text)", "x" * 3_000_000) == b"3000000"
        await asyncio.sleep(0.3)
        assert pids(driver, "writes") == before
        assert await driver.execute("select length($1::text)", "x" * 30_000_000) == b"30000000"
        await until(lambda: pids(driver, "writes") not in (before, []))


@pytest.mark.slow
async def test_a_connection_that_brought_a_large_answer_is_replaced(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconnect, "CHECK_INTERVAL", 0.05)
    many = "select repeat('x', 3000000) from generate_series(1, 10)"
    async with pipelined(dsn, ONE) as (driver, _):
        for name, call in (("reads", driver.fetch_all), ("writes", driver.execute_all)):
            before = pids(driver, name)
            assert len(await call(many)) == 10  # no row of which is large
            await asyncio.sleep(0.3)
            assert pids(driver, name) == before
            assert len((await call("select repeat('x', 30000000)"))[0]) == 30_000_000
            await until(lambda name=name, before=before: pids(driver, name) not in (before, []))
            assert await call("select 1") == [b"1"]


async def test_a_connection_is_replaced_when_it_is_old_and_idle(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    age = [0.0]
    clock = SimpleNamespace(  # as much of anyio as a reconnector uses
        current_time=lambda: anyio.current_time() + age[0],
        move_on_after=anyio.move_on_after,
        sleep=anyio.sleep,
    )
    monkeypatch.setattr(reconnect, "CHECK_INTERVAL", 0.05)
    monkeypatch.setattr(reconnect, "anyio", clock)
    async with pipelined(dsn, ONE) as (driver, _):
        before = pids(driver, "writes")

        async def slow(tx: Transaction) -> bytes | None:
            first = await tx.fetch(PID)
            age[0] = 2 * reconnect.LIFETIME  # it is old by now, and in use
            await asyncio.sleep(0.6)
            assert await tx.fetch(PID) == first
            return first

        assert await driver.run(ACTOR, slow) == b"%d" % before[0]
        await until(lambda: pids(driver, "writes") not in (before, []))


async def test_what_fails_while_it_is_prepared_leaves_nothing_behind(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "TICK_SECONDS", 10.0)  # a busy machine slows no test down
    name = table(dsn)
    async with pipelined(dsn, ONE) as (driver, _):
        calls = [driver.fetch("selec 1") for _ in range(30)]  # type: ignore[list-item]
        calls += [driver.fetch("select 1 / $1::int", 0) for _ in range(30)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(each).__name__ for each in answers[:30]} == {"StatementFailed"}
        assert {type(each).__name__ for each in answers[30:]} == {"BadRequest"}
        query = "select count(*) from pg_prepared_statements where statement like 'selec%1 / $1%'"
        query += " and statement not like '%pg_prepared%'"
        assert await driver.fetch(query) == b"1"  # the one that could be prepared
        for n in range(30):  # each is prepared in the request that fails
            insert = f"insert into {name} select 1 from generate_series(0, 1) -- {n}"
            with pytest.raises(KernelError):
                await driver.execute(insert.encode())
        count = await driver.execute("select count(*) from pg_prepared_statements")
        assert count == b"10"


async def test_statements_survive_a_table_that_changes_under_them(dsn: str) -> None:
    name = table(dsn)
    sql(dsn, f"insert into {name} values (1)")
    row = f"select row_to_json(r) from (select * from {name}) r".encode()
    whole = f"select * from (select t from {name} t) r".encode()
    write = f"update {name} t set n = t.n + 1 returning t".encode()
    async with pipelined(dsn, ONE) as (driver, _):
        for kind in ("int", "text", "int8"):
            for query in (row, whole):
                answers = await asyncio.gather(*(driver.fetch(query) for _ in range(20)))
                assert len(set(answers)) == 1
            assert await driver.execute(write)
            sql(dsn, f"alter table {name} add column c_{kind} {kind} default 7")
            sql(dsn, f"alter table {name} alter column id type {kind} using id::{kind}")
        assert msgspec.json.decode(await driver.fetch(row) or b"") == {
            "id": 1, "n": 3, "c_int": 7, "c_text": "7", "c_int8": 7,
        }  # fmt: skip


async def test_a_result_of_another_type_is_prepared_again_and_written_once(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "TICK_SECONDS", 10.0)  # a busy machine slows no test down
    name = table(dsn, "id int")
    column = f"select id from {name}".encode()
    insert = f"insert into {name} (id) values (1) returning id".encode()
    async with pipelined(dsn, ONE) as (driver, _):
        await driver.execute(insert)
        for number, kind in enumerate(("text", "int8", "text")):
            answers = await asyncio.gather(*(driver.fetch(column) for _ in range(20)))
            assert answers == [b"1"] * 20
            sql(dsn, f"alter table {name} alter column id type {kind} using id::{kind}")
            answers = await asyncio.gather(*(driver.fetch(column) for _ in range(20)))
            assert answers == [b"1"] * 20
            assert await driver.execute(insert) == b"1"
            assert sql(dsn, f"select count(*) from {name}") == [(number + 2,)]
        assert await driver.fetch(column) == b"1"
        query = f"select count(*) from pg_prepared_statements where statement = '{column.decode()}'"
        assert await driver.fetch(query.encode()) == b"1"


async def test_filters_are_planned_for_their_values(dsn: str) -> None:
    async with pipelined(dsn, ONE) as (driver, _):
        plans = "select custom_plans from pg_prepared_statements where statement = 'select $1::int'"
        for n in range(20):
            await driver.fetch("select $1::int", n, custom_plan=True)
        assert await driver.fetch(plans, custom_plan=True) == b"20"


# --- what does not belong here --------------------------------------------------------------


async def test_a_transaction_that_is_begun_by_a_statement_takes_no_other_along(dsn: str) -> None:
    name = table(dsn)
    async with pipelined(dsn, ONE) as (driver, _):
        with pytest.raises(TransactionFailed, match="a single statement begins a transaction"):
            await driver.execute("begin")
        await until(lambda: bool(driver.groups["writes"].members))
        await driver.execute(f"insert into {name} values (1)".encode())
    assert sql(dsn, f"select id from {name}") == [(1,)]


async def test_a_copy_is_refused(dsn: str) -> None:
    async with pipelined(dsn, ONE) as (driver, _):
        for copy in ("copy (select 1) to stdout", "copy pg_temp.nothing from stdin"):
            with pytest.raises((KernelError, psycopg.Error)):
                await driver.execute(copy.encode())
        await until(lambda: bool(driver.groups["writes"].members))
        assert await driver.execute("select 1") == b"1"


async def test_too_many_parameters_are_refused_as_by_the_pool(dsn: str) -> None:
    async with pipelined(dsn, ONE) as (driver, pool):
        [pid] = pids(driver, "reads")
        query = b"select " + b",".join(b"$%d::int" % n for n in range(1, 65_537))
        values = [1] * 65_536
        for statements in (driver, pool):
            assert type(await caught(statements.fetch(query, *values))) is BadRequest
        assert pids(driver, "reads") == [pid]


# --- bounds ---------------------------------------------------------------------------------


async def test_what_waits_is_bounded_and_the_rest_is_refused(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "MAX_WAITING", 5)
    async with pipelined(dsn, ONE, pool_size=1, pool_timeout=0.3) as (driver, pool):
        await driver.execute("select 1")
        await pool.connections.pool.wait()
        monkeypatch.setattr(pool.connections.pool, "max_waiting", 2)
        calls = [caught(driver.execute("select pg_sleep(0.4)")) for _ in range(20)]
        answers = await asyncio.gather(*calls)
        refused = [each for each in answers if isinstance(each, Unavailable)]
        assert len(refused) >= 10
        assert {str(each) for each in refused} == {"the database has no free connection"}
        assert all(each.headers["retry-after"] for each in refused)
        assert answers.count(b"") == 20 - len(refused) >= 2


@pytest.mark.slow
async def test_a_large_statement_and_a_large_answer_delays_no_other(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        reconnect, "CHECK_INTERVAL", 60.0
    )  # what is oversized by it is not replaced yet
    async with pipelined(dsn, ONE) as (driver, _):
        [pid] = pids(driver, "writes")
        text = "ü" * 10_000_000
        large = [driver.execute("select $1::text", text) for _ in range(3)]
        small = [driver.fetch("select $1::int", n) for n in range(100)]
        answers = await asyncio.gather(*large, *small)
        assert answers[:3] == [text.encode()] * 3
        assert answers[3:] == [b"%d" % n for n in range(100)]
        assert pids(driver, "writes") == [pid]


async def test_the_end_waits_for_what_is_under_way(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No write is cut off as slow, which would repeat it in the pool: on a busy machine it may be.
    monkeypatch.setitem(service.SETTINGS, "writes", service.SETTINGS["reads"])
    name = table(dsn)
    insert = SLOWLY.format(0.3, name)
    async with pipelined(dsn, PipelineConfig(writes=2)) as (driver, _):
        writes = [started(driver.execute(insert.encode(), n)) for n in range(4)]
        reads = [started(driver.fetch("select pg_sleep(0.3)")) for _ in range(2)]
        await asyncio.sleep(0.01)
    await asyncio.gather(*writes, *reads)
    assert sql(dsn, f"select count(*) from {name}") == [(4,)]
    left = "select count(*) from pg_stat_activity where application_name = 'caudex'"
    await until(lambda: sql(dsn, f"{left} and datname = current_database()") == [(0,)])


async def test_the_end_does_not_wait_for_ever(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pipelined(dsn, ONE, statement_timeout=60) as (driver, _):
        monkeypatch.setattr(driver, "_drain_timeout", 0.2)
        write = started(caught(driver.execute("select pg_sleep(30)")))
        await asyncio.sleep(0.05)
    assert type(await write) is OutcomeUnknown
