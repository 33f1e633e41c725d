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
from kernel.contracts.records import RECORDS, Page
from kernel.contracts.statements import Transaction
from kernel.errors import BadRequest
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
        self.server, self.place = server, (app_id, entity)
        self.actor, self.grant = SYSTEM, FULL
        self.engine = server.services.get(RECORDS)

    def by(self, user_id: str, grant: Grant = FULL) -> Collection:
        """The same for a caller."""
        other = Collection(self.server, *self.place)
        other.actor, other.grant = Actor(user_id=user_id), grant
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
        self.server.run(self.engine.delete, *self._who, record_id)

    def page(self, where: Mapping[str, Any] | None = None, **page: Any) -> list[Row]:
        return self._ask(self.engine.page, Page(where=where, **page))

    def names(self, where: Mapping[str, Any] | None = None) -> str:
        """The names on a page, in the order of their making."""
        return " ".join(row["name"] for row in self.page(where, order="asc"))

    def count(self, where: Mapping[str, Any] | None = None) -> int:
        return self.server.run(self.engine.count, *self._who, where)

    def stream(self, where: Mapping[str, Any] | None = None) -> list[Row]:
        async def read() -> bytes:
            async with self.engine.stream(*self._who, Page(where=where, order="asc")) as pieces:
                return b"".join([piece async for piece in pieces])

        return json.loads(self.server.run(read))

    @property
    def _who(self) -> tuple[Actor, Grant, str, str]:
        return self.actor, self.grant, *self.place

    def _ask(self, method: Callable[..., Awaitable[bytes]], *args: Any) -> Any:
        return json.loads(self.server.run(method, *self._who, *args))


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
        [found] = [each for each in server.kernel.instances if isinstance(each, GuestPlugin)]
        found.reset()
        return found

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
