"""What ACCESS promises."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.contracts.access import (
    ACCESS,
    ANY_USER,
    APP_ADMIN,
    APP_USER,
    CORE_ADMIN,
    JOBS_READ,
    LOGS_READ,
    PUBLIC,
    Grant,
    Narrowing,
    core_permission,
    entity,
)
from kernel.contracts.base import NOTHING, Limits, supports
from kernel.errors import BadRequest, Forbidden, KernelError, NotFound
from kernel.testing import Client, Server
from kernel.testing.conformance.app_access import ACTIONS, MANIFEST, AppAccess
from kernel.testing.conformance.kit import (
    SOON,
    Conformance,
    at_once,
    body_of,
    eventually,
    install,
    refused,
    remove,
    unique,
)

GHOST = "00000000-0000-4000-8000-000000000000"
GENERATED = [f"{name}.{action}" for name in ("notes", "notes_private") for action in ACTIONS]
FULL, OWN = Grant(), Grant(own_only=True)
EVERYTHING = dict.fromkeys(GENERATED, FULL)
ALL_OF_NOTES = {f"notes.{action}": FULL for action in ACTIONS}
HELD: list[tuple[list[str], dict[str, Grant]]] = [
    ([], {}),
    (["notes.read"], {"notes.read": FULL}),
    (["notes.read", "notes_private.delete"], {"notes.read": FULL, "notes_private.delete": FULL}),
    (["notes.*"], ALL_OF_NOTES),
    (["*"], EVERYTHING),
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
    def app(self, server: Server) -> AppAccess:
        """An app of the test's own, installed by the admin of everything."""
        return AppAccess(server)

    @pytest.fixture
    def caller(self, server: Server) -> Client:
        """A user without any role."""
        return server.user(unique("user"))

    # What roles allow

    @pytest.mark.parametrize(("keys", "expected"), HELD, ids=[" ".join(keys) for keys, _ in HELD])
    def test_a_role_allows_what_its_keys_say_and_nothing_else(
        self, app: AppAccess, caller: Client, keys: list[str], expected: dict[str, Grant]
    ) -> None:
        app.give(caller.id, *keys)
        app.wait_for(caller.id, expected)

    def test_without_a_role_nothing_is_allowed(self, app: AppAccess, caller: Client) -> None:
        for user_id in (caller.id, GHOST, "nonsense", None):
            assert app.holds(user_id) == {}

    def test_a_closed_account_keeps_its_roles_and_is_granted_nothing(
        self, server: Server, app: AppAccess, caller: Client
    ) -> None:
        app.give(caller.id, "notes.read")
        for disabled in (False, True, False):
            body_of(server.admin.patch(f"/api/v1/users/{caller.id}", json={"disabled": disabled}))
            grants = {} if disabled else {"notes.read": FULL}
            app.wait_for(caller.id, grants)

    def test_a_role_on_one_app_says_nothing_about_another(
        self, server: Server, app: AppAccess, caller: Client
    ) -> None:
        other = AppAccess(server)
        app.give(caller.id, "*")
        eventually(lambda: app.holds(caller.id), SOON)
        assert other.holds(caller.id) == {}

    def test_roles_add_up_and_inherit(self, app: AppAccess, caller: Client) -> None:
        base = app.create("notes.read")
        middle = app.create("notes.update", inherits=[base])
        top = app.create(inherits=[middle])
        other = app.create("notes.delete.own")
        for role in (top, other):
            app.assign(caller.id, role)
        app.wait_for(caller.id, {"notes.read": FULL, "notes.update": FULL, "notes.delete": OWN})
        assert sorted(app.effective(caller.id).roles) == sorted([top, other])

    def test_a_change_is_in_force_at_once_everywhere(
        self, second: Server, app: AppAccess, caller: Client
    ) -> None:
        role = app.give(caller.id, "notes.read")
        there = AppAccess(second, app.id)
        for place_access in (app, there):
            place_access.wait_for(caller.id, {"notes.read": FULL})
        there.update(role, permissions=["notes.delete"])
        for place_access in (app, there):
            place_access.wait_for(caller.id, {"notes.delete": FULL})
        app.revoke(caller.id, role)
        for place_access in (app, there):
            place_access.wait_for(caller.id, {})

    def test_a_deleted_role_is_neither_held_nor_inherited(
        self, app: AppAccess, caller: Client
    ) -> None:
        base = app.give(caller.id, "notes.read")
        heir = app.create("notes.update", inherits=[base])
        app.delete(base)
        app.wait_for(caller.id, {})
        roles = app.roles()
        assert base not in roles
        assert roles[heir].inherits == []
        assert caller.id not in app.holders()
        app.create("*", name=base)
        assert app.holds(caller.id) == {}

    # Decisions about routes

    def test_each_need_is_met_by_those_it_names(
        self, server: Server, app: AppAccess, caller: Client
    ) -> None:
        member = server.user(unique("member"))
        owner = server.user(unique("owner"))
        app.give(member.id, "notes.read.own")
        app.assign(owner.id, "admin")
        eventually(lambda: server.run(app.engine.is_app_admin, owner.id, app.id), SOON)
        eventually(lambda: app.holds(member.id), SOON)
        callers = {caller: "stranger", member: "member", owner: "owner", server.admin: "root"}
        expected = {
            PUBLIC: "stranger member owner root", ANY_USER: "stranger member owner root",
            APP_USER: "member owner root", entity("read"): "member owner root",
            entity("update"): "owner root", APP_ADMIN: "owner root", LOGS_READ: "owner root",
            CORE_ADMIN: "root",
        }  # fmt: skip
        for needs, who in expected.items():
            admitted = [name for user, name in callers.items() if app.decide(user, needs)]
            assert admitted == who.split(), str(needs)
        assert app.decide(member, entity("read")) == OWN
        assert app.decide(owner, entity("read")) == FULL

    def test_a_permission_that_every_app_has_is_held_by_its_name(
        self, server: Server, app: AppAccess, caller: Client
    ) -> None:
        app.give(caller.id, LOGS_READ.key, "notes.*")
        eventually(lambda: app.decide(caller, LOGS_READ) == FULL, SOON)
        assert app.decide(caller, JOBS_READ) is None
        assert app.decide(caller, entity("read")) == FULL

    def test_who_may_not_know_does_not_learn_what_there_is(
        self, server: Server, app: AppAccess, caller: Client
    ) -> None:
        member = server.user(unique("member"))
        nowhere = AppAccess(server, "nowhere")
        app.give(member.id, "notes.read")
        eventually(lambda: app.holds(member.id), SOON)
        for user, error in ((caller, Forbidden), (member, NotFound), (server.admin, NotFound)):
            with pytest.raises(error):
                app.authorize(user, entity("read"), "nothing")
        for needs in (entity("read"), APP_USER, APP_ADMIN):
            with pytest.raises(NotFound):
                nowhere.authorize(caller, needs)

    def test_a_permission_on_core_is_held_by_name(self, server: Server, caller: Client) -> None:
        core = AppAccess(server, "core")
        needs = core_permission("nothing.of_that_name")
        assert core.decide(caller, needs) is None
        assert core.decide(server.admin, needs) == FULL

    def test_limits_narrow_what_the_user_holds(
        self, server: Server, app: AppAccess, caller: Client
    ) -> None:
        """A provider without `Narrowing` gets no actor whose limits narrow."""
        access = app.engine
        narrowing: object = access
        if not supports(narrowing, Narrowing):
            pytest.skip("this engine narrows nothing")
        app.give(caller.id, "notes.read")
        eventually(lambda: bool(app.holds(caller.id)), SOON)
        held = Limits(permissions=(f"{app.id}:notes.read",))
        wider = Limits(permissions=(f"{app.id}:notes.delete",))
        assert server.run(narrowing.covers, caller.id, held)
        for limits in (wider, NOTHING, Limits(permissions=()), Limits(apps=("nowhere",))):
            assert not server.run(narrowing.covers, caller.id, limits)

        grant = (caller.id, app.id, "notes", "read")
        assert server.run(access.grant, *grant, held) == FULL
        own_rows = Limits(permissions=(f"{app.id}:notes.read.own",))
        assert server.run(access.grant, *grant, own_rows).own_only
        for limits in (wider, NOTHING):
            with pytest.raises(Forbidden):
                server.run(access.grant, *grant, limits)
        admin = (server.admin.id, app.id)
        assert server.run(access.is_app_admin, *admin, Limits(apps=(app.id,)))
        assert not server.run(access.is_app_admin, *admin, held)
        assert not server.run(access.is_core_admin, server.admin.id, Limits(apps=(app.id,)))
        assert server.run(access.effective, *admin, held).permissions == ["notes.read"]

    def test_the_admin_of_everything_is_admin_of_every_app(
        self, server: Server, app: AppAccess, caller: Client
    ) -> None:
        access = app.engine
        assert server.run(access.is_core_admin, server.admin.id)
        assert server.run(access.is_app_admin, server.admin.id, app.id)
        assert app.holds(server.admin.id) == EVERYTHING
        for user_id in (caller.id, GHOST, "nonsense", None):
            assert not server.run(access.is_core_admin, user_id)
            assert not server.run(access.is_app_admin, user_id, app.id)
        assert not server.run(access.is_app_admin, caller.id, "nowhere")

    def test_who_installs_an_app_is_its_admin(self, server: Server, app: AppAccess) -> None:
        assignments = server.run(app.engine.assignments, app.id)
        assert [(held.user_id, held.role) for held in assignments] == [(server.admin.id, "admin")]
        assert assignments[0].assigned_at

    # What there is

    def test_keys_are_in_the_order_of_the_manifest(self, app: AppAccess) -> None:
        words = app.available()
        assert list(words) == [*GENERATED, "notes.publish"]
        assert words["notes.publish"] == "Publish"
        assert words["notes.read"] == "Look at notes"

    def test_permissions_of_a_user_have_that_order(
        self, server: Server, app: AppAccess, caller: Client
    ) -> None:
        nothing = app.effective(caller.id)
        assert (nothing.roles, nothing.permissions) == ([], [])
        role = app.give(caller.id, "notes_private.read", "notes.*")
        expected = [*GENERATED[:4], "notes_private.read", "notes.publish"]
        eventually(lambda: app.effective(caller.id).permissions == expected, SOON)
        assert app.effective(caller.id).roles == [role]
        assert app.effective(server.admin.id).permissions == [*GENERATED, "notes.publish"]
        core = AppAccess(server, "core").effective(server.admin.id)
        assert (core.roles, core.permissions) == (["admin"], ["*"])

    def test_roles_are_listed_by_name(self, app: AppAccess) -> None:
        for name in ("zeta", "Beta", "alpha"):
            app.create("notes.read", name=name)
        names = list(app.roles())
        assert names == sorted(names)
        assert {"zeta", "Beta", "alpha", "admin"} == set(names)

    @pytest.mark.parametrize("method", ["roles", "available", "assignments"])
    def test_an_unknown_app_has_no_permissions(self, server: Server, method: str) -> None:
        with pytest.raises(NotFound):
            server.run(getattr(server.services.get(ACCESS), method), "nowhere")

    # Roles

    @pytest.mark.parametrize("name", NO_NAMES, ids=range(len(NO_NAMES)))
    def test_what_is_no_name_of_a_role_is_refused(self, app: AppAccess, name: str) -> None:
        with pytest.raises(BadRequest):
            app.create("notes.read", name=name)

    @pytest.mark.parametrize("key", NO_KEYS, ids=range(len(NO_KEYS)))
    def test_what_is_no_key_is_refused(self, app: AppAccess, key: str) -> None:
        role = app.create("notes.read")
        with pytest.raises(BadRequest):
            app.create(key)
        with pytest.raises(BadRequest):
            app.update(role, permissions=[key])

    def test_inheritance_has_no_circles_and_no_strangers(self, app: AppAccess) -> None:
        base = app.create()
        heir = app.create(inherits=[base])
        for inherits in ([heir], [base], ["unknown"]):
            with pytest.raises(BadRequest):
                app.update(base, inherits=inherits)

    def test_a_name_is_given_once(self, server: Server, app: AppAccess) -> None:
        role = app.create("notes.read")
        with pytest.raises(BadRequest):
            app.create("*", name=role)
        AppAccess(server).create("notes.read", name=role)

    def test_the_role_admin_stays_as_it_is(self, app: AppAccess) -> None:
        for changes in UNWANTED:
            with pytest.raises(BadRequest):
                app.update("admin", **changes)
        with pytest.raises(BadRequest):
            app.delete("admin")

    def test_an_unknown_role_is_not_found(self, app: AppAccess) -> None:
        with pytest.raises(NotFound):
            app.update("unknown", inherits=[])
        with pytest.raises(NotFound):
            app.delete("unknown")

    # Assignments

    def test_assigned_twice_is_assigned_once(self, app: AppAccess, caller: Client) -> None:
        role = app.give(caller.id, "notes.read")
        app.assign(caller.id, role)
        assert app.holders().count(caller.id) == 1
        app.revoke(caller.id, role)
        assert caller.id not in app.holders()
        with pytest.raises(NotFound):
            app.revoke(caller.id, role)

    def test_an_unknown_user_or_role_is_not_assigned(self, app: AppAccess, caller: Client) -> None:
        with pytest.raises(NotFound):
            app.assign(GHOST, "admin")
        with pytest.raises(BadRequest):
            app.assign("nonsense", "admin")
        with pytest.raises(BadRequest):
            app.assign(caller.id, "unknown")

    @pytest.mark.parametrize("place", ["an app", "core"])
    def test_the_last_admin_stays(self, server: Server, app: AppAccess, place: str) -> None:
        place_access = app if place == "an app" else AppAccess(server, "core")
        with pytest.raises(BadRequest):
            place_access.revoke(server.admin.id, "admin")
        assert server.admin.id in place_access.holders()

    def test_of_two_admins_who_go_at_once_one_stays(
        self, server: Server, app: AppAccess, caller: Client
    ) -> None:
        app.assign(caller.id, "admin")

        def revoke(user_id: str) -> bool:
            try:
                app.revoke(user_id, "admin")
            except KernelError:
                return False
            return True

        assert sum(at_once(revoke, [caller.id, server.admin.id])) == 1
        assert len(app.holders()) == 1

    # Apps and accounts that come and go

    def test_roles_go_with_their_app_and_do_not_come_back(
        self, server: Server, app: AppAccess, caller: Client
    ) -> None:
        role = app.give(caller.id, "*")
        remove(server, app.id)
        eventually(lambda: not app.known(), SOON)
        install(server.admin, app.id, **MANIFEST)
        eventually(app.known, SOON)
        assert role not in app.roles()
        assert app.holds(caller.id) == {}

    def test_an_update_of_the_app_keeps_roles_and_brings_keys(
        self, server: Server, app: AppAccess, caller: Client
    ) -> None:
        app.give(caller.id, "notes.read")
        tasks: dict[str, Any] = {"entityName": "tasks", "fields": []}
        contract: list[Any] = [*MANIFEST["dataContract"], tasks]
        install(server.admin, app.id, **{**MANIFEST, "dataContract": contract})
        eventually(lambda: "tasks.read" in app.available(), SOON)
        assert app.holds(caller.id) == {"notes.read": FULL}

    def test_a_deleted_account_holds_nothing(
        self, server: Server, app: AppAccess, caller: Client
    ) -> None:
        app.give(caller.id, "*")
        body_of(server.admin.delete(f"/api/v1/users/{caller.id}"))
        assert caller.id not in app.holders()
        app.wait_for(caller.id, {})

    # Over HTTP

    def test_a_grant_opens_a_route_and_its_end_closes_it(
        self, server: Server, app: AppAccess, caller: Client
    ) -> None:
        notes = f"{app.path}/collections/notes"
        roles = f"{app.path}/roles"
        refused(caller.get(notes), 403)
        body = {"name": "reader", "permissions": ["notes.read"]}
        assert body_of(server.admin.post(roles, json=body)) == {"message": "role 'reader' created"}
        held = {"userId": caller.id, "role": "reader"}
        reply = body_of(server.admin.post(f"{roles}/assign", json=held))
        assert reply == {"message": "role 'reader' assigned"}
        eventually(lambda: caller.get(notes).status_code == 200, SOON)
        refused(caller.post(notes, json={"text": "x"}), 403)
        refused(caller.get(f"{app.path}/collections/notes_private"), 403)
        reply = body_of(server.admin.post(f"{roles}/revoke", json=held))
        assert reply == {"message": "role 'reader' revoked"}
        eventually(lambda: caller.get(notes).status_code == 403, SOON)

    def test_roles_are_written_by_admins_of_the_app(self, app: AppAccess, caller: Client) -> None:
        app.give(caller.id, "*")
        roles = f"{app.path}/roles"
        eventually(lambda: caller.get(roles).status_code == 200, SOON)
        refused(caller.post(roles, json={"name": "mine", "permissions": ["*"]}), 403)
        held = {"userId": caller.id, "role": "admin"}
        refused(caller.post(f"{roles}/assign", json=held), 403)
        refused(caller.get(f"{roles}/assignments"), 403)
        refused(caller.post("/api/v1/apps/core/roles/assign", json=held), 403)

    def test_changes_are_in_the_trail(self, server: Server, app: AppAccess, caller: Client) -> None:
        held = {"userId": caller.id, "role": "admin"}
        for way in ("assign", "revoke"):
            body_of(server.admin.post(f"{app.path}/roles/{way}", json=held))
        criteria = {"app_id": "core", "entity": "role_assignments", "record_id": caller.id}
        rows = body_of(server.admin.get("/api/v1/audit", params=criteria))
        assert [row["operation"] for row in rows] == ["ROLE_REVOKED", "ROLE_ASSIGNED"]
        assert {row["actor_id"] for row in rows} == {server.admin.id}
