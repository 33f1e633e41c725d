"""A transaction has a connection of the fast lane to itself, and leaves it as it was."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any

import anyio
import psycopg
import pytest

from kernel.contracts.statements import Transaction
from kernel.errors import BadRequest, ConstraintBreach, Unavailable
from kernel.testing import Postgres
from plugins.pipeline.config import PipelineConfig
from plugins.pipeline.connection import Pipe
from plugins.pipeline.lanes import MAX_PARAMETERS
from tests.kernel.databases import ACTOR, sql, table, text
from tests.plugins.pipeline.lanes import fast_lane, pids, started, until

ONE = PipelineConfig(reads=1, filters=1, writes=1, transactions=1, prepared=10)
PID = "select pg_backend_pid()"
ROWS = "select coalesce(json_agg(id order by id), '[]') from "


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> Generator[str]:
    """A database that the tests of this module share."""
    url = postgres.create()
    yield url
    postgres.drop(url)


def rows(dsn: str, name: str) -> list[int]:
    """What a table holds for everybody to see."""
    return [row[0] for row in sql(dsn, f"select id from {name} order by id")]


def inserts(name: str, *ids: int) -> Callable[[Transaction], Awaitable[None]]:
    """Write these rows, each with a statement of its own."""

    async def write(tx: Transaction) -> None:
        for each in ids:
            await tx.execute(text(f"insert into {name} values ($1::int)"), each)

    return write


async def test_a_write_in_a_transaction_takes_two_round_trips(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, flushes = table(dsn), list[bool]()
    flush = Pipe._flush

    def counted(pipe: Pipe) -> None:
        flushes.append(True)
        flush(pipe)

    async with fast_lane(dsn, ONE) as (lane, _):
        await lane.run(ACTOR, inserts(name, 1))
        monkeypatch.setattr(Pipe, "_flush", counted)
        await lane.run(ACTOR, inserts(name, 2))
        assert len(flushes) == 2, "begin, settings and the write leave together, then the commit"
        await lane.run(ACTOR, inserts(name))
        assert len(flushes) == 2, "a transaction of nothing is not begun"
    assert rows(dsn, name) == [1, 2]


async def test_transactions_that_find_no_connection_are_the_pools(dsn: str) -> None:
    async with fast_lane(dsn, ONE) as (lane, _):
        [mine] = pids(lane, "transactions")
        go_on = asyncio.Event()

        async def wait(tx: Transaction) -> bytes | None:
            await go_on.wait()
            return await tx.fetch(PID)

        first = started(lane.run(ACTOR, wait))
        await asyncio.sleep(0.1)
        for _ in range(3):
            began = time.monotonic()
            assert int(await lane.run(ACTOR, lambda tx: tx.fetch(PID)) or 0) != mine
            assert time.monotonic() - began < 1
        go_on.set()
        assert int(await first or 0) == mine
        assert int(await lane.run(ACTOR, lambda tx: tx.fetch(PID)) or 0) == mine


async def test_transactions_queue_for_a_moment(dsn: str) -> None:
    name = table(dsn)
    async with fast_lane(dsn, ONE) as (lane, _):
        await asyncio.gather(*(lane.run(ACTOR, inserts(name, n)) for n in range(300)))
    assert rows(dsn, name) == list(range(300))


async def test_who_gives_up_while_he_waits_takes_no_connection_with_him(dsn: str) -> None:
    async with fast_lane(dsn, ONE) as (lane, _):
        before = pids(lane, "transactions")
        for pause in (0, 0.0005, 0.002, 0.01):
            waiting = [started(lane.run(ACTOR, lambda tx: tx.fetch("select 1"))) for _ in range(40)]
            await asyncio.sleep(pause)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        pipes = lane.lanes["transactions"].pipes
        await until(lambda: len(pipes) == 1 and not pipes[0].pending)
        assert pipes[0].held is None
        assert await lane.run(ACTOR, lambda tx: tx.fetch("select 1")) == b"1"
        assert pids(lane, "transactions") == before


async def test_what_runs_is_cancelled_with_its_transaction(dsn: str) -> None:
    name = table(dsn)
    async with fast_lane(dsn, ONE) as (lane, _):
        before = pids(lane, "transactions")

        async def slow(tx: Transaction) -> None:
            await tx.execute(text(f"insert into {name} values (1)"))
            await tx.execute("select pg_sleep(10)")

        began = time.monotonic()
        with anyio.move_on_after(0.2):
            await lane.run(ACTOR, slow)
        assert time.monotonic() - began < 2
        await lane.run(ACTOR, inserts(name, 1))
        assert time.monotonic() - began < 2
        assert pids(lane, "transactions") == before
    assert rows(dsn, name) == [1]


async def test_a_part_can_be_given_up_alone(dsn: str) -> None:
    name = table(dsn)

    async def write(tx: Transaction) -> bytes | None:
        await inserts(name, 1)(tx)
        with anyio.move_on_after(0.1):
            async with tx.savepoint():
                await inserts(name, 2)(tx)
                async with tx.savepoint():
                    await inserts(name, 3)(tx)
                    await tx.execute("select pg_sleep(10)")
        with suppress(ConstraintBreach):
            async with tx.savepoint():
                await inserts(name, 4, 4)(tx)
        async with tx.savepoint():
            await inserts(name, 5)(tx)
        return await tx.fetch(text(ROWS + name))

    async with fast_lane(dsn, ONE) as (lane, _):
        assert await lane.run(ACTOR, write) == b"[1, 5]"
        assert pids(lane, "transactions")
    assert rows(dsn, name) == [1, 5]


async def test_scripts_and_statements_follow_each_other(dsn: str) -> None:
    name = table(dsn)

    async def write(tx: Transaction) -> bytes | None:
        await tx.script(f"insert into {name} values (1); insert into {name} values (2)".encode())
        await inserts(name, 3)(tx)
        await tx.script(b"")
        with suppress(ConstraintBreach):
            async with tx.savepoint():
                await tx.script(
                    f"insert into {name} values (4); insert into {name} values (1);"
                    f"insert into {name} values (5)".encode()
                )
        await tx.script(f"create index on {name} (n); select 1; select 2".encode())
        return await tx.fetch(text(ROWS + name))

    async with fast_lane(dsn, ONE) as (lane, _):
        before = pids(lane, "transactions")
        assert await lane.run(ACTOR, write) == b"[1, 2, 3]"
        assert await lane.run(ACTOR, lambda tx: tx.fetch("select 1")) == b"1"
        assert pids(lane, "transactions") == before
    assert rows(dsn, name) == [1, 2, 3]


@pytest.mark.parametrize("call", ["script", "execute"])
async def test_a_copy_ends_the_transaction_and_nothing_else(dsn: str, call: str) -> None:
    name = table(dsn)

    async def write(tx: Transaction) -> None:
        await inserts(name, 1)(tx)
        await getattr(tx, call)(f"copy {name} from stdin".encode())

    async with fast_lane(dsn, ONE) as (lane, _):
        with pytest.raises(Unavailable):
            await lane.run(ACTOR, write)
        await lane.run(ACTOR, inserts(name, 2))
    assert rows(dsn, name) == [2]


async def test_nothing_is_written_where_the_beginning_fails(dsn: str) -> None:
    """Somebody drops the prepared statements behind our back: begin is one of them."""
    name = table(dsn)
    async with fast_lane(dsn, ONE) as (lane, _):
        before = pids(lane, "transactions")
        await lane.run(ACTOR, inserts(name, 1))
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            await lane.run(ACTOR, lambda tx: tx.execute("deallocate all"))  # its own commit as well
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            await lane.run(ACTOR, inserts(name, 2))
        assert rows(dsn, name) == [1]
        await lane.run(ACTOR, inserts(name, 3))
        assert pids(lane, "transactions") == before
    assert rows(dsn, name) == [1, 3]


async def test_a_result_of_another_type_runs_the_function_anew(dsn: str) -> None:
    name, tries = table(dsn), 0

    async def write(tx: Transaction) -> bytes | None:
        nonlocal tries
        tries += 1
        await inserts(name, tries)(tx)
        return await tx.fetch(text(f"select n from {name} limit 1"))

    async with fast_lane(dsn, ONE) as (lane, _):
        assert await lane.run(ACTOR, write) == b"0"
        sql(dsn, f"alter table {name} alter column n type text")
        assert await lane.run(ACTOR, write) == b"0"
    assert tries == 3
    assert rows(dsn, name) == [1, 3]


async def test_statements_of_transactions_are_prepared_and_bounded(dsn: str) -> None:
    count = "select count(*) from pg_prepared_statements"

    async def fail(tx: Transaction) -> None:
        for n in range(20):  # obsolete ones pile up in a transaction that cannot drop them
            with suppress(BadRequest, psycopg.Error):
                await tx.fetch(text(f"select 1 / $1::int -- {n}"), 0)

    async with fast_lane(dsn, ONE) as (lane, _):
        before = pids(lane, "transactions")
        for round_ in range(20):
            for n in range(20):
                query = text(f"select $1::int -- {n}")
                assert await lane.run(ACTOR, lambda tx, q=query: tx.fetch(q, 1)) == b"1"
            with suppress(RuntimeError):
                await lane.run(ACTOR, fail)
            found = int(await lane.run(ACTOR, lambda tx: tx.fetch(count, custom_plan=True)) or 0)
            assert 3 <= found <= 12, (round_, found)
        assert pids(lane, "transactions") == before


async def test_a_connection_that_breaks_between_two_statements(dsn: str) -> None:
    name = table(dsn)
    async with fast_lane(dsn, ONE) as (lane, _):
        [mine] = pids(lane, "transactions")

        async def write(tx: Transaction) -> None:
            await inserts(name, 1)(tx)
            sql(dsn, "select pg_terminate_backend(%s)", mine)
            await until(lambda: mine not in pids(lane, "transactions"))
            await inserts(name, 2)(tx)

        with pytest.raises(Unavailable):
            await lane.run(ACTOR, write)
        await until(lambda: bool(pids(lane, "transactions")))
        await lane.run(ACTOR, inserts(name, 3))
    assert rows(dsn, name) == [3]


async def test_too_many_parameters_are_refused(dsn: str) -> None:
    many = [1] * (MAX_PARAMETERS + 1)
    async with fast_lane(dsn, ONE) as (lane, _):
        before = pids(lane, "transactions")
        with pytest.raises(BadRequest, match="values at most"):
            await lane.run(ACTOR, lambda tx: tx.fetch("select 1", *many))
        with pytest.raises(BadRequest, match=r"U\+0000"):
            await lane.run(ACTOR, lambda tx: tx.fetch("select $1::text", "a\0b"))
        assert pids(lane, "transactions") == before


async def test_the_end_waits_for_a_transaction(dsn: str) -> None:
    name = table(dsn)

    async def write(tx: Transaction) -> None:
        await inserts(name, 1)(tx)
        await asyncio.sleep(0.3)
        await inserts(name, 2)(tx)

    async with fast_lane(dsn, ONE) as (lane, _):
        task: asyncio.Task[Any] = started(lane.run(ACTOR, write))
        await asyncio.sleep(0.1)
    await task
    assert rows(dsn, name) == [1, 2]
