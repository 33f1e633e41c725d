"""Explaining a decision."""

import pytest

from kernel.testing import Server

APP = {
    "appId": "shop",
    "name": "Shop",
    "dataContract": [
        {"entityName": "orders", "fields": [{"name": "item", "type": "text", "required": True}]}
    ],
    "permissions": [{"key": "orders.refund", "description": "Give money back"}],
}
ORDERS = "/api/v1/apps/shop/collections/orders"


@pytest.fixture(scope="module")
def shop(server: Server) -> Server:
    server.install(APP)
    roles = "/api/v1/apps/shop/roles"
    for body in (
        {"name": "reader", "permissions": ["orders.read"]},
        {"name": "clerk", "inherits": ["reader"], "permissions": ["orders.update.own"]},
        {"name": "boss", "inherits": ["clerk"], "permissions": ["orders.*"]},
    ):
        assert server.admin.post(roles, json=body).is_success
    return server


def explain(caller, user, action, **more):
    body = {"user": user.id, "app": "shop", "action": action, **more}
    return caller.post("/api/v1/permissions/explain", json=body)


def test_the_roles_on_the_way_are_named(shop):
    clerk = shop.user(roles={"shop": ["clerk"]})
    found = explain(shop.admin, clerk, "orders.read").json()
    assert found["allowed"] is True
    assert found["by"] == [
        {"role": "clerk", "permission": "orders.read", "via": ["reader"], "plugin": "rbac"}
    ]


def test_a_wildcard_is_named(shop):
    boss = shop.user(roles={"shop": ["boss"]})
    by = explain(boss, boss, "orders.refund").json()["by"]
    assert [(each["role"], each["permission"]) for each in by] == [("boss", "orders.*")]


def test_a_missing_permission_is_a_reason(shop):
    clerk = shop.user("carla", roles={"shop": ["clerk"]})
    found = explain(clerk, clerk, "orders.delete").json()
    assert found["allowed"] is False
    assert found["by"] == []
    assert found["reason"] == "no role of carla on 'shop' holds 'orders.delete'"


def test_an_assumption_is_explained_and_changes_nothing(shop):
    clerk = shop.user(roles={"shop": ["clerk"]})
    assumed = explain(shop.admin, clerk, "orders.delete", assume={"roles": ["boss"]})
    assert assumed.json()["allowed"] is True
    keys = explain(shop.admin, clerk, "orders.delete", assume={"permissions": ["orders.delete"]})
    assert keys.json()["by"][0]["role"] == "(assumed)"
    assert explain(shop.admin, clerk, "orders.delete").json()["allowed"] is False
    wrong = explain(shop.admin, clerk, "orders.delete", assume={"roles": ["bos"]})
    assert wrong.status_code == 400


def test_a_record_of_another_user_is_out_of_reach(shop):
    clerk = shop.user("cleo", roles={"shop": ["clerk"]})
    shop.grant(clerk, "shop", "orders.create")
    own = clerk.post(ORDERS, json={"item": "tea"}).json()["id"]
    foreign = shop.admin.post(ORDERS, json={"item": "milk"}).json()["id"]
    mine = explain(shop.admin, clerk, "orders.update", record=own).json()
    assert (mine["allowed"], mine["own_only"]) == (True, True)
    other = explain(shop.admin, clerk, "orders.update", record=foreign).json()
    assert other["allowed"] is False
    assert "did not create this record" in other["reason"]
    own_question = explain(clerk, clerk, "orders.update", record=foreign).json()
    assert own_question["reason"] == "no such record is within reach"


def test_a_core_admin_is_named(shop):
    by = explain(shop.admin, shop.admin, "orders.read").json()["by"]
    assert {"role": "core:admin", "permission": "*", "via": [], "plugin": "rbac"} in by


def test_only_the_user_and_admins_may_ask(shop):
    one, two = shop.user(roles={"shop": ["clerk"]}), shop.user(roles={"shop": ["boss"]})
    assert explain(two, one, "orders.read").status_code == 403
    assert explain(one, one, "orders.read").status_code == 200


def test_a_get_asks_the_same(shop):
    clerk = shop.user(roles={"shop": ["clerk"]})
    query = {"user": clerk.id, "app": "shop", "action": "orders.read"}
    got = shop.admin.get("/api/v1/permissions/explain", params=query)
    assert got.json() == explain(shop.admin, clerk, "orders.read").json()
    wrong = {**query, "acton": "x"}
    assert shop.admin.get("/api/v1/permissions/explain", params=wrong).status_code == 400


def test_bad_questions_are_refused(shop):
    clerk = shop.user(roles={"shop": ["clerk"]})
    misspelt = explain(shop.admin, clerk, "orders.reed")
    assert misspelt.status_code == 400
    assert "orders.read" in misspelt.json()["error"]
    body = {"user": "00000000-0000-0000-0000-000000000000", "app": "shop", "action": "orders.read"}
    assert shop.admin.post("/api/v1/permissions/explain", json=body).status_code == 404
    unknown = {**body, "user": clerk.id, "app": "nothing"}
    assert shop.admin.post("/api/v1/permissions/explain", json=unknown).status_code in (403, 404)
