"""The same reads of one moment are one statement, and each sees what was written before it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from random import Random
from typing import Any

import anyio
import msgspec
import pytest

from kernel.public import (
    RECORDS,
    STATEMENTS,
    Actor,
    BadRequest,
    Grant,
    NotFound,
    Page,
    Param,
    Query,
    Statements,
    Target,
)
from kernel.testing import Postgres, Server, running_server
from plugins.data.sources.gathered_records import MIN_BUSY
from plugins.data.sources.shared_reader import SharedReader
from tests.plugins.data.conftest import overrides
from tests.plugins.data.shop import COMPANIES, add, empty, install

CALLERS = 12
NEXT_NUMBER = "select nextval('asked_numbers')::text"
"""A statement whose answer says how often it was sent."""


@pytest.fixture(scope="module")
def shop(postgres: Postgres) -> Generator[Server]:
    with running_server(postgres, overrides()) as running:
        install(running)
        running.sql("create sequence asked_numbers")
        running.sql("grant usage on sequence asked_numbers to public")
        yield running


class SendingReader:
    """Sends each read as a write, whose side effects count."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def fetch(
        self, query: Query, *params: Param, custom_plan: bool = False, quick: bool = True
    ) -> bytes | None:
        return await self._statements.execute(query, *params)

    async def fetch_all(
        self, query: Query, *params: Param, custom_plan: bool = False, quick: bool = True
    ) -> list[bytes]:
        return await self._statements.execute_all(query, *params)


def make_reader(server: Server) -> SharedReader:
    return SharedReader(SendingReader(server.services.get(STATEMENTS)))


def test_the_same_reads_of_one_moment_are_sent_once(shop: Server) -> None:
    async def ask_together() -> Sequence[bytes | None]:
        reader = make_reader(shop)
        return await asyncio.gather(*(reader.fetch(NEXT_NUMBER) for _ in range(CALLERS)))

    answers = shop.run(ask_together)
    assert len(answers) == CALLERS
    assert len(set(answers)) == 1


def test_a_read_of_a_later_moment_is_sent_again(shop: Server) -> None:
    async def ask_in_turn() -> list[bytes | None]:
        reader = make_reader(shop)
        first = asyncio.get_running_loop().create_task(reader.fetch(NEXT_NUMBER))
        for _ in range(3):  # the first one is sent, and has no answer yet
            await asyncio.sleep(0)
        return [await reader.fetch(NEXT_NUMBER), await first]

    answers = shop.run(ask_in_turn)
    assert len(set(answers)) == 2


def test_reads_that_differ_are_sent_apart(shop: Server) -> None:
    query = "select $1::text || ' ' || nextval('asked_numbers')::text"

    async def ask_together() -> Sequence[bytes | None]:
        reader = make_reader(shop)
        names = ["one", "two", "one"]
        return await asyncio.gather(*(reader.fetch(query, name) for name in names))

    first, other, second = shop.run(ask_together)
    assert first == second
    assert str(first).startswith("b'one ")
    assert str(other).startswith("b'two ")


def test_reads_with_arrays_are_sent_apart(shop: Server) -> None:
    query = "select cardinality($1::int[])::text || ' ' || nextval('asked_numbers')::text"

    async def ask_together() -> Sequence[bytes | None]:
        reader = make_reader(shop)
        return await asyncio.gather(reader.fetch(query, [1, 2]), reader.fetch(query, [1, 2]))

    first, second = shop.run(ask_together)
    assert first != second


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_who_waits_for_one_that_ends_asks_alone(shop: Server, end: str) -> None:
    """The first caller leaves, or its statement is refused; each other one has its own answer."""

    class FirstEnds(SendingReader):
        asked = 0

        async def fetch(
            self, query: Query, *params: Param, custom_plan: bool = False, quick: bool = True
        ) -> bytes | None:
            self.asked += 1
            if self.asked > 1:
                return await super().fetch(query, *params)
            if end == "failed":
                await super().fetch("select 1 / 0")
            await asyncio.Event().wait()
            return None

    async def ask_together() -> list[bytes | BaseException | None]:
        reader = SharedReader(FirstEnds(shop.services.get(STATEMENTS)))
        asking = [
            asyncio.get_running_loop().create_task(reader.fetch(NEXT_NUMBER)) for _ in range(3)
        ]
        await asyncio.sleep(0)
        if end == "cancelled":
            asking[0].cancel()
        return await asyncio.gather(*asking, return_exceptions=True)

    first, second, third = shop.run(ask_together)
    assert isinstance(first, BaseException)
    assert isinstance(second, bytes)
    assert isinstance(third, bytes)
    assert second != third


def test_who_asks_after_one_that_failed_at_once_asks_alone(shop: Server) -> None:
    """A text that cannot be stored is refused before it is sent, in the same turn."""

    async def ask_together() -> list[bytes | BaseException | None]:
        reader = SharedReader(shop.services.get(STATEMENTS))
        asking = [reader.fetch("select $1::text", "a\0b") for _ in range(3)]
        with anyio.fail_after(30):
            return await asyncio.gather(*asking, return_exceptions=True)

    assert [type(error) for error in shop.run(ask_together)] == [BadRequest] * 3


def test_a_waiting_caller_that_leaves_changes_nothing_for_others(shop: Server) -> None:
    async def ask_together() -> list[bytes | BaseException | None]:
        reader = make_reader(shop)
        asking = [
            asyncio.get_running_loop().create_task(reader.fetch(NEXT_NUMBER)) for _ in range(3)
        ]
        await asyncio.sleep(0)
        asking[1].cancel()
        return await asyncio.gather(*asking, return_exceptions=True)

    first, second, third = shop.run(ask_together)
    assert isinstance(second, asyncio.CancelledError)
    assert first == third


@pytest.mark.parametrize(("readers", "single"), [(8, 0.5), (3 * MIN_BUSY, 1.0)])
@pytest.mark.parametrize("seed", range(3))
def test_each_read_sees_what_was_written_before_it(
    shop: Server, seed: int, readers: int, single: float
) -> None:
    """Writers and readers: an acknowledged value never reads as an earlier one.

    `single` is the part of the reads that are of single records; many of them are gathered.
    """
    empty(shop)
    ids = [add(shop.admin, COMPANIES, name="0")["id"] for _ in range(4)]
    admin = Actor(user_id=shop.admin.id, username="admin")
    target = Target(admin, Grant(), "shop", "companies")
    chance = Random(seed)

    async def storm() -> int:
        records = shop.services.get(RECORDS)
        acknowledged = dict.fromkeys(ids, 0)
        reads = 0

        async def write(record_id: str) -> None:
            for number in range(1, 30):
                await records.update(target, record_id, {"name": str(number)})
                acknowledged[record_id] = number

        async def read() -> None:
            nonlocal reads
            for _ in range(30):
                record_id = chance.choice(ids)
                least = dict(acknowledged)
                if chance.random() < single:
                    shown = [msgspec.json.decode((await records.get(target, record_id)).record)]
                else:
                    shown = msgspec.json.decode(await records.page(target, Page(limit=5)))
                for record in shown:
                    assert int(record["name"]) >= least[record["id"]]
                reads += 1

        await asyncio.gather(
            *(write(record_id) for record_id in ids), *(read() for _ in range(readers))
        )
        return reads

    assert shop.run(storm) == 30 * readers


def test_a_refused_read_is_refused_for_each_caller(shop: Server) -> None:
    admin = Actor(user_id=shop.admin.id, username="admin")
    target = Target(admin, Grant(), "shop", "companies")
    missing = "00000000-0000-0000-0000-000000000000"

    async def ask_together() -> list[Any]:
        records = shop.services.get(RECORDS)
        asking = [records.get(target, missing) for _ in range(3)]
        return await asyncio.gather(*asking, return_exceptions=True)

    errors = shop.run(ask_together)
    assert [type(error) for error in errors] == [NotFound] * 3
    assert len(set(map(id, errors))) == 3
