"""Single records that many ask for at the same moment are read by one statement."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator, Sequence
from random import Random
from uuid import uuid4

import anyio
import msgspec
import pytest

from kernel.public import (
    RECORDS,
    STATEMENTS,
    Actor,
    Grant,
    NotFound,
    Param,
    Query,
    Reader,
    Records,
    Target,
)
from kernel.testing import Postgres, Server, running_server
from plugins.data.sources.gathered_records import (
    MAX_GATHERED,
    MIN_BUSY,
    GatheredRecords,
    RecordStatements,
)
from tests.plugins.data.conftest import overrides
from tests.plugins.data.shop import COMPANIES, add, empty, install

MANY = 3 * MIN_BUSY
BY_NUMBER = RecordStatements(
    one="select 'one ' || $1::text",
    several="select 'several ' || number from unnest($1::text[]) _i(number)",
)
OF_AN_OWNER = RecordStatements(
    one="select $1::text || ' one ' || $2::text",
    several="select $1::text || ' several ' || number from unnest($2::text[]) _i(number)",
)
STORED = {
    "appId": "stored",
    "name": "Stored",
    "dataContract": [
        {
            "entityName": "parts",
            "fields": [{"name": "id", "type": "text"}, {"name": "title", "type": "text"}],
        }
    ],
}


@pytest.fixture(scope="module")
def shop(postgres: Postgres) -> Generator[Server]:
    with running_server(postgres, overrides()) as running:
        install(running)
        yield running


class CountingReader:
    """Counts statements, and can let those of several records fail."""

    def __init__(self, reader: Reader, *, fails: bool = False) -> None:
        self.statements = 0
        self._reader = reader
        self._fails = fails

    async def fetch(
        self, query: Query, *params: Param, custom_plan: bool = False, quick: bool = True
    ) -> bytes | None:
        self.statements += 1
        return await self._reader.fetch(query, *params)

    async def fetch_all(
        self, query: Query, *params: Param, custom_plan: bool = False, quick: bool = True
    ) -> list[bytes]:
        self.statements += 1
        if self._fails:
            await self._reader.fetch("select 1 / 0")
        return await self._reader.fetch_all(query, *params)


async def make_busy(records: GatheredRecords) -> None:
    """Ask for so many records in one turn that those of the next one are gathered."""
    asking = [
        asyncio.get_running_loop().create_task(records.fetch(BY_NUMBER, (), "busy"))
        for _ in range(MIN_BUSY)
    ]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for task in asking:
        task.cancel()


def test_records_of_a_busy_moment_are_one_statement(shop: Server) -> None:
    async def ask() -> tuple[int, Sequence[bytes | None]]:
        reader = CountingReader(shop.services.get(STATEMENTS))
        records = GatheredRecords(reader)
        await make_busy(records)
        reader.statements = 0
        asking = [records.fetch(BY_NUMBER, (), str(number)) for number in range(MAX_GATHERED)]
        answers = await asyncio.gather(*asking)
        return reader.statements, answers

    statements, answers = shop.run(ask)
    assert statements == 1
    assert answers == [b"several %d" % number for number in range(MAX_GATHERED)]


def test_a_statement_has_a_bound(shop: Server) -> None:
    async def ask() -> tuple[int, Sequence[bytes | None]]:
        reader = CountingReader(shop.services.get(STATEMENTS))
        records = GatheredRecords(reader)
        await make_busy(records)
        reader.statements = 0
        count = 2 * MAX_GATHERED + 1
        asking = [records.fetch(BY_NUMBER, (), str(number)) for number in range(count)]
        answers = await asyncio.gather(*asking)
        return reader.statements, answers

    statements, answers = shop.run(ask)
    assert statements == 3
    several = [b"several %d" % number for number in range(2 * MAX_GATHERED)]
    assert answers == [*several, b"one %d" % (2 * MAX_GATHERED)]


def test_a_caller_that_is_alone_is_served_at_once(shop: Server) -> None:
    async def ask() -> tuple[int, Sequence[bytes | None]]:
        reader = CountingReader(shop.services.get(STATEMENTS))
        records = GatheredRecords(reader)
        answers = [await records.fetch(BY_NUMBER, (), str(number)) for number in range(3)]
        return reader.statements, answers

    assert shop.run(ask) == (3, [b"one 0", b"one 1", b"one 2"])


def test_what_narrows_records_keeps_callers_apart(shop: Server) -> None:
    async def ask() -> Sequence[bytes | None]:
        records = GatheredRecords(shop.services.get(STATEMENTS))
        await make_busy(records)
        return await asyncio.gather(
            *(records.fetch(OF_AN_OWNER, (name,), name) for name in ["ann", "ben"] * 3)
        )

    assert shop.run(ask) == [b"ann several ann", b"ben several ben"] * 3


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_who_waits_for_one_that_ends_asks_alone(shop: Server, end: str) -> None:
    async def ask() -> list[bytes | BaseException | None]:
        statements = shop.services.get(STATEMENTS)
        records = GatheredRecords(CountingReader(statements, fails=end == "failed"))
        await make_busy(records)
        asking = [
            asyncio.get_running_loop().create_task(records.fetch(BY_NUMBER, (), str(number)))
            for number in range(4)
        ]
        if end == "cancelled":
            await asyncio.sleep(0)
            asking[0].cancel()
        return await asyncio.gather(*asking, return_exceptions=True)

    first, *others = shop.run(ask)
    assert isinstance(first, BaseException)
    assert others == [b"one 1", b"one 2", b"one 3"]


def test_a_waiting_caller_that_leaves_changes_nothing_for_others(shop: Server) -> None:
    async def ask() -> list[bytes | BaseException | None]:
        records = GatheredRecords(shop.services.get(STATEMENTS))
        await make_busy(records)
        asking = [
            asyncio.get_running_loop().create_task(records.fetch(BY_NUMBER, (), str(number)))
            for number in range(3)
        ]
        await asyncio.sleep(0)
        asking[1].cancel()
        return await asyncio.gather(*asking, return_exceptions=True)

    first, second, third = shop.run(ask)
    assert first == b"several 0"
    assert isinstance(second, asyncio.CancelledError)
    assert third == b"several 2"


def test_no_caller_joins_one_that_has_left(shop: Server) -> None:
    async def ask() -> bytes | None:
        records = GatheredRecords(shop.services.get(STATEMENTS))
        await make_busy(records)
        loop = asyncio.get_running_loop()
        first = loop.create_task(records.fetch(BY_NUMBER, (), "first"))
        await asyncio.sleep(0)
        first.cancel()
        await make_busy(records)
        with anyio.fail_after(30):
            return await records.fetch(BY_NUMBER, (), "later")

    assert shop.run(ask) is not None


async def show(records: Records, target: Target, record_id: str) -> str | None:
    """Return the name of a record as a caller sees it, None where it sees none."""
    try:
        record = await records.get(target, record_id)
    except NotFound:
        return None
    return msgspec.json.decode(record.record)["name"]


def test_each_caller_gets_its_own_record_and_none_of_others(shop: Server) -> None:
    """Two users with their own records only, and an admin; some ask for what is not there."""
    empty(shop)
    users = {name: shop.user() for name in ("ann", "ben")}
    ids = {
        name: [add(shop.admin, COMPANIES, name=f"{name} {number}")["id"] for number in range(8)]
        for name in users
    }
    for name, user in users.items():
        shop.sql("update shop.companies set _owner = %s where name like %s", user.id, f"{name} %")
    admin = Target(Actor(user_id=shop.admin.id), Grant(), "shop", "companies")
    targets = {
        name: Target(Actor(user_id=user.id), Grant(own_only=True), "shop", "companies")
        for name, user in users.items()
    }
    chance = Random(7)

    async def ask() -> None:
        records = shop.services.get(RECORDS)
        for _ in range(20):
            asking = list[Awaitable[str | None]]()
            wanted = list[str | None]()
            for _ in range(MANY):
                name = chance.choice(["ann", "ben"])
                number = chance.randrange(8)
                record_id = ids[name][number]
                kind = chance.choice(["admin", "ann", "ben", "missing"])
                expected = f"{name} {number}" if kind in ("admin", name) else None
                if kind == "missing":
                    record_id = str(uuid4())
                target = targets.get(kind, admin)
                asking.append(show(records, target, record_id))
                wanted.append(expected)
            assert await asyncio.gather(*asking) == wanted

    shop.run(ask)


def test_ids_of_text_are_found_whatever_they_hold(shop: Server) -> None:
    install(shop, STORED)
    ids = ['a"b', "a\\b", "{a,b}", "NULL", "null", " ", "ä ö", "a'b", "x"]
    admin = Target(Actor(user_id=shop.admin.id), Grant(), "stored", "parts")

    async def ask() -> list[str]:
        records = shop.services.get(RECORDS)
        for record_id in ids:
            await records.create(admin, {"id": record_id, "title": f"of {record_id}"})
        titles = list[str]()
        for _ in range(3):
            shown = await asyncio.gather(*(records.get(admin, record_id) for record_id in ids))
            titles += [msgspec.json.decode(record.record)["title"] for record in shown]
        return titles

    assert shop.run(ask) == [f"of {record_id}" for record_id in ids] * 3
