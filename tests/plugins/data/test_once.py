"""Idempotency keys: a request that is sent again acts once."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from kernel.testing import Client, Postgres, Server, running_server
from tests.plugins.data.conftest import overrides
from tests.plugins.data.shop import COMPANIES, CONTACTS, add, empty, holding, install, query
from tests.plugins.data.support import refused

BATCH = "/api/v1/apps/shop/batch"


@pytest.fixture
def admin(shop: Server) -> Client:
    empty(shop)
    shop.sql("truncate caudex_idempotency.keys")
    return shop.admin


def keyed(client: Client, path: str, body: Any, key: str = "k1", **more: Any) -> httpx.Response:
    return client.post(path, json=body, headers={"idempotency-key": key}, **more)


def test_the_same_request_acts_once_and_gets_the_same_reply(admin: Client):
    first = keyed(admin, COMPANIES, {"name": "one", "note": "n"})
    again = keyed(admin, COMPANIES, {"note": "n", "name": "one"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert first.headers["etag"] == again.headers["etag"]
    assert admin.get(f"{COMPANIES}/{first.json()['id']}").headers["etag"] == first.headers["etag"]
    assert query(admin, COMPANIES)["total"] == 1
    said = refused(keyed(admin, COMPANIES, {"name": "two"}))
    assert said == "this Idempotency-Key was used with another body"
    assert keyed(admin, COMPANIES, {"name": "one"}, "k2").status_code == 201
    assert keyed(admin, CONTACTS, {"email": "x"}).status_code == 201
    refused(keyed(admin, COMPANIES, {"name": "one"}, "k" * 256))
    refused(keyed(admin, COMPANIES, {"name": "one"}, "a b"))


def test_every_write_of_many_takes_a_key(admin: Client):
    bodies: list[tuple[str, Any]] = [
        (f"{COMPANIES}/bulk", [{"name": "a"}, {"name": "b"}]),
        (f"{CONTACTS}/bulk?on=email", [{"email": "a"}]),
        (BATCH, {"operations": [{"op": "create", "entity": "companies", "data": {"name": "c"}}]}),
        (f"{COMPANIES}/update-where", {"where": {"name": "a"}, "set": {"name": "d"}, "expect": 1}),
        (f"{COMPANIES}/delete-where", {"where": {"name": "b"}, "expect": 1}),
    ]
    first = [keyed(admin, path, body) for path, body in bodies]
    again = [keyed(admin, path, body) for path, body in bodies]
    assert all(answer.is_success for answer in first), [answer.text for answer in first]
    assert [answer.content for answer in first] == [answer.content for answer in again]
    assert query(admin, COMPANIES)["total"] == 2
    assert query(admin, CONTACTS)["total"] == 1


def test_a_failed_request_may_be_tried_again(admin: Client):
    body = {"email": "taken"}
    other = add(admin, CONTACTS, email="taken")
    refused(keyed(admin, CONTACTS, body))
    admin.delete(f"{CONTACTS}/{other['id']}")
    assert keyed(admin, CONTACTS, body).status_code == 201
    bulk = [{"name": "a"}, {"name": None}]
    assert "[1]" in refused(keyed(admin, f"{COMPANIES}/bulk", bulk))
    operations = {"operations": [{"op": "create", "entity": "contacts", "data": body}] * 2}
    assert "[0] contacts.email" in refused(keyed(admin, BATCH, operations))


def test_twins_act_once(admin: Client):
    found: list[httpx.Response] = []

    def send() -> None:
        found.append(keyed(admin, COMPANIES, {"name": "twin"}))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in found} == {201}
    assert len({answer.content for answer in found}) == 1
    assert query(admin, COMPANIES)["total"] == 1


def test_keys_belong_to_their_user_and_rights_are_checked_again(shop: Server, admin: Client):
    body = {"name": "mine"}
    writer = holding(shop, "companies.create", "companies.read", name="writer")
    first = keyed(writer, COMPANIES, body)
    assert first.json()["note"] is None
    assert keyed(admin, COMPANIES, body).json()["id"] != first.json()["id"]
    path = "/api/v1/apps/shop/roles/writer"
    assert admin.patch(path, json={"permissions": ["companies.create"]}).status_code == 200
    assert refused(keyed(writer, COMPANIES, body)).startswith("already done")
    assert admin.patch(path, json={"permissions": []}).status_code == 200
    refused(keyed(writer, COMPANIES, body), 403)


def test_of_a_large_reply_the_fact_is_kept(admin: Client):
    body = [{"name": "x" * 2000} for _ in range(600)]
    assert keyed(admin, f"{COMPANIES}/bulk", body).status_code == 201
    assert "already done" in refused(keyed(admin, f"{COMPANIES}/bulk", body))
    assert query(admin, COMPANIES)["total"] == 600


def test_a_key_ends_after_a_day(shop: Server, admin: Client):
    first = keyed(admin, COMPANIES, {"name": "one"}).json()
    shop.sql("update caudex_idempotency.keys set created_at = now() - interval '25 hours'")
    assert keyed(admin, COMPANIES, {"name": "two"}).json()["id"] != first["id"]


@pytest.mark.slow
def test_without_the_plugin_a_key_is_refused(postgres: Postgres):
    tree = overrides()
    tree["plugins"]["idempotency"] = {"enabled": False}
    with running_server(postgres, tree) as server:
        install(server)
        assert "is off" in refused(keyed(server.admin, COMPANIES, {"name": "one"}))
        assert server.admin.post(COMPANIES, json={"name": "one"}).status_code == 201


def test_sign_ins_and_secrets_keep_no_reply(shop: Server, admin: Client):
    headers = {"idempotency-key": "k1"}
    body = {"username": admin.username, "password": admin.password}
    tokens = {
        shop.http.post("/api/v1/auth/login", json=body, headers=headers).json()["accessToken"]
        for _ in range(2)
    }
    assert len(tokens) == 2
    for value in ("one", "two"):
        answer = admin.post(
            "/api/v1/apps/shop/secrets", json={"key": "K", "value": value}, headers=headers
        )
        assert answer.status_code == 200, answer.text
    assert shop.sql("select count(*) from caudex_idempotency.keys") == [(0,)]


def test_a_key_is_of_one_installation(shop: Server, admin: Client):
    first = keyed(admin, COMPANIES, {"name": "one"}).json()
    assert admin.delete("/api/v1/apps/shop").status_code == 200
    install(shop)
    assert keyed(admin, COMPANIES, {"name": "one"}).json()["id"] != first["id"]
