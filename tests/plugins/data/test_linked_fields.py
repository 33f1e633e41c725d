"""Fields of linked records in filters and groups: `customer_id.name`, with the target's rights."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.testing import Client, Server
from plugins.data.reads import groupings
from tests.plugins.data.shop import COMPANIES, CONTACTS, DEALS, add, empty, holding, query
from tests.plugins.data.support import refused

AGGREGATES: dict[str, Any] = {
    "n": {"$count": "*"},
    "values": {"$count": "value"},
    "sum": {"$sum": "value"},
    "mean": {"$avg": "value"},
    "first": {"$min": "title"},
    "last": {"$max": "created_at"},
    "most": {"$max": "value"},
}


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


THREE_DEEP = "contact_id.boss_id.company_id.name"


@pytest.mark.parametrize(
    ("permissions", "is_seen"),
    [
        (("contacts.read", "companies.read"), True),
        (("contacts.read",), False),
        (("contacts.read", "companies.read.own"), False),
        (("contacts.read.own", "companies.read"), False),
        (("companies.read",), False),
    ],
)
def test_each_step_of_a_path_needs_the_rights_of_its_target(
    shop: Server, admin: Client, permissions: tuple[str, ...], is_seen: bool
):
    reader = holding(shop, "deals.read", *permissions)
    assert titles(reader, {THREE_DEEP: "Acme"}) == ("c" if is_seen else "")
    assert titles(reader, {THREE_DEEP: {"$isNull": True}}) == ("abde" if is_seen else "abcde")
    assert titles(reader, {"$not": {THREE_DEEP: "Acme"}}) == ("abde" if is_seen else "abcde")
    assert groups(reader, THREE_DEEP) == ([["Acme", 4], [None, 27]] if is_seen else [[None, 31]])
    most = query(reader, DEALS, aggregate={"first": {"$min": THREE_DEEP}})["data"]
    assert most == [{"first": "Acme" if is_seen else None}]
    listed = reader.get(DEALS, params={THREE_DEEP: "Acme"}).json()
    assert [record["title"] for record in listed] == (["c"] if is_seen else [])


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


def watch_steps(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Note of each query whether its groups are made in two steps."""
    wishes: list[bool] = []
    select = groupings.Grouping.select

    def select_and_note(grouping: Any, where: bytes, *, in_two_steps: bool) -> bytes:
        wishes.append(in_two_steps)
        return select(grouping, where, in_two_steps=in_two_steps)

    monkeypatch.setattr(groupings.Grouping, "select", select_and_note)
    return wishes


def test_groups_in_two_steps_are_those_of_one(
    shop: Server, admin: Client, monkeypatch: pytest.MonkeyPatch
):
    """Records are grouped by their links first; sums, means and counts are the same."""
    for number in range(40):
        stage = ("Lead", "Won", None)[number % 3]
        contact = query(admin, CONTACTS)["data"][number % 3]["id"]
        value = None if number % 7 == 0 else number / 8
        add(admin, DEALS, title=f"t{number}", stage=stage, contact_id=contact, value=value)
    bodies: list[dict[str, Any]] = [
        {"groupBy": [*names], "where": where, "aggregate": aggregate, "having": having}
        for names in (
            ("contact_id.company_id.name",),
            ("stage", "contact_id.email"),
            ("contact_id.company_id.name", {"$year": "contact_id.company_id.founded_at"}),
            ({"$month": "created_at"}, "contact_id.boss_id.email", "contact_id"),
        )
        for where, aggregate, having in (
            ({}, {}, {}),
            ({}, AGGREGATES, {"n": {"$gt": 1}}),
            ({"contact_id.email": {"$ne": "eve"}}, AGGREGATES, {"mean": {"$lt": 100}}),
        )
    ]
    shop.sql("analyze shop.deals")
    monkeypatch.setattr(groupings, "RECORDS_OF_LINK", 0)
    wishes = watch_steps(monkeypatch)
    in_two_steps = [query(admin, DEALS, **body) for body in bodies]
    assert wishes == [True] * len(bodies)
    one_step = {"distinct": {"$countDistinct": "title"}}  # which needs all records at once
    for body, reply in zip(bodies, in_two_steps, strict=True):
        plain = query(admin, DEALS, **{**body, "aggregate": {**body["aggregate"], **one_step}})
        for group in plain["data"]:
            del group["distinct"]
        assert reply == plain
    assert wishes == [True] * len(bodies) + [False] * len(bodies)


def test_two_steps_are_taken_where_many_records_have_one_link(
    shop: Server, admin: Client, monkeypatch: pytest.MonkeyPatch
):
    """As the statistics of PostgreSQL say; without any, groups are made at once."""
    wishes = watch_steps(monkeypatch)
    by_link = {"groupBy": ["contact_id.email"]}
    by_time = {"groupBy": ["contact_id.email", {"$day": "created_at"}]}
    shop.sql("insert into shop.contacts (email) select 'c' || n from generate_series(1, 100) n")
    shop.sql("insert into shop.deals (contact_id, created_at) select id, now() + n * interval '1 h'"
             " from shop.contacts, generate_series(1, 3) n")  # fmt: skip
    shop.sql("analyze shop.deals")
    query(admin, DEALS, **by_link)
    shop.sql("insert into shop.deals (contact_id, created_at) select id, now() + n * interval '1 h'"
             " from shop.contacts, generate_series(1, 10) n")  # fmt: skip
    shop.sql("analyze shop.deals")
    query(admin, DEALS, **by_link)
    query(admin, DEALS, **by_time)
    query(admin, DEALS, groupBy=["contact_id"])
    assert wishes == [False, True, False, False]
