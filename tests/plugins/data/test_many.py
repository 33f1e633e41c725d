"""Writes of many records: batches, upserts, writes by condition."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from kernel.testing import Client, Server
from tests.plugins.data.shop import COMPANIES, CONTACTS, DEALS, add, empty, holding, query
from tests.plugins.data.support import refused

BATCH = "/api/v1/apps/shop/batch"


@pytest.fixture
def admin(shop: Server) -> Client:
    empty(shop)
    return shop.admin


def batch(client: Client, *operations: dict[str, Any], **more: Any) -> httpx.Response:
    return client.post(BATCH, json={"operations": list(operations), **more})


def results(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def create(entity: str, name: str | None = None, /, **data: Any) -> dict[str, Any]:
    operation: dict[str, Any] = {"op": "create", "entity": entity, "data": data}
    return operation if name is None else {**operation, "as": name}


def test_a_batch_creates_changes_and_deletes(admin: Client):
    old = add(admin, COMPANIES, name="old")
    gone = add(admin, COMPANIES, name="gone")
    done = results(
        batch(
            admin,
            create("companies", "acme", name="Acme"),
            create("companies", name="Other"),
            create("contacts", "bob", email="b@x", company_id={"$ref": "acme.id"}),
            create("contacts", email="c@x", boss_id={"$ref": "bob.id"}),
            {"op": "update", "entity": "companies", "id": old["id"], "data": {"name": "new"}},
            {"op": "update", "entity": "companies", "id": {"$ref": "acme.id"},
             "data": {"note": {"$ref": "bob.email"}}},
            {"op": "delete", "entity": "companies", "id": gone["id"]},
            {"op": "upsert", "entity": "contacts", "on": "email", "data": {"email": "b@x"}},
            {"op": "upsert", "entity": "contacts", "on": "email", "data": {"email": "d@x"}},
        )
    )  # fmt: skip
    assert [each["op"] for each in done] == [*["create"] * 4, "update", "update", "delete",
                                             "upsert", "upsert"]  # fmt: skip
    acme, _, bob, third, changed, noted, deleted, met, made = done
    assert bob["record"]["company_id"] == acme["id"] == acme["record"]["id"]
    assert third["record"]["boss_id"] == bob["id"]
    assert changed["record"]["name"] == "new"
    assert noted["record"] == admin.get(f"{COMPANIES}/{acme['id']}").json()
    assert noted["record"]["note"] == "b@x"
    assert noted["etag"] == admin.get(f"{COMPANIES}/{acme['id']}").headers["etag"]
    assert deleted == {"op": "delete", "id": gone["id"]}
    assert (met["result"], met["id"]) == ("updated", bob["id"])
    assert made["result"] == "created"
    refused(admin.get(f"{COMPANIES}/{gone['id']}"), 404)


@pytest.mark.parametrize(
    ("operation", "status", "said"),
    [
        (create("contacts", email="taken"), 400, "[2] contacts.email: this value is already taken"),
        (create("contacts", mail="x"), 400, "[2] contacts has no field 'mail'"),
        (create("contacts", company_id="x"), 400, "[2] contacts.company_id"),
        (create("contact"), 404, "[2] entity 'contact' not found"),
        (create("contacts", company_id={"$ref": "b.id"}), 400, "called 'b'; known: a"),
        (create("contacts", company_id={"$ref": "a.di"}), 400, "'a' has no field 'di'"),
        ({"op": "update", "entity": "contacts", "data": {}}, 400, "[2] id is required for update"),
        ({"op": "create", "entity": "contacts"}, 400, "[2] data is required for create"),
        ({"op": "upsert", "entity": "contacts", "data": {"email": "x"}}, 400, "[2] on is required"),
        ({"op": "upsert", "entity": "contacts", "on": "id", "data": {}}, 400, "[2] on:"),
        ({"op": "delete", "entity": "contacts", "id": "00000000-0000-4000-8000-000000000000"},
         404, "[2] record '00000000-0000-4000-8000-000000000000' not found"),
        ({"op": "delete", "entity": "companies", "id": {"$ref": "c.id"}}, 400, "[2] id:"),
    ],
)  # fmt: skip
def test_nothing_is_done_where_one_fails(
    admin: Client, operation: dict[str, Any], status: int, said: str
):
    add(admin, CONTACTS, email="taken")
    first = create("companies", "a", name="x")
    answer = batch(admin, first, create("contacts", email="new"), operation, first)
    assert said in refused(answer, status)
    assert query(admin, COMPANIES)["total"] == 0
    assert query(admin, CONTACTS)["total"] == 1


def test_bodies_of_a_batch_are_checked(admin: Client):
    for body in ({}, {"operations": []}, {"operations": [{}]}, {"operations": [], "x": 1}):
        refused(admin.post(BATCH, json=body))
    assert "'[1000]'" not in refused(batch(admin, *[create("companies", name="x")] * 1001))
    refused(batch(admin, {"op": "merge", "entity": "companies"}))
    refused(admin.post("/api/v1/apps/nothing/batch", json={"operations": []}), 404)


def test_a_dry_run_changes_nothing(admin: Client):
    done = results(batch(admin, create("companies", name="x"), dryRun=True))
    assert done[0]["record"]["name"] == "x"
    assert query(admin, COMPANIES)["total"] == 0
    refused(batch(admin, create("companies"), dryRun=True))


def test_each_operation_needs_its_own_permission(shop: Server, admin: Client):
    writer = holding(shop, "companies.create", "companies.update.own", "contacts.create")
    other = add(admin, COMPANIES, name="other")
    first = create("companies", "mine", name="mine")
    done = results(batch(writer, first, create("contacts", company_id={"$ref": "mine.id"})))
    assert done[0].keys() == {"op", "id", "record"}
    assert done[0]["record"].keys() == {"id", "name"}
    update = {"op": "update", "entity": "companies", "data": {"name": "y"}}
    assert results(batch(writer, {**update, "id": done[0]["id"]}))[0]["record"]["name"] == "y"
    assert "[1]" in refused(batch(writer, first, {**update, "id": other["id"]}), 404)
    said = refused(batch(writer, first, {"op": "delete", "entity": "companies", "id": "x"}), 403)
    assert said == "[1] the permission 'companies.delete' is needed"
    assert "[0]" in refused(batch(writer, {**update, "id": done[0]["id"], "ifMatch": '"x"'}), 403)
    refused(batch(writer, create("contacts", "c", email="q"),
                  create("contacts", email={"$ref": "c.created_at"})))  # fmt: skip
    assert query(admin, COMPANIES)["total"] == 2
    refused(batch(shop.user(), first), 403)


def test_a_batch_over_a_change_of_another_is_refused(admin: Client):
    made = admin.post(COMPANIES, json={"name": "one"})
    operation = {"op": "update", "entity": "companies", "id": made.json()["id"],
                 "data": {"name": "two"}}  # fmt: skip
    [done] = results(batch(admin, {**operation, "ifMatch": made.headers["etag"]}))
    answer = batch(
        admin, create("companies", name="x"), {**operation, "ifMatch": made.headers["etag"]}
    )
    assert answer.status_code == 412
    assert answer.json()["error"].startswith("[1] record")
    assert answer.json()["current"] == done["record"]
    assert query(admin, COMPANIES)["total"] == 1


def test_a_reference_in_a_json_field_is_a_value(admin: Client):
    done = results(batch(admin, create("deals", details={"$ref": "#/definitions/x"})))
    assert done[0]["record"]["details"] == {"$ref": "#/definitions/x"}


def upsert(client: Client, rows: list[dict[str, Any]], **params: str) -> httpx.Response:
    return client.post(f"{CONTACTS}/bulk", json=rows, params={"on": "email", **params})


def test_rows_create_records_or_meet_them(admin: Client):
    company = add(admin, COMPANIES, name="Acme")
    bob = add(admin, CONTACTS, email="bob", company_id=company["id"])
    rows = [{"email": "ada"}, {"email": "bob", "boss_id": bob["id"]}, {"email": None}]
    answer = upsert(admin, rows)
    assert answer.status_code == 200, answer.text
    ada, met, none = answer.json()["data"]
    assert [ada["result"], met["result"], none["result"]] == ["created", "updated", "created"]
    assert met["record"]["company_id"] == company["id"]  # a key that a row lacks keeps its value
    assert met["record"]["boss_id"] == bob["id"]
    assert met["record"] == admin.get(f"{CONTACTS}/{bob['id']}").json()
    ignored = upsert(admin, [{"email": "bob", "boss_id": None}], then="ignore").json()["data"]
    assert ignored == [{"result": "ignored", "record": met["record"]}]
    said = refused(upsert(admin, [{"email": "new"}, {"email": "bob"}], then="fail"))
    assert said == "[1] contacts.email: this value is already taken"
    assert query(admin, CONTACTS)["total"] == 3


@pytest.mark.parametrize(
    ("rows", "params", "said"),
    [
        ([{"email": "a"}, {"email": "a"}], {}, "[1] contacts.email: the body has this key twice"),
        ([{"email": "a"}], {"on": "boss_id"}, "on: no unique index"),
        ([{"email": "a"}], {"on": "mail"}, "did you mean 'email'"),
        ([{"email": "a"}], {"on": "id"}, "on: no unique index"),
        ([{"email": "a"}], {"then": "merge"}, "then must be one of"),
        ([{"email": "a"}, {"mail": "b"}], {}, "[1] contacts has no field 'mail'"),
        ([], {}, "1 to 1000"),
    ],
)
def test_what_is_wrong_with_an_upsert_is_named(
    admin: Client, rows: list[Any], params: dict[str, str], said: str
):
    assert said in refused(upsert(admin, rows, **params))
    assert query(admin, CONTACTS)["total"] == 0


def test_an_upsert_needs_both_permissions_and_meets_no_record_out_of_scope(
    shop: Server, admin: Client
):
    creator = holding(shop, "contacts.create")
    refused(upsert(creator, [{"email": "a"}]), 403)
    refused(upsert(creator, [{"email": "a"}], then="ignore"), 403)
    writer = holding(shop, "contacts.create", "contacts.update.own")
    add(admin, CONTACTS, email="theirs")
    shop.sql("insert into shop.contacts (email) values ('by hand')")  # it has no owner
    mine = add(writer, CONTACTS, email="mine")
    answer = upsert(writer, [{"email": "mine"}]).json()["data"]
    assert answer == [{"result": "updated", "record": {"id": mine["id"], "email": "mine"}}]
    for then in ("update", "ignore", "fail"):
        for email in ("theirs", "by hand"):
            said = refused(upsert(writer, [{"email": email}], then=then))
            assert said == "[0] contacts.email: this value is already taken"


def test_upserts_at_once_create_a_key_once(admin: Client):
    found: list[int] = []

    def write() -> None:
        rows = [{"email": f"c{number}"} for number in range(20)]
        found.append(upsert(admin, rows).status_code)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 4
    assert query(admin, CONTACTS)["total"] == 20


def where(client: Client, kind: str, path: str = DEALS, **body: Any) -> httpx.Response:
    return client.post(f"{path}/{kind}-where", json=body)


def test_records_are_changed_by_condition(admin: Client):
    rows = [{"title": str(n), "value": n} for n in range(10)]
    admin.post(f"{DEALS}/bulk", json=rows)
    many = {"where": {"value": {"$lt": 4}}, "set": {"stage": "low", "value": 1}}
    said = refused(where(admin, "update", **many))
    assert said == "4 records match: name the number by expect or max"
    said = refused(where(admin, "update", **many, expect=3))
    assert said == "4 records match, and 3 are expected: nothing was changed"
    said = refused(where(admin, "update", **many, expect=5))
    assert said == "4 records match, and 5 are expected: nothing was changed"
    said = refused(where(admin, "update", **many, max=3))
    assert said == "4 records match, and at most 3 are expected: nothing was changed"
    for expect in (0, 1, 2, 9):
        for kind, body in (("update", many), ("delete", {"where": many["where"]})):
            said = refused(where(admin, kind, **body, expect=expect))
            assert said == f"4 records match, and {expect} are expected: nothing was changed"
    key = {"idempotency-key": "wrong-number"}
    answer = admin.post(f"{DEALS}/update-where", json={**many, "expect": 1}, headers=key)
    assert refused(answer) == "4 records match, and 1 are expected: nothing was changed"
    assert query(admin, DEALS, where={"stage": "low"})["total"] == 0
    assert where(admin, "update", **many, max=4).json() == {"updated": 4}
    assert query(admin, DEALS, where={"stage": "low", "value": 1})["total"] == 4
    assert where(admin, "update", where={"stage": "x"}, set={"value": 1}, max=4).json() == {
        "updated": 0
    }
    assert where(admin, "delete", where={"stage": "low"}, expect=4).json() == {"deleted": 4}
    assert query(admin, DEALS)["total"] == 6


def test_a_number_over_the_limit_is_said_too(shop: Server, admin: Client):
    shop.sql("insert into shop.deals (title) select n::text from generate_series(1, 10003) as n")
    for body in ({"expect": 10_003}, {"max": 20_000}, {"expect": 1}):
        said = refused(where(admin, "delete", where={}, **body))
        limit = "one request changes at most 10000; narrow the condition"
        assert said == f"10003 records match: {limit}"
    assert query(admin, DEALS)["total"] == 10_003


def test_an_empty_condition_deletes_all_only_where_that_is_expected(admin: Client):
    """`delete all` by an empty where is the pitfall."""
    admin.post(f"{DEALS}/bulk", json=[{"title": "a"}, {"title": "b"}])
    for body in ({}, {"expect": 2}, {"where": None, "expect": 2}, {"where": [], "expect": 2}):
        refused(admin.post(f"{DEALS}/delete-where", json=body))
    assert "2 records match" in refused(where(admin, "delete", where={}))
    refused(where(admin, "delete", where={}, expect=1))
    refused(where(admin, "delete", where={}, expect=3))
    refused(where(admin, "delete", where={}, expect=-1))
    assert query(admin, DEALS)["total"] == 2
    assert where(admin, "delete", where={}, expect=2).json() == {"deleted": 2}


def test_wrong_values_change_nothing(admin: Client):
    bob = add(admin, CONTACTS, email="bob")
    add(admin, DEALS, title="a", contact_id=bob["id"])
    for values in ({"valu": 1}, {"value": "x"}, {}, {"id": "x"}, {"contact_id": bob["id"][:-1]}):
        refused(where(admin, "update", where={}, set=values, expect=1))
    missing = "00000000-0000-4000-8000-000000000000"
    said = refused(where(admin, "update", where={}, set={"contact_id": missing}, expect=1))
    assert said == "deals.contact_id: no such contacts record"
    refused(where(admin, "update", where={"valu": 1}, set={"value": 1}, expect=1))


def test_a_condition_needs_the_permission_to_read(shop: Server, admin: Client):
    """A count is an oracle."""
    add(admin, DEALS, title="theirs", value=5)
    blind = holding(shop, "deals.update", "deals.delete")
    refused(where(blind, "update", where={"value": 5}, set={"title": "x"}, max=9), 403)
    refused(where(blind, "delete", where={"value": 5}, max=9), 403)
    refused(where(blind, "delete", where={"value": 5}), 403)
    owner = holding(shop, "deals.read.own", "deals.create", "deals.update", "deals.delete.own")
    add(owner, DEALS, title="mine", value=5)
    assert "1 records match" in refused(where(owner, "update", where={}, set={"title": "x"}))
    assert where(owner, "update", where={}, set={"title": "x"}, expect=1).json() == {"updated": 1}
    assert where(owner, "delete", where={"value": 5}, expect=1).json() == {"deleted": 1}
    assert query(admin, DEALS)["data"][0]["title"] == "theirs"


def test_plugins_see_each_record_of_many(shop: Server, admin: Client):
    witness: Any = next((p for p in shop.kernel.instances if p.name == "shopwitness"), None)
    if witness is None:
        return
    witness.recorded.clear()
    results(batch(admin, create("companies", name="a"), create("companies", name="b")))
    where(admin, "update", COMPANIES, where={}, set={"note": "n"}, expect=2)
    where(admin, "delete", COMPANIES, where={}, expect=2)
    assert [event.operation for event in witness.recorded] == [
        *["INSERT"] * 2, *["UPDATE"] * 2, *["DELETE"] * 2,
    ]  # fmt: skip
    assert b'"note":"n"' in witness.recorded[2].new
