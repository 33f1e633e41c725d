"""What RECORDS promises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

import pytest

from kernel.errors import BadRequest, HookFailed, NotFound
from kernel.testing import Server
from kernel.testing.conformance.collection import (
    GHOST,
    ORDER,
    OWN,
    PLAIN,
    Collection,
    GuestPlugin,
    Row,
    TakesPart,
)
from kernel.testing.conformance.kit import SOON, body_of, eventually, refused, unique
from kernel.testing.conformance.record_cases import (
    BAD,
    BAD_BODIES,
    BAD_BULKS,
    BAD_QUERIES,
    BAD_WHERES,
    LOT,
    SAME,
    TAKEN,
    WHERES,
)


class RecordsConformance(TakesPart):
    """Records: what was written comes back, and only to callers in scope."""

    # One record

    def test_a_record_shows_every_field_in_its_order(self, samples: Collection) -> None:
        record = samples.create(name="a")
        assert list(record) == ORDER
        assert record["state"] == "new"
        assert [record[name] for name in ORDER[2:13] if name != "state"] == [None] * 11
        assert record["created_at"].endswith("Z")
        assert record["updated_at"] == record["created_at"]
        assert samples.get(record["id"]) == record

    @pytest.mark.parametrize("values", SAME, ids=[json.dumps(values) for values in SAME])
    def test_what_is_written_comes_back(self, samples: Collection, values: Row) -> None:
        record = samples.create(name="a", **values)
        assert {name: record[name] for name in values} == values
        other = samples.create(name="b")
        if "code" not in values:  # which is unique
            changed = samples.update(other["id"], **values)
            assert {name: changed[name] for name in values} == values
        assert samples.page()[-1] == record

    @pytest.mark.parametrize(
        ("values", "stored"), TAKEN, ids=[json.dumps(values) for values, _ in TAKEN]
    )
    def test_an_unambiguous_text_is_taken_for_its_value(
        self, samples: Collection, values: Row, stored: Row
    ) -> None:
        record = samples.create(name="a", **values)
        assert {name: record[name] for name in stored} == stored

    @pytest.mark.parametrize(("bad", "named"), BAD, ids=range(len(BAD)))
    def test_a_bad_value_is_refused_by_its_name_and_nothing_written(
        self, samples: Collection, bad: Row, named: str
    ) -> None:
        with pytest.raises(BadRequest, match=named):
            samples.create(**bad)
        assert samples.count() == 0

    def test_an_update_changes_what_it_names(self, samples: Collection) -> None:
        record = samples.create(name="a", amount=1, tags=["x"])
        changed = samples.update(record["id"], amount=2)
        assert changed == {**record, "amount": 2, "updated_at": changed["updated_at"]}
        # Not as texts, in which last digits that are zeros may be left out.
        created_at = datetime.fromisoformat(record["updated_at"])
        changed_at = datetime.fromisoformat(changed["updated_at"])
        assert changed_at > created_at
        for bad in ({}, {"nothing": 1}, {"name": None}, {"kind": "Gold"}, {"amount": "much"}):
            with pytest.raises(BadRequest):
                samples.update(record["id"], **bad)
        assert samples.get(record["id"]) == changed

    def test_what_is_the_servers_cannot_be_written(self, samples: Collection) -> None:
        forged = {"id": GHOST, "created_at": "2001-01-01T00:00:00Z", "updated_at": "2001-01-01"}
        record = samples.create(name="a", **forged)
        assert record["id"] != GHOST
        assert not record["created_at"].startswith("2001")
        changed = samples.update(record["id"], name="b", **forged)
        assert (changed["id"], changed["created_at"]) == (record["id"], record["created_at"])

    def test_an_id_of_ones_own_is_kept_where_it_is_declared(self, server: Server) -> None:
        teams = Collection(server, PLAIN, "teams")
        name = unique("team/")
        assert teams.create(id=name)["id"] == name
        assert teams.get(name)["id"] == name
        with pytest.raises(BadRequest):
            teams.create(id=name)

    def test_a_deleted_record_is_gone(self, samples: Collection) -> None:
        record = samples.create(name="a")
        other = samples.create(name="b")
        samples.delete(record["id"])
        for act in (samples.get, samples.delete, samples.touch):
            with pytest.raises(NotFound):
                act(record["id"])
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
        records = samples.create_many(LOT)
        assert [row["name"] for row in records] == [row["name"] for row in LOT]
        assert all(list(row) == ORDER for row in records)
        assert records[3]["state"] == "new"
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
        all_records = samples.page(order_by=order_by, order=order, limit=1000)
        seen: list[Row] = []
        last_id = None
        while page := samples.page(order_by=order_by, order=order, limit=5, after=last_id):
            seen += page
            last_id = page[-1]["id"]
        assert seen == all_records
        assert len(all_records) == 23
        skipped = samples.page(order_by=order_by, order=order, limit=5, offset=20)
        assert skipped == all_records[20:]

    def test_equal_values_are_ordered_by_further_fields(self, samples: Collection) -> None:
        rows = [
            {"name": f"n{n}", "amount": n % 3, "kind": ["Soil", "Blood"][n % 2]} for n in range(12)
        ]
        samples.create_many(rows)
        then_by = [{"amount": "desc"}, {"name": "asc"}]
        page = samples.page(order_by="kind", order="asc", then_by=then_by)
        assert [(row["kind"], -row["amount"], row["name"]) for row in page] == sorted(
            (row["kind"], -row["amount"], row["name"]) for row in page
        )
        rest = samples.page(order_by="kind", order="asc", then_by=then_by, after=page[4]["id"])
        assert rest == page[5:]

    def test_a_stream_holds_everything(self, samples: Collection) -> None:
        assert samples.stream() == []
        for _ in range(3):
            samples.create_many([{"name": f"n{n}"} for n in range(700)])
        records = samples.stream()
        assert len({row["id"] for row in records}) == len(records) == 2100
        assert list(records[0]) == ORDER

    # Visibility

    def test_own_rows_are_the_makers_only(self, server: Server, samples: Collection) -> None:
        one = server.user(unique("one")).id
        two = server.user(unique("two")).id
        mine = samples.act_as(one).create(name="mine")
        samples.act_as(two).create(name="theirs")
        samples.create(name="unowned")
        owned = samples.act_as(one, OWN)
        assert owned.names() == "mine"
        assert owned.count() == 1
        assert [row["name"] for row in owned.stream()] == ["mine"]
        assert owned.names({"$or": [{"name": "theirs"}, {"name": "mine"}]}) == "mine"
        assert owned.update(mine["id"], amount=1)["amount"] == 1
        for row in samples.page({"name": {"$ne": "mine"}}):
            for act in (owned.get, owned.delete, owned.touch):
                with pytest.raises(NotFound):
                    act(row["id"])
        owned.delete(mine["id"])
        assert samples.names() == "theirs unowned"

    def test_a_scope_narrows_every_way_to_a_record(
        self, samples: Collection, guest: GuestPlugin
    ) -> None:
        shown = samples.create(name="shown")
        hidden = samples.create(name="hidden")
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
            samples.act_as(one).create(name=name)
            samples.create(name=name)
        guest.scopes[".".join(samples.place)] = {"name": "a"}
        assert samples.act_as(one, OWN).count() == 1

    # Plugins that take part

    def test_a_plugin_changes_what_is_written(
        self, guarded: Collection, guest: GuestPlugin
    ) -> None:
        guest.values = {"amount": "7"}
        record = guarded.create(name="a", amount=1)
        assert record["amount"] == 7
        guest.values = {"amount": 8}
        assert guarded.update(record["id"], name="b")["amount"] == 8
        assert [row["amount"] for row in guarded.create_many([{"name": "c"}] * 2)] == [8, 8]
        guest.values = {"nothing": 1}
        with pytest.raises(HookFailed):  # the plugin's mistake, not the caller's
            guarded.create(name="d")

    def test_a_plugin_refuses_a_write(self, guarded: Collection, guest: GuestPlugin) -> None:
        record = guarded.create(name="a")
        for refusal in ("refusal", "breaks"):
            setattr(guest, refusal, "not today")
            for act in (
                lambda: guarded.create(name="b"),
                lambda: guarded.create_many(LOT),
                lambda: guarded.update(record["id"], name="b"),
                lambda: guarded.delete(record["id"]),
            ):
                with pytest.raises(BadRequest, match="not today"):
                    act()
            setattr(guest, refusal, "")
        assert guarded.page() == [record]

    def test_a_plugin_hears_what_was_and_what_is(
        self, guarded: Collection, guest: GuestPlugin
    ) -> None:
        record = guarded.create(name="a")
        changed = guarded.update(record["id"], name="b")
        guarded.delete(record["id"])
        recorded = [(e.operation, _record(e.old), _record(e.new)) for e in guest.recorded]
        assert recorded == [
            ("INSERT", None, record), ("UPDATE", record, changed), ("DELETE", changed, None),
        ]  # fmt: skip
        actions = [(change.action, change.record_id) for change in guest.changes]
        assert actions == [("create", None), ("update", record["id"]), ("delete", record["id"])]

    def test_every_write_is_in_the_trail(self, server: Server, samples: Collection) -> None:
        record = samples.act_as(server.admin.id).create(name="a")
        samples.act_as(server.admin.id).update(record["id"], amount=5)
        samples.act_as(server.admin.id).delete(record["id"])
        criteria = {"app_id": samples.place[0], "record_id": record["id"]}
        rows = body_of(server.admin.get("/api/v1/audit", params=criteria))
        assert [row["operation"] for row in rows] == ["DELETE", "UPDATE", "INSERT"]
        assert {row["actor_id"] for row in rows} == {server.admin.id}
        assert rows[1]["new_record"]["amount"] == 5

    # Over HTTP

    def test_records_over_http(self, server: Server, samples: Collection) -> None:
        path = f"/api/v1/apps/{samples.place[0]}/collections/samples"
        admin = server.admin
        record = body_of(admin.post(path, json={"name": "a"}), 201)
        assert body_of(admin.get(f"{path}/{record['id']}")) == record
        changed = body_of(admin.patch(f"{path}/{record['id']}", json={"amount": "4"}))
        assert changed["amount"] == 4
        added = body_of(admin.post(f"{path}/bulk", json=[{"name": "b"}, {"name": "c"}]), 201)
        assert [row["name"] for row in added] == ["b", "c"]
        assert {row["name"] for row in body_of(admin.get(path))} == {"a", "b", "c"}
        answer = admin.get(path, params={"limit": 2, "sort": "name", "order": "asc"})
        assert [row["name"] for row in body_of(answer)] == ["a", "b"]
        assert 'rel="next"' in answer.headers["link"]
        assert [row["name"] for row in body_of(admin.get(path, params={"name": "b"}))] == ["b"]
        query = {"where": {"name": {"$gt": "a"}}, "orderBy": "name", "order": "desc", "limit": 1}
        page = body_of(admin.post(f"{path}/query", json=query))
        assert ([row["name"] for row in page["data"]], page["total"]) == (["c"], 2)
        reply = body_of(admin.delete(f"{path}/{record['id']}"))
        assert reply == {"message": f"record '{record['id']}' deleted"}
        message = refused(admin.get(f"{path}/{record['id']}"), 404)
        assert message == f"record '{record['id']}' not found"

    def test_bad_input_over_http_is_a_400(self, server: Server, samples: Collection) -> None:
        path = f"/api/v1/apps/{samples.place[0]}/collections/samples"
        admin = server.admin
        for body in BAD_BODIES:
            refused(admin.post(path, json=body), 400)
        for body in BAD_BULKS:
            refused(admin.post(f"{path}/bulk", json=body), 400)
        for body in BAD_QUERIES:
            refused(admin.post(f"{path}/query", json=body), 400)
        for query in ({"limit": "0"}, {"limit": "x"}, {"sort": "nothing"}, {"nothing": "1"}):
            refused(admin.get(path, params=query), 400)

    def test_others_reach_no_records(self, server: Server, samples: Collection) -> None:
        path = f"/api/v1/apps/{samples.place[0]}/collections/samples"
        user = server.user()
        for answer in (
            user.get(path), user.post(path, json={"name": "a"}), user.get(f"{path}/{GHOST}"),
            user.patch(f"{path}/{GHOST}", json={"name": "a"}), user.delete(f"{path}/{GHOST}"),
            user.post(f"{path}/query", json={}), user.post(f"{path}/bulk", json=[{"name": "a"}]),
        ):  # fmt: skip
            refused(answer, 403)

    def test_a_new_field_is_there_at_once_everywhere(self, server: Server, second: Server) -> None:
        app_id = unique("grows")
        fields = [{"name": "name", "type": "text"}]
        path = f"/api/v1/apps/{app_id}/collections/notes"
        for _ in range(2):
            contract = [{"entityName": "notes", "fields": fields}]
            server.install({"appId": app_id, "name": app_id, "dataContract": contract})
            for one in (server, second):
                shown = Collection(one, app_id, "notes")
                newest = fields[-1]["name"]
                eventually(lambda shown=shown, name=newest: _takes(shown, name), SOON)
            fields = [*fields, {"name": "more", "type": "text"}]
        assert body_of(server.admin.get(path))


def _takes(notes: Collection, field: str) -> bool:
    try:
        return notes.create(**{field: "x"})[field] == "x"
    except (BadRequest, NotFound):
        return False


def _record(raw: bytes | None) -> Row | None:
    return None if raw is None else cast("Row", json.loads(raw))
