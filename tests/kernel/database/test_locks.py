"""Locks by name: rows that no login of an app can hold."""

import re
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager

import anyio
import psycopg
import pytest

from kernel.contracts.statements import Statements, Transaction
from kernel.database.pool import Database
from kernel.errors import Unavailable
from kernel.testing import Postgres
from plugins.pipeline.config import PipelineConfig
from plugins.pipeline.service import PipelinedStatements
from tests.kernel.databases import ACTOR, opened, sql

LOCK = "select caudex_kernel.lock(array[%s], %s)"


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> Generator[str]:
    """A database that the tests of this module share."""
    url = postgres.create()
    yield url
    postgres.drop(url)


@asynccontextmanager
async def pipelined(db: Database) -> AsyncGenerator[Statements]:
    async with PipelinedStatements(db, PipelineConfig()).opened() as statements:
        yield statements


async def lock(db: Statements, *names: str, skip: bool = False) -> bool:
    """Lock names for a moment."""
    return await db.run(ACTOR, lambda tx: tx.lock(*names, skip=skip))


@pytest.mark.parametrize("seen", [True, False], ids=["row there", "first use"])
@pytest.mark.parametrize("driver", ["pool", "pipeline"])
async def test_one_transaction_holds_a_name(dsn: str, driver: str, seen: bool) -> None:
    name = f"{driver}.{seen}".lower()
    async with opened(dsn, lock_timeout=0.3) as pool, pipelined(pool) as pipeline:
        db: Statements = pool if driver == "pool" else pipeline
        if seen:
            assert await lock(db, name)
        with psycopg.connect(dsn) as other:
            assert other.execute(LOCK, [name, False]).fetchone() == (True,)
            assert not await lock(db, name, skip=True)
            assert not await lock(db, "another", name, skip=True)
            with pytest.raises(Unavailable):
                await lock(db, name)
            assert await lock(db, "another")
            other.commit()
        assert await lock(db, name, skip=True)
        assert await lock(db, name)


async def test_a_lock_is_held_until_the_end_and_by_one_transaction_as_often_as_it_asks(
    dsn: str,
) -> None:
    async def work(tx: Transaction) -> None:
        assert await tx.lock("held", skip=True)
        assert await tx.lock("held")
        assert await tx.lock("held", skip=True)
        assert sql(dsn, LOCK, "held", True) == [(False,)]
        raise LookupError

    async with opened(dsn) as db:
        with pytest.raises(LookupError):
            await db.run(ACTOR, work)
    assert sql(dsn, LOCK, "held", True) == [(True,)]


@pytest.mark.parametrize("again", [False, True])
async def test_the_lock_timeout_of_the_transaction_stays(dsn: str, again: bool) -> None:
    async def work(tx: Transaction) -> bytes | None:
        await tx.lock("timed" if again else "timed.first", skip=True)
        return await tx.fetch("select current_setting('lock_timeout')")

    async with opened(dsn, lock_timeout=7) as db:
        assert await db.run(ACTOR, work) == b"7s"


async def test_names_are_locked_in_one_order(dsn: str) -> None:
    counts = [0, 0]

    async def work(tx: Transaction, who: int) -> None:
        await tx.lock(*(["a", "b", "c"] if who else ["c", "b", "a"]))
        counts[who] += 1

    async with opened(dsn) as db:

        async def often(who: int) -> None:
            for _ in range(50):
                await db.run(ACTOR, lambda tx: work(tx, who))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(often, 0)
            tasks.start_soon(often, 1)
    assert counts == [50, 50]


async def test_what_follows_a_colon_takes_no_more_than_256_rows(dsn: str) -> None:
    async with opened(dsn) as db:
        assert await lock(db, *[f"logs.lines:{n}" for n in range(3000)])
        assert await lock(db, "logs.lines")
    names = sql(dsn, "select name from caudex_kernel.locks where name like 'logs.%'")
    assert len(names) == 257
    assert all(re.fullmatch(r"logs\.lines(:\d{1,3})?", name) for (name,) in names)


def test_a_login_that_may_do_nothing_cannot_hold_a_lock(dsn: str) -> None:
    sql(dsn, "create role caudex_test_locks")
    try:
        with psycopg.connect(dsn) as app:
            app.execute("set role caudex_test_locks")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(LOCK, ["jobs.sweep", True])
    finally:
        sql(dsn, "drop role caudex_test_locks")
