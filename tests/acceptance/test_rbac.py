"""Roles and permissions over HTTP, on an app that was really installed."""

import itertools
from typing import Any

import pytest

from kernel.testing import Client, Server

GHOST = "00000000-0000-4000-8000-000000000000"
_count = itertools.count(1)
MANIFEST = {
    "name": "A CRM",
    "version": "1.0.0",
    "dataContract": [
        {"entityName": "contacts", "fields": [{"name": "first_name", "type": "text"}]},
        {"entityName": "deals", "fields": [{"name": "title", "type": "text"}]},
    ],
}
GENERATED = [
    "contacts.create", "contacts.read", "contacts.update", "contacts.delete",
    "deals.create", "deals.read", "deals.update", "deals.delete",
]  # fmt: skip


def install(client: Client, declared: object = None) -> str:
    """Install the CRM under an id of its own and return it."""
    app_id = f"crm{next(_count)}"
    manifest: dict[str, Any] = {"appId": app_id, **MANIFEST}
    if declared is not None:
        manifest["permissions"] = declared
    answer = client.post("/api/v1/apps", json=manifest)
    assert answer.status_code == 200, answer.text
    return app_id


@pytest.fixture(scope="module")
def crm(server: Server) -> str:
    """An app that tests share: each uses roles of its own."""
    return install(server.admin)


def url(app_id: str, rest: str = "") -> str:
    return f"/api/v1/apps/{app_id}/{rest}"


def new_role(server: Server, app_id: str, *permissions: str, **more: object) -> str:
    name = f"role{next(_count)}"
    body = {"name": name, "permissions": list(permissions), **more}
    answer = server.admin.post(url(app_id, "roles"), json=body)
    assert answer.json() == {"message": f"role '{name}' created"}
    return name


def give(server: Server, app_id: str, user: Client, role: str) -> None:
    body = {"userId": user.id, "role": role}
    answer = server.admin.post(url(app_id, "roles/assign"), json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"message": f"role '{role}' assigned"}


def member(server: Server, app_id: str, *permissions: str) -> Client:
    user = server.user()
    give(server, app_id, user, new_role(server, app_id, *permissions))
    return user


def role(server: Server, app_id: str, name: str) -> dict[str, Any]:
    return {r["name"]: r for r in server.admin.get(url(app_id, "roles")).json()}[name]


# Permissions


def test_the_installer_holds_everything_in_declaration_order(server: Server, crm: str):
    answer = server.admin.get(url(crm, "permissions"))
    assert answer.json() == {"roles": ["admin"], "permissions": GENERATED}


def test_a_user_without_a_role_gets_empty_lists(server: Server, crm: str):
    answer = server.user().get(url(crm, "permissions"))
    assert (answer.status_code, answer.json()) == (200, {"roles": [], "permissions": []})


def test_available_lists_generated_keys_then_declared_ones(server: Server):
    declared = {
        "permissions": [
            {"key": "contacts.write", "description": "Write them"},
            {"key": "deals.read", "description": "See what is sold"},
        ]
    }
    app = install(server.admin, declared)
    listed = server.admin.get(url(app, "permissions/available")).json()
    assert [entry["key"] for entry in listed] == [*GENERATED, "contacts.write"]
    assert all(set(entry) == {"key", "description"} for entry in listed)
    words = {entry["key"]: entry["description"] for entry in listed}
    assert words["deals.read"] == "See what is sold"
    assert words["contacts.write"] == "Write them"


def test_a_declared_key_allows_no_write(server: Server):
    app = install(server.admin, [{"key": "contacts.write", "description": "Write"}])
    user = member(server, app, "contacts.write")
    assert user.get(url(app, "permissions")).json()["permissions"] == ["contacts.write"]
    answer = user.post(url(app, "collections/contacts"), json={"first_name": "A"})
    assert answer.status_code == 403


def test_permissions_are_united_and_inherited(server: Server, crm: str):
    base = new_role(server, crm, "deals.read")
    middle = new_role(server, crm, "deals.update", inherits=[base])
    top = new_role(server, crm, "contacts.*", inherits=[middle])
    user = server.user()
    give(server, crm, user, top)
    assert user.get(url(crm, "permissions")).json() == {
        "roles": [top],
        "permissions": [*GENERATED[:4], "deals.read", "deals.update"],
    }


def test_core_shows_its_star_as_it_is(server: Server):
    answer = server.admin.get(url("core", "permissions"))
    assert answer.json() == {"roles": ["admin"], "permissions": ["*"]}


def test_core_is_in_no_list_of_apps(server: Server, crm: str):
    assert "core" not in [app["id"] for app in server.admin.get("/api/v1/apps").json()]


def test_another_users_permissions_are_for_admins_and_that_user(server: Server):
    owner = server.user()
    app = install(server.admin)
    give(server, app, owner, "admin")
    user, other = member(server, app, "deals.read"), member(server, app, "deals.read")
    path = url(app, f"permissions/{user.id}")
    for client in (user, owner, server.admin):
        assert client.get(path).json()["permissions"] == ["deals.read"]
    assert user.get(url(app, f"permissions/{user.id.upper()}")).status_code == 200
    assert other.get(path).status_code == 403
    assert server.user().get(path).status_code == 403
    assert other.get(url(app, f"permissions/{GHOST}")).status_code == 403
    assert owner.get(url(app, f"permissions/{GHOST}")).status_code == 404
    assert owner.get(url(app, "permissions/nonsense")).status_code == 400
    assert owner.get(url("nowhere", f"permissions/{user.id}")).status_code == 404


# Access


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "roles"), ("POST", "roles"), ("PATCH", "roles/x"), ("DELETE", "roles/x"),
     ("GET", "roles/assignments"), ("POST", "roles/assign"), ("POST", "roles/revoke"),
     ("GET", "permissions"), ("GET", "permissions/available"), ("GET", f"permissions/{GHOST}")],
)  # fmt: skip
def test_every_route_refuses_in_order(server: Server, crm: str, method: str, path: str):
    user = server.user()
    assert server.http.request(method, url(crm, path)).status_code == 401
    assert user.request(method, url("nowhere", path)).status_code == 404
    if path != "permissions":
        assert user.request(method, url(crm, path)).status_code == 403


def test_members_read_roles_and_admins_write_them(server: Server, crm: str):
    user = member(server, crm, "deals.read")
    assert user.get(url(crm, "roles")).status_code == 200
    assert user.get(url(crm, "permissions/available")).status_code == 200
    assert user.get(url(crm, "roles/assignments")).status_code == 403
    assert user.post(url(crm, "roles"), json={"name": "mine"}).status_code == 403
    body = {"userId": user.id, "role": "admin"}
    assert user.post(url(crm, "roles/assign"), json=body).status_code == 403
    assert user.post(url(crm, "roles/revoke"), json=body).status_code == 403


def test_the_admin_of_an_app_rules_it_and_no_other(server: Server, crm: str):
    owner = server.user()
    app = install(server.admin)
    give(server, app, owner, "admin")
    assert owner.post(url(app, "roles"), json={"name": "mine"}).status_code == 200
    assert owner.get(url(app, "roles/assignments")).status_code == 200
    assert owner.post(url(crm, "roles"), json={"name": "mine"}).status_code == 403
    assert owner.post(url("core", "roles"), json={"name": "mine"}).status_code == 403
    body = {"userId": owner.id, "role": "admin"}
    assert owner.post(url("core", "roles/assign"), json=body).status_code == 403


def test_actions_follow_the_role_at_once(server: Server, crm: str):
    contacts = url(crm, "collections/contacts")
    reader = new_role(server, crm, "contacts.read")
    user = server.user()
    assert user.get(contacts).status_code == 403
    give(server, crm, user, reader)
    assert user.get(contacts).status_code == 200
    assert user.post(contacts, json={"first_name": "A"}).status_code == 403
    server.admin.patch(url(crm, f"roles/{reader}"), json={"permissions": ["contacts.create"]})
    assert user.post(contacts, json={"first_name": "A"}).status_code == 201
    assert user.get(contacts).status_code == 403
    server.admin.delete(url(crm, f"roles/{reader}"))
    assert user.post(contacts, json={"first_name": "A"}).status_code == 403


def test_own_rows_alone(server: Server, crm: str):
    contacts = url(crm, "collections/contacts")
    theirs = server.admin.post(contacts, json={"first_name": "Theirs"}).json()["id"]
    user = member(server, crm, "contacts.create.own", "contacts.read.own", "contacts.update.own")
    mine = user.post(contacts, json={"first_name": "Mine"}).json()["id"]
    assert [row["id"] for row in user.get(contacts).json()] == [mine]
    assert user.get(f"{contacts}/{mine}").status_code == 200
    assert user.get(f"{contacts}/{theirs}").status_code == 404
    assert user.patch(f"{contacts}/{theirs}", json={"first_name": "X"}).status_code == 404
    assert user.delete(f"{contacts}/{mine}").status_code == 403


# Roles


def test_a_role_is_listed_as_it_was_made(server: Server, crm: str):
    base = new_role(server, crm)
    name = new_role(
        server, crm, "deals.read", "deals.read", inherits=[base, base], description="Sells"
    )
    assert role(server, crm, name) == {
        "name": name,
        "description": "Sells",
        "inherits": [base],
        "permissions": ["deals.read"],
    }


def test_a_change_touches_what_it_names(server: Server, crm: str):
    name = new_role(server, crm, "deals.read", description="Old")
    path = url(crm, f"roles/{name}")
    answer = server.admin.patch(path, json={"description": "New", "name": name})
    assert answer.json() == {"message": f"role '{name}' updated"}
    assert role(server, crm, name)["description"] == "New"
    assert role(server, crm, name)["permissions"] == ["deals.read"]
    server.admin.patch(path, json={"description": None, "permissions": []})
    assert role(server, crm, name)["description"] is None
    assert role(server, crm, name)["permissions"] == []


def test_a_change_that_would_not_be_made_is_refused(server: Server, crm: str):
    name = new_role(server, crm, "deals.read", description="Old")
    path = url(crm, f"roles/{name}")
    for body, said in (
        ({"permission": ["deals.update"]}, "permission"),
        ({"description": "New", "x": 1}, "x"),
        ({"name": "other"}, "name: a role cannot be renamed"),
    ):
        answer = server.admin.patch(path, json=body)
        assert answer.status_code == 400
        assert said in answer.json()["error"]
    assert role(server, crm, name)["description"] == "Old"
    assert role(server, crm, name)["permissions"] == ["deals.read"]


def test_names_with_spaces_work_in_paths(server: Server, crm: str):
    server.admin.post(url(crm, "roles"), json={"name": "Sales Team 1.0"})
    answer = server.admin.delete(url(crm, "roles/Sales%20Team%201.0"))
    assert answer.json() == {"message": "role 'Sales Team 1.0' deleted"}


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": 1}, {"name": None}, {"name": "a/b"}, {"name": "x" * 65},
     {"name": "assign"}, {"name": "revoke"}, {"name": "assignments"}, {"name": "admin"},
     {"name": "Admin"}, {"name": "a\0"}, {"name": "ok", "permissions": ["%"]}, [], None, "x",
     {"name": "ok", "permissions": ["nothing.read"]}, {"name": "ok", "permissions": "deals.read"},
     {"name": "ok", "permissions": [1]}, {"name": "ok", "inherits": ["ghost"]},
     {"name": "ok", "inherits": ["ok"]}, {"name": "ok", "description": 5},
     {"name": "ok", "description": "x" * 1001}, {"name": "ok", "permissions": ["a"] * 5001}],
    ids=lambda body: str(body)[:40],
)  # fmt: skip
def test_a_bad_role_is_400(server: Server, crm: str, body: object):
    answer = server.admin.post(url(crm, "roles"), json=body)
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"error"}


def test_a_name_is_taken_once(server: Server, crm: str):
    name = new_role(server, crm)
    answer = server.admin.post(url(crm, "roles"), json={"name": name})
    assert answer.status_code == 400
    assert "already exists" in answer.json()["error"]


def test_admin_cannot_be_changed_but_for_its_description(server: Server, crm: str):
    path = url(crm, "roles/admin")
    for body in ({"permissions": []}, {"inherits": []}, {"permissions": ["*"], "description": "x"}):
        assert server.admin.patch(path, json=body).status_code == 400
    assert server.admin.patch(path, json={"description": "The boss"}).status_code == 200
    assert role(server, crm, "admin")["description"] == "The boss"
    assert role(server, crm, "admin")["permissions"] == ["*"]
    assert server.admin.delete(path).status_code == 400


def test_an_unknown_role_is_404_in_a_path_and_400_in_a_body(server: Server, crm: str):
    assert server.admin.patch(url(crm, "roles/ghost"), json={}).status_code == 404
    assert server.admin.delete(url(crm, "roles/ghost")).status_code == 404
    body = {"userId": server.admin.id, "role": "ghost"}
    assert server.admin.post(url(crm, "roles/assign"), json=body).status_code == 400
    assert server.admin.post(url(crm, "roles/revoke"), json=body).status_code == 400


def test_a_circle_is_shown(server: Server, crm: str):
    a = new_role(server, crm)
    b = new_role(server, crm, inherits=[a])
    c = new_role(server, crm, inherits=[b])
    answer = server.admin.patch(url(crm, f"roles/{a}"), json={"inherits": [c]})
    assert answer.status_code == 400
    assert f"{a} -> {c} -> {b} -> {a}" in answer.json()["error"]


def test_a_tower_has_an_end(server: Server, crm: str):
    top = new_role(server, crm)
    for _ in range(16):
        top = new_role(server, crm, inherits=[top])
    answer = server.admin.post(url(crm, "roles"), json={"name": "toohigh", "inherits": [top]})
    assert answer.status_code == 400


# Assignments


def test_assigning_twice_is_once(server: Server, crm: str):
    user, name = server.user(), new_role(server, crm)
    give(server, crm, user, name)
    give(server, crm, user, name)
    listed = server.admin.get(url(crm, "roles/assignments")).json()
    mine = [entry for entry in listed if entry["userId"] == user.id]
    assert [(entry["role"], set(entry)) for entry in mine] == [
        (name, {"userId", "role", "assignedAt"})
    ]


def test_revoking_works_once(server: Server, crm: str):
    user, name = server.user(), new_role(server, crm)
    give(server, crm, user, name)
    body = {"user_id": user.id, "role": name}
    answer = server.admin.post(url(crm, "roles/revoke"), json=body)
    assert answer.json() == {"message": f"role '{name}' revoked"}
    assert server.admin.post(url(crm, "roles/revoke"), json=body).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [({"userId": GHOST, "role": "admin"}, 404), ({"userId": "x", "role": "admin"}, 400),
     ({"role": "admin"}, 400), ({"userId": GHOST}, 400), ({"userId": None, "role": "admin"}, 400),
     ({"userId": GHOST, "role": 1}, 400), ([], 400)],
)  # fmt: skip
def test_a_bad_assignment_is_refused(server: Server, crm: str, body: object, status: int):
    assert server.admin.post(url(crm, "roles/assign"), json=body).status_code == status


def test_the_last_admin_cannot_be_revoked(server: Server):
    app = install(server.admin)
    for app_id in (app, "core"):
        body = {"userId": server.admin.id, "role": "admin"}
        answer = server.admin.post(url(app_id, "roles/revoke"), json=body)
        assert answer.status_code == 400
        assert "last admin" in answer.json()["error"]
    other = server.user()
    give(server, app, other, "admin")
    body = {"userId": server.admin.id, "role": "admin"}
    assert server.admin.post(url(app, "roles/revoke"), json=body).status_code == 200
    body["userId"] = other.id
    assert server.admin.post(url(app, "roles/revoke"), json=body).status_code == 400


def test_role_changes_are_audited(server: Server, crm: str):
    user, name = server.user(), new_role(server, crm, "deals.read")
    give(server, crm, user, name)
    server.admin.patch(url(crm, f"roles/{name}"), json={"description": "x"})
    server.admin.post(url(crm, "roles/revoke"), json={"userId": user.id, "role": name})
    server.admin.delete(url(crm, f"roles/{name}"))
    rows = server.admin.get("/api/v1/audit?app_id=core&limit=20").json()
    reported = [row["operation"] for row in rows if name in str(row)]
    assert reported == [
        "ROLE_DELETED", "ROLE_REVOKED", "ROLE_UPDATED", "ROLE_ASSIGNED", "ROLE_CREATED",
    ]  # fmt: skip
    updated = next(row for row in rows if row["operation"] == "ROLE_UPDATED")
    assert updated["table_schema"] == "core"
    assert updated["old_record"]["app_id"] == crm
    assert updated["new_record"]["description"] == "x"
    assert updated["actor_id"] == server.admin.id


def test_uninstalling_takes_the_roles_along(server: Server):
    app = install(server.admin)
    user = member(server, app, "deals.read")
    assert server.admin.delete(f"/api/v1/apps/{app}").status_code == 200
    assert user.get(url(app, "permissions")).status_code == 404
