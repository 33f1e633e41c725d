"""Which callers may use which route, and the order of refusals."""

from typing import Any

import pytest

from kernel.public import (
    ACCESS,
    ANY_USER,
    APP_ADMIN,
    APP_USER,
    CORE_ADMIN,
    NOTIFICATIONS,
    POOL,
    Actor,
    Grant,
    KernelError,
    Needs,
    core_permission,
    entity,
)
from kernel.testing import Client, MakeServer, Server
from plugins.notifications import service as news
from tests.plugins.rbac.support import allowed, grant, installed, only
from tests.waiting import eventually

FULL, OWN = Grant(), Grant(own_only=True)


def decide(server: Server, user: Client, needs: Needs, **path: str) -> Any:
    """The grant, or the status of the refusal."""

    async def ask() -> Any:
        try:
            access = server.services.get(ACCESS)
            return await access.authorize(Actor(user_id=user.id), needs, path)
        except KernelError as error:
            return error.status

    return server.run(ask)


@pytest.mark.parametrize("needs", [APP_USER, APP_ADMIN, entity("read")], ids=str)
def test_an_unknown_app_is_404_for_everyone(rbac: Server, needs: Needs):
    for user in (rbac.admin, rbac.user()):
        assert decide(rbac, user, needs, app_id="nowhere", entity="notes") == 404


def test_only_those_with_a_role_learn_that_an_entity_is_unknown(rbac: Server):
    app = installed(rbac)
    stranger, member = rbac.user(), rbac.user()
    grant(rbac, member, app, "contacts.read")
    assert decide(rbac, stranger, entity("read"), app_id=app, entity="ghosts") == 403
    assert decide(rbac, member, entity("read"), app_id=app, entity="ghosts") == 404
    assert decide(rbac, rbac.admin, entity("read"), app_id=app, entity="ghosts") == 404


def test_a_role_takes_nothing_from_an_admin_of_everything(rbac: Server):
    app = installed(rbac)
    chief, admin = rbac.user(roles={"core": ["admin"]}), rbac.user(roles={app: ["admin"]})
    for user in (chief, admin):
        grant(rbac, user, app, "contacts.read.own")
        assert decide(rbac, user, entity("read"), app_id=app, entity="contacts") == FULL
        assert decide(rbac, user, entity("delete"), app_id=app, entity="contacts") == FULL
        assert allowed(rbac, user, app, "contacts", "read") == FULL


def test_a_role_allows_its_action_on_its_entity_and_its_app_only(rbac: Server):
    app, other = installed(rbac), installed(rbac)
    user = rbac.user()
    grant(rbac, user, app, "contacts.read")
    assert decide(rbac, user, entity("read"), app_id=app, entity="contacts") == FULL
    for action in ("create", "update", "delete"):
        assert decide(rbac, user, entity(action), app_id=app, entity="contacts") == 403
    assert decide(rbac, user, entity("read"), app_id=app, entity="deals") == 403
    assert decide(rbac, user, entity("read"), app_id=other, entity="contacts") == 403
    assert decide(rbac, user, APP_USER, app_id=app) == FULL
    assert decide(rbac, user, APP_USER, app_id=other) == 403
    assert decide(rbac, user, APP_ADMIN, app_id=app) == 403


def test_names_that_begin_alike_are_not_confused(rbac: Server):
    app = installed(rbac, ["notes", "notes_private"])
    user = rbac.user()
    grant(rbac, user, app, "notes.*")
    assert decide(rbac, user, entity("delete"), app_id=app, entity="notes") == FULL
    assert decide(rbac, user, entity("read"), app_id=app, entity="notes_private") == 403


def test_own_covers_own_rows_and_creates_without_limit(rbac: Server):
    app = installed(rbac)
    user = rbac.user()
    grant(rbac, user, app, "contacts.read.own", "contacts.create.own", "deals.read.own")
    grant(rbac, user, app, "deals.read")
    assert decide(rbac, user, entity("read"), app_id=app, entity="contacts") == OWN
    assert decide(rbac, user, entity("create"), app_id=app, entity="contacts") == FULL
    assert decide(rbac, user, entity("update"), app_id=app, entity="contacts") == 403
    assert decide(rbac, user, entity("read"), app_id=app, entity="deals") == FULL


def test_the_core_admin_is_admin_of_every_app(rbac: Server):
    app = installed(rbac)
    for needs in (ANY_USER, CORE_ADMIN, APP_USER, APP_ADMIN, entity("delete")):
        assert decide(rbac, rbac.admin, needs, app_id=app, entity="deals") == FULL


def test_the_admin_of_an_app_is_none_elsewhere(rbac: Server):
    owner = rbac.user()
    app, other = installed(rbac, by=owner), installed(rbac)
    assert decide(rbac, owner, APP_ADMIN, app_id=app) == FULL
    assert decide(rbac, owner, entity("delete"), app_id=app, entity="deals") == FULL
    assert decide(rbac, owner, APP_ADMIN, app_id=other) == 403
    assert decide(rbac, owner, APP_ADMIN, app_id="core") == 403
    assert decide(rbac, owner, CORE_ADMIN) == 403


def test_a_role_with_everything_is_not_the_role_admin(rbac: Server):
    app = installed(rbac)
    user = rbac.user()
    grant(rbac, user, app, "*")
    assert decide(rbac, user, entity("delete"), app_id=app, entity="deals") == FULL
    assert decide(rbac, user, APP_ADMIN, app_id=app) == 403


def test_core_has_no_collections(rbac: Server):
    assert decide(rbac, rbac.admin, entity("read"), app_id="core", entity="users") == 404
    assert decide(rbac, rbac.user(), entity("read"), app_id="core", entity="users") == 403


def test_a_permission_on_core_comes_from_a_role_on_core(rbac: Server):
    user, app = rbac.user(), installed(rbac, declared=[])
    grant(rbac, user, app, "*")
    assert decide(rbac, user, core_permission("things.read")) == 403
    grant(rbac, user, "core", "*")
    assert decide(rbac, user, core_permission("things.read")) == FULL
    assert decide(rbac, user, CORE_ADMIN) == 403
    assert decide(rbac, rbac.admin, core_permission("things.read")) == FULL


def test_workers_ask_the_same_question(rbac: Server):
    app = installed(rbac)
    user = rbac.user()
    grant(rbac, user, app, "contacts.read.own")
    assert allowed(rbac, user, app, "contacts", "read") == OWN
    assert allowed(rbac, user, app, "contacts", "update") == "Forbidden"
    assert allowed(rbac, user, app, "ghosts", "read") == "NotFound"
    assert allowed(rbac, user, "nowhere", "contacts", "read") == "NotFound"


def test_no_user_is_no_admin(rbac: Server):
    access = rbac.services.get(ACCESS)
    assert not rbac.run(access.is_core_admin, None)
    assert not rbac.run(access.is_app_admin, None, installed(rbac))
    assert not rbac.run(access.is_app_admin, rbac.admin.id, "nowhere")


def test_a_warm_decision_asks_no_database(rbac: Server):
    """Not once: the coroutine ends without ever being suspended."""
    app = installed(rbac)
    user = rbac.user()
    grant(rbac, user, app, "contacts.read")
    access = rbac.services.get(ACCESS)
    path = {"app_id": app, "entity": "contacts"}
    assert decide(rbac, user, entity("read"), **path) == FULL  # by now it is in memory
    call = access.authorize(Actor(user_id=user.id), entity("read"), path)
    with pytest.raises(StopIteration) as ended:
        call.send(None)  # type: ignore[attr-defined]
    assert ended.value.value == FULL


def test_a_change_is_asked_to_the_other_server(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(news, "POLL_INTERVAL", 60.0)  # no poll: only what is reported counts
    plugins = {"plugins": only("auth", "rbac")}
    first = make_server(plugins)
    second = make_server(plugins, dsn=first.dsn, data_dir=first.kernel.config.data_dir)
    app = installed(first)
    user = first.user()

    def until(expected: Any) -> None:
        eventually(lambda: allowed(second, user, app, "contacts", "read") == expected, why=expected)

    until("Forbidden")
    role = grant(first, user, app, "contacts.read")
    until(FULL)
    roles = f"/api/v1/apps/{app}/roles"
    first.admin.patch(f"{roles}/{role}", json={"permissions": ["contacts.read.own"]})
    until(OWN)
    first.admin.post(f"{roles}/revoke", json={"userId": user.id, "role": role})
    until("Forbidden")


def test_nothing_is_decided_from_memory_while_the_database_is_away(rbac: Server):
    app = installed(rbac)
    user = rbac.user()
    grant(rbac, user, app, "contacts.read")
    pool, notifier = rbac.services.get(POOL), rbac.services.get(NOTIFICATIONS)

    async def away() -> Any:
        pool.online = False
        try:
            await notifier.invalidate()  # type: ignore[attr-defined]
            return await rbac.services.get(ACCESS).grant(user.id, app, "contacts", "read")
        except KernelError as error:
            return error.status
        finally:
            pool.online = True

    assert rbac.run(away) == 503
    assert allowed(rbac, user, app, "contacts", "read") == FULL
