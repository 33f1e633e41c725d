"""One record: create, read, change, delete; both ways that a write can go."""

from __future__ import annotations

import re
import uuid
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel.testing import Client, Server
from tests.plugins.data.support import FIELDS, NOTES, SAMPLES, TEAMS, create, names, refused

ZULU = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")


def test_a_record_has_id_fields_in_order_and_timestamps(admin: Client):
    record = create(admin, name="a")
    assert list(record) == ["id", *FIELDS, "created_at", "updated_at"]
    assert uuid.UUID(record["id"])
    assert ZULU.fullmatch(record["created_at"])
    assert ZULU.fullmatch(record["updated_at"])
    assert record["amount"] is None
    assert (record["level"], record["state"]) == (3, "new")


def test_every_type_comes_back_as_it_was_sent(admin: Client):
    values = {
        "name": 'a "quoted"\n text','code': "ü", "amount": 1e300, "ready": False,
        "taken_on": "2024-02-29", "seen_at": "2024-01-15T10:30:00Z",
        "details": {"deep": [1, None, {"a": "x+00:00"}], "created_at": "2024+00:00"},
        "ticket": str(uuid.uuid4()), "tags": ["vip", 'q"u,o{t}e\\', ""], "sizes": [1, 2.5],
        "scan": "", "kind": "Water's", "level": -0.5, "state": "+00:00",
    }  # fmt: skip
    record = create(admin, **values)
    assert {name: record[name] for name in values} == values
    assert admin.get(f"{SAMPLES}/{record['id']}").json() == record
    assert admin.get(SAMPLES).json() == [record]
    assert admin.get(SAMPLES, params={"limit": 5}).json() == [record]
    assert admin.post(f"{SAMPLES}/query", json={}).json()["data"] == [record]


texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"))
texts |= st.sampled_from(["NULL", "null", "{}", '"', '\\"', "\\", "\\n", "\\\n", "a,b", " "])
doubles = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
documents = st.recursive(
    st.none() | st.booleans() | doubles | texts, lambda each: st.lists(each, max_size=3)
)
VALUES = {
    "state": texts, "amount": doubles, "ready": st.booleans(), "details": documents,
    "taken_on": st.dates().map(str), "tags": st.lists(texts), "sizes": st.lists(doubles),
}  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.fixed_dictionaries({}, optional=VALUES),
    st.lists(st.fixed_dictionaries({}, optional=VALUES), max_size=3),
)
def test_a_record_is_the_same_whichever_way_it_is_written(
    lab: Server, values: dict[str, Any], others: list[dict[str, Any]]
):
    # The values of one record are parameters of their own, those of several are arrays.
    admin, body = lab.admin, {"name": "x", **values}
    alone = admin.post(SAMPLES, json=body)
    bodies = [*({"name": "y", **each} for each in others), body]
    of_bulk = admin.post(f"{SAMPLES}/bulk", json=bodies).json()[-1]
    changed = admin.patch(f"{SAMPLES}/{create(admin, name='y')['id']}", json=body)
    assert alone.status_code == 201, alone.text
    assert changed.status_code == 200, changed.text
    wanted = {name: of_bulk[name] for name in FIELDS}
    assert {name: alone.json()[name] for name in FIELDS} == wanted
    assert {name: changed.json()[name] for name in FIELDS} == wanted


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("2024-01-15T10:30:00.123456+02:00", "2024-01-15T08:30:00.123456Z"),
        ("2024-01-15 10:30", "2024-01-15T10:30:00Z"),
        ("2024-01-15", "2024-01-15T00:00:00Z"),
        ("2024-01-15T10:00:00.5-0330", "2024-01-15T13:30:00.5Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_timestamps_are_shown_in_utc_with_z(admin: Client, sent: str, shown: str):
    record = create(admin, seen_at=sent)
    assert record["seen_at"] == shown
    assert admin.get(SAMPLES).json()[0]["seen_at"] == shown
    assert admin.get(SAMPLES, params={"limit": 1, "seen_at": sent}).json()[0]["seen_at"] == shown


def test_what_belongs_to_the_server_is_ignored_in_a_body(admin: Client):
    old = "2000-01-01T00:00:00Z"
    given = str(uuid.uuid4())
    record = create(admin, id=given, created_at=old, updated_at=old)
    assert record["id"] != given
    assert record["created_at"] > "2020"
    changed = admin.patch(
        f"{SAMPLES}/{record['id']}", json={"id": given, "created_at": old, "name": "b"}
    ).json()
    assert (changed["id"], changed["created_at"]) == (record["id"], record["created_at"])
    same = admin.patch(f"{SAMPLES}/{record['id']}", json={"created_at": old})
    assert (same.status_code, same.json()) == (200, changed)


def test_an_id_is_honoured_where_the_manifest_declares_it(admin: Client):
    assert create(admin, TEAMS, id="red team/1?", name="r")["id"] == "red team/1?"
    assert create(admin, TEAMS, name="generated")["id"]
    assert "id" in refused(admin.post(TEAMS, json={"id": "red team/1?", "name": "x"}))
    assert "id" in refused(admin.post(TEAMS, json={"id": "", "name": "x"}))
    assert "id" in refused(admin.post(TEAMS, json={"id": 7, "name": "x"}))


def test_a_text_id_is_found_by_its_text(admin: Client):
    create(admin, TEAMS, id="été 'x'", name="r")
    url = f"{TEAMS}/%C3%A9t%C3%A9%20'x'"
    assert admin.get(url).json()["name"] == "r"
    assert admin.delete(url).json() == {"message": "record 'été 'x'' deleted"}
    assert refused(admin.get(url), 404) == "record 'été 'x'' not found"


def test_a_slash_in_a_text_id_is_encoded(admin: Client):
    create(admin, TEAMS, id="2026/é", name="r")
    url = f"{TEAMS}/2026%2F%C3%A9"
    assert admin.get(url).json()["name"] == "r"
    assert refused(admin.get(f"{TEAMS}/2026/%C3%A9"), 404) == "there is no such route"
    assert refused(admin.get(f"{TEAMS}%2F2026"), 404)
    assert admin.delete(url.lower()).json() == {"message": "record '2026/é' deleted"}


def test_a_patch_changes_what_it_names(admin: Client):
    record = create(admin, amount=1, tags=["a"], details={"a": 1})
    answer = admin.patch(f"{SAMPLES}/{record['id']}", json={"amount": None, "tags": ["b"]})
    assert answer.status_code == 200
    changed = answer.json()
    assert changed.pop("updated_at") >= record.pop("updated_at")
    assert changed == {**record, "amount": None, "tags": ["b"]}


def test_a_delete_is_reported_by_its_id(admin: Client):
    record_id = create(admin)["id"]
    answer = admin.delete(f"{SAMPLES}/{record_id}")
    assert (answer.status_code, answer.json()) == (
        200,
        {"message": f"record '{record_id}' deleted"},
    )
    assert refused(admin.delete(f"{SAMPLES}/{record_id}"), 404) == f"record '{record_id}' not found"


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_missing_record_is_404_and_a_bad_uuid_400(admin: Client, method: str):
    body = {"json": {"name": "x"}} if method == "PATCH" else {}
    unknown = str(uuid.uuid4())
    answer = admin.request(method, f"{SAMPLES}/{unknown}", **body)
    assert refused(answer, 404) == f"record '{unknown}' not found"
    assert "UUID" in refused(admin.request(method, f"{SAMPLES}/12", **body))


def test_post_on_a_record_is_not_a_method(admin: Client):
    assert refused(admin.post(f"{SAMPLES}/{uuid.uuid4()}", json={"name": "x"}), 405)


def test_unknown_fields_are_named(admin: Client):
    assert "'colour'" in refused(admin.post(SAMPLES, json={"name": "x", "colour": 1}))
    record_id = create(admin)["id"]
    for name in ("colour", "_owner", "ctid", 'x"y', "xmin"):
        assert repr(name) in refused(admin.patch(f"{SAMPLES}/{record_id}", json={name: 1}))


@pytest.mark.parametrize("body", ["{}", "[]", "null", "7", '"x"', "", "{", '{"name"'])
def test_a_body_is_a_non_empty_object(admin: Client, body: str):
    headers = {"content-type": "application/json"}
    refused(admin.post(SAMPLES, content=body, headers=headers))
    record_id = create(admin)["id"]
    refused(admin.patch(f"{SAMPLES}/{record_id}", content=body, headers=headers))


def test_required_fields_are_required(admin: Client):
    assert refused(admin.post(SAMPLES, json={"amount": 1})) == "samples.name is required"
    assert refused(admin.post(SAMPLES, json={"name": None})) == "samples.name is required"
    record_id = create(admin)["id"]
    answer = admin.patch(f"{SAMPLES}/{record_id}", json={"state": None})
    assert refused(answer) == "samples.state is required"
    assert refused(admin.post(SAMPLES, json={"name": "x", "state": None}))


def test_breaches_are_reported_in_words(admin: Client):
    said = refused(admin.post(SAMPLES, json={"name": "x", "kind": "Rock"}))
    assert said == "samples.kind must be one of Blood, Soil, Water's"
    said = refused(admin.post(SAMPLES, json={"name": "x", "parent": str(uuid.uuid4())}))
    assert said == "samples.parent: no such samples record"
    said = refused(admin.post(SAMPLES, json={"name": "x", "team": "absent"}))
    assert said == "samples.team: no such teams record"
    create(admin, code="one")
    said = refused(admin.post(SAMPLES, json={"name": "x", "code": "one"}))
    assert said == "samples.code: this value is already taken"
    record = create(admin)
    said = refused(admin.patch(f"{SAMPLES}/{record['id']}", json={"code": "one"}))
    assert said == "samples.code: this value is already taken"


def test_a_delete_that_a_reference_forbids_says_who_refers(admin: Client):
    record_id = create(admin)["id"]
    create(admin, NOTES, sample=record_id)
    said = refused(admin.delete(f"{SAMPLES}/{record_id}"))
    assert said == f"samples record '{record_id}' is still referred to by notes.sample"


def test_an_enum_may_be_null(admin: Client):
    assert create(admin, kind=None)["kind"] is None
    assert create(admin, kind="Soil")["kind"] == "Soil"


def test_unknown_apps_and_entities_are_404(lab: Server, admin: Client):
    for path in (
        "nothing/collections/samples",
        "lab/collections/nothing",
        "pg_catalog/collections/pg_class",
    ):
        refused(admin.get(f"/api/v1/apps/{path}"), 404)
        refused(admin.post(f"/api/v1/apps/{path}", json={"name": "x"}), 404)


def test_bulk_returns_the_records_in_order_with_defaults(admin: Client):
    rows = [{"name": f"n{i}", "level": i} if i % 2 else {"name": f"n{i}"} for i in range(1000)]
    answer = admin.post(f"{SAMPLES}/bulk", json=rows)
    assert answer.status_code == 201
    made = answer.json()
    assert [record["name"] for record in made] == [row["name"] for row in rows]
    assert [record["level"] for record in made] == [row.get("level", 3) for row in rows]
    assert all(ZULU.fullmatch(record["created_at"]) for record in made)
    assert len({record["id"] for record in made}) == 1000
    assert sorted(names(admin.get(SAMPLES))) == sorted(row["name"] for row in rows)


def test_bulk_keeps_given_ids_and_makes_the_others(admin: Client):
    made = admin.post(f"{TEAMS}/bulk", json=[{"id": "a", "name": "1"}, {"name": "2"}]).json()
    assert made[0]["id"] == "a"
    assert len(made[1]["id"]) > 10


@pytest.mark.parametrize("chosen", ["query", "bulk", ".", "..", "a" * 1001, ""])
def test_no_record_has_an_id_that_no_path_reaches(admin: Client, chosen: str):
    assert "teams.id must" in refused(admin.post(TEAMS, json={"id": chosen, "name": "x"}))
    rows = [{"id": "a", "name": "x"}, {"id": chosen, "name": "x"}]
    assert "teams.id must" in refused(admin.post(f"{TEAMS}/bulk", json=rows))
    assert admin.get(TEAMS).json() == []


@pytest.mark.parametrize("chosen", ["a" * 1000, "é" * 1000, "a/b", "Query", "...", " ", "%2f"])
def test_every_id_that_is_taken_can_be_read_changed_and_deleted(admin: Client, chosen: str):
    path = f"{TEAMS}/{quote(create(admin, TEAMS, id=chosen, name='x')['id'], safe='')}"
    assert admin.get(path).json()["id"] == chosen
    assert admin.patch(path, json={"name": "y"}).json()["name"] == "y"
    assert admin.delete(path).status_code == 200
    refused(admin.get(path), 404)


def test_a_path_that_is_no_utf_8_reaches_no_record(admin: Client):
    create(admin, TEAMS, id="\ufffd", name="x")
    for path in (f"{TEAMS}/%ff", f"{TEAMS}/%C3", f"{TEAMS}/a%2fb%ff", f"{TEAMS}/%EF%BF%BD%ff"):
        assert "not valid UTF-8" in refused(admin.get(path))
        assert "not valid UTF-8" in refused(admin.patch(path, json={"name": "y"}))
        assert "not valid UTF-8" in refused(admin.delete(path))
    assert admin.get(f"{TEAMS}/%EF%BF%BD").json()["name"] == "x"


def test_a_default_of_a_bulk_is_that_of_a_single_record(server: Server):
    fields = [
        {"name": "name", "type": "text"},
        {"name": "empty", "type": "json", "required": True, "default_value": ""},
        {"name": "at", "type": "timestamp", "default_value": "2026-01-02 03:04+01:00"},
    ]
    contract = [{"entityName": "drafts", "fields": fields}]
    manifest = {"appId": "defaults", "name": "Defaults", "dataContract": contract}
    assert server.admin.post("/api/v1/apps", json=manifest).status_code == 200
    path = "/api/v1/apps/defaults/collections/drafts"
    one = create(server.admin, path, name="x")
    whole = {"name": "y", "empty": {}, "at": None}
    many = server.admin.post(f"{path}/bulk", json=[{"name": "x"}, whole]).json()
    assert (one["empty"], one["at"]) == ("", "2026-01-02T02:04:00Z")
    assert (many[0]["empty"], many[0]["at"]) == (one["empty"], one["at"])


@pytest.mark.parametrize("rows", [[], [{}], [7], {}, None, [{"name": "x"}, []]])
def test_bulk_wants_objects(admin: Client, rows: object):
    refused(admin.post(f"{SAMPLES}/bulk", json=rows))
    assert names(admin.get(SAMPLES)) == []


def test_bulk_has_a_maximum(admin: Client):
    assert "1000" in refused(admin.post(f"{SAMPLES}/bulk", json=[{"name": "x"}] * 1001))


@pytest.mark.parametrize(
    "bad",
    [
        {"name": "x", "amount": "much"},
        {"amount": 1},
        {"name": "x", "parent": "3fa85f64-5717-4562-b3fc-2c963f66afa6"},
        {"name": "x", "code": "1"},
        {"name": "x", "kind": "Rock"},
        {"name": "x", "colour": 1},
    ],
)
def test_bulk_is_all_or_nothing_and_names_the_row(admin: Client, bad: dict[str, object]):
    rows = [{"name": "x", "code": str(i)} for i in range(5)]
    said = refused(admin.post(f"{SAMPLES}/bulk", json=[*rows, bad, *rows]))
    assert said.startswith("[5] samples"), said
    assert names(admin.get(SAMPLES)) == []


def test_a_bulk_may_link_forward_and_the_row_that_is_named_is_the_wrong_one(server: Server):
    link = {"name": "parent", "type": "entity_link", "references": {"entity": "nodes"}}
    fields = [{"name": "id", "type": "text"}, {**link, "required": True}]
    contract = [{"entityName": "nodes", "fields": fields}]
    manifest = {"appId": "forward", "name": "Forward", "dataContract": contract}
    assert server.admin.post("/api/v1/apps", json=manifest).status_code == 200
    path = "/api/v1/apps/forward/collections/nodes/bulk"
    good = [{"parent": "b"}, {"id": "a", "parent": "b"}, {"id": "b", "parent": "a"}]
    for bad, says in (
        ({"parent": "absent"}, "[3] nodes.parent: no such nodes record"),
        ({"id": "a", "parent": "a"}, "[3] nodes.id: this value is already taken"),
    ):
        assert refused(server.admin.post(path, json=[*good, bad, *good[:1]])) == says
    assert server.admin.post(path, json=good).status_code == 201


def test_a_bulk_keeps_its_order_and_the_ids_that_it_names(server: Server):
    fields = [{"name": "id", "type": "text"}, {"name": "label", "type": "text"}]
    contract = [{"entityName": "tags", "fields": fields}]
    manifest = {"appId": "named", "name": "Named", "dataContract": contract}
    assert server.admin.post("/api/v1/apps", json=manifest).status_code == 200
    base = "/api/v1/apps/named"
    odd = ['a"b', "c\\d", "e,f", "{g}", "h i", "NULL", "é\t"]
    made = server.admin.post(f"{base}/collections/tags/bulk", json=[{"id": each} for each in odd])
    assert [each["id"] for each in made.json()] == odd
    mixed = [{"label": "1"}, {"id": "mine", "label": "2"}, {"id": "bare"}, {"label": "3"}]
    made = server.admin.post(f"{base}/collections/tags/bulk", json=mixed).json()
    assert [each["label"] for each in made] == ["1", "2", None, "3"]
    assert [each["id"] for each in made[1:3]] == ["mine", "bare"]
    assert made[0]["id"] < made[3]["id"]  # made here, in ascending order
    operations = [{"op": "create", "entity": "tags", "data": {"id": f"{each}!"}} for each in odd]
    done = server.admin.post(f"{base}/batch", json={"operations": operations}).json()["results"]
    assert [each["id"] for each in done] == [f"{each}!" for each in odd]
    assert [each["record"]["id"] for each in done] == [each["id"] for each in done]


def test_updates_and_deletes_reach_one_record_only(lab: Server, admin: Client):
    kept, changed, gone = create(admin), create(admin), create(admin)
    admin.patch(f"{SAMPLES}/{changed['id']}", json={"name": "y"})
    admin.delete(f"{SAMPLES}/{gone['id']}")
    assert sorted(names(admin.get(SAMPLES))) == ["x", "y"]
    assert admin.get(f"{SAMPLES}/{kept['id']}").json() == kept


def test_the_settings_hold_before_the_first_trigger_runs(lab: Server, admin: Client):
    lab.sql(
        """
        create table if not exists public.seen (operation text, actor text, request text);
        truncate public.seen;
        create or replace function public.note() returns trigger language plpgsql as $$ begin
            insert into public.seen values (tg_op || tg_when,
                current_setting('caudex.actor_id', true),
                current_setting('caudex.request_id', true));
            return coalesce(new, old); end $$;
        create or replace trigger seen_before before insert or update or delete on lab.samples
            for each row execute function public.note();
        create or replace trigger seen_after after insert or update or delete on lab.samples
            for each row execute function public.note();
        """
    )
    try:
        headers = {"x-request-id": "the-request"}
        record = admin.post(SAMPLES, json={"name": "x"}, headers=headers).json()
        path = f"{SAMPLES}/{record['id']}"
        admin.patch(path, json={"name": "y"}, headers=headers)
        admin.delete(path, headers=headers)
        admin.post(f"{SAMPLES}/bulk", json=[{"name": "x"}], headers=headers)
        seen = lab.sql("select operation, actor, request from public.seen")
        assert len(seen) == 8
        assert {row[1:] for row in seen} == {(admin.id, "the-request")}
    finally:
        lab.sql("drop function public.note cascade")


def test_the_creator_is_remembered_and_never_shown(lab: Server, admin: Client):
    record = create(admin)
    admin.post(f"{SAMPLES}/bulk", json=[{"name": "x"}])
    admin.patch(f"{SAMPLES}/{record['id']}", json={"name": "y"})
    assert lab.sql("select distinct _owner::text from lab.samples") == [(admin.id,)]
    assert "_owner" not in record
