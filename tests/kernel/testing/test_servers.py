"""Servers of a test's own making: which plugins, which services, which users."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kernel.errors import BootError
from kernel.public import (
    ANY_USER,
    PUBLIC,
    VAULT,
    Permission,
    Plugin,
    Request,
    Response,
    Route,
    Section,
    Services,
    core_permission,
    hookimpl,
    reply,
)
from kernel.testing import FakeVault, MakeServer, Server, ServerOptions

MANIFEST = {
    "appId": "crm",
    "name": "CRM",
    "dataContract": [{"entityName": "contacts", "fields": [{"name": "title", "type": "text"}]}],
}
ONE_FILE = """
from caudex import PUBLIC, Plugin, Response, Route, Services, hookimpl, reply


class PingPlugin(Plugin):
    name = "ping"

    @hookimpl
    def register_routes(self, services: Services) -> list[Route]:
        return [Route("GET", "/ping", self.ping, needs=PUBLIC)]

    async def ping(self, request: object) -> Response:
        return reply("pong")
"""


class GreeterConfig(Section, frozen=True, kw_only=True):
    """What is said."""

    word: str = "Hello"


class GreeterPlugin(Plugin):
    """Greets over HTTP."""

    name = "greeter"
    Config = GreeterConfig

    @hookimpl
    def register_permissions(self) -> list[Permission]:
        return [Permission("greeter.greet", "Greet")]

    @hookimpl
    def register_routes(self, services: Services) -> list[Route]:
        return [
            Route("GET", "/greet", self.greet, needs=PUBLIC),
            Route("GET", "/greet/me", self.greet, needs=ANY_USER),
            Route("GET", "/greet/all", self.greet, needs=core_permission("greeter.greet")),
        ]

    async def greet(self, request: Request) -> Response:
        return reply(f"{self.config.word}, {request.actor.username}")


@pytest.fixture(scope="module")
def server_options() -> ServerOptions:
    return {"plugins": [GreeterPlugin], "config": {"plugins": {"greeter": {"word": "Ahoy"}}}}


def test_the_shared_server_is_made_of_the_options(server: Server) -> None:
    assert server.user("ada").get("/greet/me").json() == "Ahoy, ada"


def test_a_user_holds_the_permissions_that_are_given_and_no_others(server: Server) -> None:
    may = server.user(permissions={"core": ["greeter.greet"]})
    assert may.get("/greet/all").status_code == 200
    assert server.user().get("/greet/all").status_code == 403


def test_a_user_holds_the_roles_that_are_given(server: Server) -> None:
    assert server.install(MANIFEST)
    role = {"name": "editor", "permissions": ["contacts.*"]}
    assert server.admin.post("/api/v1/apps/crm/roles", json=role).status_code == 200
    contacts = "/api/v1/apps/crm/collections/contacts"
    editor = server.user(roles={"crm": ["editor"]})
    assert editor.post(contacts, json={"title": "Ada"}).status_code == 201
    reader = server.user()
    assert reader.get(contacts).status_code == 403
    server.grant(reader, "crm", "contacts.read")
    assert reader.get(contacts).status_code == 200
    assert reader.post(contacts, json={"title": "Bob"}).status_code == 403


def test_what_goes_wrong_in_the_preparation_says_why(server: Server) -> None:
    with pytest.raises(AssertionError, match="/api/v1/apps: 400"):
        server.install({"appId": "Not An Id"})
    with pytest.raises(AssertionError, match="/api/v1/apps/core/roles/assign: 400"):
        server.assign(server.user(), "core", "nobody")


@pytest.mark.slow
def test_threads_that_ask_at_once_get_one_admin_and_users_of_their_own(
    make_server: MakeServer,
) -> None:
    server = make_server()
    with ThreadPoolExecutor(8) as pool:
        admins = set(pool.map(lambda _: server.admin, range(8)))
        users = list(pool.map(lambda _: server.user(permissions={"core": ["*"]}), range(8)))
        counts = set(pool.map(lambda _: server.sql("select 1")[0][0], range(64)))
    assert len(admins) == 1
    assert len({user.id for user in users}) == 8
    assert counts == {1}


def test_threads_whose_first_request_is_for_users_get_them(make_server: MakeServer) -> None:
    server = make_server()
    with ThreadPoolExecutor(8) as pool:
        users = list(pool.map(lambda _: server.user(), range(8)))
    assert server.admin.id not in {user.id for user in users}


def test_one_file_is_enough(make_server: MakeServer, tmp_path: Path) -> None:
    path = tmp_path / "ping.py"
    path.write_text(ONE_FILE, "utf-8")
    server = make_server(plugins=[path], only=[])
    assert server.http.get("/ping").json() == "pong"
    on = [info.name for info in server.kernel.plugins if info.state == "on"]
    assert on == ["http_server", "ping"]


@pytest.mark.slow
def test_only_the_plugins_that_are_named_are_on(make_server: MakeServer) -> None:
    named = ["notifications", "auth", "rbac", "apps", "audit"]
    server = make_server(only=named, plugins=[GreeterPlugin])
    on = {info.name for info in server.kernel.plugins if info.state == "on"}
    assert on == {*named, "greeter", "http_server"}
    assert server.http.get("/health").status_code == 404
    assert server.user().get("/greet/me").status_code == 200


def test_a_name_that_is_not_allowed_is_reported(make_server: MakeServer) -> None:
    with pytest.raises(BootError, match=r"\[plugins.autj\]: there is no such plugin.*auth"):
        make_server(only=["autj"])
    with pytest.raises(BootError, match="install its package, or say where it is: module"):
        make_server({"plugins": {"zzz_unheard_of": {}}})


@pytest.mark.slow
def test_a_fake_answers_for_a_service(make_server: MakeServer) -> None:
    vault = FakeVault({"crm": {"OLD": "x"}})
    server = make_server(services={VAULT: vault})
    assert server.kernel.services.provider("vault") == "stand_in"
    server.install(MANIFEST)
    body = {"key": "API_KEY", "value": "s3cret"}
    secrets = "/api/v1/apps/crm/secrets"
    assert server.admin.post(secrets, json=body).is_success
    assert vault.secrets["crm"] == {"OLD": "x", "API_KEY": "s3cret"}
    assert not list((server.kernel.config.data_dir / "config").glob("master*"))


@pytest.mark.slow
def test_servers_share_a_database(make_server: MakeServer) -> None:
    first = make_server(plugins=[GreeterPlugin])
    second = make_server(
        plugins=[GreeterPlugin], dsn=first.dsn, data_dir=first.kernel.config.data_dir
    )
    user = first.user("ada")
    assert second.login("ada", user.password).get("/greet/me").json() == "Hello, ada"
