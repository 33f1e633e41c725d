"""Writes that arrive together share a transaction, and none of them notices the others."""

import asyncio
import time
from collections.abc import Generator, Mapping
from functools import partial
from typing import Any

import anyio
import msgspec
import psycopg
import pytest

from caudex import Actor, Grant, Plugin, hookimpl, on_behalf_of
from kernel.contracts.records import RECORDS, Target
from kernel.contracts.statements import Transaction
from kernel.database.dialect import OutcomeUnknown
from kernel.errors import BadRequest, ConstraintViolation, KernelError, Unavailable
from kernel.testing import MakeServer, Postgres
from plugins.pipeline.config import PipelineConfig
from plugins.pipeline.service import MAX_GROUPED
from tests.kernel.databases import ACTOR, sql, table
from tests.plugins.data.shop import COMPANIES, add, install
from tests.plugins.pipeline.groups import pids, pipelined, started
from tests.waiting import until

ONE = PipelineConfig(reads=1, filters=1, writes=1, prepared=10)


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> Generator[str]:
    """A database that the tests of this module share."""
    url = postgres.create()
    yield url
    postgres.drop(url)


def insert(name: str) -> bytes:
    """Insert a number, of which there is one; the answer is the transaction that did it."""
    return f"insert into {name} (id) values ($1::int) returning pg_current_xact_id()".encode()


async def all_of(*calls: Any) -> list[Any]:
    """Start all calls in one turn of the event loop, and return what they return or raise."""
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_inserts_of_a_turn_share_a_transaction(dsn: str) -> None:
    name, other = table(dsn), table(dsn)
    async with pipelined(dsn) as (driver, _):
        calls = [driver.execute_grouped("", insert(name), n) for n in range(2 * MAX_GROUPED)]
        found = await all_of(*calls)
        assert [found.index(each) for each in found] == [0] * MAX_GROUPED + [
            MAX_GROUPED
        ] * MAX_GROUPED
        others = await all_of(
            driver.execute_grouped("", insert(name), 50),
            driver.execute_grouped("", insert(other), 50),
            driver.execute(insert(name), 51),
            driver.execute(insert(name), 52),
        )
        assert len({*others}) == 4
    assert sql(dsn, f"select count(*) from {name}") == [(2 * MAX_GROUPED + 3,)]


async def test_inserts_that_wait_for_a_connection_share_a_transaction(dsn: str) -> None:
    name = table(dsn)
    async with pipelined(dsn, ONE) as (driver, _):
        calls = [driver.execute("select pg_sleep(0.05)")]
        calls += [driver.execute_grouped("", insert(name), n) for n in range(MAX_GROUPED)]
        assert len({*(await all_of(*calls))}) == 2


@pytest.mark.parametrize("at", [0, 3, MAX_GROUPED - 1])
async def test_one_that_fails_is_the_only_one(dsn: str, at: int) -> None:
    name = table(dsn)
    sql(dsn, f"insert into {name} (id) values (100)")
    async with pipelined(dsn, ONE) as (driver, _):
        for first in (0, 20):  # also where the statement has to be prepared first
            ids = [first + n if n != at else 100 for n in range(MAX_GROUPED)]
            found = await all_of(*(driver.execute_grouped("", insert(name), n) for n in ids))
            assert [type(each) is ConstraintViolation for each in found] == [n == 100 for n in ids]
            assert len({*found}) == MAX_GROUPED, "each was sent again alone"
    assert sql(dsn, f"select count(*), count(distinct id) from {name}") == [
        (2 * MAX_GROUPED - 1,) * 2
    ]


async def test_one_of_two_with_the_same_key_is_stored(dsn: str) -> None:
    name = table(dsn)
    async with pipelined(dsn, ONE) as (driver, _):
        found = await all_of(*(driver.execute_grouped("", insert(name), n) for n in (1, 1, 2)))
        assert [type(each) for each in found] == [bytes, ConstraintViolation, bytes]
    assert sql(dsn, f"select id from {name} order by id") == [(1,), (2,)]


async def test_a_rule_that_is_checked_at_the_commit_fails_one(dsn: str) -> None:
    name, child = table(dsn), table(dsn)
    sql(dsn, f"insert into {name} (id) values (1), (2)")
    rule = f"foreign key (id) references {name} (id) deferrable initially deferred"
    sql(dsn, f"alter table {child} add {rule}")
    async with pipelined(dsn, ONE) as (driver, _):
        found = await all_of(*(driver.execute_grouped("", insert(child), n) for n in (1, 7, 2)))
        assert [type(each) for each in found] == [bytes, ConstraintViolation, bytes]
    assert sql(dsn, f"select id from {child} order by id") == [(1,), (2,)]


@pytest.mark.usefixtures("no_way_out")
async def test_one_that_waits_for_a_lock_holds_up_no_other(dsn: str) -> None:
    name, child = table(dsn), table(dsn)
    sql(dsn, f"insert into {name} (id) values (1), (2), (3)")
    sql(dsn, f"alter table {child} add foreign key (id) references {name} (id)")
    async with pipelined(dsn, ONE, lock_timeout=20) as (driver, _):
        with psycopg.connect(dsn) as holder:
            holder.execute(f"delete from {name} where id = 2".encode())
            first, blocked, last = [
                started(driver.execute_grouped("", insert(child), n)) for n in (1, 2, 3)
            ]
            assert await first != await last
            assert await driver.execute("select 5") == b"5", "its connection is free again"
            assert not blocked.done()
            holder.rollback()
        assert await blocked
        assert driver.groups["writes"].left == 1
    assert sql(dsn, f"select id from {child} order by id") == [(1,), (2,), (3,)]


async def test_who_waits_for_a_locked_record_holds_up_no_other_a_second_time(dsn: str) -> None:
    name = table(dsn)
    sql(dsn, f"insert into {name} (id, n) values (1, 0), (2, 0), (3, 0)")

    async with pipelined(dsn, ONE, lock_timeout=20) as (driver, _):
        with psycopg.connect(dsn) as holder:
            holder.execute(f"select from {name} where id = 2 for update".encode())
            blocked = list[asyncio.Task[Any]]()
            for turn in range(3):
                first, locked, last = [
                    started(driver.execute_grouped(str(n), update(name), n)) for n in (1, 2, 3)
                ]
                blocked.append(locked)
                xids = {answer.split()[1] for answer in (await first or b"", await last or b"")}
                assert len(xids) == (1 if turn else 2), "they were undone, and sent again alone"
            assert not any(task.done() for task in blocked)
            holder.rollback()
        assert {type(answer) for answer in await all_of(*blocked)} == {bytes}
        assert driver.groups["writes"].left == len(blocked)
    assert sql(dsn, f"select n from {name} order by id") == [(3,)] * 3


@pytest.mark.slow
async def test_a_write_that_takes_long_holds_up_no_other_for_long(dsn: str) -> None:
    """Before, they waited for `statement_timeout`: the slow one was answered first."""
    name = slowly(dsn, 30, "new.id = 2")
    async with pipelined(dsn, ONE, statement_timeout=4) as (driver, _):
        first, slow, last = [
            started(driver.execute_grouped("", insert(name), n)) for n in (1, 2, 3)
        ]
        assert await first != await last
        assert not slow.done()
        # What has the text of a slow one is sent alone: it may be slow as well.
        xids = await all_of(*(driver.execute_grouped("", insert(name), n) for n in (4, 5)))
        assert len({*xids}) == 2
        with pytest.raises(Unavailable):
            await slow
    assert sql(dsn, f"select id from {name} order by id") == [(1,), (3,), (4,), (5,)]


@pytest.mark.slow
async def test_a_write_of_its_own_that_takes_long_leaves_its_connection_to_others(dsn: str) -> None:
    async with pipelined(dsn, ONE) as (driver, _):
        pids = [await driver.execute("select pg_backend_pid() from pg_sleep(0.8)") for _ in "12"]
        assert driver.groups["writes"].left == driver.groups["writes"].asked + 1 == 2
        assert pids[0] == pids[1]


async def test_what_was_slow_is_sent_with_others_again_later(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugins.pipeline.slow.REMEMBERED_SECONDS", 0.3)
    name = table(dsn)
    sql(dsn, f"insert into {name} (id, n) values (1, 0), (2, 0)")
    async with pipelined(dsn, ONE, lock_timeout=20) as (driver, _):
        with psycopg.connect(dsn) as holder:
            holder.execute(f"select from {name} where id = 2 for update".encode())
            blocked = started(driver.execute_grouped("2", update(name), 2))
            while not driver.groups["writes"].left:
                await anyio.sleep(0.02)
            holder.rollback()
        assert await blocked
        await anyio.sleep(0.4)
        answers = await all_of(*(driver.execute_grouped(str(n), update(name), n) for n in (1, 2)))
        assert len({answer.split()[1] for answer in answers}) == 1


async def test_the_lock_timeout_of_the_configuration_applies(dsn: str) -> None:
    name = table(dsn)
    async with pipelined(dsn, ONE, lock_timeout=1) as (driver, _):

        async def write(tx: Transaction) -> None:
            await tx.execute(insert(name), 1)

        calls = (
            partial(driver.execute, insert(name), 1),
            partial(driver.execute_grouped, "", insert(name), 1),
            partial(driver.run, ACTOR, write),
            partial(driver.fetch, f"select count(*) from {name}".encode()),
        )
        with psycopg.connect(dsn) as holder:
            holder.execute(f"lock table {name}".encode())
            for call in calls:
                began = time.monotonic()
                with pytest.raises(Unavailable):
                    await call()
                assert time.monotonic() - began > 0.95


async def test_an_insert_that_two_groups_take_from_each_other_is_stored_once(dsn: str) -> None:
    name = table(dsn)
    async with pipelined(dsn, PipelineConfig(writes=2)) as (driver, _):
        for turn in range(10):
            ids, tasks = [10 * turn + n for n in range(6)], list[asyncio.Task[Any]]()
            for order in (ids, ids[::-1]):
                tasks += [started(driver.execute_grouped("", insert(name), n)) for n in order]
                await asyncio.sleep(0)
            found = await all_of(*tasks)
            kinds = [each if isinstance(each, bytes) else type(each) for each in found]
            assert kinds.count(ConstraintViolation) == len(ids), kinds
    assert sql(dsn, f"select count(*) from {name}") == [(60,)]


async def test_a_caller_that_is_cancelled_takes_no_other_along(dsn: str) -> None:
    name = table(dsn)
    sql(dsn, f"insert into {name} (id) values (100)")
    async with pipelined(dsn, ONE) as (driver, _):
        tasks = [started(driver.execute_grouped("", insert(name), n)) for n in (1, 100, 2)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        found = await all_of(*tasks)
        kinds = [asyncio.CancelledError, ConstraintViolation, bytes]
        assert [type(each) for each in found] == kinds
        await driver.execute("select")
    assert (2,) in sql(dsn, f"select id from {name}")


async def test_a_connection_that_breaks_leaves_the_outcome_of_all_open(dsn: str) -> None:
    name = table(dsn)
    sql(dsn, f"create function slow_{name}() returns trigger language plpgsql as "
             "'begin perform pg_sleep(0.3); return new; end'")  # fmt: skip
    sql(dsn, f"create trigger slow before insert on {name} for each row when (new.id = 2)"
             f" execute function slow_{name}()")  # fmt: skip
    async with pipelined(dsn, ONE) as (driver, _):
        [pid] = pids(driver, "writes")
        tasks = [started(driver.execute_grouped("", insert(name), n)) for n in (1, 2, 3)]
        await anyio.sleep(0.1)
        sql(dsn, "select pg_terminate_backend(%s)", pid)
        found = await all_of(*tasks)
        assert [type(each) for each in found] == [OutcomeUnknown] * 3
    assert sql(dsn, f"select id from {name}") == []


async def test_a_failure_that_arrives_before_the_sync_is_sent_fails_one(dsn: str) -> None:
    name = table(dsn)
    sql(dsn, f"insert into {name} (id) values (100)")
    async with pipelined(dsn, ONE) as (driver, _):
        await driver.execute_grouped("", insert(name), 50)
        tasks = [started(driver.execute_grouped("", insert(name), n)) for n in (1, 100, 2)]
        await asyncio.sleep(0)
        [member] = driver.groups["writes"].members
        for _ in range(2):  # sends without a sync, and reads the failure, before the loop turns
            member.check(5, 0)
            time.sleep(0.2)  # noqa: ASYNC251
        found = await all_of(*tasks)
        assert [type(each) for each in found] == [bytes, ConstraintViolation, bytes]
    assert sql(dsn, f"select count(*) from {name}") == [(4,)]


async def test_one_that_is_refused_before_it_is_sent_is_alone(dsn: str) -> None:
    name = table(dsn)
    async with pipelined(dsn, ONE) as (driver, _):
        found = await all_of(*(driver.execute_grouped("", insert(name), n) for n in (1, "\0", 2)))
        assert [type(each) for each in found] == [bytes, BadRequest, bytes]
        assert isinstance(found[1], KernelError)


def update(name: str) -> bytes:
    """Count the changes of a row; the answer is the number and the transaction."""
    return (
        f"update {name} set n = n + 1 where id = $1::int returning n || ' ' || pg_current_xact_id()"
    ).encode()


async def test_updates_of_a_turn_change_each_row_once_in_a_transaction(dsn: str) -> None:
    name = table(dsn)
    sql(dsn, f"insert into {name} (id, n) select *, 0 from generate_series(1, 4)")
    async with pipelined(dsn, ONE) as (driver, _):
        rows = (3, 1, 3, 2, 1, 3, 4)
        calls = (driver.execute_grouped(str(n), update(name), n) for n in rows)
        found = [each.decode().split() for each in await all_of(*calls)]
    assert [int(n) for n, _ in found] == [1, 1, 2, 1, 2, 3, 1]
    changes = [(row, xid) for row, (_, xid) in zip(rows, found, strict=True)]
    assert len({*changes}) == len(changes), "a row was changed twice in a transaction"
    assert len({xid for _, xid in changes}) < len(changes)


async def test_two_groups_of_updates_never_wait_for_each_other(dsn: str) -> None:
    name = table(dsn)
    sql(dsn, f"insert into {name} (id, n) select *, 0 from generate_series(10, 19)")
    async with pipelined(dsn, PipelineConfig(writes=2), lock_timeout=20) as (driver, _):
        ids = range(10, 16)
        for _ in range(50):
            tasks = list[asyncio.Task[Any]]()
            for order in (ids, ids[::-1]):
                tasks += [started(driver.execute_grouped(str(n), update(name), n)) for n in order]
                await asyncio.sleep(0)
            found = await all_of(*tasks)
            assert {type(each) for each in found} == {bytes}
        assert driver.groups["writes"].left == 0, "one waited for a lock, and went to the pool"
    assert sql(dsn, f"select distinct n from {name} where id < 16") == [(100,)]


async def test_what_was_gathered_and_not_sent_goes_to_the_pool(dsn: str) -> None:
    name = table(dsn)
    async with pipelined(dsn, ONE) as (driver, _):
        tasks = [started(driver.execute_grouped("", insert(name), n)) for n in (1, 2)]
        await asyncio.sleep(0)
        driver.groups["writes"].members[0].close()
        assert {type(each) for each in await all_of(*tasks)} == {bytes}
    assert sql(dsn, f"select id from {name} order by id") == [(1,), (2,)]


def slowly(dsn: str, seconds: float, when: str = "true") -> str:
    """A table whose inserts take so long where a condition holds."""
    name = table(dsn)
    sql(dsn, f"create function slow_{name}() returns trigger language plpgsql as "
             f"'begin perform pg_sleep({seconds}); return new; end'")  # fmt: skip
    sql(dsn, f"create trigger slow before insert on {name} for each row when ({when})"
             f" execute function slow_{name}()")  # fmt: skip
    return name


@pytest.mark.slow
async def test_a_group_may_take_as_long_as_all_of_its_statements(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel.database.pool.ANSWER_GRACE", 0.2)
    name = slowly(dsn, 0.5)
    async with pipelined(dsn, ONE, statement_timeout=1) as (driver, _):
        found = await all_of(*(driver.execute_grouped("", insert(name), n) for n in range(4)))
        assert [type(each) for each in found] == [bytes] * 4
    assert sql(dsn, f"select count(*) from {name}") == [(4,)]


@pytest.mark.slow
async def test_a_statement_that_takes_too_long_is_its_callers_own(dsn: str) -> None:
    name = slowly(dsn, 30, "new.id = 2")
    async with pipelined(dsn, statement_timeout=2) as (driver, _):
        found = await all_of(*(driver.execute_grouped("", insert(name), n) for n in (1, 2, 3)))
        assert [type(each) for each in found] == [bytes, Unavailable, bytes]
    assert sql(dsn, f"select id from {name} order by id") == [(1,), (3,)]


@pytest.mark.parametrize("provider", ["driver", "pool"])
async def test_what_waits_for_a_lock_leaves_connections_to_others(dsn: str, provider: str) -> None:
    """Of one user it waits on half of the pool, and on none of the connections for writes."""
    name = table(dsn)
    sql(dsn, f"insert into {name} (id, n) values (1, 0), (2, 0)")
    async with pipelined(dsn, lock_timeout=20, pool_timeout=20) as opened:
        statements = opened.driver if provider == "driver" else opened.pool

        async def write(tx: Transaction) -> None:
            await tx.execute(update(name), 1)

        async def wait(n: int) -> None:
            async with on_behalf_of(user_id="ada", app_id="crm"):
                if n % 2:
                    await statements.run(ACTOR, write)
                else:
                    await statements.execute_grouped("1", update(name), 1)

        with psycopg.connect(dsn) as holder:
            holder.execute(f"select from {name} where id = 1 for update".encode())
            blocked = [started(wait(n)) for n in range(20)]
            await until(lambda: opened.pool.statistics()["pool_size"] > 1)
            async with on_behalf_of(user_id="bob", app_id="crm"):
                for _ in range(20):
                    with anyio.fail_after(60):
                        assert await statements.fetch("select 7") == b"7"
                        assert await statements.execute_grouped("2", update(name), 2)
                        assert await statements.run(ACTOR, lambda tx: tx.fetch("select 8")) == b"8"
            assert not any(task.done() for task in blocked)
            holder.rollback()
        assert await all_of(*blocked) == [None] * 20
    assert sql(dsn, f"select n from {name} order by id") == [(20,), (20,)]


@pytest.mark.parametrize("group", ["reads", "filters", "writes"])
async def test_users_take_turns_where_statements_wait(dsn: str, group: str) -> None:
    """Else one would wait for all that another user has sent before."""
    order = list[str]()
    async with pipelined(dsn, ONE) as (driver, _):

        async def call(user: str) -> None:
            async with on_behalf_of(user_id=user):
                if group == "writes":
                    await driver.execute("select")
                else:
                    await driver.fetch("select", custom_plan=group == "filters")
            order.append(user)

        calls = [started(call("ada")) for _ in range(200)]
        await asyncio.sleep(0)
        calls.append(started(call("bob")))
        await asyncio.gather(*calls)
    assert order.count("ada") == 200
    # 64 reads, or four filters, are under way before the first one waits.
    assert order.index("bob") < (190 if group == "reads" else 20)


async def test_writes_of_several_texts_share_a_transaction_with_their_own(dsn: str) -> None:
    one, two = table(dsn), table(dsn)
    async with pipelined(dsn) as (driver, _):
        calls = (driver.execute_grouped("", insert((one, two)[n % 2]), n) for n in range(12))
        found = await all_of(*calls)
    assert [found.index(each) for each in found] == [0, 1] * 6


async def test_large_writes_are_alone(dsn: str) -> None:
    name = table(dsn, "id int primary key, n text")
    query = f"insert into {name} values ($1::int, $2::text) returning pg_current_xact_id()"
    async with pipelined(dsn) as (driver, _):
        calls = (driver.execute_grouped("", query.encode(), n, "x" * 40_000) for n in range(4))
        assert len({*(await all_of(*calls))}) == 4


async def test_writes_that_are_gathered_are_watched(dsn: str) -> None:
    name = table(dsn)
    async with pipelined(dsn, ONE) as (driver, _):
        group = driver.groups["writes"]
        task = started(driver.execute_grouped("", insert(name), 1))
        await asyncio.sleep(0)
        assert group.members[0].gathered
        group._tick()
        assert group._timer is not None
        await task


class SettingsOfSomePlugin(Plugin):
    """Sets something for one of several callers."""

    name = "settings_of_some"

    @hookimpl
    def session_settings(self, actor: Actor) -> Mapping[str, str]:
        """Nothing, but for the first caller."""
        return {"shop.first": "yes"} if actor.request_id == "req-0" else {}


@pytest.mark.parametrize("plugin", [False, True])
def test_records_of_one_transaction_keep_their_own_author(
    make_server: MakeServer, plugin: bool
) -> None:
    some = {"settings_of_some": {"module": f"{__name__}:{SettingsOfSomePlugin.__name__}"}}
    tables = {"services": {"statements": "pipeline"}, "plugins": some if plugin else {}}
    server = make_server(tables)
    install(server)
    users = [server.user().id, server.admin.id]
    records, seen = server.services.get(RECORDS), "current_setting('shop.first', true)"
    add(server.admin, COMPANIES, name="first")  # so that no other has to wait for the manifest
    server.sql(f"alter table shop.companies alter column note set default {seen}")

    async def create() -> list[Any]:
        actors = [Actor(user_id=users[n % 2], request_id=f"req-{n}") for n in range(6)]
        names = [f"c{n}" for n in range(6)]
        return await all_of(*(
            records.create(Target(actor, Grant(), "shop", "companies"), {"name": name})
            for actor, name in zip(actors, names, strict=True)
        ))  # fmt: skip

    made = [msgspec.json.decode(each.record) for each in server.run(create)]
    rows = server.sql(
        "select name, _owner::text, note, xmin::text from shop.companies"
        " where name like 'c%' order by name"
    )
    assert [row[:2] for row in rows] == [(f"c{n}", users[n % 2]) for n in range(6)]
    trail = server.sql(
        "select record_id::text, actor_id::text, request_id from caudex_audit.log"
        " where request_id like 'req-%' order by request_id"
    )
    assert trail == [(each["id"], users[n % 2], f"req-{n}") for n, each in enumerate(made)]
    # A setting of one of them would be another's, so with the plugin each is alone.
    assert len({row[3] for row in rows}) == (6 if plugin else 1)
    assert [row[2] or None for row in rows] == ["yes" if plugin else None] + [None] * 5


async def test_connections_last_while_groups_follow_each_other(dsn: str) -> None:
    name = table(dsn)
    sql(dsn, f"insert into {name} (id, n) select *, 0 from generate_series(1, 16)")
    async with pipelined(dsn) as (driver, _):
        before = pids(driver, "writes")

        async def changes(of: int) -> None:
            for n in range(60):
                row = (of + n) % 16 + 1
                assert await driver.execute_grouped(str(row), update(name), row)

        await asyncio.gather(*(changes(of) for of in range(32)))
        assert pids(driver, "writes") == before
        assert driver.groups["writes"].left == 0
    assert sql(dsn, f"select sum(n) from {name}") == [(32 * 60,)]


def test_each_change_of_a_record_has_a_tag_of_its_own(make_server: MakeServer) -> None:
    server = make_server({"services": {"statements": "pipeline"}})
    install(server)
    ids = [add(server.admin, COMPANIES, name=f"c{n}")["id"] for n in range(3)]
    actor = Actor(user_id=server.admin.id, request_id="req")
    target = Target(actor, Grant(), "shop", "companies")
    records = server.services.get(RECORDS)

    async def change() -> list[Any]:
        # Both ways to write an id name one record.
        paths = [each for n in range(4) for each in (ids[0], ids[0].upper(), ids[n % 3])]
        return await all_of(*(
            records.update(target, path, {"note": f"n{n}"})
            for n, path in enumerate(paths)
        ))  # fmt: skip

    changed = server.run(change)
    assert len({(each.etag, msgspec.json.decode(each.record)["id"]) for each in changed}) == 12
    last = server.admin.get(f"{COMPANIES}/{ids[0]}")
    # Records that share a commit may have the same tag: it belongs to the record's address.
    said = [msgspec.json.decode(e.record) for e in changed if e.etag == last.headers["etag"]]
    assert [record for record in said if record["id"] == ids[0]] == [last.json()]
