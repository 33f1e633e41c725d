"""Every route is guarded, and the guard asks before anything else is done."""

import inspect
import re

import httpx
import msgspec
import pytest

from kernel.contracts.access import Needs
from kernel.testing import Server

PUBLIC = {
    "GET /health", "GET /health/ready",
    "GET /api/v1/auth/mode", "POST /api/v1/auth/register", "POST /api/v1/auth/login",
    "POST /api/v1/auth/refresh", "POST /api/v1/auth/logout",
    "POST /api/v1/auth/invites/show", "POST /api/v1/auth/invites/accept",
    "POST /api/v1/console/session", "DELETE /api/v1/console/session",
    "GET /_auth/sign-in", "GET /_auth/callback", "GET /_auth/session", "POST /_auth/sign-out",
    "GET /", "GET /console", "GET /console/", "GET /console/{file}", "GET /console/{folder}/{file}",
    "GET /console/{folder}/{inner}/{file}", "GET /console/ext/{plugin}/{file}",
    "GET /api/v1/apps/{app_id}/exports/{id}/file",
    "GET /api/v1/apps/{app_id}/files/{id}/link",
    "GET /apps/{app_id}", "GET /apps/{app_id}/{path*}",
}  # fmt: skip
FORGED = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


def sent(client: httpx.Client, method: str, path: str, **more: str) -> httpx.Response:
    """A request for a route, its parameters filled with what is surely not there."""
    filled = re.sub(r"\{\w+\}", "00000000-0000-4000-8000-000000000000", path)
    return client.request(method, filled, headers=more)


def test_every_route_declares_what_it_needs(server: Server) -> None:
    assert len(server.kernel.routes) > 40
    for plugin, route in server.kernel.routes:
        assert isinstance(route.needs, Needs), f"{plugin}: {route.path}"
        page = r"(/\{path\*\})?|/|/(?!api/)([a-z]+/)+"
        assert re.fullmatch(r"(/[a-z0-9_.-]+|/\{[a-z_]+\})+" + page, route.path), route.path


def test_every_route_declares_its_summary_input_and_result(server: Server) -> None:
    """What documents of the API are made of."""
    for _, route in server.kernel.routes:
        place = f"{route.method} {route.path}"
        first = (inspect.getdoc(route.handler) or "").partition("\n")[0]
        assert re.fullmatch(r"[A-Z][^/{]+[.;:,\w]", first), f"{place}: {first!r} is no sentence"
        assert route.returns is not None or "responses" in route.openapi, f"{place}: returns what?"
        asks = "request.query()" in inspect.getsource(route.handler)
        assert route.query is not None or not asks, f"{place}: declare its query parameters"
        for declared in (route.body, route.returns, route.query):
            msgspec.json.schema_components([declared])


def test_only_these_routes_are_public(server: Server) -> None:
    public = {f"{r.method} {r.path}" for _, r in server.kernel.routes if r.needs.kind == "public"}
    assert public == PUBLIC


def test_a_need_that_takes_the_app_from_the_path_finds_it_there(server: Server) -> None:
    for _, route in server.kernel.routes:
        if route.needs.kind in ("app_user", "app_admin", "entity"):
            assert "{app_id}" in route.path, route.path
        if route.needs.kind == "entity":
            assert "{entity}" in route.path, route.path


@pytest.mark.parametrize("token", [None, "Bearer x", f"Bearer {FORGED}", "Basic YTpi", "Bearer"])
def test_every_other_route_answers_401_without_a_token(server: Server, token: str | None) -> None:
    headers = {} if token is None else {"authorization": token}
    for _, route in server.kernel.routes:
        if route.needs.kind != "public":
            answer = sent(server.http, route.method, route.path, **headers)
            assert answer.status_code == 401, f"{route.method} {route.path}: {answer.text}"
            assert list(answer.json()) == ["error"]


def test_a_user_without_a_role_passes_no_guard(server: Server) -> None:
    user = server.user()
    for _, route in server.kernel.routes:
        if route.needs.kind not in ("public", "user"):
            answer = sent(user, route.method, route.path)
            assert answer.status_code in (403, 404), f"{route.method} {route.path}: {answer.text}"


def test_a_method_that_a_route_does_not_speak_is_405(server: Server) -> None:
    spoken: dict[str, set[str]] = {}
    for _, route in server.kernel.routes:
        spoken.setdefault(route.path, set()).add(route.method)
    for path, methods in spoken.items():
        if "{" not in path:
            answer = sent(server.admin, "PUT", path)
            assert answer.status_code == 405, path
            assert methods <= set(answer.headers["allow"].split(", "))
