"""Collections that the promises of RECORDS are tried on, and a plugin that takes part."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from kernel.contracts.access import Action, Grant
from kernel.contracts.apps import Entity
from kernel.contracts.base import Actor, Change, Event, server_actor
from kernel.contracts.hookspecs import for_subjects, hookimpl
from kernel.contracts.records import RECORDS, FormerRecord, Page, Records, Tagged, Target
from kernel.contracts.statements import STATEMENTS, Transaction
from kernel.errors import BadRequest, NotFound, PluginFailed
from kernel.hooks.plugin import Plugin
from kernel.testing import MoreOptions, Server
from kernel.testing.conformance.kit import Conformance

Row = dict[str, Any]
SYSTEM = server_actor("conformance")
FULL, OWN = Grant(), Grant(own_only=True)
GHOST = "00000000-0000-4000-8000-000000000000"
PLAIN, GUARDED = "kit_plain", "kit_guarded"
"""Two apps: a plugin takes part in the writes of the second, so those run in transactions."""
FIELDS: list[Row] = [
    {"name": "name", "type": "text", "required": True}, {"name": "code", "type": "text"},
    {"name": "amount", "type": "number"}, {"name": "ready", "type": "boolean"},
    {"name": "day", "type": "date"}, {"name": "seen_at", "type": "timestamp"},
    {"name": "details", "type": "json"}, {"name": "ticket", "type": "uuid"},
    {"name": "tags", "type": "[text]"}, {"name": "sizes", "type": "[number]"},
    {"name": "kind", "type": "text", "enum_values": ["Blood", "Soil", "Water's"]},
    {"name": "parent", "type": "entity_link", "references": {"entity": "samples"}},
    {"name": "state", "type": "text", "required": True, "default_value": "new"},
]  # fmt: skip
ENTITIES: list[Row] = [
    {"entityName": "samples", "fields": FIELDS, "indexes": [{"columns": ["code"], "unique": True}]},
    {"entityName": "teams", "fields": [{"name": "id", "type": "text"}]},
]
ORDER = ["id", *(field["name"] for field in FIELDS), "created_at", "updated_at"]


class GuestPlugin(Plugin):
    """Takes part in writes of one app, and narrows what callers see where a test says so."""

    name = "conformance_guest"

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self.scopes: dict[str, Mapping[str, Any]] = {}
        self.reset()

    def reset(self) -> None:
        """Reset what it recorded and what it does."""
        self.changes: list[Change] = []
        self.recorded: list[Event] = []
        self.values: Row = {}
        self.refusal = ""
        self.breaks = ""
        self.scopes.clear()

    @hookimpl
    async def record_scope(
        self, actor: Actor, entity: Entity, action: Action
    ) -> Mapping[str, Any] | None:
        return self.scopes.get(entity.subject)

    @hookimpl
    @for_subjects(f"{GUARDED}.*")
    async def record_writing(self, tx: Transaction, change: Change) -> None:
        self.changes.append(change)
        if self.refusal:
            raise BadRequest(self.refusal)
        if change.action != "delete":
            change.values.update(self.values)

    @hookimpl
    @for_subjects(f"{GUARDED}.*")
    async def event_recorded(self, tx: Transaction, event: Event) -> None:
        """Remember an event, or abort its transaction."""
        self.recorded.append(event)
        if self.breaks:
            raise BadRequest(self.breaks)


class Collection:
    """An entity of an app, accessed by one caller."""

    def __init__(self, server: Server, app_id: str, entity: str = "samples") -> None:
        self.server = server
        self.place = (app_id, entity)
        self.actor = SYSTEM
        self.grant = FULL
        self.engine = server.services.get(RECORDS)

    def act_as(self, user_id: str, grant: Grant = FULL) -> Collection:
        """The same for a caller."""
        other = Collection(self.server, *self.place)
        other.actor = Actor(user_id=user_id)
        other.grant = grant
        return other

    def create(self, **values: Any) -> Row:
        return self._ask(self.engine.create, values)

    def create_many(self, rows: Sequence[Row]) -> list[Row]:
        return self._ask(self.engine.create_many, rows)

    def get(self, record_id: str) -> Row:
        return self._ask(self.engine.get, record_id)

    def update(self, record_id: str, **values: Any) -> Row:
        return self._ask(self.engine.update, record_id, values)

    def touch(self, record_id: str) -> object:
        """Change one somehow."""
        return self.update(record_id, amount=1)

    def delete(self, record_id: str) -> None:
        self.server.run(self.engine.delete, self.target, record_id)

    def page(self, where: Mapping[str, Any] | None = None, **page: Any) -> list[Row]:
        return self._ask(self.engine.page, Page(where=where, **page))

    def names(self, where: Mapping[str, Any] | None = None) -> str:
        """The names on a page, in the order of their making."""
        return " ".join(row["name"] for row in self.page(where, order="asc"))

    def count(self, where: Mapping[str, Any] | None = None) -> int:
        return self.server.run(self.engine.count, self.target, where)

    def stream(self, where: Mapping[str, Any] | None = None) -> list[Row]:
        async def read() -> bytes:
            async with self.engine.stream(self.target, Page(where=where, order="asc")) as pieces:
                return b"".join([piece async for piece in pieces])

        return json.loads(self.server.run(read))

    @property
    def target(self) -> Target:
        """What the calls are about."""
        return Target(self.actor, self.grant, *self.place)

    def run_in_transaction(self, work: Callable[[Joined], Awaitable[None]]) -> None:
        """Run work in a transaction of the server."""
        statements = self.server.services.get(STATEMENTS)

        async def run(tx: Transaction) -> None:
            await work(Joined(self.engine, self.target, tx))

        self.server.run(statements.run, self.actor, run)

    def _ask(self, method: Callable[..., Awaitable[bytes | Tagged]], *args: Any) -> Any:
        answer = self.server.run(method, self.target, *args)
        return json.loads(answer.record if isinstance(answer, Tagged) else answer)


class Joined:
    """The calls of a collection that take part in a transaction, and one that does not."""

    def __init__(self, engine: Records, target: Target, tx: Transaction) -> None:
        self._engine = engine
        self._target = target
        self._tx = tx

    async def create(self, **values: Any) -> Row:
        created = await self._engine.create(self._target, values, tx=self._tx)
        return json.loads(created.record)

    async def create_many(self, rows: Sequence[Row]) -> list[Row]:
        return json.loads(await self._engine.create_many(self._target, rows, tx=self._tx))

    async def update(self, record_id: str, **values: Any) -> Row:
        updated = await self._engine.update(self._target, record_id, values, tx=self._tx)
        return json.loads(updated.record)

    async def delete(self, record_id: str) -> None:
        await self._engine.delete(self._target, record_id, tx=self._tx)

    async def get(self, record_id: str) -> Row:
        record = await self._engine.get(self._target, record_id, tx=self._tx)
        return json.loads(record.record)

    async def names(self) -> str:
        page = await self._engine.page(self._target, Page(order="asc"), tx=self._tx)
        return " ".join(row["name"] for row in json.loads(page))

    async def count(self) -> int:
        return await self._engine.count(self._target, None, tx=self._tx)

    async def count_outside(self) -> int:
        return await self._engine.count(self._target, None)

    async def restore(self, *records: FormerRecord) -> None:
        await self._engine.restore(self._target, records, tx=self._tx)

    async def revert(self, changes: Mapping[str, Row]) -> None:
        await self._engine.revert(self._target, changes, tx=self._tx)

    async def create_outside(self, **values: Any) -> None:
        await self._engine.create(self._target, values)


class RecordsKit(Conformance):
    """The apps of the kit, and the collections that a test uses."""

    key = RECORDS

    @classmethod
    def options(cls) -> MoreOptions:
        return {"plugins": [GuestPlugin]}

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def apps(cls, server: Server) -> None:
        """The apps of the kit."""
        for app_id in (PLAIN, GUARDED):
            server.install({"appId": app_id, "name": app_id, "dataContract": ENTITIES})

    @pytest.fixture
    def guest(self, server: Server) -> GuestPlugin:
        """The plugin that takes part, fresh."""
        [guest] = [one for one in server.kernel.instances if isinstance(one, GuestPlugin)]
        guest.reset()
        return guest

    @pytest.fixture(params=[PLAIN, GUARDED])
    def samples(
        self, request: pytest.FixtureRequest, server: Server, guest: GuestPlugin
    ) -> Collection:
        """An empty collection, written by single statements and in transactions."""
        server.sql(f"truncate {request.param}.samples")
        return Collection(server, request.param)

    @pytest.fixture
    def guarded(self, server: Server, guest: GuestPlugin) -> Collection:
        """The empty collection in whose writes the plugin takes part."""
        server.sql(f"truncate {GUARDED}.samples")
        return Collection(server, GUARDED)


class Undone(Exception):
    """Rolls a transaction of a test back."""


class TakesPart(RecordsKit):
    """Writes within a transaction of a plugin."""

    def test_calls_with_tx_are_part_of_the_transaction(
        self, samples: Collection, guest: GuestPlugin
    ) -> None:
        first = samples.create(name="a")
        guest.reset()

        async def work(joined: Joined) -> None:
            second = await joined.create(name="b", amount=1)
            assert await joined.get(second["id"]) == second
            assert (await joined.update(second["id"], amount=2))["amount"] == 2
            await joined.create_many([{"name": "c"}, {"name": "d"}])
            await joined.delete(first["id"])
            assert await joined.names() == "b c d"
            assert (await joined.count(), await joined.count_outside()) == (3, 1)

        samples.run_in_transaction(work)
        assert samples.names() == "b c d"
        assert samples.page({"name": "b"})[0]["amount"] == 2
        recorded = [event.operation for event in guest.recorded]
        taken_part = ["INSERT", "UPDATE", "INSERT", "INSERT", "DELETE"]
        assert recorded == (taken_part if samples.place[0] == GUARDED else [])

    def test_what_a_transaction_undoes_is_not_written(self, samples: Collection) -> None:
        first = samples.create(name="a")

        async def work(joined: Joined) -> None:
            await joined.create(name="b")
            await joined.update(first["id"], name="c")
            raise Undone

        with pytest.raises(Undone):
            samples.run_in_transaction(work)
        assert samples.page() == [first]

    def test_a_call_that_fails_leaves_its_transaction_as_it_was(self, samples: Collection) -> None:
        samples.create(name="a", code="one")

        async def work(joined: Joined) -> None:
            await joined.create(name="b", code="two")
            for code in ("one", "two"):
                with pytest.raises(BadRequest, match="code"):
                    await joined.create(name="c", code=code)
                with pytest.raises(BadRequest, match="code"):
                    await joined.create_many([{"name": "c"}, {"name": "d", "code": code}])
            with pytest.raises(NotFound):
                await joined.get(GHOST)
            await joined.create(name="e")

        samples.run_in_transaction(work)
        assert samples.names() == "a b e"

    def test_a_write_outside_of_the_transaction_that_calls_it_is_refused(
        self, samples: Collection
    ) -> None:
        async def work(joined: Joined) -> None:
            with pytest.raises(PluginFailed) as caught:
                await joined.create_outside(name="b")
            assert caught.value.remedy.startswith("pass tx=tx")
            await joined.create(name="c")

        samples.run_in_transaction(work)
        assert samples.names() == "c"

    def test_a_former_record_is_restored_with_what_the_server_set(
        self, samples: Collection, guest: GuestPlugin
    ) -> None:
        first = samples.create(name="a", code="one", amount=1.5, tags=["x"], day="2030-01-02")
        second = samples.create(name="b", parent=first["id"])
        samples.touch(second["id"])
        second = samples.get(second["id"])
        for record in (second, first):
            samples.delete(record["id"])
        guest.reset()

        async def work(joined: Joined) -> None:
            await joined.restore(_former(first, gone="x"), _former(second))

        samples.run_in_transaction(work)
        assert [samples.get(record["id"]) for record in (first, second)] == [first, second]
        owned = samples.act_as(GHOST, OWN)
        assert {row["id"] for row in owned.page()} == {first["id"], second["id"]}
        heard = [event.operation for event in guest.recorded]
        assert heard == (["INSERT"] * 2 if samples.place[0] == GUARDED else [])

    def test_former_values_come_back_all_or_none(self, samples: Collection) -> None:
        records = [samples.create(name=name, amount=1, code=name) for name in ("a", "b")]
        former = {record["id"]: {"amount": 7, "details": {"n": 1}} for record in records}

        async def work(joined: Joined) -> None:
            await joined.revert(former)
            with pytest.raises(NotFound):
                await joined.revert({records[0]["id"]: {"amount": 9}, GHOST: {"amount": 9}})
            with pytest.raises(BadRequest):
                await joined.restore(_former(records[0]))

        samples.run_in_transaction(work)
        assert [row["amount"] for row in samples.page()] == [7, 7]
        assert [row["details"] for row in samples.page()] == [{"n": 1}] * 2


def _former(record: Row, **more: Any) -> FormerRecord:
    """A record as it was, of the user GHOST; the trail can have fields that are gone."""
    times = {name: record[name] for name in ("created_at", "updated_at")}
    values = {name: value for name, value in record.items() if name not in {"id", *times}}
    return FormerRecord(id=record["id"], values=values | more, owner=GHOST, **times)
