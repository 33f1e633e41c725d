"""What ACCESS promises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from kernel.contracts.access import (
    ACCESS,
    ANY_USER,
    APP_ADMIN,
    APP_USER,
    CORE_ADMIN,
    PUBLIC,
    Access,
    Grant,
    Needs,
    Role,
    core_permission,
    entity,
)
from kernel.contracts.base import Actor, server_actor
from kernel.errors import BadRequest, Forbidden, KernelError, NotFound
from kernel.testing import Client, Server
from kernel.testing.conformance.kit import (
    SOON,
    Conformance,
    at_once,
    body_of,
    eventually,
    refused,
    remove,
    unique,
)

T = TypeVar("T")
ACTOR = server_actor("conformance")
GHOST = "00000000-0000-4000-8000-000000000000"
ACTIONS = ("create", "read", "update", "delete")
MANIFEST: dict[str, Any] = {
    "dataContract": [
        {"entityName": "notes", "fields": [{"name": "text", "type": "text"}]},
        {"entityName": "notes_private", "fields": [{"name": "text", "type": "text"}]},
    ],
    "permissions": [
        {"key": "notes.publish", "description": "Publish"},
        {"key": "notes.read", "description": "Look at notes"},
    ],
}
GENERATED = [f"{name}.{action}" for name in ("notes", "notes_private") for action in ACTIONS]
FULL, OWN = Grant(), Grant(own_only=True)
ALL_OF_NOTES = {f"notes.{action}": FULL for action in ACTIONS}
HELD: list[tuple[list[str], dict[str, Grant]]] = [
    ([], {}),
    (["notes.read"], {"notes.read": FULL}),
    (["notes.read", "notes_private.delete"], {"notes.read": FULL, "notes_private.delete": FULL}),
    (["notes.*"], ALL_OF_NOTES),
    (["*"], dict.fromkeys(GENERATED, FULL)),
    (["notes.publish"], {}),
    (["notes.read.own"], {"notes.read": OWN}),
    (["notes.update.own", "notes.read"], {"notes.update": OWN, "notes.read": FULL}),
    (["notes.read.own", "notes.read"], {"notes.read": FULL}),
    (["notes.create.own"], {"notes.create": FULL}),
]
UNWANTED: list[dict[str, Any]] = [{"permissions": []}, {"inherits": []}]
NO_NAMES = [
    "", "1st", "a/b", "x" * 65, "admin", "Admin", "assign", "revoke", "assignments", "a\n",
]  # fmt: skip
NO_KEYS = [
    "", "nothing", "notes", "notes.", "notes.burn", "other.read", "notes.read ", "NOTES.READ",
    "notes.%", "*.*", "*.read", "notes.read.owner", "notes.read,notes.update",
]  # fmt: skip


class AccessConformance(Conformance):
    """Decisions: nothing without a grant, whole names compared, changes effective at once."""

    key = ACCESS

    @pytest.fixture
    def app(self, server: Server) -> str:
        """An app of the test's own, installed by the admin of everything."""
        return install(server.admin)

    @pytest.fixture
    def caller(self, server: Server) -> Client:
        """A user without any role."""
        return server.user(unique("user"))

    # What roles allow

    @pytest.mark.parametrize(("keys", "wanted"), HELD, ids=[" ".join(keys) for keys, _ in HELD])
    def test_a_role_allows_what_its_keys_say_and_nothing_else(
        self, server: Server, app: str, caller: Client, keys: list[str], wanted: dict[str, Grant]
    ) -> None:
        give(server, app, caller.id, *keys)
        eventually(lambda: holds(server, app, caller.id) == wanted, SOON)

    def test_without_a_role_nothing_is_allowed(
        self, server: Server, app: str, caller: Client
    ) -> None:
        for user_id in (caller.id, GHOST, "nonsense", None):
            assert holds(server, app, user_id) == {}

    def test_a_closed_account_keeps_its_roles_and_is_granted_nothing(
        self, server: Server, app: str, caller: Client
    ) -> None:
        give(server, app, caller.id, "notes.read")
        for disabled in (False, True, False):
            body_of(server.admin.patch(f"/api/v1/users/{caller.id}", json={"disabled": disabled}))
            wanted = {} if disabled else {"notes.read": FULL}
            eventually(lambda wanted=wanted: holds(server, app, caller.id) == wanted, SOON)

    def test_a_role_on_one_app_says_nothing_about_another(
        self, server: Server, app: str, caller: Client
    ) -> None:
        other = install(server.admin)
        give(server, app, caller.id, "*")
        eventually(lambda: holds(server, app, caller.id), SOON)
        assert holds(server, other, caller.id) == {}

    def test_roles_add_up_and_inherit(self, server: Server, app: str, caller: Client) -> None:
        base = make_role(server, app, "notes.read")
        middle = make_role(server, app, "notes.update", inherits=[base])
        top = make_role(server, app, inherits=[middle])
        other = make_role(server, app, "notes.delete.own")
        for role in (top, other):
            ask(server, lambda access, role=role: access.assign(ACTOR, app, caller.id, role))
        wanted = {"notes.read": FULL, "notes.update": FULL, "notes.delete": OWN}
        eventually(lambda: holds(server, app, caller.id) == wanted, SOON)
        effective = ask(server, lambda access: access.effective(caller.id, app))
        assert sorted(effective.roles) == sorted([top, other])

    def test_a_change_is_in_force_at_once_everywhere(
        self, server: Server, second: Server, app: str, caller: Client
    ) -> None:
        role, both = give(server, app, caller.id, "notes.read"), (server, second)
        for one in both:
            eventually(lambda one=one: "notes.read" in holds(one, app, caller.id), SOON)
        changes = {"permissions": ["notes.delete"]}
        ask(second, lambda access: access.update_role(ACTOR, app, role, changes))
        for one in both:
            eventually(lambda one=one: [*holds(one, app, caller.id)] == ["notes.delete"], SOON)
        ask(server, lambda access: access.revoke(ACTOR, app, caller.id, role))
        for one in both:
            eventually(lambda one=one: holds(one, app, caller.id) == {}, SOON)

    def test_a_deleted_role_is_neither_held_nor_inherited(
        self, server: Server, app: str, caller: Client
    ) -> None:
        base = give(server, app, caller.id, "notes.read")
        heir = make_role(server, app, "notes.update", inherits=[base])
        ask(server, lambda access: access.delete_role(ACTOR, app, base))
        eventually(lambda: holds(server, app, caller.id) == {}, SOON)
        roles = {role.name: role for role in ask(server, lambda access: access.roles(app))}
        assert base not in roles
        assert roles[heir].inherits == []
        assert caller.id not in holders(server, app)
        make_role(server, app, "*", name=base)
        assert holds(server, app, caller.id) == {}

    # Decisions about routes

    def test_each_need_is_met_by_those_it_names(
        self, server: Server, app: str, caller: Client
    ) -> None:
        member, owner = server.user(unique("member")), server.user(unique("owner"))
        give(server, app, member.id, "notes.read.own")
        ask(server, lambda access: access.assign(ACTOR, app, owner.id, "admin"))
        eventually(
            lambda: server.run(server.services.get(ACCESS).is_app_admin, owner.id, app), SOON
        )
        eventually(lambda: holds(server, app, member.id), SOON)
        callers = {caller: "stranger", member: "member", owner: "owner", server.admin: "root"}
        wanted = {
            PUBLIC: "stranger member owner root", ANY_USER: "stranger member owner root",
            APP_USER: "member owner root", entity("read"): "member owner root",
            entity("update"): "owner root", APP_ADMIN: "owner root", CORE_ADMIN: "root",
        }  # fmt: skip
        for needs, who in wanted.items():
            met = [name for user, name in callers.items() if decide(server, user, needs, app)]
            assert met == who.split(), str(needs)
        assert decide(server, member, entity("read"), app) == OWN
        assert decide(server, owner, entity("read"), app) == FULL

    def test_who_may_not_know_does_not_learn_what_there_is(
        self, server: Server, app: str, caller: Client
    ) -> None:
        member = server.user(unique("member"))
        give(server, app, member.id, "notes.read")
        eventually(lambda: holds(server, app, member.id), SOON)
        path = {"app_id": app, "entity": "nothing"}
        for user, error in ((caller, Forbidden), (member, NotFound), (server.admin, NotFound)):
            with pytest.raises(error):
                authorize(server, user, entity("read"), path)
        for needs in (entity("read"), APP_USER, APP_ADMIN):
            with pytest.raises(NotFound):
                authorize(server, caller, needs, {"app_id": "nowhere", "entity": "notes"})

    def test_a_permission_on_core_is_held_by_name(self, server: Server, caller: Client) -> None:
        needs = core_permission("nothing.of_that_name")
        assert decide(server, caller, needs, "core") is None
        assert decide(server, server.admin, needs, "core") == FULL

    def test_the_admin_of_everything_is_admin_of_every_app(
        self, server: Server, app: str, caller: Client
    ) -> None:
        access = server.services.get(ACCESS)
        assert server.run(access.is_core_admin, server.admin.id)
        assert server.run(access.is_app_admin, server.admin.id, app)
        assert holds(server, app, server.admin.id) == dict.fromkeys(GENERATED, FULL)
        for user_id in (caller.id, GHOST, "nonsense", None):
            assert not server.run(access.is_core_admin, user_id)
            assert not server.run(access.is_app_admin, user_id, app)
        assert not server.run(access.is_app_admin, caller.id, "nowhere")

    def test_who_installs_an_app_is_its_admin(self, server: Server, app: str) -> None:
        found = ask(server, lambda access: access.assignments(app))
        assert [(held.user_id, held.role) for held in found] == [(server.admin.id, "admin")]
        assert found[0].assigned_at

    # What there is

    def test_keys_are_in_the_order_of_the_manifest(self, server: Server, app: str) -> None:
        available = ask(server, lambda access: access.available(app))
        assert [permission.key for permission in available] == [*GENERATED, "notes.publish"]
        words = {permission.key: permission.description for permission in available}
        assert words["notes.publish"] == "Publish"
        assert words["notes.read"] == "Look at notes"

    def test_permissions_of_a_user_have_that_order(
        self, server: Server, app: str, caller: Client
    ) -> None:
        nothing = ask(server, lambda access: access.effective(caller.id, app))
        assert (nothing.roles, nothing.permissions) == ([], [])
        role = give(server, app, caller.id, "notes_private.read", "notes.*")
        wanted = [*GENERATED[:4], "notes_private.read", "notes.publish"]

        def found() -> Any:
            return ask(server, lambda access: access.effective(caller.id, app))

        eventually(lambda: found().permissions == wanted, SOON)
        assert found().roles == [role]
        root = ask(server, lambda access: access.effective(server.admin.id, app))
        assert root.permissions == [*GENERATED, "notes.publish"]
        core = ask(server, lambda access: access.effective(server.admin.id, "core"))
        assert (core.roles, core.permissions) == (["admin"], ["*"])

    def test_roles_are_listed_by_name(self, server: Server, app: str) -> None:
        for name in ("zeta", "Beta", "alpha"):
            make_role(server, app, "notes.read", name=name)
        names = [role.name for role in ask(server, lambda access: access.roles(app))]
        assert names == sorted(names)
        assert {"zeta", "Beta", "alpha", "admin"} == set(names)

    @pytest.mark.parametrize("method", ["roles", "available", "assignments"])
    def test_an_unknown_app_has_no_permissions(self, server: Server, method: str) -> None:
        with pytest.raises(NotFound):
            server.run(getattr(server.services.get(ACCESS), method), "nowhere")

    # Roles

    @pytest.mark.parametrize("name", NO_NAMES, ids=range(len(NO_NAMES)))
    def test_what_is_no_name_of_a_role_is_refused(
        self, server: Server, app: str, name: str
    ) -> None:
        with pytest.raises(BadRequest):
            make_role(server, app, "notes.read", name=name)

    @pytest.mark.parametrize("key", NO_KEYS, ids=range(len(NO_KEYS)))
    def test_what_is_no_key_is_refused(self, server: Server, app: str, key: str) -> None:
        role = make_role(server, app, "notes.read")
        with pytest.raises(BadRequest):
            make_role(server, app, key)
        with pytest.raises(BadRequest):
            ask(server, lambda access: access.update_role(ACTOR, app, role, {"permissions": [key]}))

    def test_inheritance_has_no_circles_and_no_strangers(self, server: Server, app: str) -> None:
        base = make_role(server, app)
        heir = make_role(server, app, inherits=[base])
        for inherits in ([heir], [base], ["unknown"]):
            with pytest.raises(BadRequest):
                ask(
                    server,
                    lambda access, inherits=inherits: access.update_role(
                        ACTOR, app, base, {"inherits": inherits}
                    ),
                )

    def test_a_name_is_given_once(self, server: Server, app: str) -> None:
        role = make_role(server, app, "notes.read")
        with pytest.raises(BadRequest):
            make_role(server, app, "*", name=role)
        make_role(server, install(server.admin), "notes.read", name=role)

    def test_the_role_admin_stays_as_it_is(self, server: Server, app: str) -> None:
        for changes in UNWANTED:
            with pytest.raises(BadRequest):
                ask(
                    server,
                    lambda access, changes=changes: access.update_role(
                        ACTOR, app, "admin", changes
                    ),
                )
        with pytest.raises(BadRequest):
            ask(server, lambda access: access.delete_role(ACTOR, app, "admin"))

    def test_an_unknown_role_is_not_found(self, server: Server, app: str) -> None:
        with pytest.raises(NotFound):
            ask(server, lambda access: access.update_role(ACTOR, app, "unknown", {"inherits": []}))
        with pytest.raises(NotFound):
            ask(server, lambda access: access.delete_role(ACTOR, app, "unknown"))

    # Assignments

    def test_assigned_twice_is_assigned_once(
        self, server: Server, app: str, caller: Client
    ) -> None:
        role = give(server, app, caller.id, "notes.read")
        ask(server, lambda access: access.assign(ACTOR, app, caller.id, role))
        assert holders(server, app).count(caller.id) == 1
        ask(server, lambda access: access.revoke(ACTOR, app, caller.id, role))
        assert caller.id not in holders(server, app)
        with pytest.raises(NotFound):
            ask(server, lambda access: access.revoke(ACTOR, app, caller.id, role))

    def test_an_unknown_user_or_role_is_not_assigned(
        self, server: Server, app: str, caller: Client
    ) -> None:
        with pytest.raises(NotFound):
            ask(server, lambda access: access.assign(ACTOR, app, GHOST, "admin"))
        with pytest.raises(BadRequest):
            ask(server, lambda access: access.assign(ACTOR, app, "nonsense", "admin"))
        with pytest.raises(BadRequest):
            ask(server, lambda access: access.assign(ACTOR, app, caller.id, "unknown"))

    @pytest.mark.parametrize("place", ["an app", "core"])
    def test_the_last_admin_stays(self, server: Server, app: str, place: str) -> None:
        app_id = app if place == "an app" else "core"
        with pytest.raises(BadRequest):
            ask(server, lambda access: access.revoke(ACTOR, app_id, server.admin.id, "admin"))
        assert server.admin.id in holders(server, app_id)

    def test_of_two_admins_who_go_at_once_one_stays(
        self, server: Server, app: str, caller: Client
    ) -> None:
        ask(server, lambda access: access.assign(ACTOR, app, caller.id, "admin"))

        def revoke(user_id: str) -> bool:
            try:
                ask(server, lambda access: access.revoke(ACTOR, app, user_id, "admin"))
            except KernelError:
                return False
            return True

        assert sum(at_once(revoke, [caller.id, server.admin.id])) == 1
        assert len(holders(server, app)) == 1

    # Apps and accounts that come and go

    def test_roles_go_with_their_app_and_do_not_come_back(
        self, server: Server, app: str, caller: Client
    ) -> None:
        role = give(server, app, caller.id, "*")
        remove(server, app)
        eventually(lambda: not known(server, app), SOON)
        install(server.admin, app)
        eventually(lambda: known(server, app), SOON)
        assert role not in [found.name for found in ask(server, lambda access: access.roles(app))]
        assert holds(server, app, caller.id) == {}

    def test_an_update_of_the_app_keeps_roles_and_brings_keys(
        self, server: Server, app: str, caller: Client
    ) -> None:
        give(server, app, caller.id, "notes.read")
        tasks: dict[str, Any] = {"entityName": "tasks", "fields": []}
        more: list[Any] = [*MANIFEST["dataContract"], tasks]
        install(server.admin, app, dataContract=more)
        eventually(
            lambda: "tasks.read" in [p.key for p in ask(server, lambda a: a.available(app))], SOON
        )
        assert holds(server, app, caller.id) == {"notes.read": FULL}

    def test_a_deleted_account_holds_nothing(
        self, server: Server, app: str, caller: Client
    ) -> None:
        give(server, app, caller.id, "*")
        body_of(server.admin.delete(f"/api/v1/users/{caller.id}"))
        assert caller.id not in holders(server, app)
        eventually(lambda: holds(server, app, caller.id) == {}, SOON)

    # Over HTTP

    def test_a_grant_opens_a_route_and_its_end_closes_it(
        self, server: Server, app: str, caller: Client
    ) -> None:
        notes, roles = f"/api/v1/apps/{app}/collections/notes", f"/api/v1/apps/{app}/roles"
        refused(caller.get(notes), 403)
        body = {"name": "reader", "permissions": ["notes.read"]}
        assert body_of(server.admin.post(roles, json=body)) == {"message": "role 'reader' created"}
        held = {"userId": caller.id, "role": "reader"}
        said = body_of(server.admin.post(f"{roles}/assign", json=held))
        assert said == {"message": "role 'reader' assigned"}
        eventually(lambda: caller.get(notes).status_code == 200, SOON)
        refused(caller.post(notes, json={"text": "x"}), 403)
        refused(caller.get(f"/api/v1/apps/{app}/collections/notes_private"), 403)
        said = body_of(server.admin.post(f"{roles}/revoke", json=held))
        assert said == {"message": "role 'reader' revoked"}
        eventually(lambda: caller.get(notes).status_code == 403, SOON)

    def test_roles_are_written_by_admins_of_the_app(
        self, server: Server, app: str, caller: Client
    ) -> None:
        give(server, app, caller.id, "*")
        roles = f"/api/v1/apps/{app}/roles"
        eventually(lambda: caller.get(roles).status_code == 200, SOON)
        refused(caller.post(roles, json={"name": "mine", "permissions": ["*"]}), 403)
        held = {"userId": caller.id, "role": "admin"}
        refused(caller.post(f"{roles}/assign", json=held), 403)
        refused(caller.get(f"{roles}/assignments"), 403)
        refused(caller.post("/api/v1/apps/core/roles/assign", json=held), 403)

    def test_changes_are_in_the_trail(self, server: Server, app: str, caller: Client) -> None:
        held = {"userId": caller.id, "role": "admin"}
        for way in ("assign", "revoke"):
            body_of(server.admin.post(f"/api/v1/apps/{app}/roles/{way}", json=held))
        wanted = {"app_id": "core", "entity": "role_assignments", "record_id": caller.id}
        rows = body_of(server.admin.get("/api/v1/audit", params=wanted))
        assert [row["operation"] for row in rows] == ["ROLE_REVOKED", "ROLE_ASSIGNED"]
        assert {row["actor_id"] for row in rows} == {server.admin.id}


def install(client: Client, app_id: str = "", **manifest: Any) -> str:
    """Install the app of the kit and return its id."""
    app_id = app_id or unique("app")
    body_of(
        client.post("/api/v1/apps", json={"appId": app_id, "name": app_id, **MANIFEST, **manifest})
    )
    return app_id


def ask(server: Server, question: Callable[[Access], Awaitable[T]]) -> T:
    """Ask the engine in the server's event loop."""
    return server.run(lambda: question(server.services.get(ACCESS)))


def make_role(
    server: Server, app: str, *keys: str, name: str | None = None, inherits: list[str] | None = None
) -> str:
    """Make a role and return its name."""
    name = unique("role") if name is None else name
    role = Role(name=name, permissions=list(keys), inherits=inherits or [])
    ask(server, lambda access: access.create_role(ACTOR, app, role))
    return name


def give(server: Server, app: str, user_id: str, *keys: str) -> str:
    """Give a user a role that holds these keys, and return its name."""
    name = make_role(server, app, *keys)
    ask(server, lambda access: access.assign(ACTOR, app, user_id, name))
    return name


def holds(server: Server, app: str, user_id: str | None) -> dict[str, Grant]:
    """What a user may do with the entities of the kit's app."""
    found: dict[str, Grant] = {}
    for name in ("notes", "notes_private"):
        for action in ACTIONS:
            try:
                grant = ask(
                    server,
                    lambda access, name=name, action=action: access.grant(
                        user_id, app, name, action
                    ),
                )
            except Forbidden:
                continue
            found[f"{name}.{action}"] = grant
    return found


def holders(server: Server, app: str) -> list[str]:
    """Who holds a role."""
    return [held.user_id for held in ask(server, lambda access: access.assignments(app))]


def known(server: Server, app: str) -> bool:
    """Whether the engine knows an app."""
    try:
        ask(server, lambda access: access.roles(app))
    except NotFound:
        return False
    return True


def authorize(server: Server, user: Client, needs: Needs, path: dict[str, str]) -> Grant:
    """Let a user in, as the guard of a route does."""
    actor = Actor(user_id=user.id, username=user.username)
    return ask(server, lambda access: access.authorize(actor, needs, path))


def decide(server: Server, user: Client, needs: Needs, app: str) -> Grant | None:
    """The same on the kit's app; None for a refusal."""
    try:
        return authorize(server, user, needs, {"app_id": app, "entity": "notes"})
    except Forbidden:
        return None
