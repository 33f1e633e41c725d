"""How many connections of the pool one user, and one app, may hold; and what is left open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from caudex import on_behalf_of
from kernel.contracts.statements import Transaction
from kernel.database import open_work
from kernel.database.pool import Database
from kernel.errors import Unavailable
from kernel.testing import Postgres
from kernel.toolkit.requests import CURRENT_REQUEST
from tests.kernel.databases import ACTOR, opened
from tests.waiting import until


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> Generator[str]:
    """A database that the tests of this module share."""
    url = postgres.create()
    yield url
    postgres.drop(url)


class Crowd:
    """Transactions of several callers that stay open until the gate is opened."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._gate = asyncio.Event()
        self._tasks = list[asyncio.Task[None]]()
        self.inside = list[str]()

    def start(self, name: str, user_id: str | None = None, app_id: str | None = None) -> None:
        """Let one more of them begin, when it is its turn."""

        async def stay(tx: Transaction) -> None:
            await tx.fetch("select 1")
            self.inside.append(name)
            await self._gate.wait()

        async def call() -> None:
            async with on_behalf_of(user_id=user_id, app_id=app_id):
                await self._db.run(ACTOR, stay)

        self._tasks.append(asyncio.get_running_loop().create_task(call()))

    async def settle(self, count: int) -> None:
        """Wait until so many have begun, and for a moment in which no other one may begin."""
        await until(lambda: len(self.inside) >= count)
        await asyncio.sleep(0.1)

    async def end(self) -> None:
        """Let all of them go on to their end."""
        self._gate.set()
        await asyncio.gather(*self._tasks)


@asynccontextmanager
async def crowded(dsn: str, size: int = 5) -> AsyncGenerator[tuple[Database, Crowd]]:
    """Open a pool, and end what was started in it."""
    async with opened(dsn, pool_size=size, pool_timeout=30) as db:
        crowd = Crowd(db)
        yield db, crowd
        await crowd.end()


async def test_a_user_has_half_and_an_app_all_but_one_of_what_may_take_long(dsn: str) -> None:
    async with crowded(dsn) as (db, crowd):
        for _ in range(5):
            crowd.start("ada", "ada", "crm")
        await crowd.settle(2)
        assert crowd.inside == ["ada"] * 2
        for _ in range(3):
            crowd.start("bob", "bob", "crm")
        await crowd.settle(3)
        assert crowd.inside == ["ada", "ada", "bob"]
        for _ in range(3):
            crowd.start("carl", "carl", "shop")
        await crowd.settle(4)
        assert crowd.inside == ["ada", "ada", "bob", "carl"]
        async with on_behalf_of(user_id="ada", app_id="shop"):  # she has no more
            reading = asyncio.get_running_loop().create_task(db.fetch("select 1"))
            await crowd.settle(4)
            assert not reading.done()
        for app in ("crm", "shop"):
            async with on_behalf_of(user_id="dora", app_id=app):
                assert await db.fetch("select 7") == b"7", "a quick read finds the last one"
        await crowd.end()
        assert await reading == b"1"
    assert sorted(crowd.inside) == ["ada"] * 5 + ["bob"] * 3 + ["carl"] * 3


async def test_requests_without_a_user_share_what_a_user_has(dsn: str) -> None:
    async with crowded(dsn) as (_, crowd):
        for _ in range(3):
            crowd.start("anonymous")
        await crowd.settle(2)
        assert crowd.inside == ["anonymous"] * 2
        crowd.start("worker", None, "crm")  # it counts for its app only
        await crowd.settle(3)
        assert crowd.inside == ["anonymous", "anonymous", "worker"]


@pytest.mark.parametrize(("size", "inside"), [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (9, 4)])
async def test_pools_of_any_size_have_places_for_a_user(dsn: str, size: int, inside: int) -> None:
    async with crowded(dsn, size) as (_, crowd):
        for _ in range(6):
            crowd.start("ada", "ada", "crm")
        await crowd.settle(inside)
        assert len(crowd.inside) == inside


async def test_what_the_server_does_itself_waits_for_no_user(dsn: str) -> None:
    async with crowded(dsn) as (db, crowd):
        for user in "abcdef":
            crowd.start(user, user, user)
        await crowd.settle(4)
        assert len(crowd.inside) == 4
        assert await db.execute("select 7") == b"7"


async def test_who_waited_is_refused_at_once_where_the_database_went_away(dsn: str) -> None:
    """It waited for a connection of the pool as well, and was refused after eight seconds."""
    async with crowded(dsn) as (db, crowd):
        for _ in range(2):
            crowd.start("ada", "ada", "crm")
        await crowd.settle(2)
        async with on_behalf_of(user_id="ada", app_id="crm"):
            waiting = asyncio.get_running_loop().create_task(db.execute("select 1"))
        await until(lambda: db.shares.waiting == 1)
        db.online = False
        await crowd.end()
        with pytest.raises(Unavailable, match="the database is not available"):
            await waiting
        db.online = True


async def test_who_waits_in_vain_hears_why_and_the_log_names_the_holders(dsn: str) -> None:
    async with opened(dsn, pool_size=5, pool_timeout=2) as db:
        crowd = Crowd(db)
        for user, app in (("ada", "crm"), ("ada", "crm"), ("bob", "crm"), ("carl", "shop")):
            crowd.start(user, user, app)
        await until(lambda: len(crowd.inside) == 4)
        refusals = list[str]()
        with capture_logs() as logged:
            for user, app in (("ada", "crm"), ("dora", "crm"), ("dora", "shop")):
                async with on_behalf_of(user_id=user, app_id=app):
                    with pytest.raises(Unavailable) as caught:
                        await db.execute("select 1")
                refusals.append(caught.value.message)
                assert caught.value.headers["retry-after"] == "5"
        busy = "too many requests that take long are under way"
        assert refusals == [f"{busy} for this user", f"{busy} in this app", busy]
        [line] = [line for line in logged if line["event"] == "a request got no connection"]
        holders = [(each["kind"], each["user"], each["app_id"]) for each in line["holders"]]
        assert holders[0] == ("transaction", "ada", "crm")
        assert len(holders) == 4
        assert __file__ in line["holders"][0]["at"]
        [held] = db.held()
        assert (held.kind, held.count) == ("transaction", 4)
        await crowd.end()
        assert db.held() == []


async def test_a_request_that_is_cancelled_while_it_waits_takes_no_place_with_it(dsn: str) -> None:
    async with crowded(dsn) as (db, crowd):
        for _ in range(6):
            crowd.start("ada", "ada", "crm")
        await crowd.settle(2)
        for task in crowd._tasks[2:]:
            task.cancel()
        await asyncio.wait(crowd._tasks[2:])
        del crowd._tasks[2:]
        limiters = (db.shares._users, db.shares._apps, db.shares._all)
        assert [dict(limiter._held) for limiter in limiters] == [{"ada": 2}, {"crm": 2}, {None: 2}]
    assert [dict(limiter._held) for limiter in limiters] == [{}, {}, {}]


# --- what is left open ----------------------------------------------------------------------------

LEFT_OPEN = "a connection was not given back"
Leak = Callable[[Database], Awaitable[object]]


async def leak_stream(db: Database) -> object:
    """Open a stream and read a part of it, as a plugin does by mistake."""
    context = db.stream("select g from generate_series(1, 5000) as g")
    batches = await context.__aenter__()
    await anext(batches)
    return context, batches


async def leak_transaction(db: Database) -> object:
    """Begin a transaction in a task that never ends."""
    begun = asyncio.Event()

    async def wait(tx: Transaction) -> None:
        await tx.fetch("select 1")
        begun.set()
        await asyncio.sleep(3600)

    task = asyncio.get_running_loop().create_task(db.run(ACTOR, wait))
    await begun.wait()
    return task


LEAKS = pytest.mark.parametrize("leak", [leak_stream, leak_transaction])


@LEAKS
async def test_what_a_request_leaves_open_is_closed_with_it(dsn: str, leak: Leak) -> None:
    async with opened(dsn, pool_size=2, pool_timeout=2) as db:
        kept = list[Any]()
        with capture_logs() as logged:
            for _ in range(4):  # more than there are connections
                async with on_behalf_of(user_id="ada", app_id="crm"):
                    kept.append(await leak(db))
                    assert len(db.held()) == 1
        assert db.held() == []
        lines = [line for line in logged if line["event"] == LEFT_OPEN]
        assert len(lines) == 4
        assert lines[0]["kind"] == leak.__name__.removeprefix("leak_")
        assert (lines[0]["user"], lines[0]["app_id"]) == ("ada", "crm")
        assert lines[0]["at"].startswith(f"{__file__}:")
        assert "ended" in lines[0]["reason"]
        async with on_behalf_of(user_id="ada"), db.stream("select 1") as batches:
            assert [batch async for batch in batches] == [[b"1"]]
        if leak is leak_transaction:
            results = await asyncio.gather(*kept, return_exceptions=True)
            assert {type(result) for result in results} == {Unavailable}
        else:
            context, batches = kept[0]
            assert [batch async for batch in batches] == []
            await context.__aexit__(None, None, None)


@LEAKS
async def test_what_a_task_leaves_open_is_closed_after_a_while(
    dsn: str, leak: Leak, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_work, "IDLE_SECONDS", 0.3)
    monkeypatch.setattr(open_work, "LOOK_SECONDS", 0.05)
    async with opened(dsn, pool_size=2, pool_timeout=10) as db:
        with capture_logs() as logged:
            kept: list[Any] = [await leak(db)]
            await until(lambda: not db.held())
            async with db.stream("select 1") as batches:
                assert [batch async for batch in batches] == [[b"1"]]
            if leak is leak_transaction:
                await asyncio.wait(kept)
                assert isinstance(kept[0].exception(), Unavailable)
        assert [line["event"] for line in logged if line["event"] == LEFT_OPEN] == [LEFT_OPEN]


async def test_a_statement_that_runs_for_long_leaves_nothing_open(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_work, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(open_work, "LOOK_SECONDS", 0.02)
    async with opened(dsn) as db:

        async def work(tx: Transaction) -> bytes | None:
            return await tx.fetch("select 7 from pg_sleep(0.5)")

        with capture_logs() as logged:
            assert await db.run(ACTOR, work) == b"7"
            async with db.stream("select 8 from pg_sleep(0.5)") as batches:
                assert [batch async for batch in batches] == [[b"8"]]
        assert logged == []


async def test_a_stream_that_raises_or_is_cancelled_is_closed_and_not_logged(dsn: str) -> None:
    async with opened(dsn, pool_size=2) as db:
        with capture_logs() as logged:
            for _ in range(3):
                async with on_behalf_of(user_id="ada"):
                    with pytest.raises(KeyError):
                        async with db.stream("select 1"):
                            raise KeyError

                    async def read() -> None:
                        async with db.stream("select pg_sleep(5)") as batches:
                            await anext(batches)

                    task = asyncio.get_running_loop().create_task(read())
                    await until(lambda: len(db.held()) == 1)
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
        assert logged == []
        assert db.held() == []
        assert CURRENT_REQUEST.get() is None
