"""A transaction has a connection of the pipelined driver to itself, and leaves it as it was."""

import asyncio
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import anyio
import psycopg
import pytest

from kernel.contracts.statements import Transaction, Work
from kernel.errors import BadRequest, ConstraintViolation, SchemaChanged, Unavailable
from kernel.testing import Postgres
from plugins.pipeline.config import PipelineConfig
from plugins.pipeline.connections.wire import Wire
from tests.kernel.databases import ACTOR, sql, table, text
from tests.plugins.pipeline.groups import pids, pipelined, started
from tests.waiting import until

ONE = PipelineConfig(reads=1, filters=1, writes=1, prepared=10)
PID = "select pg_backend_pid()"
ROWS = "select coalesce(json_agg(id order by id), '[]') from "


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> Generator[str]:
    """A database that the tests of this module share."""
    url = postgres.create()
    yield url
    postgres.drop(url)


def rows(dsn: str, name: str) -> list[int]:
    """What a table holds for everyone to see."""
    return [row[0] for row in sql(dsn, f"select id from {name} order by id")]


def inserts(name: str, *ids: int) -> Work[None]:
    """Write these rows, each with a statement of its own."""

    async def write(tx: Transaction) -> None:
        for each in ids:
            await tx.execute(text(f"insert into {name} values ($1::int)"), each)

    return write


async def test_a_write_in_a_transaction_takes_two_round_trips(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, flushes = table(dsn), list[bool]()
    flush = Wire._flush

    def counted(wire: Wire) -> None:
        flushes.append(True)
        flush(wire)

    async with pipelined(dsn, ONE) as (driver, _):
        await driver.run(ACTOR, inserts(name, 1))
        monkeypatch.setattr(Wire, "_flush", counted)
        await driver.run(ACTOR, inserts(name, 2))
        assert len(flushes) == 2, "begin, settings and the write leave together, then the commit"
        await driver.run(ACTOR, inserts(name))
        assert len(flushes) == 2, "a transaction of nothing is not begun"
    assert rows(dsn, name) == [1, 2]


@pytest.mark.usefixtures("no_way_out")
async def test_transactions_that_find_no_connection_are_the_pools(dsn: str) -> None:
    async with pipelined(dsn, ONE) as (driver, _):
        [mine] = pids(driver, "writes")
        go_on = asyncio.Event()

        async def wait(tx: Transaction) -> bytes | None:
            await go_on.wait()
            return await tx.fetch(PID)

        first = started(driver.run(ACTOR, wait))
        await asyncio.sleep(0.1)
        for _ in range(3):
            assert int(await driver.run(ACTOR, lambda tx: tx.fetch(PID)) or 0) != mine
        go_on.set()
        assert int(await first or 0) == mine
        assert int(await driver.run(ACTOR, lambda tx: tx.fetch(PID)) or 0) == mine


@pytest.mark.parametrize(("subject", "most"), [("", 3), ("crm.deals", 2)])
async def test_transactions_leave_connections_to_single_writes(
    dsn: str, subject: str, most: int
) -> None:
    """All of the group but one are theirs, half where hooks run. The pool has the rest."""
    async with pipelined(dsn, PipelineConfig(writes=4), pool_size=8) as (driver, _):
        group, found, go_on = set(pids(driver, "writes")), list[int](), asyncio.Event()

        async def wait(tx: Transaction) -> None:
            found.append(int(await tx.fetch(PID) or 0))
            await go_on.wait()
            # As a hook does, while no connection of the group is free.
            assert int(await driver.execute(PID) or 0) not in group

        calls = [started(driver.run(ACTOR, wait, subject=f"{subject}{n}" if subject else ""))
                 for n in range(4)]  # fmt: skip
        await until(lambda: len(found) == 4)
        assert len(group & set(found)) == most
        assert int(await driver.execute(PID) or 0) in group - set(found)
        slow = [started(driver.execute("select pg_sleep(0.7)")) for _ in range(4 - most)]
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(*calls, *slow)
        assert int(await driver.run(ACTOR, lambda tx: tx.fetch(PID)) or 0) in group


async def test_hundreds_of_transactions_at_once_are_all_done(dsn: str) -> None:
    name = table(dsn)
    async with pipelined(dsn, ONE) as (driver, _):
        await asyncio.gather(*(driver.run(ACTOR, inserts(name, n)) for n in range(300)))
    assert rows(dsn, name) == list(range(300))


async def test_who_gives_up_while_he_waits_takes_no_connection_with_him(dsn: str) -> None:
    async with pipelined(dsn, ONE) as (driver, _):
        before = pids(driver, "writes")
        for pause in (0, 0.0005, 0.002, 0.01):
            calls = [
                (driver.execute("select 1"), driver.run(ACTOR, lambda tx: tx.fetch("select 1")))
                for _ in range(20)
            ]
            waiting = [started(call) for pair in calls for call in pair]
            await asyncio.sleep(pause)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        members = driver.groups["writes"].members
        await until(lambda: len(members) == 1 and not members[0].pending)
        assert members[0].held is None
        assert await driver.run(ACTOR, lambda tx: tx.fetch("select 1")) == b"1"
        assert pids(driver, "writes") == before


async def test_what_runs_is_cancelled_with_its_transaction(dsn: str) -> None:
    name = table(dsn)
    sql(dsn, f"create sequence {name}_ends")
    async with pipelined(dsn, ONE) as (driver, _):
        before = pids(driver, "writes")

        async def slow(tx: Transaction) -> None:
            await tx.execute(text(f"insert into {name} values (1)"))
            await tx.execute(text(f"select nextval('{name}_ends') from pg_sleep(10)"))

        with anyio.move_on_after(0.2):
            await driver.run(ACTOR, slow)
        await driver.run(ACTOR, inserts(name, 1))
        assert sql(dsn, f"select is_called from {name}_ends") == [(False,)], "it was cancelled"
        assert pids(driver, "writes") == before
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
        with suppress(ConstraintViolation):
            async with tx.savepoint():
                await inserts(name, 4, 4)(tx)
        async with tx.savepoint():
            await inserts(name, 5)(tx)
        return await tx.fetch(text(ROWS + name))

    async with pipelined(dsn, ONE) as (driver, _):
        assert await driver.run(ACTOR, write) == b"[1, 5]"
        assert pids(driver, "writes")
    assert rows(dsn, name) == [1, 5]


async def test_scripts_and_statements_follow_each_other(dsn: str) -> None:
    name = table(dsn)

    async def write(tx: Transaction) -> bytes | None:
        await tx.script(f"insert into {name} values (1); insert into {name} values (2)".encode())
        await inserts(name, 3)(tx)
        await tx.script(b"")
        with suppress(ConstraintViolation):
            async with tx.savepoint():
                await tx.script(
                    f"insert into {name} values (4); insert into {name} values (1);"
                    f"insert into {name} values (5)".encode()
                )
        await tx.script(f"create index on {name} (n); select 1; select 2".encode())
        return await tx.fetch(text(ROWS + name))

    async with pipelined(dsn, ONE) as (driver, _):
        before = pids(driver, "writes")
        assert await driver.run(ACTOR, write) == b"[1, 2, 3]"
        assert await driver.run(ACTOR, lambda tx: tx.fetch("select 1")) == b"1"
        assert pids(driver, "writes") == before
    assert rows(dsn, name) == [1, 2, 3]


@pytest.mark.parametrize("call", ["script", "execute"])
async def test_a_copy_ends_the_transaction_and_nothing_else(dsn: str, call: str) -> None:
    name = table(dsn)

    async def write(tx: Transaction) -> None:
        await inserts(name, 1)(tx)
        await getattr(tx, call)(f"copy {name} from stdin".encode())

    async with pipelined(dsn, ONE) as (driver, _):
        with pytest.raises(Unavailable):
            await driver.run(ACTOR, write)
        await driver.run(ACTOR, inserts(name, 2))
    assert rows(dsn, name) == [2]


async def test_nothing_is_written_where_the_beginning_fails(dsn: str) -> None:
    """Someone drops the prepared statements behind our back: begin is one of them."""
    name = table(dsn)
    async with pipelined(dsn, ONE) as (driver, _):
        before = pids(driver, "writes")
        await driver.run(ACTOR, inserts(name, 1))
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            await driver.run(
                ACTOR, lambda tx: tx.execute("deallocate all")
            )  # its own commit as well
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            await driver.run(ACTOR, inserts(name, 2))
        assert rows(dsn, name) == [1]
        await until(lambda: pids(driver, "writes") not in ([], before))
        await driver.run(ACTOR, inserts(name, 3))
    assert rows(dsn, name) == [1, 3]


@pytest.mark.parametrize("at_once", [False, True])
async def test_nothing_follows_a_beginning_that_failed(dsn: str, at_once: bool) -> None:
    name = table(dsn)

    async def write(tx: Transaction) -> None:
        calls = [inserts(name, 2)(tx), inserts(name, 3)(tx)]
        if at_once:
            await asyncio.gather(*calls, return_exceptions=True)
            return
        for call in calls:
            with suppress(psycopg.Error, Unavailable):
                await call

    async with pipelined(dsn, ONE) as (driver, _):
        await driver.run(ACTOR, inserts(name, 1))
        with suppress(psycopg.Error):
            await driver.run(ACTOR, lambda tx: tx.execute("deallocate all"))
        with pytest.raises(Unavailable):
            await driver.run(ACTOR, write)
    assert rows(dsn, name) == [1]


async def test_a_result_of_another_type_runs_the_function_again(dsn: str) -> None:
    name, tries = table(dsn), 0

    async def write(tx: Transaction) -> bytes | None:
        nonlocal tries
        tries += 1
        await inserts(name, tries)(tx)
        return await tx.fetch(text(f"select n from {name} limit 1"))

    async with pipelined(dsn, ONE) as (driver, _):
        assert await driver.run(ACTOR, write) == b"0"
        sql(dsn, f"alter table {name} alter column n type text")
        assert await driver.run(ACTOR, write) == b"0"
    assert tries == 3
    assert rows(dsn, name) == [1, 3]


async def test_statements_of_transactions_are_prepared_and_bounded(dsn: str) -> None:
    count = "select count(*) from pg_prepared_statements"

    async def fail(tx: Transaction) -> None:
        for n in range(20):  # obsolete ones pile up in a transaction that cannot drop them
            with suppress(BadRequest, psycopg.Error):
                await tx.fetch(text(f"select 1 / $1::int -- {n}"), 0)

    async with pipelined(dsn, ONE) as (driver, _):
        before = pids(driver, "writes")
        for round_ in range(20):
            for n in range(20):
                query = text(f"select $1::int -- {n}")
                assert await driver.run(ACTOR, lambda tx, q=query: tx.fetch(q, 1)) == b"1"
            with suppress(RuntimeError):
                await driver.run(ACTOR, fail)
            found = int(await driver.run(ACTOR, lambda tx: tx.fetch(count, custom_plan=True)) or 0)
            assert 3 <= found <= 12, (round_, found)
        assert pids(driver, "writes") == before


async def test_a_connection_that_breaks_between_two_statements(dsn: str) -> None:
    name = table(dsn)
    async with pipelined(dsn, ONE) as (driver, _):
        [mine] = pids(driver, "writes")

        async def write(tx: Transaction) -> None:
            await inserts(name, 1)(tx)
            sql(dsn, "select pg_terminate_backend(%s)", mine)
            await until(lambda: mine not in pids(driver, "writes"))
            await inserts(name, 2)(tx)

        with pytest.raises(Unavailable) as reported:
            await driver.run(ACTOR, write)
        assert reported.value.headers["retry-after"]
        await until(lambda: bool(pids(driver, "writes")))
        await driver.run(ACTOR, inserts(name, 3))
    assert rows(dsn, name) == [3]


async def test_a_commit_that_cannot_be_sent_any_more_is_surely_not_in(dsn: str) -> None:
    name = table(dsn)
    async with pipelined(dsn, ONE) as (driver, _):
        [mine] = pids(driver, "writes")

        async def write(tx: Transaction) -> None:
            await inserts(name, 1)(tx)
            sql(dsn, "select pg_terminate_backend(%s)", mine)
            await until(lambda: mine not in pids(driver, "writes"))

        with pytest.raises(Unavailable) as reported:
            await driver.run(ACTOR, write)
        assert reported.value.message == "the database is not available"
        assert reported.value.headers["retry-after"]
    assert rows(dsn, name) == []


async def test_too_many_parameters_are_refused(dsn: str) -> None:
    many = [1] * 65_536
    async with pipelined(dsn, ONE) as (driver, _):
        before = pids(driver, "writes")
        with pytest.raises(BadRequest, match="values at most"):
            await driver.run(ACTOR, lambda tx: tx.fetch("select 1", *many))
        with pytest.raises(BadRequest, match=r"U\+0000"):
            await driver.run(ACTOR, lambda tx: tx.fetch("select $1::text", "a\0b"))
        assert pids(driver, "writes") == before


async def test_who_gives_up_twice_leaves_no_transaction_to_the_next(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time meets us while PostgreSQL is still being asked to cancel."""
    name, asking = table(dsn), asyncio.Event()
    async with pipelined(dsn, ONE) as (driver, _):
        [member] = driver.groups["writes"].members

        async def hangs(**more: Any) -> None:
            asking.set()
            await asyncio.sleep(60)

        monkeypatch.setattr(member.wire._connection, "cancel_safe", hangs)

        async def write(tx: Transaction) -> None:
            await inserts(name, 1)(tx)
            asyncio.get_running_loop().call_soon(task.cancel)  # while the next one is under way
            await tx.execute("select pg_sleep(0.05)")

        task = started(driver.run(ACTOR, write))
        async with asyncio.timeout(20):
            await asking.wait()
        await until(
            lambda: not member.pending
        )  # the statement ends, the wish to cancel it does not
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await driver.run(ACTOR, inserts(name, 2))
    assert rows(dsn, name) == [2]


async def test_what_was_given_up_is_not_committed(dsn: str) -> None:
    name = table(dsn)
    slow = f"insert into {name} select 1 from pg_sleep({{}})"

    async def write(tx: Transaction) -> None:
        with anyio.move_on_after(0.05):
            await tx.execute(text(slow.format(10)))

    async with pipelined(dsn, ONE) as (driver, _):
        with pytest.raises(RuntimeError, match="was cancelled"):
            await driver.run(ACTOR, write)
        assert await driver.run(ACTOR, lambda tx: tx.fetch("select 1")) == b"1"
    assert rows(dsn, name) == []


async def test_what_was_given_up_stays_so_whatever_is_undone_afterwards(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wish to cancel comes too late, and another part is rolled back."""
    name = table(dsn)
    async with pipelined(dsn, ONE) as (driver, _):
        [member] = driver.groups["writes"].members
        ask = member.wire._connection.cancel_safe

        async def too_late(**more: Any) -> None:
            await until(lambda: not member.pending)
            await ask(**more)

        monkeypatch.setattr(member.wire._connection, "cancel_safe", too_late)

        async def write(tx: Transaction) -> None:
            with anyio.CancelScope() as scope:
                asyncio.get_running_loop().call_soon(scope.cancel)  # while this is under way
                await tx.execute(text(f"insert into {name} select 1 from pg_sleep(0.1)"))
            with suppress(BadRequest):
                async with tx.savepoint():
                    await tx.fetch("select 1 / 0")

        with pytest.raises(RuntimeError, match="was cancelled"):
            await driver.run(ACTOR, write)
    assert rows(dsn, name) == []


async def test_nothing_follows_a_beginning_that_failed_and_was_given_up(dsn: str) -> None:
    name = table(dsn)

    async def write(tx: Transaction) -> None:
        with anyio.CancelScope() as scope:
            asyncio.get_running_loop().call_soon(scope.cancel)
            await inserts(name, 2)(tx)
        await inserts(name, 3)(tx)

    async with pipelined(dsn, ONE) as (driver, _):
        await driver.run(ACTOR, inserts(name, 1))
        with suppress(psycopg.Error):
            await driver.run(ACTOR, lambda tx: tx.execute("deallocate all"))
        with pytest.raises((RuntimeError, Unavailable)):
            await driver.run(ACTOR, write)
    assert rows(dsn, name) == [1]


@pytest.mark.parametrize("when", ["savepoint", "release"])
async def test_a_deadline_at_the_edge_of_a_part_harms_nothing(dsn: str, when: str) -> None:
    name = table(dsn)

    async def write(tx: Transaction) -> None:
        await inserts(name, 1)(tx)
        with anyio.CancelScope() as scope:
            if when == "savepoint":
                asyncio.get_running_loop().call_soon(scope.cancel)
            async with tx.savepoint():
                await inserts(name, 2)(tx)
                asyncio.get_running_loop().call_soon(scope.cancel)
        await inserts(name, 3)(tx)

    async with pipelined(dsn, ONE) as (driver, _):
        before = pids(driver, "writes")
        await driver.run(ACTOR, write)
        assert pids(driver, "writes") == before
    assert rows(dsn, name) == ([1, 3] if when == "savepoint" else [1, 2, 3])


async def test_what_is_still_at_work_harms_no_other_after_the_end(dsn: str) -> None:
    """`gather` leaves the others running when one of them fails."""
    name = table(dsn)

    async def part(tx: Transaction) -> None:
        async with tx.savepoint():
            await asyncio.sleep(0.1)
            await tx.execute("select 1")

    async def fails() -> None:
        await asyncio.sleep(0.02)
        raise LookupError

    async def first(tx: Transaction) -> None:
        await asyncio.gather(part(tx), fails())

    async def second(tx: Transaction) -> None:
        await inserts(name, 1)(tx)
        await asyncio.sleep(0.2)
        await inserts(name, 2)(tx)

    async with pipelined(dsn, ONE) as (driver, _):
        before = pids(driver, "writes")
        with pytest.raises(LookupError):
            await driver.run(ACTOR, first)
        await driver.run(ACTOR, second)
        assert pids(driver, "writes") == before
    assert rows(dsn, name) == [1, 2]


async def test_a_part_that_fails_during_the_commit_closes_no_ones_connection(dsn: str) -> None:
    """What `fn` left running ends between its return and the next one's begin."""
    name = table(dsn)

    async def first(tx: Transaction) -> None:
        async def part() -> None:
            async with tx.savepoint():
                entered.set()
                await go.wait()
                raise LookupError

        late.append(started(part()))
        await entered.wait()
        await tx.execute(text(f"insert into {name} values ({number})"))
        asyncio.get_running_loop().call_later(0.0, go.set)

    async with pipelined(dsn, ONE) as (driver, _):
        before = pids(driver, "writes")
        for number in range(20):
            late = list[asyncio.Task[Any]]()
            entered, go = asyncio.Event(), asyncio.Event()
            one = started(driver.run(ACTOR, first))
            await entered.wait()
            two = started(driver.execute(text(f"insert into {name} values ({100 + number})")))
            await one
            await two
            await asyncio.wait(late)
            assert isinstance(late[0].exception(), LookupError)
        assert pids(driver, "writes") == before


async def test_a_script_that_is_given_up_leaves_a_usable_connection(dsn: str) -> None:
    async with pipelined(dsn, ONE) as (driver, _):
        before = pids(driver, "writes")

        async def write(tx: Transaction) -> bytes | None:
            await tx.execute("select 1")
            with anyio.move_on_after(0.05):
                async with tx.savepoint():
                    await tx.script(b"select 1; select pg_sleep(5)")
            return await tx.fetch("select 2")

        for _ in range(3):
            assert await driver.run(ACTOR, write) == b"2"
        assert pids(driver, "writes") == before


@pytest.mark.slow
async def test_a_transaction_may_raise_its_own_timeout(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An install does: its statements take as long as the table is large."""
    monkeypatch.setattr("kernel.database.pool.ANSWER_GRACE", 0.3)

    async def install(tx: Transaction) -> None:
        await tx.fetch("select set_config('statement_timeout', '600000', true)")
        await tx.script(b"select pg_sleep(0.4);" * 3)

    async with pipelined(dsn, ONE, statement_timeout=0.5) as (driver, _):
        await driver.run(ACTOR, install)


async def test_what_cannot_be_prepared_leaves_nothing_behind(dsn: str) -> None:
    count = "select count(*) from pg_prepared_statements"

    async def many(tx: Transaction) -> None:
        calls = [tx.fetch(text(f"selec {n}")) for n in range(20)]
        await asyncio.gather(*calls, return_exceptions=True)

    async with pipelined(dsn, ONE) as (driver, _):
        before = pids(driver, "writes")
        for n in range(40):
            with suppress(SchemaChanged):
                await driver.run(ACTOR, lambda tx, n=n: tx.fetch(text(f"select {n} from nowhere")))
        with suppress(RuntimeError):
            await driver.run(ACTOR, many)
        found = int(await driver.run(ACTOR, lambda tx: tx.fetch(count, custom_plan=True)) or 0)
        assert found <= 12
        assert pids(driver, "writes") == before


@pytest.mark.usefixtures("no_way_out")
async def test_a_connection_that_joins_serves_those_who_wait(dsn: str) -> None:
    async with pipelined(dsn, ONE) as (driver, pool), pool.connect() as connection:
        writes = driver.groups["writes"]
        await driver.run(ACTOR, lambda tx: tx.fetch("select 1"))
        holder = started(driver.run(ACTOR, lambda tx: tx.fetch("select pg_sleep(60)")))
        await asyncio.sleep(0.001)
        waiting = started(driver.execute("select 1"))
        await asyncio.sleep(0.001)
        member = writes.add(connection)
        await driver.execute("select 1")
        await waiting
        assert not holder.done()
        holder.cancel()
        await asyncio.wait([holder])
        writes.remove(member)


async def test_the_end_waits_for_those_who_wait_for_a_connection(dsn: str) -> None:
    name = table(dsn)
    async with pipelined(dsn, ONE) as (driver, _):
        before = started(driver.execute("select pg_sleep(0.02)"))
        await asyncio.sleep(0.001)
        waits = started(driver.run(ACTOR, inserts(name, 1)))
        await asyncio.sleep(0.001)
    await asyncio.gather(before, waits)
    assert rows(dsn, name) == [1]


async def test_a_request_during_the_end_is_refused_with_the_reason(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = list[asyncio.Task[Any]]()

    async def busy(tx: Transaction) -> None:
        while True:
            await tx.fetch("select 1")

    async with pipelined(dsn, ONE) as (driver, _):
        monkeypatch.setattr(driver, "_drain_timeout", 0.2)
        writes = driver.groups["writes"]
        close = writes.close

        def closed() -> None:
            close()
            late.append(started(driver.run(ACTOR, lambda tx: tx.fetch("select 1"))))

        monkeypatch.setattr(writes, "close", closed)
        holder = started(driver.run(ACTOR, busy))
        await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        ends = await asyncio.gather(holder, *late, return_exceptions=True)
    assert len(ends) == 2
    assert isinstance(ends[0], Unavailable)


async def test_the_end_waits_for_a_transaction(dsn: str) -> None:
    name = table(dsn)

    async def write(tx: Transaction) -> None:
        await inserts(name, 1)(tx)
        await asyncio.sleep(0.3)
        await inserts(name, 2)(tx)

    async with pipelined(dsn, ONE) as (driver, _):
        task: asyncio.Task[Any] = started(driver.run(ACTOR, write))
        await asyncio.sleep(0.1)
    await task
    assert rows(dsn, name) == [1, 2]
