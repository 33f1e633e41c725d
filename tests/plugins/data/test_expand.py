"""`fields`, `expand` and filters by relation."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.testing import Client, Postgres, Server, running_server
from tests.plugins.data.conftest import overrides
from tests.plugins.data.shop import (
    COMPANIES,
    CONTACTS,
    DEALS,
    ODD,
    add,
    empty,
    holding,
    install,
    query,
)
from tests.plugins.data.support import refused


@pytest.fixture(scope="module")
def shop(server: Server) -> Server:
    install(server)
    return server


@pytest.fixture
def admin(shop: Server) -> Client:
    empty(shop)
    return shop.admin


@pytest.fixture
def rows(admin: Client) -> dict[str, dict[str, Any]]:
    """Two companies, a contact of one of them, two deals of the contact."""
    acme = add(admin, COMPANIES, name="Acme", industry="Technology", founded_at="1999-01-01T00:00Z")
    other = add(admin, COMPANIES, name="Other", industry="Retail")
    bob = add(admin, CONTACTS, email="bob@acme.test", company_id=acme["id"])
    big = add(admin, DEALS, title="big", value=100, contact_id=bob["id"], owner_id=admin.id)
    small = add(admin, DEALS, title="small", value=1, contact_id=bob["id"])
    return {"acme": acme, "other": other, "bob": bob, "big": big, "small": small}


def titles(found: Any) -> list[str]:
    return sorted(record["title"] for record in found["data"])


def test_only_the_named_fields_are_shown(admin: Client, rows: dict[str, Any]):
    record = {"id": rows["big"]["id"], "title": "big", "value": 100}
    found = admin.get(DEALS, params={"fields": "value,title", "title": "big", "limit": 1})
    assert found.json() == [record]
    assert list(found.json()[0]) == ["id", "title", "value"]
    assert admin.get(f"{DEALS}/{record['id']}", params={"fields": "title,value"}).json() == record
    assert query(admin, DEALS, fields=["title", "value"], where={"title": "big"})["data"] == [
        record
    ]
    assert admin.get(DEALS, params={"fields": "title", "title": "big"}).json() == [
        {"id": record["id"], "title": "big"}
    ]
    assert query(admin, DEALS, fields=[], limit=1)["data"][0].keys() == {"id"}
    answer = admin.get(DEALS, params={"fields": "titel"})
    assert "did you mean 'title'" in refused(answer)
    refused(admin.post(f"{DEALS}/query", json={"fields": "title"}))


def test_timestamps_of_every_part_end_in_z(admin: Client):
    note = '+00:00","founded_at":'
    company = add(admin, COMPANIES, name="+00:00", note="x+00:00", founded_at="2001-02-03T04:05Z")
    bob = add(admin, CONTACTS, email="+00:00", company_id=company["id"])
    details = {"won_at": "+00:00", "\x010": 1, "\x01": None, "a": ["\x01updated_at", "+00:00"]}
    deal = add(
        admin, DEALS, title="\x01updated_at", note=f"{note} +00:00", founded_at="+00:00",
        details=details, won_at="2020-01-01T00:00Z", contact_id=bob["id"],
    )  # fmt: skip
    nested = {**bob, "expand": {"company_id": company, "deals_via_contact_id": [deal]}}
    wanted = {**deal, "expand": {"contact_id": nested}}
    paths = ["contact_id.company_id", "contact_id.deals_via_contact_id"]
    assert query(admin, DEALS, expand=paths)["data"] == [wanted]
    parameters = {"expand": ",".join(paths)}
    assert admin.get(DEALS, params=parameters).json() == [wanted]
    assert admin.get(DEALS, params={**parameters, "limit": 5}).json() == [wanted]
    assert admin.get(f"{DEALS}/{deal['id']}", params=parameters).json() == wanted
    for fields in (["title"], ["note", "won_at"], ["won_at"], ["updated_at", "founded_at"]):
        shown = {name: deal[name] for name in deal if name in ("id", *fields)}
        assert query(admin, DEALS, fields=fields)["data"] == [shown]
        expanded = {**shown, "expand": {"contact_id": bob}}
        assert query(admin, DEALS, fields=fields, expand=["contact_id"])["data"] == [expanded]


def test_links_and_reverse_links_are_expanded(admin: Client, rows: dict[str, Any]):
    options = {"deals_via_contact_id": {"limit": 1, "orderBy": "value", "fields": ["title"]}}
    found = query(admin, CONTACTS, expand=["company_id", options, "boss_id"])["data"]
    assert found == [
        {
            **rows["bob"],
            "expand": {
                "company_id": rows["acme"],
                "deals_via_contact_id": [{"id": rows["big"]["id"], "title": "big"}],
                "boss_id": None,
            },
        }
    ]
    where = {"deals_via_contact_id": {"where": {"value": {"$lt": 50}}}}
    found = query(admin, CONTACTS, expand=[where])["data"][0]["expand"]
    assert found == {"deals_via_contact_id": [rows["small"]]}
    deep = query(admin, COMPANIES, expand=["contacts_via_company_id.deals_via_contact_id.owner_id"])
    [acme] = [record for record in deep["data"] if record["name"] == "Acme"]
    [bob] = acme["expand"]["contacts_via_company_id"]
    owners = [deal["expand"]["owner_id"] for deal in bob["expand"]["deals_via_contact_id"]]
    user = {"id": admin.id, "username": "admin", "display_name": None}
    assert [owner and owner["id"] for owner in owners] == [None, user["id"]]
    assert list(owners[1]) == ["id", "username", "display_name"]


@pytest.mark.parametrize(
    ("expand", "said"),
    [
        (["companyid"], "did you mean 'company_id'"),
        (["email"], "contacts.email is not a link"),
        (["company_id.contacts_via_company_id.company_id.x"], "more than 3 deep"),
        ([{"company_id": {"limit": 1}}], "unknown option 'limit'"),
        ([{"deals_via_contact_id": {"limit": 0}}], "limit must be"),
        ([{"deals_via_contact_id": {"sort": "x"}}], "unknown option 'sort'"),
        ([{"deals_via_contact_id": {"orderBy": "x"}}], "deals has no field 'x'"),
        ([{"deals_via_contact_id": {"where": {"x": 1}}}], "deals has no field 'x'"),
        ([{"deals_via_contact_id": {"fields": ["x"]}}], "deals has no field 'x'"),
        ([{"deals_via_contact_id": {"fields": 1}}], "expand.deals_via_contact_id.fields"),
        ([f"boss_id.boss_id.{name}" for name in ("boss_id", "company_id")] * 9, None),
    ],
)
def test_a_wrong_expand_is_named(admin: Client, expand: list[Any], said: str | None):
    answer = admin.post(f"{CONTACTS}/query", json={"expand": expand})
    assert answer.status_code == 200 if said is None else said in refused(answer)


def test_a_limit_above_its_maximum_is_the_maximum(admin: Client, rows: dict[str, Any]):
    many = [{"title": str(number), "contact_id": rows["bob"]["id"]} for number in range(120)]
    assert admin.post(f"{DEALS}/bulk", json=many).status_code == 201
    [bob] = query(admin, CONTACTS, expand=[{"deals_via_contact_id": {"limit": 5000}}])["data"]
    assert len(bob["expand"]["deals_via_contact_id"]) == 100


def test_a_field_wins_over_a_parameter_of_its_name(admin: Client, rows: dict[str, Any]):
    odd = add(admin, ODD, fields="a", expand="b", etag="c", company_id=rows["acme"]["id"])
    for parameters in ({"fields": "a"}, {"expand": "b"}, {"etag": "c"}):
        assert admin.get(ODD, params=parameters).json() == [odd]
        [(name, _)] = parameters.items()
        assert admin.get(ODD, params={name: "other"}).json() == []
    assert query(admin, ODD, fields=["etag"])["data"] == [{"id": odd["id"], "etag": "c"}]
    assert "has a field of that name" in refused(
        admin.post(f"{ODD}/query", json={"expand": ["company_id"]})
    )


def test_records_are_filtered_by_linked_ones(admin: Client, rows: dict[str, Any]):
    technology = {"company_id": {"$has": {"industry": "Technology"}}}
    assert query(admin, CONTACTS, where=technology)["total"] == 1
    assert query(admin, CONTACTS, where={"company_id": {"$has": {"industry": "x"}}})["total"] == 0
    assert titles(query(admin, DEALS, where={"contact_id": {"$has": technology}})) == [
        "big",
        "small",
    ]
    some = {"deals_via_contact_id": {"$some": {"value": {"$gt": 50}}}}
    assert query(admin, CONTACTS, where=some)["total"] == 1
    none = {"contacts_via_company_id": {"$none": {}}}
    assert [each["name"] for each in query(admin, COMPANIES, where=none)["data"]] == ["Other"]
    deep = {"contacts_via_company_id": {"$some": some}}
    assert [each["name"] for each in query(admin, COMPANIES, where=deep)["data"]] == ["Acme"]
    assert query(admin, COMPANIES, where={"$not": deep})["total"] == 1
    mine = {"owner_id": {"$has": {"username": {"$ne": "x"}}}}
    assert titles(query(admin, DEALS, where=mine)) == ["big"]
    for where, said in (
        ({"email": {"$has": {}}}, "contacts.email is not a link"),
        ({"company_id": {"$some": {}}}, "unknown operator '$some'"),
        ({"deals_via_contact_id": {"$has": {}}}, "unknown operator '$has'"),
        ({"deals_via_contact_id": 5}, "contacts has no field 'deals_via_contact_id'"),
        ({"deals_via_x": {"$some": {}}}, "contacts has no link 'deals_via_x'"),
        ({"deals_via_x": 1}, "contacts has no field 'deals_via_x'"),
        ({"company_id": {"$has": {"x": 1}}}, "companies has no field 'x'"),
        ({"company_id": {"$has": 1}}, "an object is wanted"),
        ({"$or": [some] * 31}, "more than 30 filters by relation"),
    ):
        assert said in refused(admin.post(f"{CONTACTS}/query", json={"where": where})), where


def test_what_a_caller_may_not_read_is_neither_expanded_nor_counted(
    shop: Server, admin: Client, rows: dict[str, Any]
):
    """A relation's count that ignores its permission is the pitfall."""
    reader = holding(shop, "contacts.read")
    expand = ["company_id", "deals_via_contact_id"]
    [bob] = query(reader, CONTACTS, expand=expand)["data"]
    assert bob["expand"] == {"company_id": None, "deals_via_contact_id": []}
    for where, total in (
        ({"deals_via_contact_id": {"$some": {}}}, 0),
        ({"deals_via_contact_id": {"$none": {"value": {"$gt": 1000}}}}, 1),
        ({"company_id": {"$has": {}}}, 0),
        ({"company_id": {"$has": {"industry": "Technology"}}}, 0),
        ({"$not": {"company_id": {"$has": {"industry": "Technology"}}}}, 1),
    ):
        assert query(reader, CONTACTS, where=where)["total"] == total, where


def test_own_records_only_are_reached_by_links(shop: Server, admin: Client, rows: dict[str, Any]):
    owner = holding(shop, "contacts.read", "deals.read.own", "deals.create")
    mine = add(owner, DEALS, title="mine", value=7, contact_id=rows["bob"]["id"])
    [bob] = query(owner, CONTACTS, expand=["deals_via_contact_id"])["data"]
    assert bob["expand"]["deals_via_contact_id"] == [mine]
    assert (
        query(owner, CONTACTS, where={"deals_via_contact_id": {"$some": {"value": 100}}})["total"]
        == 0
    )
    assert (
        query(owner, CONTACTS, where={"deals_via_contact_id": {"$some": {"value": 7}}})["total"]
        == 1
    )


@pytest.mark.slow
def test_scopes_of_plugins_narrow_what_links_reach(postgres: Postgres):
    with running_server(postgres, overrides("ScopePlugin")) as server:
        admin = install(server)
        scope: Any = next(p for p in server.kernel.instances if p.name == "scope")
        scope.tree = {}
        one = add(admin, COMPANIES, name="seen")
        two = add(admin, COMPANIES, name="hidden")
        for company in (one, two):
            add(admin, CONTACTS, email=company["name"], company_id=company["id"])
        scope.trees = {"companies": {"name": "seen"}}
        found = query(admin, CONTACTS, expand=["company_id"], orderBy="email")["data"]
        assert [each["expand"]["company_id"] for each in found] == [one, None]
        assert query(admin, CONTACTS, where={"company_id": {"$has": {}}})["total"] == 1
        # A scope may itself go through a link; the other's scope does not narrow it.
        scope.trees["contacts"] = {"company_id": {"$has": {"name": "hidden"}}}
        [contact] = admin.get(CONTACTS).json()
        assert contact["email"] == "hidden"
        assert admin.get(f"{CONTACTS}/{contact['id']}").status_code == 200


def test_what_is_kept_of_an_expansion_depends_on_the_rights(
    shop: Server, admin: Client, rows: dict[str, Any]
):
    """Statements are kept for callers with the same rights, and for no others."""
    path = f"{CONTACTS}?limit=10&expand=company_id&sort=email&order=asc"
    whole = admin.get(path).json()
    assert any(each["expand"]["company_id"] for each in whole)
    blind = holding(shop, "contacts.read")
    owner = holding(shop, "contacts.read", "companies.read.own")
    reader = holding(shop, "contacts.read", "companies.read")
    for _ in range(2):
        assert admin.get(path).json() == reader.get(path).json() == whole
        for client in (blind, owner):
            assert all(each["expand"] == {"company_id": None} for each in client.get(path).json())
    named = admin.get(f"{path}&fields=email").json()
    assert set(named[0]) == {"id", "email", "expand"}
    tagged = admin.get(f"{path}&etag=true").json()
    assert all(each["_etag"] for each in tagged)
    encoded = admin.get(path.replace("expand", "%65xpand")).json()
    assert encoded == whole
