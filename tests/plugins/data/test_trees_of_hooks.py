"""Where-trees of `record_scope` that go through links: they speak for the plugin."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from typing import Any

import pytest

from kernel.testing import Client, Postgres, Server, running_server
from tests.plugins.data.conftest import overrides
from tests.plugins.data.shop import COMPANIES, CONTACTS, DEALS, MANIFEST, add, holding, query
from tests.plugins.data.support import refused

NOT_SECRET = {"$not": {"company_id": {"$has": {"industry": "secret"}}}}
"""Contacts without a company, or with one that is not secret."""


def with_access_to_links(manifest: dict[str, Any]) -> dict[str, Any]:
    """The app of the shop, where few may read the link from a contact to its company."""
    copied = json.loads(json.dumps(manifest))
    [contacts] = [item for item in copied["dataContract"] if item["entityName"] == "contacts"]
    [link] = [field for field in contacts["fields"] if field["name"] == "company_id"]
    link["access"] = {"read": ["boss"]}
    return copied


@pytest.fixture(scope="module")
def shop(postgres: Postgres) -> Generator[Server]:
    with running_server(postgres, overrides("ScopePlugin")) as server:
        scope_of(server).tree = {}
        server.install(with_access_to_links(MANIFEST))
        yield server


def scope_of(server: Server) -> Any:
    return next(plugin for plugin in server.kernel.instances if plugin.name == "scope")


@pytest.fixture
def rows(shop: Server) -> Generator[dict[str, Any]]:
    """Contacts of a secret company, of an open one and of none, each with a deal."""
    scope = scope_of(shop)
    scope.trees = {}
    shop.sql("truncate shop.odd, shop.deals, shop.contacts, shop.companies")
    records: dict[str, Any] = {}
    for name in ("secret", "open"):
        company = add(shop.admin, COMPANIES, name=name, industry=name)
        records[name] = add(shop.admin, CONTACTS, email=name, company_id=company["id"])
    records["none"] = add(shop.admin, CONTACTS, email="none")
    for name in ("secret", "open", "none"):
        add(shop.admin, DEALS, title=name, value=1, contact_id=records[name]["id"])
    yield records
    scope.trees = {}


def emails(client: Client) -> list[str]:
    listed = sorted(record["email"] for record in client.get(CONTACTS).json())
    queried = query(client, CONTACTS, orderBy="email", order="asc")
    assert [record["email"] for record in queried["data"]] == listed
    assert queried["total"] == len(listed)
    assert query(client, CONTACTS, aggregate={"n": {"$count": "*"}})["data"] == [{"n": len(listed)}]
    return listed


@pytest.mark.parametrize(("name", "is_allowed"), [("secret", False), ("open", True)])
def test_an_explanation_is_the_decision(
    shop: Server, rows: dict[str, Any], name: str, is_allowed: bool
):
    caller = holding(shop, "contacts.read", "contacts.update")
    scope_of(shop).trees = {"contacts": {"company_id": {"$has": {"industry": "open"}}}}
    record = rows[name]["id"]
    body = {"user": caller.id, "app": "shop", "action": "contacts.update", "record": record}
    answer = shop.admin.post("/api/v1/permissions/explain", json=body)
    assert answer.json()["allowed"] is is_allowed
    assert caller.patch(f"{CONTACTS}/{record}", json={"email": "new"}).is_success is is_allowed


@pytest.mark.parametrize("companies", ["none", "own", "all"])
def test_a_negated_condition_hides_what_it_names_from_every_caller(
    shop: Server, rows: dict[str, Any], companies: str
):
    rights = {"none": [], "own": ["companies.read.own"], "all": ["companies.read"]}[companies]
    changes = ["contacts.read", "contacts.update", "contacts.delete"]
    caller = holding(shop, *changes, *rights)
    scope_of(shop).trees = {"contacts": NOT_SECRET}
    assert emails(caller) == ["none", "open"]
    path = f"{CONTACTS}/{rows['secret']['id']}"
    refused(caller.get(path), 404)
    refused(caller.patch(path, json={"email": "x"}), 404)
    refused(caller.delete(path), 404)
    where = {"email": {"$isNull": False}}
    answer = caller.post(f"{CONTACTS}/delete-where", json={"where": where, "expect": 2})
    assert answer.status_code == 200, answer.text
    scope_of(shop).trees = {}
    assert emails(shop.admin) == ["secret"]


def test_a_condition_holds_for_callers_who_may_not_read_what_it_names(
    shop: Server, rows: dict[str, Any]
):
    caller = holding(shop, "contacts.read")
    scope_of(shop).trees = {"contacts": {"company_id.industry": "open"}}
    assert emails(caller) == ["open"]
    # What the caller itself asks for is judged by its own rights.
    refused(caller.post(f"{CONTACTS}/query", json={"where": {"company_id": {"$has": {}}}}), 400)


TREES: list[tuple[Mapping[str, Any], list[str]]] = [
    ({"$not": {"contact_id": {"$has": {"company_id.industry": "secret"}}}}, ["none", "open"]),
    ({"contact_id": {"$has": NOT_SECRET}}, ["none", "open"]),
    ({"contact_id.company_id.industry": {"$in": ("open", None)}}, ["none", "open"]),
    ({"contact_id.company_id.industry": "secret"}, ["secret"]),
]


@pytest.mark.parametrize(("tree", "titles"), TREES)
def test_fields_that_the_caller_may_not_read_lead_on(
    shop: Server, rows: dict[str, Any], tree: Mapping[str, Any], titles: list[str]
):
    """The second link is a field that the caller does not see."""
    caller = holding(shop, "deals.read", "contacts.read")
    scope_of(shop).trees = {"deals": tree}
    assert sorted(record["title"] for record in caller.get(DEALS).json()) == titles


def test_records_that_link_here_are_counted_without_rights_to_them(
    shop: Server, rows: dict[str, Any]
):
    caller = holding(shop, "companies.read")
    scope_of(shop).trees = {
        "companies": {"contacts_via_company_id": {"$none": {"email": "secret"}}}
    }
    assert [record["name"] for record in caller.get(COMPANIES).json()] == ["open"]


def test_accounts_are_judged_that_the_caller_may_not_list(shop: Server, rows: dict[str, Any]):
    caller = holding(shop, "deals.read")
    owned = {"owner_id": {"$has": {"username": shop.admin.username}}}
    add(shop.admin, DEALS, title="owned", owner_id=shop.admin.id)
    scope_of(shop).trees = {"deals": {"$not": owned}}
    assert "owned" not in [record["title"] for record in caller.get(DEALS).json()]
    scope_of(shop).trees = {"deals": owned}
    assert [record["title"] for record in caller.get(DEALS).json()] == ["owned"]


def test_trees_of_two_entities_may_name_each_other(shop: Server, rows: dict[str, Any]):
    """A tree is not narrowed by the tree of the entity that it reaches."""
    scope_of(shop).trees = {
        "contacts": {"company_id": {"$has": {}}},
        "companies": {
            "name": "open",
            "contacts_via_company_id": {"$some": {"email": {"$isNull": False}}},
        },
    }
    assert emails(shop.admin) == ["open", "secret"]
    assert [record["name"] for record in shop.admin.get(COMPANIES).json()] == ["open"]
    # What a caller reaches is narrowed by both.
    where: dict[str, Any] = {"company_id": {"$has": {}}}
    assert query(shop.admin, CONTACTS, where=where)["total"] == 1
