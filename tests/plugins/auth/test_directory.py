"""Which accounts a user sees: in the list, and through links of records to accounts."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

import pytest

from kernel.testing import Client, Postgres, Server
from kernel.testing.servers import PASSWORD, running_server

USERS = "/api/v1/users"
TASKS = "/api/v1/apps/crm/collections/tasks"
NAMES = ("ann", "ben", "boss", "cay", "dan", "root")


def app(app_id: str) -> dict[str, Any]:
    """An app whose tasks belong to users."""
    owner = {"name": "owner", "type": "entity_link", "references": {"entity": "core:users"}}
    fields = [{"name": "title", "type": "text"}, owner]
    return {
        "appId": app_id,
        "name": app_id,
        "dataContract": [{"entityName": "tasks", "fields": fields}],
    }


class People(NamedTuple):
    """A server with users: `ann` and `ben` have roles on `crm` and `boss` is its admin, `cay` has a
    role on another app, `dan` has none, and `root` is admin of the server."""

    server: Server
    clients: dict[str, Client]

    def seen_by(self, name: str, query: str = "") -> dict[str, str | None]:
        """Return the emails of the accounts that a user sees, by username."""
        answer = self.clients[name].get(f"{USERS}{query}")
        assert answer.status_code == 200, answer.text
        return {user["username"]: user["email"] for user in answer.json()}

    def tasks(self, name: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what a user finds."""
        answer = self.clients[name].post(f"{TASKS}/query", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]


def people(postgres: Postgres, policy: str) -> Generator[People]:
    """Start a server with these users."""
    config = {"plugins": {"auth": {"directory": policy}}}
    with running_server(postgres, config) as server:
        clients = {"root": _register(server, "root")}
        server._admin = clients["root"]
        for app_id in ("crm", "hr"):
            server.install(app(app_id))
        clients |= {name: _register(server, name) for name in NAMES[:-1]}
        for name in ("ann", "ben"):
            server.grant(clients[name], "crm", "tasks.read", "tasks.create")
        server.grant(clients["cay"], "hr", "tasks.read")
        server.assign(clients["boss"], "crm", "admin")
        for name, client in clients.items():
            body = {"title": name, "owner": client.id}
            assert clients["root"].post(TASKS, json=body).status_code == 201
        yield People(server, clients)


def _register(server: Server, name: str) -> Client:
    body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    answer = server.http.post("/api/v1/auth/register", json=body)
    assert answer.status_code == 201, answer.text
    return server.login(name)


@pytest.fixture(scope="module")
def all_see_all(postgres: Postgres):
    yield from people(postgres, "all")


@pytest.fixture(scope="module")
def members(postgres: Postgres):
    yield from people(postgres, "members")


@pytest.fixture(scope="module")
def admins(postgres: Postgres):
    yield from people(postgres, "admins")


def emails(*names: str) -> dict[str, str | None]:
    return {name: f"{name}@example.com" for name in names}


def test_by_default_every_user_sees_all(all_see_all: People):
    for name in NAMES:
        assert all_see_all.seen_by(name) == emails(*NAMES)
    assert linked(all_see_all, "ann") == set(NAMES)


def test_members_see_those_who_share_an_app(members: People):
    hidden = dict.fromkeys(("ben", "boss", "root"))
    assert members.seen_by("ann") == {**emails("ann"), **hidden}
    assert members.seen_by("cay") == {**emails("cay"), "root": None}
    assert members.seen_by("dan") == emails("dan")


def test_admins_of_any_app_see_all_to_assign_roles(members: People, admins: People):
    for each in (members, admins):
        assert each.seen_by("boss") == emails(*NAMES)
        assert each.seen_by("root") == emails(*NAMES)


def test_only_admins_see_others_where_the_directory_is_theirs(admins: People):
    for name in ("ann", "cay", "dan"):
        assert admins.seen_by(name) == emails(name)
        me = admins.clients[name].get("/api/v1/auth/me").json()
        assert me["email"] == f"{name}@example.com"


def test_pages_hold_what_the_caller_sees(members: People):
    assert list(members.seen_by("ann", "?limit=2")) == ["ann", "ben"]
    ann, ben = members.clients["ann"], members.clients["ben"]
    answer = ann.get(f"{USERS}?limit=2")
    assert answer.headers["link"] == f'<{USERS}?limit=2&after={ben.id}>; rel="next"'
    assert list(members.seen_by("ann", f"?limit=2&after={ben.id}")) == ["boss", "root"]
    assert list(members.seen_by("ann", f"?after={ben.id.upper()}")) == ["boss", "root"]


def test_a_cursor_does_not_reveal_an_account(members: People):
    ghost = "00000000-0000-4000-8000-000000000000"
    ids = (ghost, members.clients["dan"].id, members.clients["cay"].id.upper())
    answers = [members.clients["ann"].get(f"{USERS}?after={user_id}") for user_id in ids]
    assert {answer.status_code for answer in answers} == {400}
    assert len({answer.text for answer in answers}) == 1


def linked(of: People, name: str) -> set[str]:
    """Return the names that a user reads through the links of records."""
    found = of.tasks(name, {"expand": ["owner"], "limit": 100})
    listed = of.clients[name].get(f"{TASKS}?expand=owner").json()
    assert {task["title"] for task in found} == set(NAMES)  # the records are there all the same
    owners = [task["expand"]["owner"] for task in found if task["expand"]["owner"]]
    assert {owner["username"] for owner in owners} == {
        task["expand"]["owner"]["username"] for task in listed if task["expand"]["owner"]
    }
    return {owner["username"] for owner in owners}


def test_links_show_the_accounts_of_the_list(members: People, admins: People):
    for each in (members, admins):
        for name in ("root", "ann", "boss", "ann", "ben"):  # no statement serves another caller
            assert linked(each, name) == set(each.seen_by(name))
    assert linked(members, "ann") == {"ann", "ben", "boss", "root"}
    assert linked(admins, "ann") == {"ann"}


def test_filters_reach_the_accounts_of_the_list(members: People, admins: People):
    for each in (members, admins):
        seen = set(each.seen_by("ann"))
        for tree in (
            {"owner": {"$has": {"username": {"$like": "%"}}}},
            {"owner": {"$has": {}}},
            {"$or": [{"owner": {"$has": {"username": name}}} for name in NAMES]},
        ):
            found = {task["title"] for task in each.tasks("ann", {"where": tree, "limit": 100})}
            assert found == seen, tree
        not_named = {"$not": {"owner": {"$has": {"username": "dan"}}}}
        found = {task["title"] for task in each.tasks("ann", {"where": not_named, "limit": 100})}
        assert found == set(NAMES)


def test_no_one_filters_by_emails(all_see_all: People):
    body = {"where": {"owner": {"$has": {"email": {"$like": "d%"}}}}}
    assert all_see_all.clients["ann"].post(f"{TASKS}/query", json=body).status_code == 400


def test_a_new_role_shows_its_holders(members: People):
    eve = _register(members.server, "eve")
    assert [user["username"] for user in eve.get(USERS).json()] == ["eve"]
    members.server.grant(eve, "hr", "tasks.read")
    assert [user["username"] for user in eve.get(USERS).json()] == ["cay", "eve", "root"]
    assert "eve" in members.seen_by("cay")
    assert members.clients["root"].delete(f"{USERS}/{eve.id}").status_code == 200
    assert "eve" not in members.seen_by("cay")


def test_a_role_on_core_is_no_app_that_users_share(members: People):
    server = members.server
    fay, gus = _register(server, "fay"), _register(server, "gus")
    body = {"name": "readers", "permissions": []}
    assert server.admin.post("/api/v1/apps/core/roles", json=body).status_code == 200
    for user in (fay, gus):
        server.assign(user, "core", "readers")
    assert [user["username"] for user in fay.get(USERS).json()] == ["fay", "root"]
    for user in (fay, gus):
        assert server.admin.delete(f"{USERS}/{user.id}").status_code == 200


def test_without_a_provider_that_knows_peers_users_see_themselves(postgres: Postgres):
    config = {"plugins": {"auth": {"directory": "members"}, "rbac": {"enabled": False}}}
    only = ["auth", "postgres", "pipeline", "notifications"]
    with running_server(postgres, {"plugins": config["plugins"]}, only=only) as server:
        ann, _ = _register(server, "ann"), _register(server, "ben")
        assert [user["username"] for user in ann.get(USERS).json()] == ["ann"]


@pytest.mark.parametrize("policy", ["nobody", "", "ALL"])
def test_another_word_stops_the_start(postgres: Postgres, policy: str):
    with pytest.raises(Exception, match="directory"):
        next(people(postgres, policy))
