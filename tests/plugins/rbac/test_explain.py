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
EXPLAIN = "/api/v1/permissions/explain"
MISSING = "00000000-0000-4000-8000-000000000000"


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
    return caller.post(EXPLAIN, json=body)


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
    got = shop.admin.get(EXPLAIN, params=query)
    assert got.json() == explain(shop.admin, clerk, "orders.read").json()
    wrong = {**query, "acton": "x"}
    assert shop.admin.get(EXPLAIN, params=wrong).status_code == 400


def test_bad_questions_are_refused(shop):
    clerk = shop.user(roles={"shop": ["clerk"]})
    misspelt = explain(shop.admin, clerk, "orders.reed")
    assert misspelt.status_code == 400
    assert "orders.read" in misspelt.json()["error"]
    body = {"user": MISSING, "app": "shop", "action": "orders.read"}
    assert shop.admin.post(EXPLAIN, json=body).status_code == 404


def test_an_unknown_app_is_404_as_at_every_door(shop):
    clerk = shop.user(roles={"shop": ["clerk"]})
    for caller in (shop.admin, clerk, shop.user()):
        for user in (caller.id, clerk.id, MISSING, "?"):
            body = {"user": user, "app": "nothing", "action": "orders.read"}
            assert caller.post(EXPLAIN, json=body).status_code == 404
            roles = caller.get("/api/v1/apps/nothing/roles")
            assert roles.status_code == 404


def test_who_has_no_role_on_the_app_learns_nothing_of_it(shop):
    stranger, boss = shop.user(), shop.user(roles={"shop": ["boss"]})
    record = shop.admin.post(ORDERS, json={"item": "tea"}).json()["id"]
    questions = [
        {},
        {"action": "?"},
        {"assume": {"roles": ["?"]}},
        {"assume": {"roles": ["boss"]}},
        {"assume": {"permissions": ["?"]}},
        {"assume": {"permissions": ["*"]}, "record": record},
        {"assume": {"permissions": ["*"]}, "record": MISSING},
        {"user": boss.id},
        {"user": MISSING},
        {"user": "?"},
    ]
    answers = set()
    for question in questions:
        body = {"user": stranger.id, "app": "shop", "action": "orders.read", **question}
        answer = stranger.post(EXPLAIN, json=body)
        answers.add((answer.status_code, answer.text))
    assert answers == {(403, '{"error":"a role on this app is needed"}')}
    assert stranger.get("/api/v1/apps/shop/roles").status_code == 403


def test_others_are_explained_to_admins_only_whatever_is_asked(shop):
    clerk, boss = shop.user(roles={"shop": ["clerk"]}), shop.user(roles={"shop": ["boss"]})
    answers = set()
    for user in (boss.id, MISSING, "?", ""):
        for action in ("orders.read", "?"):
            body = {"user": user, "app": "shop", "action": action}
            answer = clerk.post(EXPLAIN, json=body)
            answers.add((answer.status_code, answer.text))
    [(status, _)] = answers
    assert status == 403


def test_no_assumption_shows_whether_a_record_exists(shop):
    shop.admin.post(
        "/api/v1/apps/shop/roles",
        json={"name": "mover", "permissions": ["orders.read.own", "orders.create"]},
    )
    mover = shop.user(roles={"shop": ["mover"]})
    foreign = shop.admin.post(ORDERS, json={"item": "milk"}).json()["id"]
    own = mover.post(ORDERS, json={"item": "tea"}).json()["id"]
    assert mover.get(f"{ORDERS}/{foreign}").status_code == 404
    for assume in ({"roles": ["boss"]}, {"permissions": ["orders.*"]}, {"permissions": ["*"]}):
        for action in ("orders.read", "orders.update", "orders.delete"):
            there, missing = (
                explain(mover, mover, action, record=record, assume=assume)
                for record in (foreign, MISSING)
            )
            assert there.json() == missing.json()
            assert there.json()["allowed"] is False
            mine = explain(mover, mover, action, record=own, assume=assume).json()
            assert mine["allowed"] is True
            asked_by_admin = explain(shop.admin, mover, action, record=foreign, assume=assume)
            assert asked_by_admin.json()["allowed"] is True


def test_a_right_to_change_does_not_show_whether_a_record_exists(shop):
    shop.admin.post(
        "/api/v1/apps/shop/roles", json={"name": "shredder", "permissions": ["orders.delete"]}
    )
    shredder = shop.user(roles={"shop": ["shredder"]})
    record = shop.admin.post(ORDERS, json={"item": "milk"}).json()["id"]
    assert explain(shredder, shredder, "orders.delete").json()["allowed"] is True
    there, missing = (
        explain(shredder, shredder, "orders.delete", record=each) for each in (record, MISSING)
    )
    assert (there.status_code, there.text) == (missing.status_code, missing.text)
    assert there.json()["error"] == "the permission 'orders.read' is needed"
    assert explain(shop.admin, shredder, "orders.delete", record=record).json()["allowed"] is True


@pytest.mark.parametrize("key", ["orders.reed", "?", "nothing.*", "orders", ""])
def test_assumed_keys_that_the_app_does_not_have_are_refused(shop, key):
    clerk = shop.user(roles={"shop": ["clerk"]})
    for caller in (shop.admin, clerk):
        answer = explain(caller, clerk, "orders.delete", assume={"permissions": [key]})
        assert answer.status_code == 400
        assert answer.json()["error"].startswith(f"assume.permissions: {key!r} is no permission")
    for known in ("*", "orders.*", "orders.read.own", "orders.refund", "core:logs.read"):
        answer = explain(shop.admin, clerk, "orders.delete", assume={"permissions": [known]})
        assert answer.status_code == 200


def test_a_user_of_the_app_learns_from_it_what_other_doors_show(shop):
    """Names of roles and of permission keys are open to every user of the app."""
    clerk = shop.user(roles={"shop": ["clerk"]})
    roles = {role["name"] for role in clerk.get("/api/v1/apps/shop/roles").json()}
    text = explain(clerk, clerk, "orders.read", assume={"roles": ["?"]}).json()["error"]
    names = text.partition("known: ")[2].split(", ")
    assert set(names) == roles
    available = clerk.get("/api/v1/apps/shop/permissions/available").json()
    text = explain(clerk, clerk, "?").json()["error"]
    keys = text.partition("known: ")[2].split(", ")
    assert set(keys) == {permission["key"] for permission in available}
