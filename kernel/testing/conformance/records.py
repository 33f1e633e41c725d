"""What RECORDS promises."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar, cast

import pytest

from kernel.contracts.access import Action, Grant
from kernel.contracts.apps import Entity
from kernel.contracts.base import Actor, Change, Event, server_actor
from kernel.contracts.hookspecs import for_subjects, hookimpl
from kernel.contracts.records import RECORDS, Page
from kernel.contracts.statements import Transaction
from kernel.errors import BadRequest, HookFailed, NotFound
from kernel.hooks.plugin import Plugin
from kernel.testing import MoreOptions, Server
from kernel.testing.conformance.kit import SOON, Conformance, body_of, eventually, refused, unique

T = TypeVar("T")
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
SAME: list[Row] = [
    {"code": "O'Neil; drop table x --"}, {"code": "%_\\"}, {"code": "€ \U0001f511 \u202e"},
    {"amount": 0}, {"amount": -1.5}, {"amount": 1e300}, {"ready": False}, {"day": "2024-02-29"},
    {"details": {"a": [1, None, {"b": "c"}]}}, {"details": []}, {"details": "text"},
    {"ticket": "9f86d081-884c-4d63-a1cf-000000000001"}, {"tags": ["a", "", "b,c", '"{}']},
    {"tags": []}, {"sizes": [1, 2.5]}, {"kind": "Water's"}, {"state": "done"},
]  # fmt: skip
TAKEN: list[tuple[Row, Row]] = [
    ({"amount": "12.5"}, {"amount": 12.5}),
    ({"ready": "true"}, {"ready": True}),
    ({"amount": "", "ready": "", "day": ""}, {"amount": None, "ready": None, "day": None}),
    ({"code": ""}, {"code": ""}),
    ({"seen_at": "2024-01-15T10:30:00"}, {"seen_at": "2024-01-15T10:30:00Z"}),
    ({"seen_at": "2024-01-15T12:30:00+02:00"}, {"seen_at": "2024-01-15T10:30:00Z"}),
    ({"details": None}, {"details": None}),
]
BAD: list[tuple[Row, str]] = [
    ({}, "name"), ({"name": None}, "name"), ({"code": "x"}, "name"), ({"name": 5}, "name"),
    ({"name": "a", "nothing": 1}, "nothing"), ({"name": "a", "_owner": None}, "_owner"),
    ({"name": "a", "amount": "much"}, "amount"), ({"name": "a", "amount": True}, "amount"),
    ({"name": "a", "amount": float("nan")}, "amount"), ({"name": "a", "ready": 1}, "ready"),
    ({"name": "a", "ready": "yes"}, "ready"), ({"name": "a", "day": "30.02.2024"}, "day"),
    ({"name": "a", "seen_at": 5}, "seen_at"), ({"name": "a", "ticket": "x"}, "ticket"),
    ({"name": "a", "tags": "x"}, "tags"), ({"name": "a", "tags": [1]}, "tags"),
    ({"name": "a", "sizes": ["x"]}, "sizes"), ({"name": "a", "kind": "Gold"}, "kind"),
    ({"name": "a", "parent": GHOST}, "parent"), ({"name": "a", "state": None}, "state"),
    ({"name": "a\0"}, "."),
]  # fmt: skip
LOT: list[Row] = [
    {"name": "ada", "amount": 1, "ready": True, "tags": ["x", "y"], "code": "A%"},
    {"name": "bob", "amount": 2, "ready": False, "tags": ["y"], "day": "2024-05-01"},
    {"name": "cyd", "amount": 3, "tags": [], "kind": "Soil"},
    {"name": "Dan", "code": "b_"},
]
WHERES: list[tuple[Mapping[str, Any], str]] = [
    ({}, "ada bob cyd Dan"), ({"name": "bob"}, "bob"), ({"name": {"$eq": "bob"}}, "bob"),
    ({"name": {"$ne": "bob"}}, "ada cyd Dan"), ({"amount": {"$ne": 1}}, "bob cyd"),
    ({"amount": {"$gt": 1}}, "bob cyd"), ({"amount": {"$gte": "2"}}, "bob cyd"),
    ({"amount": {"$lt": 2}}, "ada"), ({"amount": {"$lte": 2, "$gt": 1}}, "bob"),
    ({"amount": None}, "Dan"), ({"amount": {"$isNull": False}}, "ada bob cyd"),
    ({"amount": {"$eq": None}}, "Dan"), ({"code": {"$like": "A%"}}, "ada"),
    ({"name": {"$ilike": "d%"}}, "Dan"), ({"name": {"$like": "d%"}}, ""),
    ({"name": {"$in": ["ada", "Dan", "x"]}}, "ada Dan"), ({"name": {"$in": []}}, ""),
    ({"name": {"$nin": ["ada"]}}, "bob cyd Dan"), ({"amount": {"$nin": [1]}}, "bob cyd"),
    ({"name": {"$nin": []}}, "ada bob cyd Dan"), ({"tags": {"$contains": ["y"]}}, "ada bob"),
    ({"tags": {"$contains": ["x", "y"]}}, "ada"), ({"ready": "false"}, "bob"),
    ({"$or": [{"name": "ada"}, {"amount": 3}]}, "ada cyd"), ({"$or": []}, ""),
    ({"$and": [{"amount": {"$gt": 1}}, {"ready": False}]}, "bob"),
    ({"$and": []}, "ada bob cyd Dan"), ({"$not": {"amount": {"$gt": 1}}}, "ada"),
    ({"day": {"$gte": "2024-01-01"}}, "bob"), ({"kind": "Soil", "amount": 3}, "cyd"),
    ({"created_at": {"$gt": "2001-01-01"}}, "ada bob cyd Dan"), ({"name": "' or 1=1 --"}, ""),
]  # fmt: skip
BAD_WHERES: list[Mapping[str, Any]] = [
    {"nothing": 1}, {"name": {"$regex": "x"}}, {"$xor": []}, {"amount": "much"},
    {"name": {"$in": "x"}}, {"$or": {}}, {"$not": []}, {"name": {}}, {"_owner": None},
    {'name" = name or "name': 1}, {"ready": {"$gt": "x"}}, {"id": "no uuid"},
    {"name": {"$in": ["x"] * 1001}},
]  # fmt: skip
BAD_BODIES: list[Any] = [[], {}, "x", None, {"name": "a", "nothing": 1}]
BAD_BULKS: list[Any] = [{}, [], [[]], [{"name": 1}]]
BAD_QUERIES: list[Any] = [{"where": {"nothing": 1}}, {"order": "up"}, {"limit": 0}, []]


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


class RecordsConformance(Conformance):
    """Records: what was written comes back, and only to callers in scope."""

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

    # One record

    def test_a_record_shows_every_field_in_its_order(self, samples: Collection) -> None:
        made = samples.create(name="a")
        assert list(made) == ORDER
        assert made["state"] == "new"
        assert [made[name] for name in ORDER[2:13] if name != "state"] == [None] * 11
        assert made["created_at"].endswith("Z")
        assert made["updated_at"] == made["created_at"]
        assert samples.get(made["id"]) == made

    @pytest.mark.parametrize("values", SAME, ids=[json.dumps(values) for values in SAME])
    def test_what_is_written_comes_back(self, samples: Collection, values: Row) -> None:
        made = samples.create(name="a", **values)
        assert {name: made[name] for name in values} == values
        other = samples.create(name="b")
        changed = samples.update(other["id"], **values) if "code" not in values else made
        assert {name: changed[name] for name in values} == values
        assert samples.page()[-1] == made

    @pytest.mark.parametrize(
        ("given", "kept"), TAKEN, ids=[json.dumps(given) for given, _ in TAKEN]
    )
    def test_an_unambiguous_text_is_taken_for_its_value(
        self, samples: Collection, given: Row, kept: Row
    ) -> None:
        made = samples.create(name="a", **given)
        assert {name: made[name] for name in kept} == kept

    @pytest.mark.parametrize(("bad", "named"), BAD, ids=range(len(BAD)))
    def test_a_bad_value_is_refused_by_its_name_and_nothing_written(
        self, samples: Collection, bad: Row, named: str
    ) -> None:
        with pytest.raises(BadRequest, match=named):
            samples.create(**bad)
        assert samples.count() == 0

    def test_an_update_changes_what_it_names(self, samples: Collection) -> None:
        made = samples.create(name="a", amount=1, tags=["x"])
        changed = samples.update(made["id"], amount=2)
        assert changed == {**made, "amount": 2, "updated_at": changed["updated_at"]}
        # Not as texts, in which last digits that are zeros may be left out.
        was, now = (datetime.fromisoformat(one["updated_at"]) for one in (made, changed))
        assert now > was
        for bad in ({}, {"nothing": 1}, {"name": None}, {"kind": "Gold"}, {"amount": "much"}):
            with pytest.raises(BadRequest):
                samples.update(made["id"], **bad)
        assert samples.get(made["id"]) == changed

    def test_what_is_the_servers_cannot_be_written(self, samples: Collection) -> None:
        forged = {"id": GHOST, "created_at": "2001-01-01T00:00:00Z", "updated_at": "2001-01-01"}
        made = samples.create(name="a", **forged)
        assert made["id"] != GHOST
        assert not made["created_at"].startswith("2001")
        changed = samples.update(made["id"], name="b", **forged)
        assert (changed["id"], changed["created_at"]) == (made["id"], made["created_at"])

    def test_an_id_of_ones_own_is_kept_where_it_is_declared(self, server: Server) -> None:
        teams, name = Collection(server, PLAIN, "teams"), unique("team/")
        assert teams.create(id=name)["id"] == name
        assert teams.get(name)["id"] == name
        with pytest.raises(BadRequest):
            teams.create(id=name)

    def test_a_deleted_record_is_gone(self, samples: Collection) -> None:
        made, other = samples.create(name="a"), samples.create(name="b")
        samples.delete(made["id"])
        for act in (samples.get, samples.delete, samples.touch):
            with pytest.raises(NotFound):
                act(made["id"])
        assert samples.page() == [other]

    @pytest.mark.parametrize("place", [(PLAIN, "nothing"), ("nowhere", "samples"),
                                       ("pg_catalog", "pg_authid")])  # fmt: skip
    def test_an_unknown_collection_is_not_found(
        self, server: Server, place: tuple[str, str]
    ) -> None:
        nothing = Collection(server, *place)
        for act in (nothing.page, nothing.count, lambda: nothing.get(GHOST)):
            with pytest.raises(NotFound):
                act()

    def test_constraint_violations_are_described(self, samples: Collection) -> None:
        parent = samples.create(name="a", code="one")
        with pytest.raises(BadRequest, match="code"):
            samples.create(name="b", code="one")
        child = samples.create(name="b", parent=parent["id"])
        samples.delete(parent["id"])
        assert samples.get(child["id"])["parent"] is None

    # Many

    def test_many_are_written_in_the_order_given(self, samples: Collection) -> None:
        made = samples.create_many(LOT)
        assert [row["name"] for row in made] == [row["name"] for row in LOT]
        assert all(list(row) == ORDER for row in made)
        assert made[3]["state"] == "new"
        assert samples.count() == len(LOT)

    def test_of_many_all_are_written_or_none(self, samples: Collection) -> None:
        for bad in ({"name": None}, {"name": "x", "nothing": 1}, {"name": "x", "kind": "Gold"}):
            with pytest.raises(BadRequest):
                samples.create_many([*LOT, bad])
        for rows in ([], [{"name": "x"}] * 1001):
            with pytest.raises(BadRequest):
                samples.create_many(rows)
        assert samples.count() == 0
        assert len(samples.create_many([{"name": "x"}] * 1000)) == 1000

    # Filters and order

    @pytest.mark.parametrize(("where", "names"), WHERES, ids=[json.dumps(w) for w, _ in WHERES])
    def test_a_filter_finds_what_it_says(
        self, samples: Collection, where: Mapping[str, Any], names: str
    ) -> None:
        for row in LOT:
            samples.create(**row)
        assert samples.names(where) == names
        assert samples.count(where) == len(names.split())
        assert " ".join(row["name"] for row in samples.stream(where)) == names

    @pytest.mark.parametrize("where", BAD_WHERES, ids=range(len(BAD_WHERES)))
    def test_a_bad_filter_is_refused(self, samples: Collection, where: Mapping[str, Any]) -> None:
        for look in (samples.page, samples.count, samples.stream):
            with pytest.raises(BadRequest):
                look(where)

    def test_filters_have_a_depth(self, samples: Collection) -> None:
        samples.create(name="a")
        where: Mapping[str, Any] = {"name": "a"}
        for _ in range(10):
            where = {"$and": [where]}
        assert samples.names(where) == "a"
        for _ in range(20):
            where = {"$not": where}
        with pytest.raises(BadRequest):
            samples.page(where)

    def test_the_newest_comes_first_by_default(self, samples: Collection) -> None:
        for row in LOT:
            samples.create(**row)
        assert [row["name"] for row in samples.page()] == ["Dan", "cyd", "bob", "ada"]
        by_amount = samples.page({"amount": {"$gt": 0}}, order_by="amount", order="desc")
        assert [row["amount"] for row in by_amount] == [3, 2, 1]
        for bad in ("nothing", "_owner", "name desc", 'name"'):
            with pytest.raises(BadRequest):
                samples.page(order_by=bad)

    @pytest.mark.parametrize("order", ["asc", "desc"])
    @pytest.mark.parametrize("order_by", ["created_at", "amount", "kind", "id"])
    def test_pages_hold_every_record_once(
        self, samples: Collection, order_by: str, order: str
    ) -> None:
        kinds = [None, "Soil", "Blood"]
        rows = [{"name": f"n{n}", "amount": n // 4, "kind": kinds[n % 3]} for n in range(23)]
        samples.create_many(rows)
        whole = samples.page(order_by=order_by, order=order, limit=1000)
        seen: list[Row] = []
        while page := samples.page(
            order_by=order_by, order=order, limit=5, after=seen[-1]["id"] if seen else None
        ):
            seen += page
        assert seen == whole
        assert len(whole) == 23
        skipped = samples.page(order_by=order_by, order=order, limit=5, offset=20)
        assert skipped == whole[20:]

    def test_a_stream_holds_everything(self, samples: Collection) -> None:
        assert samples.stream() == []
        for _ in range(3):
            samples.create_many([{"name": f"n{n}"} for n in range(700)])
        found = samples.stream()
        assert len({row["id"] for row in found}) == len(found) == 2100
        assert list(found[0]) == ORDER

    # Who sees what

    def test_own_rows_are_the_makers_only(self, server: Server, samples: Collection) -> None:
        one, two = server.user(unique("one")).id, server.user(unique("two")).id
        mine = samples.by(one).create(name="mine")
        samples.by(two).create(name="theirs")
        samples.create(name="unowned")
        own = samples.by(one, OWN)
        assert own.names() == "mine"
        assert own.count() == 1
        assert [row["name"] for row in own.stream()] == ["mine"]
        assert own.names({"$or": [{"name": "theirs"}, {"name": "mine"}]}) == "mine"
        assert own.update(mine["id"], amount=1)["amount"] == 1
        for row in samples.page({"name": {"$ne": "mine"}}):
            for act in (own.get, own.delete, own.touch):
                with pytest.raises(NotFound):
                    act(row["id"])
        own.delete(mine["id"])
        assert samples.names() == "theirs unowned"

    def test_a_scope_narrows_every_way_to_a_record(
        self, samples: Collection, guest: GuestPlugin
    ) -> None:
        shown, hidden = samples.create(name="shown"), samples.create(name="hidden")
        guest.scopes[".".join(samples.place)] = {"name": {"$ne": "hidden"}}
        assert samples.names() == "shown"
        assert samples.count() == 1
        assert [row["name"] for row in samples.stream()] == ["shown"]
        assert samples.names({"$or": [{"name": "hidden"}, {"name": "shown"}]}) == "shown"
        for act in (samples.get, samples.delete, samples.touch):
            with pytest.raises(NotFound):
                act(hidden["id"])
        assert samples.update(shown["id"], amount=1)["amount"] == 1
        guest.scopes.clear()
        assert samples.get(hidden["id"]) == hidden

    def test_a_scope_adds_to_what_the_grant_allows(
        self, server: Server, samples: Collection, guest: GuestPlugin
    ) -> None:
        one = server.user(unique("one")).id
        for name in ("a", "b"):
            samples.by(one).create(name=name)
            samples.create(name=name)
        guest.scopes[".".join(samples.place)] = {"name": "a"}
        assert samples.by(one, OWN).count() == 1

    # Plugins that take part

    def test_a_plugin_changes_what_is_written(
        self, guarded: Collection, guest: GuestPlugin
    ) -> None:
        guest.values = {"amount": "7"}
        made = guarded.create(name="a", amount=1)
        assert made["amount"] == 7
        guest.values = {"amount": 8}
        assert guarded.update(made["id"], name="b")["amount"] == 8
        assert [row["amount"] for row in guarded.create_many([{"name": "c"}] * 2)] == [8, 8]
        guest.values = {"nothing": 1}
        with pytest.raises(HookFailed):  # the plugin's mistake, not the caller's
            guarded.create(name="d")

    def test_a_plugin_refuses_a_write(self, guarded: Collection, guest: GuestPlugin) -> None:
        made = guarded.create(name="a")
        for refusal in ("refusal", "breaks"):
            setattr(guest, refusal, "not today")
            for act in (
                lambda: guarded.create(name="b"),
                lambda: guarded.create_many(LOT),
                lambda: guarded.update(made["id"], name="b"),
                lambda: guarded.delete(made["id"]),
            ):
                with pytest.raises(BadRequest, match="not today"):
                    act()
            setattr(guest, refusal, "")
        assert guarded.page() == [made]

    def test_a_plugin_hears_what_was_and_what_is(
        self, guarded: Collection, guest: GuestPlugin
    ) -> None:
        made = guarded.create(name="a")
        changed = guarded.update(made["id"], name="b")
        guarded.delete(made["id"])
        recorded = [(e.operation, _record(e.old), _record(e.new)) for e in guest.recorded]
        assert recorded == [
            ("INSERT", None, made), ("UPDATE", made, changed), ("DELETE", changed, None),
        ]  # fmt: skip
        actions = [(change.action, change.record_id) for change in guest.changes]
        assert actions == [("create", None), ("update", made["id"]), ("delete", made["id"])]

    def test_every_write_is_in_the_trail(self, server: Server, samples: Collection) -> None:
        made = samples.by(server.admin.id).create(name="a")
        samples.by(server.admin.id).update(made["id"], amount=5)
        samples.by(server.admin.id).delete(made["id"])
        wanted = {"app_id": samples.place[0], "record_id": made["id"]}
        rows = body_of(server.admin.get("/api/v1/audit", params=wanted))
        assert [row["operation"] for row in rows] == ["DELETE", "UPDATE", "INSERT"]
        assert {row["actor_id"] for row in rows} == {server.admin.id}
        assert rows[1]["new_record"]["amount"] == 5

    # Over HTTP

    def test_records_over_http(self, server: Server, samples: Collection) -> None:
        path, admin = f"/api/v1/apps/{samples.place[0]}/collections/samples", server.admin
        made = body_of(admin.post(path, json={"name": "a"}), 201)
        assert body_of(admin.get(f"{path}/{made['id']}")) == made
        changed = body_of(admin.patch(f"{path}/{made['id']}", json={"amount": "4"}))
        assert changed["amount"] == 4
        more = body_of(admin.post(f"{path}/bulk", json=[{"name": "b"}, {"name": "c"}]), 201)
        assert [row["name"] for row in more] == ["b", "c"]
        assert {row["name"] for row in body_of(admin.get(path))} == {"a", "b", "c"}
        answer = admin.get(path, params={"limit": 2, "sort": "name", "order": "asc"})
        assert [row["name"] for row in body_of(answer)] == ["a", "b"]
        assert 'rel="next"' in answer.headers["link"]
        assert [row["name"] for row in body_of(admin.get(path, params={"name": "b"}))] == ["b"]
        query = {"where": {"name": {"$gt": "a"}}, "orderBy": "name", "order": "desc", "limit": 1}
        found = body_of(admin.post(f"{path}/query", json=query))
        assert ([row["name"] for row in found["data"]], found["total"]) == (["c"], 2)
        said = body_of(admin.delete(f"{path}/{made['id']}"))
        assert said == {"message": f"record '{made['id']}' deleted"}
        assert refused(admin.get(f"{path}/{made['id']}"), 404) == f"record '{made['id']}' not found"

    def test_bad_input_over_http_is_a_400(self, server: Server, samples: Collection) -> None:
        path, admin = f"/api/v1/apps/{samples.place[0]}/collections/samples", server.admin
        for body in BAD_BODIES:
            refused(admin.post(path, json=body), 400)
        for body in BAD_BULKS:
            refused(admin.post(f"{path}/bulk", json=body), 400)
        for body in BAD_QUERIES:
            refused(admin.post(f"{path}/query", json=body), 400)
        for given in ({"limit": "0"}, {"limit": "x"}, {"sort": "nothing"}, {"nothing": "1"}):
            refused(admin.get(path, params=given), 400)

    def test_others_reach_no_records(self, server: Server, samples: Collection) -> None:
        path, user = f"/api/v1/apps/{samples.place[0]}/collections/samples", server.user()
        for answer in (
            user.get(path), user.post(path, json={"name": "a"}), user.get(f"{path}/{GHOST}"),
            user.patch(f"{path}/{GHOST}", json={"name": "a"}), user.delete(f"{path}/{GHOST}"),
            user.post(f"{path}/query", json={}), user.post(f"{path}/bulk", json=[{"name": "a"}]),
        ):  # fmt: skip
            refused(answer, 403)

    def test_a_new_field_is_there_at_once_everywhere(self, server: Server, second: Server) -> None:
        app_id, fields = unique("grows"), [{"name": "name", "type": "text"}]
        path = f"/api/v1/apps/{app_id}/collections/notes"
        for _ in range(2):
            contract = [{"entityName": "notes", "fields": fields}]
            server.install({"appId": app_id, "name": app_id, "dataContract": contract})
            for one in (server, second):
                shown = Collection(one, app_id, "notes")
                wanted = fields[-1]["name"]
                eventually(lambda shown=shown, name=wanted: _takes(shown, name), SOON)
            fields = [*fields, {"name": "more", "type": "text"}]
        assert body_of(server.admin.get(path))


def _takes(notes: Collection, field: str) -> bool:
    try:
        return notes.create(**{field: "x"})[field] == "x"
    except (BadRequest, NotFound):
        return False


def _record(raw: bytes | None) -> Row | None:
    return None if raw is None else cast("Row", json.loads(raw))
