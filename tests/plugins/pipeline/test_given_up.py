"""Transactions that are given up at any moment, once or twice: all of each is in, or none, and none
is taken along by the next on its connection."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Generator
from contextlib import suppress

import anyio
import psycopg
import pytest

from kernel.contracts.statements import Transaction
from kernel.errors import KernelError
from kernel.testing import Postgres
from plugins.pipeline.config import PipelineConfig
from tests.kernel.databases import ACTOR, sql, table, text
from tests.plugins.pipeline.groups import pids, pipelined, started
from tests.waiting import until

CONFIG = PipelineConfig(reads=1, filters=1, writes=3, prepared=10)
SECONDS = 3
ROWS = 4
ENOUGH = 50
"""Transactions that have to be in; a slow machine has more time for them."""
OWN = (KernelError, psycopg.ProgrammingError)


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> Generator[str]:
    """A database that the tests of this module share."""
    url = postgres.create()
    yield url
    postgres.drop(url)


class Play:
    """Many transactions, each of which writes some rows, and what became of them."""

    def __init__(self, table: str, seed: int) -> None:
        self.outcomes: dict[int, str] = {}
        self.errors: Counter[str] = Counter()
        self._table = table
        self._dice = random.Random(seed)

    async def write(self, tx: Transaction, number: int) -> None:
        """Write the rows of one transaction, with failures in between that harm none."""
        chance = self._dice.random
        for row in range(ROWS):
            kind = chance()
            if kind < 0.2:
                await tx.script(
                    f"insert into {self._table} values ({number}, {row}); select 1".encode()
                )
                continue
            if kind < 0.3:
                with suppress(*OWN):
                    async with tx.savepoint():
                        await tx.fetch(text(f"select 1 / {int(chance() * 2)} -- {kind:.2f}"))
                        await tx.fetch(text("selec" if chance() < 0.3 else "select 1"))
            elif kind < 0.4:
                with anyio.move_on_after(chance() * 0.01):
                    async with tx.savepoint():
                        await tx.fetch(text(f"select pg_sleep({chance() * 0.02})"))
            insert = f"insert into {self._table} values ($1::int, $2::int) returning id * 10 + row"
            assert await tx.execute(text(insert), number, row) == b"%d" % (number * 10 + row)
        if chance() < 0.1:
            raise LookupError

    async def one(self, driver: object, number: int) -> None:
        """Run one transaction and note what its caller is reported."""
        self.outcomes[number] = "unknown"
        run = driver.run  # type: ignore[attr-defined]
        try:
            with anyio.move_on_after(self._dice.choice((0.01, 0.02, 5))):
                await run(ACTOR, lambda tx: self.write(tx, number))
                self.outcomes[number] = "in"
        except LookupError:
            self.outcomes[number] = "out"
        except (KernelError, psycopg.Error, RuntimeError) as error:
            self.errors[f"{type(error).__name__}: {error}"] += 1

    def count(self, outcome: str) -> int:
        """How many transactions ended so."""
        return sum(each == outcome for each in self.outcomes.values())

    def give_up(self, task: asyncio.Task[None]) -> None:
        """Cancel a call soon, perhaps twice."""
        call_later = asyncio.get_running_loop().call_later
        for likely in (0.3, 0.15):
            if self._dice.random() < likely:
                call_later(self._dice.random() * 0.03, task.cancel)


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [False, True])
async def test_all_of_a_transaction_is_in_or_none(dsn: str, cuts: bool) -> None:
    name = table(dsn, "id int, row int, xid text default pg_current_xact_id()::text")
    play, running, number = Play(name, seed=int(cuts)), set[asyncio.Task[None]](), 0
    async with pipelined(dsn, CONFIG, pool_size=6) as (driver, _):
        end = time.monotonic() + SECONDS
        cut = time.monotonic()
        while time.monotonic() < end or (
            play.count("in") <= ENOUGH and time.monotonic() < end + 30
        ):
            while len(running) < 12:
                task = started(play.one(driver, number))
                running.add(task)
                task.add_done_callback(running.discard)
                play.give_up(task)
                number += 1
            await asyncio.sleep(0.001)
            if cuts and time.monotonic() > cut + 0.3 and (found := pids(driver, "writes")):
                cut = time.monotonic()
                await asyncio.to_thread(sql, dsn, "select pg_terminate_backend(%s)", found[0])
        if running:
            await asyncio.wait(list(running), timeout=20)
        assert not running
        assert not any(member.held or member.pending for member in driver.groups["writes"].members)
        # After two cancellations the pool or PostgreSQL rolls the transaction back. A transaction
        # that is forgotten stays for a minute.
        state = "select pid from pg_stat_activity where state like 'idle in%'"
        await until(lambda: sql(dsn, f"{state} and datname = current_database()") == [])
    written: dict[int, list[int]] = defaultdict(list)
    owners: dict[str, set[int]] = defaultdict(set)
    for transaction, row, xid in sql(dsn, f"select id, row, xid from {name}"):
        written[transaction].append(row)
        owners[xid].add(transaction)
    assert all(len(each) == 1 for each in owners.values()), "committed by another"
    assert all(sorted(each) == list(range(ROWS)) for each in written.values()), "in parts"
    reported = {what: {n for n, w in play.outcomes.items() if w == what} for what in ("in", "out")}
    assert reported["in"] <= set(written), "reported as in"
    assert not reported["out"] & set(written), "reported as out"
    assert len(reported["in"]) > ENOUGH, (Counter(play.outcomes.values()), play.errors)
