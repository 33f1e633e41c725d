"""Searches of one app wait for each other, and other requests do not wait for them."""

from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from kernel.public import Actor, App, Entity, Field, Grant, Page
from kernel.testing.fakes import FakeAccess
from plugins.data.reads.records import RecordReads
from plugins.data.reads.tables import Dependencies

ACTOR = Actor(user_id="3fa85f64-5717-4562-b3fc-2c963f66afa6", username="kim")
PATTERNS: list[Mapping[str, Any]] = [{"name": {"$like": "%a"}}, {"name": {"$ilike": "a"}}]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Database:
    """Replaces STATEMENTS: answers when the gate opens, and counts the calls that wait."""

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
    services = Dependencies(database, Catalog(), Bus(), lambda: FakeAccess())  # type: ignore[arg-type]
    reads = RecordReads(services)

    async def ask(app_id: str, where: Mapping[str, Any]) -> None:
        page = Page(where=where, limit=5)
        async with anyio.create_task_group() as both:
            both.start_soon(reads.count, ACTOR, Grant(), app_id, "notes", where)
            both.start_soon(reads.page, ACTOR, Grant(), app_id, "notes", page)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask, "lab", where)
        await anyio.wait_all_tasks_blocked()
        assert database.inside == 3
        tasks.start_soon(ask, "lab", {"name": "a"})
        tasks.start_soon(ask, "crm", where)
        await anyio.wait_all_tasks_blocked()
        assert database.inside == 3 + 4
        database.gate.set()
    assert database.inside == 0
