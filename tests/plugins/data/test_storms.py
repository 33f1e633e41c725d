"""Writes that name the same records in different orders at the same time: none fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator, Sequence
from random import Random
from typing import Any

import httpx
import pytest

from kernel.testing import Client, Postgres, Server, running_server
from kernel.testing.servers import LIMITS
from tests.plugins.data.conftest import overrides
from tests.plugins.data.shop import COMPANIES, CONTACTS, add, empty, install

BATCH = "/api/v1/apps/shop/batch"
AT_ONCE = 32
Body = Any
Request = tuple[str, Body]
"""A path and what is posted there."""

PATIENT = {"pool_timeout": 300.0, "lock_timeout": 120.0, "statement_timeout": 240.0}
"""A machine may be busy: only an order that deadlocks, or a wrong answer, is to fail."""


@pytest.fixture(scope="module", params=["one statement", "transaction"])
def shop(request: pytest.FixtureRequest, postgres: Postgres) -> Generator[Server]:
    """A server that waits for long, with and without a plugin that takes part in writes."""
    plugins = ["ShopWitnessPlugin"] if request.param == "transaction" else []
    with running_server(postgres, overrides(*plugins) | {"database": PATIENT}) as running:
        install(running)
        yield running


@pytest.fixture
def admin(shop: Server) -> Client:
    empty(shop)
    return shop.admin


def storm(server: Server, requests: Sequence[Request]) -> list[httpx.Response]:
    """Send requests, many at a time, and return the answers in their order."""

    async def send_all() -> list[httpx.Response]:
        room = asyncio.Semaphore(AT_ONCE)
        headers = {"authorization": server.admin.headers["authorization"]}
        async with httpx.AsyncClient(
            base_url=server.url, headers=headers, timeout=300, verify=False, limits=LIMITS
        ) as client:

            async def send(path: str, body: Body) -> httpx.Response:
                async with room:
                    return await client.post(path, json=body)

            return await asyncio.gather(*(send(path, body) for path, body in requests))

    return asyncio.run(send_all())


def deadlocks(server: Server) -> int:
    """How many transactions PostgreSQL has ended because of a deadlock."""
    server.sql("select pg_stat_force_next_flush()")
    found = server.sql("select deadlocks from pg_stat_database where datname = current_database()")
    return found[0][0]


def statuses(answers: Sequence[httpx.Response]) -> Counter[tuple[int, str]]:
    return Counter((each.status_code, "" if each.is_success else each.text) for each in answers)


def keys(random: Random, number: int, count: int = 10) -> list[str]:
    """Keys of a request: each one shares some with those before and after it, and has new ones."""
    first = number // 2
    return [f"e{key}" for key in random.sample(range(first, first + 40), count)]


@pytest.mark.slow
@pytest.mark.parametrize("then", ["update", "ignore"])
def test_upserts_in_any_order_all_succeed(shop: Server, admin: Client, then: str):
    random = Random(then)
    path = f"{CONTACTS}/bulk?on=email&then={then}"
    requests = [(path, [{"email": key} for key in keys(random, number)]) for number in range(1000)]
    before = deadlocks(shop)
    answers = storm(shop, requests)
    assert set(statuses(answers)) == {(200, "")}, statuses(answers)
    for (_, rows), answer in zip(requests, answers, strict=True):
        shown = [each["record"]["email"] for each in answer.json()["data"]]
        assert shown == [row["email"] for row in rows]
    distinct = len({row["email"] for _, rows in requests for row in rows})
    assert shop.sql("select count(*) from shop.contacts") == [(distinct,)]
    assert deadlocks(shop) == before


@pytest.mark.slow
def test_batches_in_any_order_all_succeed(shop: Server, admin: Client):
    random = Random(1)
    ids = [add(admin, COMPANIES, name=f"c{number}")["id"] for number in range(40)]
    requests = [(BATCH, {"operations": changes(random, ids)}) for _ in range(1000)]
    before = deadlocks(shop)
    answers = storm(shop, requests)
    assert set(statuses(answers)) == {(200, "")}, statuses(answers)
    for (_, body), answer in zip(requests, answers, strict=True):
        shown = [each["id"] for each in answer.json()["results"]]
        assert shown == [each["id"] for each in body["operations"]]
    assert deadlocks(shop) == before


def changes(random: Random, ids: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"op": "update", "entity": "companies", "id": id_, "data": {"note": str(random.random())}}
        for id_ in random.sample(ids, 8)
    ]


def meetings(random: Random, number: int, then: str = "update") -> list[dict[str, Any]]:
    return [
        {"op": "upsert", "entity": "contacts", "on": "email", "then": then, "data": {"email": key}}
        for key in keys(random, number, count=6)
    ]


@pytest.mark.slow
def test_upserts_of_batches_in_any_order_all_succeed(shop: Server, admin: Client):
    random = Random(2)
    requests = [
        (BATCH, {"operations": meetings(random, number, random.choice(["update", "ignore"]))})
        for number in range(1000)
    ]
    before = deadlocks(shop)
    answers = storm(shop, requests)
    assert set(statuses(answers)) == {(200, "")}, statuses(answers)
    assert deadlocks(shop) == before


@pytest.mark.slow
def test_batches_that_mix_things_all_succeed(shop: Server, admin: Client):
    """No order excludes a deadlock here: the whole transaction runs again."""
    random = Random(3)
    ids = [add(admin, COMPANIES, name=f"c{number}")["id"] for number in range(40)]
    requests: list[Request] = []
    for number in range(1000):
        mixed = [*changes(random, ids), *meetings(random, number)]
        mixed.append({"op": "create", "entity": "deals", "data": {"title": str(number)}})
        random.shuffle(mixed)
        requests.append((BATCH, {"operations": mixed}))
    answers = storm(shop, requests)
    assert set(statuses(answers)) == {(200, "")}, statuses(answers)
