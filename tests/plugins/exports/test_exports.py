"""Links to exports: what they show, to whom, and when they end."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Generator
from typing import Any

import httpx
import pytest

from kernel.testing import Client, Postgres, Server, running_server
from tests.plugins.data.shop import (
    COMPANIES,
    CONTACTS,
    DEALS,
    MANIFEST,
    add,
    empty,
    holding,
    install,
)
from tests.plugins.data.support import refused

EXPORTS = "/api/v1/apps/shop/exports"
VIEWS = "/api/v1/console/views"

# As these send them; neither has a token of its own.
IMPORTDATA = {
    "user-agent": "Mozilla/5.0 (compatible; GoogleDocs; apps-spreadsheets; +http://docs.google.com)",
    "accept": "*/*",
    "accept-encoding": "gzip, deflate, br",
    "connection": "keep-alive",
}
POWER_QUERY = {
    "user-agent": "Microsoft.Data.Mashup (https://go.microsoft.com/fwlink/?LinkID=304225)",
    "accept": "",
    "accept-encoding": "gzip, deflate",
    "cache-control": "no-cache",
    "pragma": "no-cache",
    "connection": "Keep-Alive",
}


@pytest.fixture(scope="module")
def shop(postgres: Postgres) -> Generator[Server]:
    with running_server(postgres) as running:
        install(running)
        yield running


@pytest.fixture
def admin(shop: Server) -> Client:
    empty(shop)
    return shop.admin


def make(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post(EXPORTS, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def fetch(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers=headers)


def rows(answer: httpx.Response) -> list[list[str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.reader(io.StringIO(answer.text, newline="")))


@pytest.mark.parametrize("headers", [IMPORTDATA, POWER_QUERY], ids=["IMPORTDATA", "Power Query"])
def test_spreadsheets_get_their_rows(admin: Client, headers: dict[str, str]):
    add(admin, DEALS, title="=1+1", value=2.5)
    link = make(admin, entity="deals", query={"fields": ["title", "value"]}, format="csv")
    assert link["url"].startswith(str(admin.base_url))
    answer = fetch(link["url"], **headers)
    assert rows(answer)[0] == ["id", "title", "value"]
    assert rows(answer)[1][1:] == ["'=1+1", "2.5"]
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="deals.csv"'
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    add(admin, DEALS, title="later")
    assert len(rows(fetch(link["url"], **headers))) == 3
    head = httpx.head(link["url"])
    assert (head.status_code, head.content) == (200, b"")


def test_a_link_has_a_format_a_filter_and_groups(admin: Client):
    for title, value in (("a", 1), ("a", 2), ("b", 3)):
        add(admin, DEALS, title=title, value=value)
    lines = make(admin, entity="deals", query={"where": {"title": "a"}}, format="ndjson")
    assert [json.loads(line)["value"] for line in fetch(lines["url"]).text.splitlines()] == [2, 1]
    grouped = make(
        admin, entity="deals",
        query={"groupBy": ["title"], "aggregate": {"sum": {"$sum": "value"}}}, raw=True,
    )  # fmt: skip
    assert rows(fetch(grouped["url"])) == [["title", "sum"], ["a", "3"], ["b", "3"]]
    first = make(admin, entity="deals", query={"orderBy": "value", "order": "asc", "limit": 1})
    assert len(rows(fetch(first["url"]))) == 2
    plain = make(admin, entity="deals")
    assert len(rows(fetch(plain["url"]))) == 4
    assert plain["name"] == "deals"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 400, "a view, or an entity"),
        ({"view": "x", "entity": "deals"}, 400, "a view, or an entity"),
        ({"view": "x"}, 404, "view 'x' not found"),
        ({"entity": "nothing"}, 404, "nothing"),
        ({"entity": "deals", "query": {"where": {"titel": 1}}}, 400, "did you mean 'title'"),
        ({"entity": "deals", "query": {"groupBy": ["titel"]}}, 400, "did you mean 'title'"),
        ({"entity": "deals", "query": {"after": "x"}}, 400, "after"),
        ({"entity": "deals", "query": {"expand": ["contact_id"]}}, 400, "text/csv"),
        ({"entity": "deals", "format": "xlsx"}, 400, "xlsx"),
        ({"entity": "deals", "expires": "2020-01-01T00:00:00Z"}, 400, "in the future"),
        ({"entity": "deals", "expires": "soon"}, 400, "RFC 3339"),
        ({"entity": "deals", "name": ""}, 400, "name"),
        ({"entity": "deals", "name": "a\u202eb"}, 400, "printable"),
        ({"entity": "deals", "query": {"where": {"title": {"$in": ["x" * 60_000] * 2}}}}, 400, ""),
    ],
)
def test_bad_links_are_refused(admin: Client, body: dict[str, Any], status: int, said: str):
    assert said in refused(admin.post(EXPORTS, json=body), status)


def test_links_are_listed_and_revoked(shop: Server, admin: Client):
    user = holding(shop, "deals.read")
    link = make(user, entity="deals", name="Mine")
    [shown] = user.get(EXPORTS).json()
    assert shown == link
    assert (shown["by"], shown["last_used_at"]) == (user.username, None)
    assert fetch(link["url"]).status_code == 200
    assert user.get(EXPORTS).json()[0]["last_used_at"] is not None

    other = holding(shop, "deals.read")
    assert other.get(EXPORTS).json() == []
    refused(other.delete(f"{EXPORTS}/{link['id']}"), 404)
    refused(user.delete(f"{EXPORTS}/nonsense"), 404)
    [of_user] = [each for each in admin.get(EXPORTS).json() if each["id"] == link["id"]]
    assert of_user == {**shown, "url": None, "last_used_at": of_user["last_used_at"]}
    assert admin.delete(f"{EXPORTS}/{link['id']}").status_code == 200
    refused(fetch(link["url"]), 403)
    assert user.get(EXPORTS).json() == []
    trail = admin.get("/api/v1/audit", params={"record_id": link["id"]}).json()
    operations = {row["operation"] for row in trail}
    assert operations == {"EXPORT_LINK_CREATED", "EXPORT_LINK_REVOKED"}
    assert "token" not in json.dumps(trail)


def test_a_link_has_the_rights_of_its_maker_at_each_call(shop: Server, admin: Client):
    owner = holding(shop, "deals.read.own", "deals.create", name="owners")
    add(admin, DEALS, title="theirs")
    add(owner, DEALS, title="mine")
    link = make(owner, entity="deals", query={"fields": ["title"]})
    assert [row[1] for row in rows(fetch(link["url"]))] == ["title", "mine"]
    role = {"userId": owner.id, "role": "owners"}
    assert admin.post("/api/v1/apps/shop/roles/revoke", json=role).status_code == 200
    assert "ended with the right" in refused(fetch(link["url"]), 403)
    assert admin.post("/api/v1/apps/shop/roles/assign", json=role).status_code == 200
    assert fetch(link["url"]).status_code == 200
    assert admin.patch(f"/api/v1/users/{owner.id}", json={"disabled": True}).status_code == 200
    refused(fetch(link["url"]), 403)
    reader = holding(shop, "contacts.read")
    refused(reader.post(EXPORTS, json={"entity": "deals"}), 403)
    refused(httpx.post(f"{admin.base_url}{EXPORTS}", json={"entity": "deals"}), 401)


def test_forged_tokens_open_nothing(admin: Client):
    first = make(admin, entity="deals")
    second = make(admin, entity="companies")
    url, _, token = first["url"].partition("?token=")
    _, _, other = second["url"].partition("?token=")
    for forged in ("", "x", other, token[:-1], token[:-1] + ("A" if token[-1] != "A" else "B")):
        refused(fetch(f"{url}?token={forged}"), 403)
    refused(fetch(f"{url.replace(first['id'], second['id'])}?token={token}"), 403)
    refused(fetch(f"{url.replace('/shop/', '/other/')}?token={token}"), 403)
    refused(fetch(f"{url}?token={token}&format=json"), 400)


def test_a_link_ends_at_its_time(shop: Server, admin: Client):
    link = make(admin, entity="deals", expires="2100-01-01T00:00:00Z")
    assert fetch(link["url"]).status_code == 200
    shop.sql("update caudex_exports.links set expires_at = now() where id = %s", link["id"])
    refused(fetch(link["url"]), 403)
    make(admin, entity="deals")
    assert link["id"] not in {each["id"] for each in admin.get(EXPORTS).json()}


def test_a_link_ends_with_the_key_that_made_it(shop: Server, admin: Client):
    add(admin, DEALS, title="x")
    add(admin, COMPANIES, name="Acme")
    user = holding(shop, "deals.read", "companies.read")
    wide = make(user, entity="companies")
    body = {"name": "sheet", "permissions": ["shop:deals.read"]}
    key = user.post("/api/v1/auth/keys", json=body).json()
    bearer = {"authorization": f"Bearer {key['key']}"}
    with httpx.Client(base_url=str(user.base_url), headers=bearer) as narrow:
        refused(narrow.post(EXPORTS, json={"entity": "companies"}), 403)
        link = make(narrow, entity="deals")
        assert [each["id"] for each in narrow.get(EXPORTS).json()] == [link["id"]]
        refused(narrow.delete(f"{EXPORTS}/{wide['id']}"), 404)
        assert fetch(link["url"]).status_code == 200
    assert user.delete(f"/api/v1/auth/keys/{key['id']}").status_code == 200
    refused(fetch(link["url"]), 403)
    assert fetch(wide["url"]).status_code == 200


def test_a_user_has_so_many_links(shop: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("plugins.exports.service.MAX_LINKS", 2)
    user = holding(shop, "deals.read")
    for _ in range(2):
        make(user, entity="deals")
    assert "at most 2 links" in refused(user.post(EXPORTS, json={"entity": "deals"}))


def test_a_saved_view_is_exported_as_its_maker_sees_it(shop: Server, admin: Client):
    for title, value in (("50%", 1), ("500", 2), ("x", 3)):
        add(admin, DEALS, title=title, value=value)
    user = holding(shop, "deals.read", name="readers")
    state = {"where": json.dumps({"value": {"$gt": 0}}), "q": "50%", "sort": "value",
             "order": "asc", "columns": "title,value,gone"}  # fmt: skip
    view = {"app": "shop", "entity": "deals", "name": "Fifty", "state": state}
    view_id = user.post(VIEWS, json=view).json()["id"]
    link = make(user, view=view_id)
    assert (link["name"], link["entity"]) == ("Fifty", "deals")
    assert [row[1:] for row in rows(fetch(link["url"]))] == [["title", "value"], ["50%", "1"]]
    refused(admin.post(EXPORTS, json={"view": view_id}), 404)
    refused(user.post(EXPORTS, json={"view": view_id, "query": {}}), 400)

    shared = {**view, "name": "Shared", "role": "readers", "state": {}}
    shared_id = admin.post(VIEWS, json=shared).json()["id"]
    assert len(rows(fetch(make(user, view=shared_id)["url"]))) == 4
    outsider = holding(shop, "deals.read")
    refused(outsider.post(EXPORTS, json={"view": shared_id}), 404)
    odd = {**view, "name": "Odd", "state": {"where": "["}}
    odd_id = user.post(VIEWS, json=odd).json()["id"]
    assert "no JSON" in refused(user.post(EXPORTS, json={"view": odd_id}))


def test_a_link_follows_names_that_change(postgres: Postgres):
    with running_server(postgres) as server:
        install(server)
        follow_names(server.admin)


def follow_names(admin: Client) -> None:
    contact = add(admin, CONTACTS, email="ada")
    add(admin, DEALS, title="a", value=2, contact_id=contact["id"])
    add(admin, DEALS, title="b", value=3)
    query = {
        "where": {"$or": [{"title": "a"}, {"contact_id.email": "x"}]}, "fields": ["title"],
        "orderBy": "title",
    }  # fmt: skip
    listed = make(admin, entity="deals", query=query)
    grouped = make(
        admin, entity="deals",
        query={"groupBy": ["contact_id.email"], "aggregate": {"value": {"$sum": "value"}},
               "having": {"value": {"$gt": 2}}, "orderBy": "value"},
    )  # fmt: skip
    manifest = json.loads(json.dumps(MANIFEST))
    _, contacts, deals, _ = manifest["dataContract"]
    deals |= {"entityName": "orders", "was": "deals"}
    renamed = {"title": "label", "value": "amount", "contact_id": "person_id"}
    for field in deals["fields"]:
        if field["name"] in renamed:
            field |= {"name": renamed[field["name"]], "was": field["name"]}
    contacts["fields"][0] |= {"name": "mail", "was": "email"}
    contacts["indexes"] = [{"columns": ["mail"], "unique": True}]
    assert admin.post("/api/v1/apps", json=manifest).status_code == 200
    assert [row[1:] for row in rows(fetch(listed["url"]))] == [["label"], ["a"]]
    assert rows(fetch(grouped["url"])) == [["person_id.mail", "value"], ["", "3"]]
    assert {link["entity"] for link in admin.get(EXPORTS).json()} >= {"orders"}


def test_links_of_a_deleted_account_and_of_a_removed_app_are_gone(shop: Server, admin: Client):
    user = holding(shop, "deals.read")
    link = make(user, entity="deals")
    assert admin.delete(f"/api/v1/users/{user.id}").status_code == 200
    refused(fetch(link["url"]), 403)
    assert shop.sql("select 1 from caudex_exports.links where id = %s", link["id"]) == []


def test_without_the_plugin_there_is_no_such_route(postgres: Postgres):
    tree = {"plugins": {"exports": {"enabled": False}}}
    with running_server(postgres, tree) as server:
        install(server)
        assert server.admin.post(EXPORTS, json={"entity": "deals"}).status_code == 404


def test_without_the_console_there_are_links_to_queries_alone(postgres: Postgres):
    tree = {
        "plugins": {"console": {"enabled": False}, "exports": {"url": "https://desk.example.com"}}
    }
    with running_server(postgres, tree) as server:
        install(server)
        link = make(server.admin, entity="deals")
        assert link["url"].startswith("https://desk.example.com/api/v1/apps/shop/exports/")
        assert "no plugin" in refused(server.admin.post(EXPORTS, json={"view": "x"}))
