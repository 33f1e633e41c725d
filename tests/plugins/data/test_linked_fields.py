"""Fields of linked records in filters and groups: `customer_id.name`, with the target's rights."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.testing import Client, Server
from tests.plugins.data.shop import COMPANIES, CONTACTS, DEALS, add, empty, holding, query
from tests.plugins.data.support import refused


@pytest.fixture
def admin(shop: Server) -> Client:
    """Deals of contacts of two companies, of a contact without one, and of no contact."""
    empty(shop)
    admin = shop.admin
    acme = add(admin, COMPANIES, name="Acme", industry="Robots", founded_at="2001-02-03T00:00:00Z")
    bolt = add(admin, COMPANIES, name="Bolt")
    ada = add(admin, CONTACTS, email="ada", company_id=acme["id"])
    bob = add(admin, CONTACTS, email="bob", company_id=bolt["id"], boss_id=ada["id"])
    eve = add(admin, CONTACTS, email="eve")
    for title, contact, value in (
        ("a", ada, 1), ("b", ada, 2), ("c", bob, 4), ("d", eve, 8), ("e", None, 16),
    ):  # fmt: skip
        add(admin, DEALS, title=title, contact_id=contact and contact["id"], value=value)
    return admin


def titles(client: Client, where: dict[str, Any]) -> str:
    found = query(client, DEALS, where=where, orderBy="title", order="asc")
    return "".join(record["title"] for record in found["data"])


def groups(client: Client, *names: Any, **more: Any) -> list[list[Any]]:
    body = {"groupBy": list(names), "aggregate": {"sum": {"$sum": "value"}}, **more}
    return [list(group.values()) for group in query(client, DEALS, **body)["data"]]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"contact_id.email": "ada"}, "ab"),
        ({"contact_id.email": {"$in": ["ada", "eve"]}}, "abd"),
        ({"contact_id.email": {"$ne": "ada"}}, "cd"),
        ({"contact_id.company_id.name": "Acme"}, "ab"),
        ({"contact_id.boss_id.company_id.name": "Acme"}, "c"),
        ({"contact_id.company_id.industry": None}, "cde"),
        ({"contact_id.company_id.industry": {"$isNull": True}}, "cde"),
        ({"contact_id.company_id.industry": {"$isNull": False}}, "ab"),
        ({"contact_id.email": {"$in": [None, "bob"]}}, "ce"),
        ({"contact_id.email": {"$gte": "b", "$lt": "c"}}, "c"),
        ({"$not": {"contact_id.email": "ada"}}, "cde"),
        ({"contact_id.company_id.founded_at": {"$lt": "2010-01-01T00:00:00Z"}}, "ab"),
        ({"$or": [{"contact_id.email": "eve"}, {"title": "e"}]}, "de"),
    ],
)
def test_filters_reach_linked_fields(admin: Client, where: dict[str, Any], found: str):
    assert titles(admin, where) == found


def test_lists_and_changes_are_filtered_by_linked_fields(admin: Client):
    listed = admin.get(DEALS, params={"contact_id.company_id.name": "Acme", "sort": "title"})
    assert [record["title"] for record in listed.json()] == ["b", "a"]
    body = {"where": {"contact_id.email": "ada"}, "set": {"stage": "Won"}, "expect": 2}
    assert admin.post(f"{DEALS}/update-where", json=body).json() == {"updated": 2}


def test_groups_are_made_by_linked_fields(admin: Client):
    assert groups(admin, "contact_id.company_id.name") == [["Acme", 3], ["Bolt", 4], [None, 24]]
    assert groups(admin, "contact_id.company_id.name", "contact_id.email") == [
        ["Acme", "ada", 3], ["Bolt", "bob", 4], [None, "eve", 8], [None, None, 16],
    ]  # fmt: skip
    assert groups(admin, {"$year": "contact_id.company_id.founded_at"}) == [["2001", 3], [None, 28]]
    named = query(admin, DEALS, groupBy=["contact_id.email"], having={"contact_id.email": "eve"})
    assert named["data"] == [{"contact_id.email": "eve"}]
    ordered = groups(admin, "contact_id.email", orderBy="contact_id.email", order="desc", limit=2)
    assert [row[0] for row in ordered] == [None, "eve"]
    most = {"aggregate": {"last": {"$max": "contact_id.email"}}}
    assert query(admin, DEALS, **most)["data"] == [{"last": "eve"}]
    filtered = groups(admin, "contact_id.email", where={"contact_id.company_id.name": "Bolt"})
    assert filtered == [["bob", 4]]
    text = admin.post(
        f"{DEALS}/query?format=csv", json={"groupBy": ["contact_id.email"]}
    ).text  # fmt: skip
    assert text.splitlines()[0] == "contact_id.email"


def test_what_a_caller_may_not_read_is_as_none(shop: Server, admin: Client):
    blind = holding(shop, "deals.read")
    assert titles(blind, {"contact_id.email": "ada"}) == ""
    assert titles(blind, {"contact_id.email": None}) == "abcde"
    assert groups(blind, "contact_id.email") == [[None, 31]]
    assert groups(blind, "contact_id.anything") == [[None, 31]]
    owner = holding(shop, "deals.read", "contacts.read.own", "contacts.create", "deals.update")
    mine = add(owner, CONTACTS, email="mine")
    deal = query(admin, DEALS, where={"title": "e"})["data"][0]
    admin.patch(f"{DEALS}/{deal['id']}", json={"contact_id": mine["id"]})
    assert groups(owner, "contact_id.email") == [["mine", 16], [None, 15]]
    assert titles(owner, {"contact_id.email": {"$isNull": False}}) == "e"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"where": {"contact_id.titel": 1}}, "contacts has no field 'titel'"),
        ({"where": {"title.x": 1}}, "deals.title is not a link"),
        ({"where": {"nothing.x": 1}}, "no link 'nothing'"),
        ({"where": {"contact_id.boss_id.boss_id.boss_id.email": 1}}, "more than 3 links deep"),
        ({"where": {"contact_id.": 1}}, "no field ''"),
        ({"groupBy": ["contact_id.titel"]}, "contacts has no field 'titel'"),
        ({"groupBy": ["title.x"]}, "deals.title is not a link"),
        ({"groupBy": ["contact_id.boss_id.boss_id.boss_id.email"]}, "3"),
        ({"groupBy": ["contact_id.email", "contact_id.email"]}, "named twice"),
    ],
)
def test_paths_that_lead_nowhere_are_named(admin: Client, body: dict[str, Any], said: str):
    assert said in refused(admin.post(f"{DEALS}/query", json=body))


def test_links_to_several_records_have_operators_of_their_own(admin: Client):
    where = {"deals_via_contact_id.title": "a"}
    assert "use $some or $none" in refused(admin.post(f"{CONTACTS}/query", json={"where": where}))
    body = {"groupBy": ["deals_via_contact_id.title"]}
    assert "several records" in refused(admin.post(f"{CONTACTS}/query", json=body))
