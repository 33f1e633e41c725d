"""An app's host is a door to this app only, for all users."""

from __future__ import annotations

import re
import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.contracts.base import new_delegation
from kernel.contracts.identity import IDENTITY
from kernel.testing import PASSWORD, Client, Postgres, Server, running_server
from tests.plugins.frontends.support import deploy
from tests.waiting import eventually

HOSTS = Path(__file__).parents[2] / "examples" / "hooks" / "app_of_host.py"
LOGIN = "/api/v1/auth/login"
REFRESH = "/api/v1/auth/refresh"
LOGOUT = "/api/v1/auth/logout"
ME = "/api/v1/auth/me"
NOTES = "/api/v1/apps/crm/collections/notes"
PAGE = "<title>app</title>"
OTHER_DOOR = {"error": "the token is for another host: log in here"}
CLOSED = {"error": "this cannot be done on the host of an app"}
STREAMS = ("/logs", "/feed")
NO_ROUTE = {"error": "there is no such route"}

OPEN = {
    "DELETE /api/v1/apps/{app_id}/collections/{entity}/{id}",
    "DELETE /api/v1/apps/{app_id}/storage/{id}",
    "GET /_auth/callback",
    "GET /_auth/session",
    "GET /_auth/sign-in",
    "GET /api/v1/apps/{app_id}/files/{id}",
    "GET /api/v1/apps/{app_id}/files/{id}/link",
    "GET /api/v1/apps/{app_id}/storage/{id}",
    "POST /_auth/sign-out",
    "POST /api/v1/apps/{app_id}/files",
    "POST /api/v1/apps/{app_id}/files/{id}/link",
    "POST /api/v1/apps/{app_id}/storage/upload",
    "GET /api/v1/apps",
    "GET /api/v1/apps/{app_id}",
    "GET /api/v1/apps/{app_id}/collections/{entity}",
    "GET /api/v1/apps/{app_id}/collections/{entity}/feed",
    "POST /api/v1/apps/{app_id}/feed",
    "PUT /api/v1/apps/{app_id}/collections/{entity}/{id}",
    "GET /api/v1/apps/{app_id}/collections/{entity}/{id}",
    "GET /api/v1/apps/{app_id}/collections/{entity}/{id}/history",
    "GET /api/v1/apps/{app_id}/jobs",
    "GET /api/v1/apps/{app_id}/jobs/{job_id}",
    "GET /api/v1/apps/{app_id}/logs",
    "GET /api/v1/apps/{app_id}/permissions",
    "GET /api/v1/apps/{app_id}/permissions/available",
    "GET /api/v1/apps/{app_id}/roles",
    "GET /api/v1/auth/me",
    "GET /api/v1/auth/mode",
    "GET /api/v1/door",
    "GET /api/v1/users",
    "GET /health",
    "GET /health/ready",
    "PATCH /api/v1/apps/{app_id}/collections/{entity}/{id}",
    "POST /api/v1/apps/{app_id}/batch",
    "POST /api/v1/apps/{app_id}/collections/{entity}",
    "POST /api/v1/apps/{app_id}/collections/{entity}/bulk",
    "POST /api/v1/apps/{app_id}/collections/{entity}/delete-where",
    "POST /api/v1/apps/{app_id}/collections/{entity}/import",
    "POST /api/v1/apps/{app_id}/collections/{entity}/query",
    "POST /api/v1/apps/{app_id}/collections/{entity}/update-where",
    "POST /api/v1/apps/{app_id}/jobs",
    "POST /api/v1/apps/{app_id}/jobs/{job_id}/cancel",
    "POST /api/v1/apps/{app_id}/rpc",
    "POST /api/v1/apps/{app_id}/undo",
    "POST /api/v1/auth/login",
    "POST /api/v1/auth/logout",
    "POST /api/v1/auth/refresh",
    "POST /api/v1/auth/register",
}
"""Every route that there is on an app's host. A new route is closed until it is added here, which
is a decision about security: pages there are written by admins of the app."""

OPENED: list[httpx.Client] = []


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Generator[Server]:
    plugins = {
        "cron": {"enabled": True},
        "openapi": {"enabled": True},
        "metrics": {"enabled": True},
        "oidc": {
            "enabled": True,
            "issuer": "https://id.example.test",
            "public_url": "https://server.example.test",
            "client_id": "x",
            "client_secret": "y" * 32,
        },
    }
    with running_server(postgres, {"plugins": plugins}, plugins=[HOSTS]) as running:
        for app in ("crm", "hr"):
            fields = [{"name": "title", "type": "text"}]
            contract = [{"entityName": "notes", "fields": fields}]
            running.install({"appId": app, "name": app, "dataContract": contract})
            publish(running, app)
        yield running
    for client in OPENED:
        client.close()


def publish(server: Server, app: str) -> None:
    """Give an app a frontend, and so a host."""
    assert deploy(server.admin, app, {"index.html": PAGE}).status_code == 200


def at(server: Server, app: str | None, token: str | None = None) -> httpx.Client:
    """A client that comes through an app's host, or the server's own."""
    headers = dict[str, str]()
    if app is not None:
        headers["host"] = f"{app}.localhost:{server.kernel.config.server.port}"
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    client = httpx.Client(base_url=server.url, headers=headers, timeout=60)
    OPENED.append(client)
    return client


def log_in(server: Server, app: str | None, user: Client) -> dict[str, Any]:
    """The reply of a login through a door."""
    body = {"username": user.username, "password": PASSWORD}
    answer = at(server, app).post(LOGIN, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_only_these_routes_are_on_an_apps_host(server: Server) -> None:
    """A core admin asks: nothing but the door refuses."""
    declared = {f"{each.method} {each.path}" for _, each in server.kernel.routes if each.app_hosts}
    assert declared == OPEN
    client = at(server, "crm", log_in(server, "crm", server.admin)["accessToken"])
    reached = set[str]()
    for _, route in server.kernel.routes:
        if route.path.endswith(STREAMS):
            continue  # see below
        path = route.path.replace("{app_id}", "crm").replace("{entity}", "notes")
        path = re.sub(r"\{\w+\*?\}", "00000000-0000-4000-8000-000000000000", path)
        answer = client.request(route.method, path)
        name = f"{route.method} {route.path}"
        is_page_of_app = answer.text == PAGE
        is_refused = answer.status_code in (403, 404) and name not in OPEN
        if is_page_of_app or is_refused:
            continue
        assert answer.json() not in (CLOSED, NO_ROUTE) if answer.status_code >= 400 else True
        reached.add(name)
    assert reached == {name for name in OPEN if not name.endswith(STREAMS)}
    for path in ("/api/v1/apps/crm/logs", f"{NOTES}/feed"):
        with client.stream("GET", path) as stream:
            assert stream.status_code == 200


def test_no_route_of_another_app_is_there(server: Server) -> None:
    client = at(server, "crm", log_in(server, "crm", server.admin)["accessToken"])
    for _, route in server.kernel.routes:
        if not route.path.startswith("/api/v1/apps/{app_id}"):
            continue
        path = route.path.replace("{app_id}", "hr").replace("{entity}", "notes")
        path = re.sub(r"\{\w+\*?\}", "00000000-0000-4000-8000-000000000000", path)
        answer = client.request(route.method, path)
        refusal = (404, NO_ROUTE) if route.needs.kind == "public" else (403, CLOSED)
        assert (answer.status_code, answer.json()) == refusal, f"{route.method} {path}"


@pytest.mark.parametrize("issued", [None, "crm", "hr"])
def test_a_token_is_good_at_its_own_door_only(server: Server, issued: str | None) -> None:
    tokens = log_in(server, issued, server.admin)
    for door in (None, "crm", "hr"):
        answer = at(server, door, tokens["accessToken"]).get(ME)
        if door == issued:
            assert answer.status_code == 200
        else:
            assert (answer.status_code, answer.json()) == (401, OTHER_DOOR)
    # The bytes are in the cache of tokens now, and are judged in the same way.
    foreign = at(server, "hr" if issued == "crm" else "crm", tokens["accessToken"]).get(ME)
    assert foreign.status_code == 401


@pytest.mark.parametrize("issued", [None, "crm"])
def test_a_session_is_refreshed_and_ended_at_its_own_door_only(
    server: Server, issued: str | None
) -> None:
    body = {"refreshToken": log_in(server, issued, server.user())["refreshToken"]}
    foreign = "hr" if issued == "crm" else "crm"
    for route in (REFRESH, LOGOUT):
        for door in {None, "hr", "crm"} - {issued}:
            answer = at(server, door).post(route, json=body)
            assert (answer.status_code, answer.json()) == (401, OTHER_DOOR)

    refreshed = at(server, issued).post(REFRESH, json=body).json()
    assert at(server, issued, refreshed["accessToken"]).get(ME).status_code == 200
    assert at(server, foreign, refreshed["accessToken"]).get(ME).status_code == 401
    successor = {"refreshToken": refreshed["refreshToken"]}
    assert at(server, foreign).post(REFRESH, json=successor).status_code == 401
    assert at(server, issued).post(REFRESH, json=successor).status_code == 200
    assert at(server, issued).post(LOGOUT, json=successor).status_code == 200
    assert at(server, issued, refreshed["accessToken"]).get(ME).status_code == 401


def test_sessions_show_their_door(server: Server) -> None:
    user = server.user()
    log_in(server, "crm", user)
    sessions = user.get("/api/v1/auth/sessions").json()
    assert [session.get("app") for session in sessions] == ["crm", None]
    ended = user.delete(f"/api/v1/auth/sessions/{sessions[0]['id']}")
    assert ended.status_code == 200


def test_a_session_ends_with_the_installation_of_its_app(server: Server) -> None:
    manifest: dict[str, Any] = {"appId": "brief", "name": "Brief", "dataContract": []}
    server.install(manifest)
    publish(server, "brief")
    tokens = log_in(server, "brief", server.admin)
    client = at(server, "brief", tokens["accessToken"])
    assert client.get(ME).status_code == 200
    assert server.admin.delete("/api/v1/apps/brief").status_code == 200
    body = {"username": "admin", "password": PASSWORD}
    eventually(lambda: at(server, "brief").post(LOGIN, json=body).status_code == 404)

    server.install(manifest)
    publish(server, "brief")
    assert client.get(ME).status_code == 401
    refreshed = at(server, "brief").post(REFRESH, json={"refreshToken": tokens["refreshToken"]})
    assert refreshed.status_code == 401
    rows = server.admin.get("/api/v1/auth/sessions").json()
    assert "brief" not in {row.get("app") for row in rows}


def test_a_key_on_an_apps_host_is_good_for_that_app(server: Server) -> None:
    key = server.admin.post("/api/v1/auth/keys", json={"name": "script"}).json()["key"]
    client = at(server, "crm", key)
    assert client.post(NOTES, json={"title": "by key"}).status_code == 201
    assert client.get("/api/v1/apps/hr/collections/notes").json() == CLOSED
    assert client.get("/api/v1/auth/keys").json() == CLOSED
    assert [app["id"] for app in client.get("/api/v1/apps").json()] == ["crm"]
    assert at(server, "hr", key).get(NOTES).json() == CLOSED
    assert at(server, None, key).get("/api/v1/auth/keys").status_code == 200
    narrow = server.admin.post("/api/v1/auth/keys", json={"name": "hr", "apps": ["hr"]}).json()
    assert at(server, "crm", narrow["key"]).get(NOTES).status_code == 403


def test_a_workers_token_opens_no_apps_host(server: Server) -> None:
    identity = server.services.get(IDENTITY)
    delegation = new_delegation("crm", 60)
    token = server.run(lambda: identity.issue_delegated_token(server.admin.id, delegation))
    assert at(server, None, token).get(NOTES).status_code == 200
    for door in ("crm", "hr"):
        answer = at(server, door, token).get(NOTES)
        assert (answer.status_code, answer.json()) == (401, OTHER_DOOR)


def test_users_are_those_with_a_role_by_their_names(server: Server) -> None:
    member = server.user(permissions={"hr": ["notes.read"]})
    server.user(permissions={"crm": ["notes.read"]})
    expected = [  # the admin has installed the app
        {"id": user.id, "username": user.username, "display_name": None}
        for user in (server.admin, member)
    ]
    for user in (member, server.admin):
        token = log_in(server, "hr", user)["accessToken"]
        assert at(server, "hr", token).get("/api/v1/users").json() == expected
    identity = server.services.get(IDENTITY)
    delegation = new_delegation("hr", 60)
    token = server.run(lambda: identity.issue_delegated_token(server.admin.id, delegation))
    assert at(server, None, token).get("/api/v1/users").json() == expected
    assert "email" in server.admin.get("/api/v1/users").json()[0]


def test_apps_are_this_app(server: Server) -> None:
    client = at(server, "hr", log_in(server, "hr", server.admin)["accessToken"])
    assert [app["id"] for app in client.get("/api/v1/apps").json()] == ["hr"]
    assert client.get("/api/v1/apps/hr").json()["id"] == "hr"
    assert client.get("/api/v1/apps/crm").json() == CLOSED


def test_no_user_registers_others_through_an_apps_host(postgres: Postgres) -> None:
    """Where registration is closed, a core admin registers users; an app's page has none of it."""
    config = {"plugins": {"auth": {"registration": "first-user"}}}
    with running_server(postgres, config) as server:
        server.install({"appId": "crm", "name": "crm", "dataContract": []})
        publish(server, "crm")
        form = {"username": "other", "password": PASSWORD}
        token = log_in(server, "crm", server.admin)["accessToken"]
        register = "/api/v1/auth/register"
        through_app = at(server, "crm", token).post(register, json=form)
        assert through_app.status_code == 403
        assert at(server, None, token).post(register, json=form).status_code == 401
        own = server.admin.headers["authorization"].removeprefix("Bearer ")
        assert at(server, "crm", own).post(register, json=form).status_code == 401
        assert server.admin.post(register, json=form).status_code == 201


def test_an_idempotency_key_repeats_at_its_own_door(server: Server) -> None:
    key = {"idempotency-key": "once-per-door"}
    tokens = log_in(server, "crm", server.admin)
    through_app = at(server, "crm", tokens["accessToken"])
    first = through_app.post(NOTES, json={"title": "a"}, headers=key)
    assert first.status_code == 201
    again = through_app.post(NOTES, json={"title": "a"}, headers=key)
    assert again.json()["id"] == first.json()["id"]
    own = server.admin.post(NOTES, json={"title": "a"}, headers=key)
    assert own.status_code == 201
    assert own.json()["id"] != first.json()["id"]


def cased(text: str) -> st.SearchStrategy[str]:
    """Spellings of a text that differ in case."""
    letters = [st.sampled_from([letter.lower(), letter.upper()]) for letter in text]
    return st.tuples(*letters).map("".join)


@given(
    name=st.sampled_from(["crm", "hr"]).flatmap(
        lambda app: cased(f"{app}.localhost").map(lambda text: (app, text))
    ),
    dot=st.sampled_from(["", "."]),
    port=st.sampled_from(["", ":", ":80", ":9100", ":65535"]),
)
def test_every_spelling_of_a_host_is_the_same_door(
    server: Server, name: tuple[str, str], dot: str, port: str
) -> None:
    app, text = name
    answer = server.http.get("/api/v1/door", headers={"host": f"{text}{dot}{port}"})
    assert answer.json() == {"app": app}


@given(
    st.one_of(
        st.sampled_from(
            [
                "crm.localhost..", ".crm.localhost", "crm..localhost", "crm.localhost.evil.test",
                "xcrm.localhost", "x.crm.localhost", "crm.localhost@localhost", "crm.localhost/",
                "crm.localhost:x", "crm.localhost:80:80", "crm.localhost, localhost",
                "crm%2elocalhost", "crm_localhost", "crm.localhost\\",
            ]
        ),
        st.text("crmhlost.-_:@,/ \\%0", min_size=1, max_size=24),
    )
)  # fmt: skip
def test_any_other_text_is_no_door_of_the_server(server: Server, text: str) -> None:
    """It is refused, or it is one of the known names: nothing falls back to the server's host."""
    text = text.strip()
    bare = re.sub(r":[0-9]*$", "", text).lower()
    answer = server.http.get("/api/v1/door", headers={"host": text})
    if bare.removesuffix(".") in ("crm.localhost", "hr.localhost"):
        assert answer.json()["app"] is not None
    elif bare in ("localhost", "127.0.0.1"):
        assert answer.json() == {"app": None}
    elif bare:
        assert answer.status_code in (400, 404), text


def test_two_hosts_are_refused(server: Server) -> None:
    port = server.kernel.config.server.port
    for hosts in (("crm.localhost", "localhost"), ("localhost", "crm.localhost")):
        head = "".join(f"Host: {host}\r\n" for host in hosts)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(f"GET /api/v1/door HTTP/1.1\r\n{head}\r\n".encode())
            assert connection.recv(64).startswith(b"HTTP/1.1 400 ")
