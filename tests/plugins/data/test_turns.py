"""Searches of one app wait for each other, and nobody else waits for them."""

from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from kernel.public import Actor, App, Entity, Field, Grant, Page, Unavailable
from plugins.data import turns
from plugins.data.reads import RecordReads
from plugins.data.turns import SEARCHES, Turns

ACTOR = Actor(user_id="3fa85f64-5717-4562-b3fc-2c963f66afa6", username="kim")
PATTERNS: list[Mapping[str, Any]] = [{"name": {"$like": "%a"}}, {"name": {"$ilike": "a"}}]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Database:
    """Stands for STATEMENTS: answers when the gate opens, and counts who is inside."""

    def __init__(self) -> None:
        self.gate = anyio.Event()
        self.inside = 0

    async def fetch(self, *_: object, **__: object) -> bytes:
        self.inside += 1
        await self.gate.wait()
        self.inside -= 1
        return b"0"


class Catalog:
    async def app(self, app_id: str) -> App:
        fields = (Field(name="name", type="text", sql_type="text"),)
        entity = Entity(
            app_id=app_id, name="notes", id_type="uuid", id_declared=False, fields=fields
        )
        return App(id=app_id, name=app_id, version="1", version_stamp=1, entities={"notes": entity})


class Bus:
    def implementations(self, _: object) -> list[object]:
        return []


@pytest.mark.anyio
@pytest.mark.parametrize("where", PATTERNS)
async def test_a_few_searches_of_an_app_are_under_way_and_others_do_not_wait(where: Any):
    database = Database()
    reads = RecordReads(database, Catalog(), Bus())  # type: ignore[arg-type]

    async def ask(app_id: str, where: Mapping[str, Any]) -> None:
        page = Page(where=where, limit=5)
        async with anyio.create_task_group() as both:
            both.start_soon(reads.count, ACTOR, Grant(), app_id, "notes", where)
            both.start_soon(reads.page, ACTOR, Grant(), app_id, "notes", page)

    async with anyio.create_task_group() as tasks:
        for _ in range(SEARCHES):
            tasks.start_soon(ask, "lab", where)
        await anyio.wait_all_tasks_blocked()
        assert database.inside == SEARCHES
        tasks.start_soon(ask, "lab", {"name": "a"})
        tasks.start_soon(ask, "crm", where)
        await anyio.wait_all_tasks_blocked()
        assert database.inside == SEARCHES + 4
        database.gate.set()
    assert database.inside == 0


@pytest.mark.anyio
async def test_who_waits_has_the_next_turn_and_the_server_itself_needs_none():
    lists = Turns(2, 20, "too many")
    leave, entered = anyio.Event(), list[str]()

    async def read(name: str) -> None:
        async with lists.turn("ada"):
            entered.append(name)
            await leave.wait()

    async with anyio.create_task_group() as tasks:
        for name in ("first", "second", "third"):
            tasks.start_soon(read, name)
        await anyio.wait_all_tasks_blocked()
        assert len(entered) == 2
        for holder in (None, "kim"):
            with anyio.fail_after(5):
                async with lists.turn(holder):
                    pass
        leave.set()
    assert len(entered) == 3
    assert not lists._turns  # pyright: ignore[reportPrivateUsage]
    assert not lists._present  # pyright: ignore[reportPrivateUsage]


@pytest.mark.anyio
async def test_too_many_and_too_long_is_told(monkeypatch: pytest.MonkeyPatch):
    waiting = Turns(3, 1, "too many searches")
    told: list[Unavailable] = []

    async def search() -> None:
        try:
            async with waiting.turn("lab"):
                await anyio.sleep_forever()
        except Unavailable as error:
            told.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(search)
        await anyio.wait_all_tasks_blocked()
        assert len(told) == 1
        tasks.cancel_scope.cancel()
    monkeypatch.setattr(turns, "MAX_WAIT", 0.01)
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(search)
        with anyio.fail_after(5):
            while len(told) < 2:
                await checkpoint()
        tasks.cancel_scope.cancel()
    assert {error.headers["retry-after"] for error in told} == {"5"}
    assert not waiting._turns  # pyright: ignore[reportPrivateUsage]
