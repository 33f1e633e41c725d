"""Undo by request, by user and time, and of one record, over HTTP."""

from typing import Any

import pytest

from kernel.testing import Server
from tests.plugins.undo.conftest import APP, CRM, Crm, Row

FULL: Row = {
    "name": "Ada", "email": "ada@acme.com", "age": 41.5, "tags": ["vip", 'say "hi"'],
    "data": {"a": [1, None, {"b": 2.5}]}, "born": "1990-12-31",
    "seen": "2026-01-02T03:04:05.123456Z",
}  # fmt: skip


def conflict(entity: str, record_id: str, reason: str) -> Row:
    return {"entity": entity, "id": record_id, "reason": reason}


# By request


def test_a_create_is_removed(crm: Crm) -> None:
    contact = crm.create("contacts", name="Ada")
    undone = crm.undo(request=crm.request)
    assert undone["undone"] == 1
    assert undone["records"] == [
        {"entity": "contacts", "id": contact["id"], "operation": "removed"}
    ]
    assert undone["conflicts"] == []
    assert crm.all("contacts") == []


def test_a_deleted_record_comes_back_as_it_was(crm: Crm, installed: Server) -> None:
    company = crm.create("companies", name="Acme")
    contact = crm.create("contacts", **FULL, company=company["id"])
    owner = installed.sql("select _owner::text from crm.contacts")
    crm.delete("contacts", contact["id"])
    undone = crm.undo(request=crm.request)
    assert undone["records"] == [
        {"entity": "contacts", "id": contact["id"], "operation": "restored"}
    ]
    assert crm.get("contacts", contact["id"]) == contact
    assert installed.sql("select _owner::text from crm.contacts") == owner


def test_changed_fields_get_their_former_values(crm: Crm) -> None:
    contact = crm.create("contacts", **FULL)
    crm.update("contacts", contact["id"], email="b@acme.com", age=2, data={"c": 1}, tags=None)
    change = crm.request
    crm.update("contacts", contact["id"], name="Bea")
    undone = crm.undo(request=change)
    [record] = undone["records"]
    assert record["operation"] == "reverted"
    assert sorted(record["fields"]) == ["age", "data", "email", "tags"]
    now = crm.get("contacts", contact["id"])
    assert now == {**contact, "name": "Bea", "updated_at": now["updated_at"] if now else None}


def test_a_field_that_changed_later_is_a_conflict(crm: Crm) -> None:
    first = crm.create("contacts", name="Ada", email="a@x")
    second = crm.create("contacts", name="Bea", email="b@x")
    crm.batch(
        {"op": "update", "entity": "contacts", "id": first["id"], "data": {"email": "c@x"}},
        {"op": "update", "entity": "contacts", "id": second["id"], "data": {"email": "d@x"}},
    )
    change = crm.request
    crm.update("contacts", first["id"], email="later@x")
    before = crm.state()
    answer = crm.try_undo(request=change)
    assert answer.status_code == 412
    conflicts = [conflict("contacts", first["id"], "changed later")]
    assert answer.json()["conflicts"] == conflicts
    assert answer.json()["error"] == "1 record cannot be put back: nothing was undone"
    assert crm.state() == before
    undone = crm.undo(request=change, mode="possible")
    assert undone["conflicts"] == conflicts
    assert [record["id"] for record in undone["records"]] == [second["id"]]
    assert (crm.get("contacts", second["id"]) or {})["email"] == "b@x"
    assert (crm.get("contacts", first["id"]) or {})["email"] == "later@x"


def test_a_created_record_that_changed_later_stays(crm: Crm) -> None:
    contact = crm.create("contacts", name="Ada")
    create = crm.request
    crm.update("contacts", contact["id"], age=3)
    answer = crm.try_undo(request=create)
    assert answer.json()["conflicts"] == [conflict("contacts", contact["id"], "changed later")]


def test_a_record_that_is_there_again_with_other_content_stays(crm: Crm) -> None:
    contact = crm.create("contacts", name="Ada")
    crm.delete("contacts", contact["id"])
    change = crm.request
    crm.undo(request=change)
    crm.update("contacts", contact["id"], name="Bea")
    answer = crm.try_undo(request=change)
    assert answer.json()["conflicts"] == [conflict("contacts", contact["id"], "changed later")]


def test_an_updated_record_that_is_gone_is_a_conflict(crm: Crm) -> None:
    contact = crm.create("contacts", name="Ada")
    crm.update("contacts", contact["id"], age=3)
    change = crm.request
    crm.delete("contacts", contact["id"])
    answer = crm.try_undo(request=change)
    assert answer.json()["conflicts"] == [conflict("contacts", contact["id"], "changed later")]


def test_what_is_undone_already_is_no_conflict(crm: Crm) -> None:
    contact = crm.create("contacts", name="Ada")
    create = crm.request
    crm.update("contacts", contact["id"], age=3)
    update = crm.request
    crm.update("contacts", contact["id"], age=None)
    crm.delete("contacts", contact["id"])
    delete = crm.request
    assert crm.undo(request=delete)["undone"] == 1
    assert crm.undo(request=update)["undone"] == 0
    crm.delete("contacts", contact["id"])
    assert crm.undo(request=create)["undone"] == 0


@pytest.mark.parametrize("request_id", ["no-such-request", "x" * 200])
def test_an_unknown_request_has_nothing_to_undo(crm: Crm, request_id: str) -> None:
    undone = crm.undo(request=request_id)
    assert undone.pop("request").startswith("undo-")
    assert undone == {"undone": 0, "records": [], "conflicts": []}


def test_the_same_undo_twice_acts_once(crm: Crm) -> None:
    crm.create_many("contacts", [{"name": "a"}, {"name": "b"}])
    change = crm.request
    assert crm.undo(request=change)["undone"] == 2
    assert crm.undo(request=change)["undone"] == 0


def test_an_undo_can_be_undone_and_redone(crm: Crm) -> None:
    contact = crm.create("contacts", **FULL)
    crm.delete("contacts", contact["id"])
    undo = crm.undo(request=crm.request)["request"]
    redo = crm.undo(request=undo)
    assert redo["records"][0]["operation"] == "removed"
    assert crm.all("contacts") == []
    again = crm.undo(request=redo["request"])
    assert again["records"][0]["operation"] == "restored"
    assert crm.get("contacts", contact["id"]) == contact


def test_the_trail_has_an_undo_under_its_own_request(crm: Crm) -> None:
    contact = crm.create("contacts", name="Ada")
    undone = crm.undo(request=crm.request)
    rows = crm.client.get("/api/v1/audit", params={"request_id": undone["request"]}).json()
    assert [(row["operation"], row["record_id"]) for row in rows] == [("DELETE", contact["id"])]
    assert rows[0]["actor_id"] == crm.client.id


def test_several_changes_of_a_record_are_one(crm: Crm) -> None:
    [made, *_] = crm.batch(
        {"op": "create", "entity": "contacts", "data": {"name": "Ada"}, "as": "ada"},
        {"op": "update", "entity": "contacts", "id": {"$ref": "ada.id"}, "data": {"age": 1}},
        {"op": "update", "entity": "contacts", "id": {"$ref": "ada.id"}, "data": {"age": 2}},
        {"op": "create", "entity": "contacts", "data": {"name": "Bea"}, "as": "bea"},
        {"op": "delete", "entity": "contacts", "id": {"$ref": "bea.id"}},
    )
    undone = crm.undo(request=crm.request)
    assert undone["records"] == [{"entity": "contacts", "id": made["id"], "operation": "removed"}]
    assert crm.all("contacts") == []


def test_a_dry_run_says_the_same_and_writes_nothing(crm: Crm) -> None:
    first = crm.create("contacts", name="Ada")
    crm.batch(
        {"op": "update", "entity": "contacts", "id": first["id"], "data": {"age": 1}},
        {"op": "create", "entity": "contacts", "data": {"name": "Bea"}},
    )
    change = crm.request
    crm.update("contacts", first["id"], age=9)
    before = crm.state()
    dry = crm.undo(request=change, dryRun=True)
    assert dry["undone"] == 1
    assert dry["conflicts"] == [conflict("contacts", first["id"], "changed later")]
    assert crm.state() == before
    real = crm.undo(request=change, mode="possible")
    assert real | {"request": ""} == dry | {"request": ""}


def test_only_some_entities(crm: Crm) -> None:
    crm.batch(
        {"op": "create", "entity": "companies", "data": {"name": "Acme"}},
        {"op": "create", "entity": "contacts", "data": {"name": "Ada"}},
    )
    assert crm.undo(request=crm.request, entities=["contacts"])["undone"] == 1
    assert len(crm.all("companies")) == 1


# Links


def test_a_cascade_comes_back_with_its_links(crm: Crm) -> None:
    company = crm.create("companies", name="Acme", code="A")
    boss = crm.create("contacts", name="Boss", company=company["id"])
    crm.create_many(
        "contacts",
        [{"name": f"c{n}", "company": company["id"], "boss": boss["id"]} for n in (1, 2)],
    )
    before = crm.state()
    crm.delete("companies", company["id"])
    assert crm.all("contacts") == []
    assert crm.undo(request=crm.request)["undone"] == 4
    assert crm.state() == before


def test_links_that_a_delete_has_set_to_null_come_back(crm: Crm) -> None:
    boss = crm.create("contacts", name="Boss")
    crm.create("contacts", name="Ada", boss=boss["id"])
    before = crm.state()
    crm.delete("contacts", boss["id"])
    undone = crm.undo(request=crm.request)
    assert sorted(record["operation"] for record in undone["records"]) == ["restored", "reverted"]
    assert crm.state() == before


def test_a_link_that_leads_nowhere_any_more_is_refused(crm: Crm) -> None:
    company = crm.create("companies", name="Acme")
    contact = crm.create("contacts", name="Ada", company=company["id"])
    crm.delete("contacts", contact["id"])
    change = crm.request
    crm.delete("companies", company["id"])
    answer = crm.try_undo(request=change)
    assert answer.status_code == 412
    [refused] = answer.json()["conflicts"]
    assert refused["reason"] == "refused"
    assert refused["error"] == "contacts.company: no such companies record"


def test_what_others_link_to_is_not_removed(crm: Crm) -> None:
    contact = crm.create("contacts", name="Ada")
    change = crm.request
    crm.create("orders", title="one", contact=contact["id"])
    [refused] = crm.try_undo(request=change).json()["conflicts"]
    assert refused["reason"] == "refused"
    assert refused["error"].endswith("is still referred to by orders.contact")


def test_a_unique_value_moves_back(crm: Crm) -> None:
    first = crm.create("companies", name="one", code="A")
    crm.batch(
        {"op": "delete", "entity": "companies", "id": first["id"]},
        {"op": "create", "entity": "companies", "data": {"name": "two", "code": "A"}},
    )
    assert crm.undo(request=crm.request)["undone"] == 2
    assert [row["name"] for row in crm.all("companies")] == ["one"]


def test_a_unique_value_that_is_taken_is_refused(crm: Crm) -> None:
    first = crm.create("companies", name="one", code="A")
    crm.delete("companies", first["id"])
    change = crm.request
    crm.create("companies", name="two", code="A")
    [refused] = crm.try_undo(request=change).json()["conflicts"]
    assert refused["error"] == "companies.code: this value is already taken"


def test_unique_values_that_were_exchanged(crm: Crm) -> None:
    first = crm.create("companies", name="one", code="A")
    second = crm.create("companies", name="two", code="B")
    before = crm.state()
    crm.batch(
        {"op": "update", "entity": "companies", "id": first["id"], "data": {"code": None}},
        {"op": "update", "entity": "companies", "id": second["id"], "data": {"code": "A"}},
        {"op": "update", "entity": "companies", "id": first["id"], "data": {"code": "B"}},
    )
    undone = crm.undo(request=crm.request)
    assert [record["fields"] for record in undone["records"]] == [["code"], ["code"]]
    assert crm.state() == before


# By user and time, and of a record


def test_what_a_user_did_since_a_time(crm: Crm, installed: Server) -> None:
    user = Crm(installed.user(permissions={"crm": ["contacts.*"]}))
    kept = user.create("contacts", name="before")
    since = user.create("contacts", name="since")["created_at"]
    user.update("contacts", kept["id"], age=1)
    crm.create("contacts", name="by the admin")
    undone = user.undo(actor=user.client.id, since=since)
    assert undone["undone"] == 2
    assert sorted(row["name"] for row in crm.all("contacts")) == ["before", "by the admin"]
    assert user.undo(actor=user.client.id, since=since)["undone"] == 0
    again = crm.undo(actor=user.client.id, since=since, entities=["contacts"])
    assert again["undone"] == 0


def test_until_is_exclusive(crm: Crm) -> None:
    first = crm.create("contacts", name="first")
    second = crm.create("contacts", name="second")
    body = {"actor": crm.client.id, "since": first["created_at"], "until": second["created_at"]}
    assert crm.undo(**body)["undone"] == 1
    assert [row["name"] for row in crm.all("contacts")] == ["second"]


def test_a_record_goes_back_to_a_time(crm: Crm) -> None:
    contact = crm.create("contacts", name="Ada", age=1)
    second = crm.update("contacts", contact["id"], age=2)
    crm.update("contacts", contact["id"], age=3, name="Bea")
    crm.delete("contacts", contact["id"])
    name = {"entity": "contacts", "id": contact["id"]}
    undone = crm.undo(record=name, to=second["updated_at"])
    assert undone["records"] == [{**name, "operation": "restored"}]
    assert crm.get("contacts", contact["id"]) == second
    undone = crm.undo(record=name, to=contact["created_at"])
    assert undone["records"][0]["operation"] == "reverted"
    assert (crm.get("contacts", contact["id"]) or {})["age"] == 1


def test_a_record_that_was_not_there_is_removed(crm: Crm) -> None:
    earlier = crm.create("contacts", name="earlier")
    contact = crm.create("contacts", name="Ada")
    name = {"entity": "contacts", "id": contact["id"]}
    undone = crm.undo(record=name, to=earlier["created_at"])
    assert undone["records"] == [{**name, "operation": "removed"}]


def test_no_record_goes_back_to_before_the_install(crm: Crm) -> None:
    contact = crm.create("contacts", name="Ada")
    name = {"entity": "contacts", "id": contact["id"]}
    answer = crm.try_undo(record=name, to="2020-01-01T00:00:00Z")
    assert answer.status_code == 400


# Values


def test_values_come_back_exactly(crm: Crm) -> None:
    rows: list[Row] = [
        {"name": "large", "age": 1e23}, {"name": "whole", "age": 2**53}, {"name": "", "age": 0},
        {"name": "tiny", "age": 5e-324}, {"name": 'q"\\', "tags": ["", "a,b", "{}", "null"]},
        {"name": "json", "data": []}, {"name": "text", "data": "text"}, {"name": "n", "data": 1.5},
        {"name": "seen", "seen": "0001-01-01T00:00:00Z"}, {"name": "born", "born": "0001-01-01"},
    ]  # fmt: skip
    crm.create_many("contacts", rows)
    before = crm.all("contacts")
    ids = [row["id"] for row in before]
    crm.batch(*({"op": "delete", "entity": "contacts", "id": record_id} for record_id in ids))
    assert crm.undo(request=crm.request)["undone"] == len(rows)
    assert crm.all("contacts") == before


def test_a_value_over_1_mb_is_too_large(crm: Crm) -> None:
    contact = crm.create("contacts", name="Ada", email="x" * 1_100_000)
    crm.update("contacts", contact["id"], email="short")
    [kept] = crm.try_undo(request=crm.request).json()["conflicts"]
    assert kept == conflict("contacts", contact["id"], "value too large")
    crm.delete("contacts", contact["id"])
    assert crm.undo(request=crm.request)["undone"] == 1


def test_a_record_with_a_value_over_1_mb_is_removed(crm: Crm) -> None:
    crm.create("contacts", name="Ada", email="x" * 1_100_000)
    assert crm.undo(request=crm.request)["undone"] == 1


def test_fields_that_are_gone_are_left_out(installed: Server, crm: Crm) -> None:
    contact = crm.create("contacts", **FULL)
    crm.delete("contacts", contact["id"])
    delete = crm.request
    other = crm.create("contacts", name="Bea", email="b@x", born="1990-01-01")
    crm.update("contacts", other["id"], email="c@x", born="1991-01-01")
    update = crm.request
    changed = _without_fields("email")
    _field(changed, "age")["type"] = "text"
    try:
        installed.install(changed)
        [record] = crm.undo(request=update)["records"]
        assert record["fields"] == ["born"]
        assert crm.undo(request=delete)["undone"] == 1
        restored = crm.get("contacts", contact["id"])
        assert restored is not None
        assert restored["age"] == "41.5"
        assert "email" not in restored
    finally:
        installed.install(CRM)


def test_what_was_renamed_comes_back_under_its_present_name(installed: Server) -> None:
    name = {"name": "name", "type": "text"}
    mail = {"name": "mail", "type": "text"}
    people = {"entityName": "people", "fields": [name, mail]}
    manifest: dict[str, Any] = {"appId": "renamed", "name": "Renamed"}
    installed.install({**manifest, "dataContract": [people]})
    app = Renamed(installed.admin)
    kept = app.send("POST", "/collections/people", json={"name": "Ada", "mail": "a@x"}).json()
    gone = app.send("POST", "/collections/people", json={"name": "Bea", "mail": "b@x"}).json()
    app.send("PATCH", f"/collections/people/{kept['id']}", json={"mail": "c@x"})
    update = app.request
    app.send("DELETE", f"/collections/people/{gone['id']}")
    delete = app.request

    email = {"name": "email", "type": "text", "was": "mail"}
    contacts = {"entityName": "contacts", "was": "people", "fields": [name, email]}
    installed.install({**manifest, "dataContract": [contacts]})
    [record] = app.undo(request=update)["records"]
    assert record == {
        "entity": "contacts", "id": kept["id"], "operation": "reverted", "fields": ["email"],
    }  # fmt: skip
    assert app.undo(request=delete, entities=["contacts"])["undone"] == 1
    emails = {row["name"]: row["email"] for row in app.all("contacts")}
    assert emails == {"Ada": "a@x", "Bea": "b@x"}
    body = {"entity": "contacts", "id": kept["id"]}
    before = app.undo(record=body, to=kept["created_at"], dryRun=True)
    assert before["conflicts"] == []
    installed.admin.delete("/api/v1/apps/renamed")


def test_a_former_value_that_the_type_of_today_does_not_take_is_refused(installed: Server) -> None:
    def install(size_type: str) -> None:
        fields = [{"name": "name", "type": "text"}, {"name": "size", "type": size_type}]
        contract = [{"entityName": "people", "fields": fields}]
        installed.install({"appId": "renamed", "name": "x", "dataContract": contract})

    install("text")
    app = Renamed(installed.admin)
    ada = app.send("POST", "/collections/people", json={"name": "Ada", "size": "large"}).json()
    app.send("PATCH", f"/collections/people/{ada['id']}", json={"name": "Eva", "size": "7"})
    install("number")
    refused = app.try_undo(request=app.request)
    assert refused.status_code == 412
    [conflict] = refused.json()["conflicts"]
    assert conflict["reason"] == "refused"
    assert "size" in conflict["error"]
    [row] = app.all("people")
    assert (row["name"], row["size"]) == ("Eva", 7)
    installed.admin.delete("/api/v1/apps/renamed")


class Renamed(Crm):
    """An app whose names and types change."""

    app = "/api/v1/apps/renamed"


def _without_fields(*names: str) -> dict[str, Any]:
    entities = [
        {
            **entity,
            "fields": [{**field} for field in entity["fields"] if field["name"] not in names],
        }
        for entity in CRM["dataContract"]
    ]
    return {**CRM, "dataContract": entities}


def _field(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    fields = manifest["dataContract"][1]["fields"]
    return next(field for field in fields if field["name"] == name)


# Files


def test_a_restored_record_has_its_files_again(crm: Crm, installed: Server) -> None:
    author = Crm(installed.user(permissions={"crm": ["contacts.*"]}))
    photo = author.send("POST", "/files?name=a.txt", content=b"hello").json()
    paper = author.send("POST", "/files?name=b.txt", content=b"world").json()
    contact = author.create("contacts", name="Ada", photo=photo["id"], papers=[paper["id"]])
    crm.delete("contacts", contact["id"])
    assert crm.undo(request=crm.request)["undone"] == 1
    assert crm.get("contacts", contact["id"]) == contact
    assert crm.send("GET", f"/files/{photo['id']}").content == b"hello"
    crm.update("contacts", contact["id"], photo=None, papers=[])
    assert crm.undo(request=crm.request)["undone"] == 1
    assert (crm.get("contacts", contact["id"]) or {})["papers"] == contact["papers"]


# Refusals


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "request, actor with since, or record with to is needed"),
        ({"actor": "00000000-0000-0000-0000-000000000000"}, "actor needs since"),
        ({"actor": "ada", "since": "2026-01-01"}, "actor must be the id of a user"),
        ({"request": "a", "to": "2026-01-01T00:00:00Z"}, "to goes with record"),
        ({"record": {"entity": "contacts", "id": "a"}}, "record needs to"),
        ({"request": "a", "since": "yesterday"}, "since: an RFC 3339 time is wanted"),
        ({"request": "a", "entities": ["contact"]}, "did you mean 'contacts'"),
        ({"request": "a", "entities": []}, "entities must name at least one entity"),
        ({"request": ""}, "request"),
        ({"request": "a", "mode": "some"}, "mode"),
        ({"request": "a", "dryrun": True}, "dryrun"),
    ],
)
def test_a_wrong_body_is_refused(crm: Crm, body: Row, error: str) -> None:
    answer = crm.try_undo(**body)
    assert answer.status_code == 400
    assert error in answer.json()["error"]


def test_an_unknown_app_is_a_404(crm: Crm) -> None:
    answer = crm.client.post("/api/v1/apps/nothing/undo", json={"request": "a"})
    assert answer.status_code == 404


def test_other_users_do_not_undo_what_one_did(crm: Crm, installed: Server) -> None:
    user = Crm(installed.user(permissions={"crm": ["contacts.*"]}))
    crm.create("contacts", name="Ada")
    for body in (
        {"request": crm.request},
        {"request": crm.request, "dryRun": True, "mode": "possible"},
        {"actor": crm.client.id, "since": "2026-01-01T00:00:00Z"},
    ):
        answer = user.try_undo(**body)
        assert answer.status_code == 403
        message = "only an admin of the app may undo what another user did"
        assert answer.json()["error"] == message
    mine = user.undo(request=crm.request, actor=user.client.id)
    assert mine["undone"] == 0


@pytest.mark.parametrize(
    ("keys", "needed"),
    [
        (["contacts.create", "contacts.read"], "contacts.delete"),
        (["contacts.create", "contacts.delete"], "contacts.read"),
    ],
)
def test_the_permission_of_the_inverse_is_needed(
    crm: Crm, installed: Server, keys: list[str], needed: str
) -> None:
    user = Crm(installed.user(permissions={"crm": keys}))
    answer = user.client.post(f"{APP}/collections/contacts", json={"name": "Ada"})
    answer = user.try_undo(request=answer.headers["x-request-id"], mode="possible")
    assert answer.status_code == 403
    assert needed in answer.json()["error"]


def test_own_records_only(crm: Crm, installed: Server) -> None:
    own = ["contacts.create", "contacts.read.own", "contacts.update.own", "contacts.delete.own"]
    user = Crm(installed.user(permissions={"crm": own}))
    contact = user.create("contacts", name="Ada")
    user.update("contacts", contact["id"], age=1)
    update = user.request
    installed.sql("update crm.contacts set _owner = null")
    [refused] = user.try_undo(request=update).json()["conflicts"]
    assert refused["reason"] == "refused"
    assert refused["error"] == f"record '{contact['id']}' not found"


# Many records


@pytest.mark.slow
def test_ten_thousand_records(crm: Crm) -> None:
    rows = "name,email,age\n" + "".join(f"c{n},c{n}@acme.com,{n}\n" for n in range(10_000))
    headers = {"content-type": "text/csv"}
    path = "/collections/contacts/import"
    crm.send("POST", path, content=rows.encode(), headers=headers)
    undone = crm.undo(request=crm.request)
    assert undone["undone"] == 10_000
    assert len(undone["records"]) == 1000
    assert crm.all("contacts") == []
    again = crm.undo(request=undone["request"])
    assert again["undone"] == 10_000
    assert crm.undo(request=again["request"], dryRun=True)["undone"] == 10_000
