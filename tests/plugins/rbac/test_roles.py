"""Roles and assignments over HTTP, and the hooks that keep them in step."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import anyio
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from kernel.public import ACCESS, STATEMENTS, Grant, Permission, Transaction, server_actor
from kernel.testing import Client, MakeServer, Server
from plugins.rbac import store
from plugins.rbac.store import lock_user
from tests.plugins.rbac.support import allowed, grant, installed, only, removed

GHOST = "00000000-0000-4000-8000-000000000000"


def roles_of(app: str) -> str:
    return f"/api/v1/apps/{app}/roles"


def test_the_first_account_alone_is_core_admin(rbac: Server):
    _ = rbac.user(), rbac.admin
    listed = rbac.admin.get(f"{roles_of('core')}/assignments").json()
    assert [(a["userId"], a["role"]) for a in listed] == [(rbac.admin.id, "admin")]
    assert listed[0]["assignedAt"].endswith("+00:00")


def test_the_installer_gets_the_role_admin_once(rbac: Server):
    owner, other = rbac.user(), rbac.user()
    app = installed(rbac, by=owner)
    installed(rbac, by=other, app_id=app, first=False)
    listed = owner.get(f"{roles_of(app)}/assignments").json()
    assert [(a["userId"], a["role"]) for a in listed] == [(owner.id, "admin")]
    shown = owner.get(roles_of(app)).json()
    assert [(r["name"], r["inherits"], r["permissions"]) for r in shown] == [("admin", [], ["*"])]


def test_an_app_that_came_while_access_was_anothers_gets_its_admin_later(rbac: Server):
    app = installed(rbac, by=rbac.user(), first=False)
    assert [role["name"] for role in rbac.admin.get(roles_of(app)).json()] == ["admin"]
    assert rbac.admin.get(f"{roles_of(app)}/assignments").json() == []
    owner = rbac.user()
    body = {"userId": owner.id, "role": "admin"}
    assert rbac.admin.post(f"{roles_of(app)}/assign", json=body).status_code == 200
    changed = {"description": "Ours"}
    assert owner.patch(f"{roles_of(app)}/admin", json=changed).status_code == 200
    installed(rbac, app_id=app, first=False)
    [role] = owner.get(roles_of(app)).json()
    assert (role["description"], role["permissions"]) == ("Ours", ["*"])


def test_an_update_of_the_app_refreshes_its_keys(rbac: Server):
    app = installed(rbac, ["notes"])
    user = rbac.user()
    role = grant(rbac, user, app, "notes.read")
    installed(rbac, ["tasks"], [Permission("tasks.close", "Close")], app_id=app, first=False)
    available = user.get(f"/api/v1/apps/{app}/permissions/available").json()
    assert [p["key"] for p in available] == [
        "tasks.create", "tasks.read", "tasks.update", "tasks.delete", "tasks.close",
    ]  # fmt: skip
    assert available[-1] == {"key": "tasks.close", "description": "Close"}
    assert user.get(f"/api/v1/apps/{app}/permissions").json() == {
        "roles": [role],
        "permissions": [],
    }
    assert allowed(rbac, user, app, "notes", "read") == "NotFound"
    changed = {"permissions": ["notes.read", "tasks.close"]}
    assert rbac.admin.patch(f"{roles_of(app)}/{role}", json=changed).status_code == 200


def test_removing_an_app_removes_its_roles(rbac: Server):
    app = installed(rbac)
    user = rbac.user()
    grant(rbac, user, app, "contacts.read")
    removed(rbac, app)
    assert user.get(f"/api/v1/apps/{app}/permissions").status_code == 404
    installed(rbac, app_id=app)
    assert user.get(f"/api/v1/apps/{app}/permissions").json() == {"roles": [], "permissions": []}


def test_deleting_a_role_takes_it_from_users_and_from_other_roles(rbac: Server):
    app = installed(rbac)
    user = rbac.user()
    base = grant(rbac, user, app, "contacts.read")
    rbac.admin.post(roles_of(app), json={"name": "child", "inherits": [base]})
    assert rbac.admin.delete(f"{roles_of(app)}/{base}").json() == {
        "message": f"role '{base}' deleted"
    }
    shown = {r["name"]: r for r in rbac.admin.get(roles_of(app)).json()}
    assert base not in shown
    assert shown["child"]["inherits"] == []
    assert rbac.admin.get(f"{roles_of(app)}/assignments").json() == []
    assert allowed(rbac, user, app, "contacts", "read") == "Forbidden"


def test_two_admins_who_revoke_each_other_at_once_do_not_both_succeed(rbac: Server):
    for _ in range(5):
        one, two = rbac.user(), rbac.user()
        app = installed(rbac, by=one)
        url = f"{roles_of(app)}/revoke"
        one.post(f"{roles_of(app)}/assign", json={"userId": two.id, "role": "admin"})

        def revoke(by: Client, whom: Client, url: str = url) -> int:
            return by.post(url, json={"userId": whom.id, "role": "admin"}).status_code

        with ThreadPoolExecutor(2) as pool:
            answers = sorted(pool.map(revoke, (one, two), (two, one)))
        assert answers[0] == 200
        assert answers[1] in (400, 403), answers
        left = rbac.admin.get(f"{roles_of(app)}/assignments").json()
        assert len(left) == 1


def test_many_revocations_of_core_admins_at_once_leave_one(rbac: Server):
    others = [rbac.user() for _ in range(4)]
    for user in others:
        rbac.admin.post(f"{roles_of('core')}/assign", json={"userId": user.id, "role": "admin"})

    def revoke(user: Client) -> int:
        body = {"userId": user.id, "role": "admin"}
        return user.post(f"{roles_of('core')}/revoke", json=body).status_code

    with ThreadPoolExecutor(5) as pool:
        answers = sorted(pool.map(revoke, [rbac.admin, *others]))
    assert answers == [200, 200, 200, 200, 400]
    everyone = [rbac.admin, *others]
    access = rbac.services.get(ACCESS)
    left = [user for user in everyone if rbac.run(access.is_core_admin, user.id)]
    assert len(left) == 1
    if left[0] is not rbac.admin:
        body = {"userId": rbac.admin.id, "role": "admin"}
        assert left[0].post(f"{roles_of('core')}/assign", json=body).status_code == 200
        body["userId"] = left[0].id
        assert rbac.admin.post(f"{roles_of('core')}/revoke", json=body).status_code == 200


def test_the_last_core_admin_can_be_neither_disabled_nor_deleted(rbac: Server):
    mine = f"/api/v1/users/{rbac.admin.id}"
    assert rbac.admin.patch(mine, json={"disabled": True}).status_code == 400
    assert rbac.admin.delete(mine).status_code == 400
    assert rbac.admin.get("/api/v1/auth/me").status_code == 200


def test_a_disabled_admin_does_not_count(rbac: Server):
    other = rbac.user()
    core = roles_of("core")
    rbac.admin.post(f"{core}/assign", json={"userId": other.id, "role": "admin"})
    assert rbac.admin.patch(f"/api/v1/users/{other.id}", json={"disabled": True}).status_code == 200
    me = {"userId": rbac.admin.id, "role": "admin"}
    assert rbac.admin.post(f"{core}/revoke", json=me).status_code == 400
    assert rbac.admin.delete(f"/api/v1/users/{rbac.admin.id}").status_code == 400
    assert rbac.admin.delete(f"/api/v1/users/{other.id}").status_code == 200


def test_two_admins_who_disable_each_other_at_once_do_not_both_succeed(make_server: MakeServer):
    server = make_server({"plugins": only("auth", "rbac")})
    last = server.admin

    def disable(by: Client, whom: Client) -> int:
        return by.patch(f"/api/v1/users/{whom.id}", json={"disabled": True}).status_code

    for _ in range(4):
        other = server.user()
        last.post(f"{roles_of('core')}/assign", json={"userId": other.id, "role": "admin"})
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(disable, (last, other), (other, last)))
        assert answers.count(200) == 1, answers
        last = last if answers[0] == 200 else other
        assert last.get("/api/v1/users").status_code == 200


def test_a_deleted_account_leaves_no_assignment(rbac: Server):
    user = rbac.user()
    app = installed(rbac, by=user)
    assert rbac.admin.delete(f"/api/v1/users/{user.id}").status_code == 200
    assert rbac.admin.get(f"{roles_of(app)}/assignments").json() == []
    assert allowed(rbac, user, app, "contacts", "read") == "Forbidden"


def test_a_disabled_account_is_granted_nothing_and_keeps_its_roles(rbac: Server):
    user, boss = rbac.user(), rbac.user()
    app = installed(rbac)
    grant(rbac, user, app, "contacts.read.own")
    body = {"userId": boss.id, "role": "admin"}
    assert rbac.admin.post(f"{roles_of('core')}/assign", json=body).status_code == 200
    for who, found in ((user, Grant(own_only=True)), (boss, Grant())):
        url = f"/api/v1/users/{who.id}"
        assert allowed(rbac, who, app, "contacts", "read") == found
        assert rbac.admin.patch(url, json={"disabled": True}).status_code == 200
        assert allowed(rbac, who, app, "contacts", "read") == "Forbidden"
        assert rbac.admin.patch(url, json={"disabled": False}).status_code == 200
        assert allowed(rbac, who, app, "contacts", "read") == found
    assert rbac.admin.delete(f"/api/v1/users/{boss.id}").status_code == 200


def test_the_login_of_an_app_cannot_keep_roles_from_a_user(rbac: Server):
    user, app = rbac.user(), installed(rbac)
    role = f"caudex_test_{app}"
    rbac.sql(f"create role {role} login password 'x'")
    try:
        limited = make_conninfo(rbac.dsn, user=role, password="x")
        with psycopg.connect(limited, autocommit=True) as worker:
            worker.execute(
                "select pg_advisory_lock(hashtextextended('caudex_rbac/' || %s, 0))", [user.id]
            )
            body = {"userId": user.id, "role": "admin"}
            assert rbac.admin.post(f"{roles_of(app)}/assign", json=body).status_code == 200
            assert rbac.admin.delete(f"/api/v1/users/{user.id}").status_code == 200
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                worker.execute("select from caudex_kernel.locks for update")
    finally:
        rbac.sql(f"drop role {role}")


def test_a_user_is_given_roles_or_closed_by_one_transaction_at_a_time(rbac: Server):
    statements, steps = rbac.services.get(STATEMENTS), list[str]()
    someone, other = (str(uuid.UUID(int=number)) for number in (1, 2))

    async def work(tx: Transaction, user_id: str, name: str, b_in: anyio.Event) -> None:
        await lock_user(tx, user_id)
        steps.append(f"{name} in")
        if name == "b":
            b_in.set()
        with anyio.fail_after(30):
            await b_in.wait()
        await anyio.sleep(0.2)  # in which the other `a` would come in
        steps.append(f"{name} out")

    async def all_at_once() -> None:
        b_in = anyio.Event()
        async with anyio.create_task_group() as tasks:
            for user_id, name in ((someone, "a"), (someone, "a"), (other, "b")):
                does = partial(work, user_id=user_id, name=name, b_in=b_in)
                tasks.start_soon(statements.run, server_actor(), does)

    rbac.run(all_at_once)
    assert [step for step in steps if step[0] == "a"] == ["a in", "a out"] * 2
    assert steps.index("b in") < steps.index("a out")


def test_roles_that_are_wired_into_a_circle_at_the_same_moment_stay_without_one(rbac: Server):
    app = installed(rbac)
    for name in ("a", "b"):
        rbac.admin.post(roles_of(app), json={"name": name})
    for _ in range(5):

        def inherit(child: str, parent: str) -> int:
            body = {"inherits": [parent]}
            return rbac.admin.patch(f"{roles_of(app)}/{child}", json=body).status_code

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(inherit, ("a", "b"), ("b", "a"))) == [200, 400]
        for name in ("a", "b"):
            rbac.admin.patch(f"{roles_of(app)}/{name}", json={"inherits": []})


def test_cached_roles_are_not_read_within_a_transaction(
    rbac: Server, monkeypatch: pytest.MonkeyPatch
):
    """It may have to be read, and a caller with a connection must not wait for a second one."""
    role_cache = rbac.services.get(ACCESS)._cache  # type: ignore[attr-defined]
    lock_app, app, held, steps = store.lock_app, role_cache.app, role_cache.held_roles, list[str]()

    async def lock(tx: Transaction, app_id: str) -> object:
        steps.append("locked")
        return await lock_app(tx, app_id)

    async def insert(*_: object) -> None:
        steps.append("inserted")

    def noting(ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
        async def asked(what: Any) -> object:
            steps.append("asked")
            return await ask(what)

        return asked

    monkeypatch.setattr(store, "lock_app", lock)
    monkeypatch.setattr(store, "insert_role", insert)
    monkeypatch.setattr(role_cache, "app", noting(app))
    monkeypatch.setattr(role_cache, "held_roles", noting(held))
    body = {"name": "auditor", "permissions": ["*"]}
    assert rbac.admin.post(roles_of("core"), json=body).status_code == 200
    assert steps[steps.index("locked") :][:2] == ["locked", "inserted"]


def test_an_app_has_a_bounded_number_of_roles(rbac: Server):
    app = installed(rbac)
    rbac.sql(
        "insert into caudex_rbac.roles (app_id, name)"
        " select %s, 'r' || n from generate_series(1, 499) n",
        app,
    )
    answer = rbac.admin.post(roles_of(app), json={"name": "one-more"})
    assert answer.status_code == 400
    assert "at most 500 roles" in answer.json()["error"]


def test_the_roles_of_an_app_have_a_bounded_size_together(rbac: Server):
    """Every process reads them all when one changes."""
    keys = [f"key{number}-{'x' * 110}" for number in range(2100)]
    app = installed(rbac, declared=[Permission(key) for key in keys])
    for number in range(3):
        body = {"name": f"r{number}", "permissions": keys}
        assert rbac.admin.post(roles_of(app), json=body).status_code == 200
    small = {"name": "small", "permissions": keys[:1]}
    assert rbac.admin.post(roles_of(app), json=small).status_code == 200
    for answer in (
        rbac.admin.post(roles_of(app), json={"name": "r3", "permissions": keys}),
        rbac.admin.patch(f"{roles_of(app)}/small", json={"permissions": keys}),
    ):
        assert answer.status_code == 400
        assert "at most 1000000 bytes of JSON together" in answer.json()["error"]
    shown = {role["name"]: role["permissions"] for role in rbac.admin.get(roles_of(app)).json()}
    assert shown.keys() == {"admin", "r0", "r1", "r2", "small"}
    assert shown["small"] == keys[:1]


def test_roles_that_were_too_large_before_are_read_and_may_get_smaller(rbac: Server):
    keys = [f"key{number}-{'x' * 110}" for number in range(4500)]
    app = installed(rbac, declared=[Permission(key) for key in keys])
    rbac.sql(
        "insert into caudex_rbac.roles (app_id, name, permissions) select %s, n, %s"
        " from unnest(array['one', 'two', 'three']) as n",
        app, keys,
    )  # fmt: skip
    role = f"{roles_of(app)}/one"
    assert rbac.admin.patch(role, json={"description": "larger"}).status_code == 400
    assert rbac.admin.patch(role, json={"permissions": keys[1:]}).status_code == 200
    assert rbac.admin.delete(f"{roles_of(app)}/two").status_code == 200
    assert {role["name"] for role in rbac.admin.get(roles_of(app)).json()} == {
        "admin", "one", "three",
    }  # fmt: skip


def test_many_assignments_at_once_all_count(rbac: Server):
    app = installed(rbac)
    users = [rbac.user() for _ in range(6)]
    rbac.admin.post(roles_of(app), json={"name": "reader", "permissions": ["contacts.read"]})

    def assign(user: Client) -> int:
        body = {"userId": user.id, "role": "reader"}
        done = rbac.admin.post(f"{roles_of(app)}/assign", json=body).status_code
        seen = user.get(f"/api/v1/apps/{app}/permissions").json()["roles"]
        return done if seen == ["reader"] else 0

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(assign, users)) == [200] * 6


def test_a_role_of_an_unknown_app_is_404_before_anything_of_the_body(rbac: Server):
    for body in ({}, {"userId": GHOST, "role": "admin"}):
        assert rbac.admin.post(f"{roles_of('nowhere')}/assign", json=body).status_code == 404
