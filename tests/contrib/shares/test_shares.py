"""Public shares: what they show, to whom, and when they end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from kernel.testing import Client, Postgres, Server, running_server
from tests.contrib.mcp.support import make_key
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
from tests.plugins.frontends.support import deploy, deployed

SHARES = "/api/v1/apps/shop/public-shares"
SHARED = "/api/v1/public/share"
VIEWS = "/api/v1/console/views"
GONE = {"error": "the share does not exist, or has ended"}


@pytest.fixture(scope="module")
def shop(postgres: Postgres) -> Generator[Server]:
    with running_server(postgres, {"plugins": {"shares": {"rate": 6000}}}) as running:
        install(running)
        yield running


@pytest.fixture
def admin(shop: Server) -> Client:
    empty(shop)
    shop.sql("delete from caudex_shares.shares")
    return shop.admin


def make(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post(SHARES, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def share_deal(client: httpx.Client, deal: dict[str, Any], *fields: str) -> dict[str, Any]:
    record = {"entity": "deals", "id": deal["id"]}
    return make(client, record=record, fields=fields or ["title"])


def open_page(share: dict[str, Any], accept: str = "text/html") -> httpx.Response:
    return httpx.get(share["url"], headers={"accept": accept})


def ask(server: Server, share: dict[str, Any], path: str = "") -> httpx.Response:
    """Ask as a stranger who has the token."""
    return httpx.get(f"{server.url}{SHARED}{path}", headers=bearing(share))


def bearing(share: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {share['token']}"}


def has_ended(server: Server, share: dict[str, Any]) -> bool:
    """Whether a share answers as one that never was, at each of its routes."""
    replies = [ask(server, share), open_page(share)]
    ended = [
        (reply.status_code, reply.json()) == (404, GONE) for reply in replies if is_json(reply)
    ]
    return ended == [True, True]


def is_json(reply: httpx.Response) -> bool:
    return reply.headers["content-type"] == "application/json"


def test_a_record_is_shown_without_an_account(shop: Server, admin: Client):
    deal = add(admin, DEALS, title="<b>Oak</b>", value=2.5, note="secret")
    share = share_deal(admin, deal, "title", "value")
    assert share["url"] == f"{shop.url}/share/{share['token']}"
    shown = ask(shop, share)
    assert shown.json() == {
        "name": "deals",
        "fields": ["title", "value"],
        "data": [{"id": deal["id"], "title": "<b>Oak</b>", "value": 2.5}],
    }
    assert shown.headers["cache-control"] == "private, no-store"
    assert shown.headers["referrer-policy"] == "no-referrer"
    assert open_page(share, "application/json").json() == shown.json()
    assert open_page(share, "*/*").json() == shown.json()
    page = open_page(share)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["x-robots-tag"] == "noindex, nofollow"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "&lt;b&gt;Oak&lt;/b&gt;" in page.text
    assert "<b>Oak" not in page.text
    assert "secret" not in page.text
    assert "secret" not in shown.text


def test_a_list_is_what_the_query_finds_and_bounded(shop: Server, admin: Client):
    for number in range(3):
        add(admin, DEALS, title=f"d{number}", value=number)
    query = {"where": {"value": {"$gte": 1}}, "orderBy": "value", "order": "asc", "limit": 1}
    share = make(admin, entity="deals", query=query, fields=["title"], name="Offers")
    assert [deal["title"] for deal in ask(shop, share).json()["data"]] == ["d1"]
    assert '<th scope="col">Title</th>' in open_page(share).text
    rows = [{"title": f"many {n}"} for n in range(200)]
    assert admin.post(f"{DEALS}/bulk", json=rows).status_code == 201
    usual = make(admin, entity="deals", fields=["title"])
    assert len(ask(shop, usual).json()["data"]) == 100
    most = make(admin, entity="deals", query={"limit": 100_000, "fields": ["title"]})
    assert len(ask(shop, most).json()["data"]) == 203
    beyond = httpx.get(f"{most['url']}?where=1&limit=5&fields=note", headers={"accept": "*/*"})
    assert set(beyond.json()["data"][0]) == {"id", "title"}


def test_a_view_is_copied(shop: Server, admin: Client):
    add(admin, DEALS, title="a", value=1, note="hidden")
    state = {"where": json.dumps({"value": 1}), "columns": "title"}
    view = {"app": "shop", "entity": "deals", "name": "Ones", "state": state}
    made = admin.post(VIEWS, json=view)
    assert made.status_code == 201, made.text
    share = make(admin, view=made.json()["id"])
    assert (share["name"], ask(shop, share).json()["fields"]) == ("Ones", ["title"])
    assert admin.delete(f"{VIEWS}/{made.json()['id']}").status_code == 200
    assert [set(deal) for deal in ask(shop, share).json()["data"]] == [{"id", "title"}]


def test_nothing_behind_a_record_is_readable(shop: Server, admin: Client):
    company = add(admin, COMPANIES, name="Acme", note="secret")
    contact = add(admin, CONTACTS, email="a@example.com", company_id=company["id"])
    deal = add(admin, DEALS, title="t", contact_id=contact["id"])
    share = share_deal(admin, deal, "contact_id")
    assert ask(shop, share).json()["data"] == [{"id": deal["id"], "contact_id": contact["id"]}]
    for body in (
        {"entity": "deals", "query": {"expand": ["contact_id"], "fields": ["title"]}},
        {"entity": "deals", "fields": ["contact_id.email"]},
        {"entity": "deals", "query": {"groupBy": ["title"]}, "fields": ["title"]},
    ):
        refused(admin.post(SHARES, json=body), 400)
    with httpx.Client(base_url=shop.url, headers=bearing(share)) as stranger:
        for path in (DEALS, f"{DEALS}/{deal['id']}", "/api/v1/auth/me", SHARES, "/api/v1/apps"):
            assert stranger.get(path).status_code == 401


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 400, "a record, a view, an entity or a context"),
        ({"entity": "deals"}, 400, "fields: name what is shown"),
        ({"entity": "deals", "fields": []}, 400, "fields: name what is shown"),
        ({"entity": "deals", "fields": ["titel"]}, 400, "did you mean 'title'"),
        ({"entity": "nothing", "fields": ["title"]}, 404, "nothing"),
        ({"entity": "deals", "view": "x", "fields": ["title"]}, 400, "one of record, view"),
        ({"view": "x"}, 404, "view 'x' not found"),
        ({"query": {}, "context": {"a": 1}}, 400, "query goes with entity"),
        ({"record": {"entity": "deals", "id": "x"}, "fields": ["title"]}, 400, "UUID"),
        (
            {"entity": "deals", "fields": ["title"], "expires": "2020-01-01T00:00:00Z"},
            400,
            "future",
        ),
        ({"entity": "deals", "fields": ["title"], "expires": "9999-01-01T00:00:00Z"}, 400, "90"),
        ({"entity": "deals", "fields": ["title"], "name": "a\u202eb"}, 400, "printable"),
        ({"context": {"a": "x" * 5000}}, 400, "context: at most"),
        ({"context": [1]}, 400, "context"),
    ],
)
def test_bad_shares_are_refused(admin: Client, body: dict[str, Any], status: int, said: str):
    assert said in refused(admin.post(SHARES, json=body), status)


def test_only_the_hash_of_a_token_is_kept(shop: Server, admin: Client):
    share = share_deal(admin, add(admin, DEALS, title="t"))
    row = shop.sql("select to_jsonb(s)::text from caudex_shares.shares as s")[0][0]
    assert share["token"] not in row
    assert hashlib.sha256(share["token"].encode()).hexdigest() in row
    [listed] = admin.get(SHARES).json()
    assert share["token"] not in json.dumps(listed)
    assert share["token"].startswith(listed["tokenPrefix"])
    rows = admin.get("/api/v1/audit", params={"entity": "shares"}).json()
    assert [row["operation"] for row in rows][:1] == ["SHARE_CREATED"]
    assert share["token"] not in json.dumps(rows)


def test_shares_are_counted_listed_and_revoked(shop: Server, admin: Client):
    user = holding(shop, "deals.read", "public.share")
    share = share_deal(user, add(admin, DEALS, title="t"))
    [listed] = user.get(SHARES).json()
    assert (listed["accessCount"], listed["lastAccessedAt"]) == (0, None)
    assert ask(shop, share).status_code == 200
    [listed] = user.get(SHARES).json()
    assert (listed["accessCount"], listed["by"]) == (1, user.username)
    assert listed["lastAccessedAt"] is not None

    other = holding(shop, "deals.read", "public.share")
    assert other.get(SHARES).json() == []
    refused(other.delete(f"{SHARES}/{share['id']}"), 404)
    refused(user.delete(f"{SHARES}/nonsense"), 404)
    assert [each["id"] for each in admin.get(SHARES).json()] == [share["id"]]
    assert admin.delete(f"{SHARES}/{share['id']}").status_code == 200
    assert has_ended(shop, share)
    rows = admin.get("/api/v1/audit", params={"entity": "shares", "limit": 1}).json()
    assert rows[0]["operation"] == "SHARE_REVOKED"


def test_who_may_not_share_or_read_makes_no_share(shop: Server, admin: Client):
    deal = add(admin, DEALS, title="t")
    body = {"record": {"entity": "deals", "id": deal["id"]}, "fields": ["title"]}
    refused(holding(shop, "deals.read").post(SHARES, json=body), 403)
    refused(holding(shop, "public.share").post(SHARES, json=body), 403)
    own = holding(shop, "deals.read.own", "public.share")
    refused(own.post(SHARES, json=body), 404)
    refused(httpx.post(f"{shop.url}{SHARES}", json=body), 401)
    available = admin.get("/api/v1/apps/shop/permissions/available").json()
    assert "public.share" in [permission["key"] for permission in available]


@pytest.mark.parametrize("lost", ["deals.read", "public.share"])
def test_a_share_ends_with_the_right_of_its_maker(shop: Server, admin: Client, lost: str):
    user = holding(shop, "deals.read", "public.share", name=f"sharer_{lost.replace('.', '_')}")
    share = share_deal(user, add(admin, DEALS, title="t"))
    assert ask(shop, share).status_code == 200
    role = f"/api/v1/apps/shop/roles/sharer_{lost.replace('.', '_')}"
    rest = [key for key in ("deals.read", "public.share") if key != lost]
    assert admin.patch(role, json={"permissions": rest}).status_code == 200
    assert has_ended(shop, share)
    both = {"permissions": ["deals.read", "public.share"]}
    assert admin.patch(role, json=both).status_code == 200
    assert ask(shop, share).status_code == 200


def test_a_share_ends_with_the_account_the_key_and_the_record(shop: Server, admin: Client):
    deal = add(admin, DEALS, title="t")
    user = holding(shop, "deals.read", "public.share")
    share = share_deal(user, deal)
    key = make_key(user)
    with httpx.Client(base_url=shop.url, headers={"authorization": f"Bearer {key}"}) as keyed:
        with_key = share_deal(keyed, deal)
        assert [listed["id"] for listed in keyed.get(SHARES).json()] == [with_key["id"]]
        refused(keyed.delete(f"{SHARES}/{share['id']}"), 404)
    assert ask(shop, with_key).status_code == 200
    [key_id] = [row["id"] for row in user.get("/api/v1/auth/keys").json()]
    assert user.delete(f"/api/v1/auth/keys/{key_id}").status_code == 200
    assert has_ended(shop, with_key)
    assert ask(shop, share).status_code == 200
    assert admin.delete(f"{DEALS}/{deal['id']}").status_code == 200
    assert has_ended(shop, share)

    of_another = share_deal(user, add(admin, DEALS, title="u"))
    body = {"disabled": True}
    assert admin.patch(f"/api/v1/users/{user.id}", json=body).status_code == 200
    assert has_ended(shop, of_another)
    assert admin.delete(f"/api/v1/users/{user.id}").status_code == 200
    assert shop.sql("select count(*) from caudex_shares.shares")[0][0] == 0


def test_a_share_ends_in_time(shop: Server, admin: Client):
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    record = {"entity": "deals", "id": add(admin, DEALS, title="t")["id"]}
    share = make(admin, record=record, fields=["title"], expires=soon)
    assert ask(shop, share).status_code == 200
    shop.sql("update caudex_shares.shares set expires_at = now()")
    assert has_ended(shop, share)
    assert admin.get(SHARES).json() == []


def test_a_field_that_the_maker_may_not_read_ends_the_share(make_server):
    server = make_server({"plugins": {"shares": {}}})
    manifest = json.loads(json.dumps(MANIFEST))
    install(server, manifest)
    user = holding(server, "deals.read", "public.share")
    deal = add(server.admin, DEALS, title="t", note="secret")
    share = share_deal(user, deal, "title", "note")
    plain = share_deal(user, deal, "title")
    assert ask(server, share).json()["data"][0]["note"] == "secret"
    deals = next(each for each in manifest["dataContract"] if each["entityName"] == "deals")
    note = next(field for field in deals["fields"] if field["name"] == "note")
    note["access"] = {"read": "hr", "write": "hr"}
    install(server, manifest)
    assert has_ended(server, share)
    assert ask(server, plain).status_code == 200


def test_names_that_change_are_followed(make_server):
    server = make_server({"plugins": {"shares": {}}})
    install(server)
    deal = add(server.admin, DEALS, title="t", value=1)
    query = {"where": {"value": 1}, "orderBy": "value"}
    share = make(server.admin, entity="deals", query=query, fields=["title", "value"])
    for operation in (
        {"op": "rename_field", "entity": "deals", "field": "value", "name": "worth"},
        {"op": "rename_entity", "entity": "deals", "name": "bids"},
    ):
        answer = server.admin.post(
            "/api/v1/apps/shop/manifest/edit",
            json={"operations": [operation]},
            headers={"if-match": "*"},
        )
        assert answer.status_code == 200, answer.text
    assert ask(server, share).json()["data"] == [{"id": deal["id"], "title": "t", "worth": 1}]


def test_unknown_and_forged_tokens_are_one_sentence(shop: Server, admin: Client):
    share = share_deal(admin, add(admin, DEALS, title="t"))
    forged = [share["token"][:-1], share["token"] + "x", "x", "é", "x" * 5000, "a.b.c"]
    for token in forged:
        answer = shop.http.get(SHARED, headers={"authorization": f"Bearer {token}".encode()})
        assert (answer.status_code, answer.json()) == (404, GONE)
    for headers in ({}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer"}):
        assert shop.http.get(SHARED, headers=headers).status_code == 401
    refused(shop.http.get(f"{SHARED}/info"), 401)
    refused(shop.http.post(f"{SHARED}/rpc", json={"method": "x"}), 401)


def test_the_log_does_not_have_the_token(shop: Server, admin: Client, capfd):
    share = share_deal(admin, add(admin, DEALS, title="t"))
    assert admin.delete(f"{SHARES}/{share['id']}").status_code == 200
    capfd.readouterr()
    assert open_page(share).status_code == 404
    printed = "".join(capfd.readouterr())
    assert "/share/…" in printed
    assert share["token"] not in printed


def test_a_share_is_read_so_often_and_no_more(make_server):
    server = make_server({"plugins": {"shares": {"rate": 6, "most": 2}}})
    install(server)
    deal = add(server.admin, DEALS, title="t")
    share = share_deal(server.admin, deal)
    other = share_deal(server.admin, deal)
    said = refused(server.admin.post(SHARES, json={"context": {"a": 1}}), 400)
    assert "at most 2 shares" in said
    statuses = [ask(server, share).status_code for _ in range(8)]
    assert statuses == [200] * 6 + [429] * 2
    throttled = ask(server, share)
    assert int(throttled.headers["retry-after"]) > 0
    assert ask(server, other).status_code == 200
    guesses = [ask(server, {"token": f"guess {n}"}).status_code for n in range(30)]
    assert guesses[0] == 404
    assert guesses[-1] == 429


def test_workers_and_hosts_of_apps_make_none(shop: Server, admin: Client):
    share = share_deal(admin, add(admin, DEALS, title="t"))
    page = {"index.html": "<h1>Shop</h1>"}
    assert deploy(admin, "shop", page).status_code == 200
    other = deployed(shop, page)
    port = httpx.URL(shop.url).port
    on_host = {"host": f"shop.localhost:{port}"}
    elsewhere = {"host": other.name}
    assert shop.http.get(SHARED, headers=bearing(share) | on_host).status_code == 200
    refused(shop.http.get(SHARED, headers=bearing(share) | elsewhere), 404)
    for host in (on_host, elsewhere):
        refused(shop.http.post(SHARES, json={}, headers=host), 401)
        refused(admin.post(SHARES, json={}, headers=host), 401)
        own_page = shop.http.get(f"/share/{share['token']}", headers=host | {"accept": "text/html"})
        assert (own_page.status_code, own_page.text) == (200, page["index.html"])


def test_the_page_is_the_apps_own_where_it_says_so(make_server):
    server = make_server({"plugins": {"shares": {}}})
    install(
        server, MANIFEST | {"public": {"page": "frontend", "collections": [{"entity": "deals"}]}}
    )
    share = share_deal(server.admin, add(server.admin, DEALS, title="t"), "title")
    refused(open_page(share), 404)
    assert open_page(share, "application/json").status_code == 200
    assert deploy(server.admin, "shop", {"index.html": "<h1>Shop</h1>"}).status_code == 200
    leads = open_page(share)
    port = httpx.URL(server.url).port
    assert leads.status_code == 307
    assert leads.headers["location"] == f"http://shop.localhost:{port}/share/{share['token']}"
    assert leads.headers["referrer-policy"] == "no-referrer"


def test_the_app_takes_its_shares_along(make_server):
    server = make_server({"plugins": {"shares": {}}})
    install(server)
    share = make(server.admin, entity="deals", fields=["title"])
    assert server.admin.delete("/api/v1/apps/shop").status_code == 200
    assert has_ended(server, share)


def test_without_the_plugin_there_are_no_routes(server: Server):
    assert server.http.get("/share/x").status_code == 404
    refused(server.http.get(SHARED), 404)
