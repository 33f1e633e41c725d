"""A plugin that raises while the server runs: guards fail closed, observers harm no other,
and the log names the plugin, the hook and the place."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import httpx
import pytest
from structlog.testing import capture_logs

from kernel.errors import FIX_PLUGIN
from kernel.public import (
    ANY_USER,
    PUBLIC,
    Action,
    Actor,
    Change,
    Entity,
    Event,
    InstallPlan,
    Middleware,
    Plugin,
    Request,
    Response,
    Route,
    Services,
    Transaction,
    User,
    hookimpl,
    reply,
)
from kernel.testing import Postgres, Server, running_server

TEXT = {"name": "title", "type": "text"}
MANIFEST = {
    "appId": "tea",
    "name": "Tea",
    "dataContract": [{"entityName": "cups", "fields": [TEXT]}],
}
CUPS = "/api/v1/apps/tea/collections/cups"


class FaultyPlugin(Plugin):
    name = "faulty"
    broken: ClassVar[str] = ""

    def _try(self, hook: str) -> None:
        if self.broken == hook:
            raise ValueError(f"{hook} is broken")

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        return [
            Route("GET", "/faulty", self.get, needs=ANY_USER),
            Route("GET", "/mute", self.mute, needs=PUBLIC),
        ]

    async def get(self, request: Request) -> Response:
        self._try("handler")
        return reply({})

    async def mute(self, request: Request) -> Any:
        return {"a": 1}

    @hookimpl
    def register_middleware(self, services: Services) -> Sequence[Middleware]:
        def wrap(app: Any) -> Any:
            async def middleware(scope: Any, receive: Any, send: Any) -> None:
                self._try("register_middleware")
                await app(scope, receive, send)

            return middleware

        return [wrap]

    @hookimpl
    async def authenticate(self, request: Request) -> Actor | None:
        self._try("authenticate")
        return None

    @hookimpl
    def session_settings(self, actor: Actor) -> dict[str, str]:
        self._try("session_settings")
        return {}

    @hookimpl
    async def record_scope(self, actor: Actor, entity: Entity, action: Action) -> None:
        self._try("record_scope")

    @hookimpl
    async def record_writing(self, tx: Transaction, change: Change) -> None:
        self._try("record_writing")

    @hookimpl
    async def event_recorded(self, tx: Transaction, event: Event) -> None:
        self._try("event_recorded")

    @hookimpl
    async def event_committed(self, event: Event) -> None:
        self._try("event_committed")

    @hookimpl
    async def app_planning(self, plan: InstallPlan) -> None:
        self._try("app_planning")

    @hookimpl
    async def app_changing(self, tx: Transaction, app_id: str) -> None:
        self._try("app_changing")

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        self._try("app_installing")

    @hookimpl
    async def app_removing(self, tx: Transaction, app: Any) -> None:
        self._try("app_removing")

    @hookimpl
    async def account_created(self, tx: Transaction, user: User, first: bool) -> None:
        self._try("account_created")

    @hookimpl
    async def account_closing(self, tx: Transaction, user: User, delete: bool) -> None:
        self._try("account_closing")


class Bystander(Plugin):
    """Its frame is in every traceback, as that of a plugin that measures requests."""

    name = "bystander"

    @hookimpl
    def register_middleware(self, services: Services) -> Sequence[Middleware]:
        def wrap(app: Any) -> Any:
            async def middleware(scope: Any, receive: Any, send: Any) -> None:
                await app(scope, receive, send)

            return middleware

        return [wrap]


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Generator[Server]:
    with running_server(postgres, PLUGINS) as running:
        running.admin.post("/api/v1/apps", json=MANIFEST).raise_for_status()
        running.admin.post(CUPS, json={"title": "first"}).raise_for_status()
        yield running


PLUGINS = {"plugins": {"faulty": {"module": FaultyPlugin}, "bystander": {"module": Bystander}}}


@contextmanager
def broken(hook: str) -> Iterator[list[Any]]:
    """While it lasts the hook raises; what is logged is given."""
    FaultyPlugin.broken = hook
    try:
        with capture_logs() as logs:
            yield logs
    finally:
        FaultyPlugin.broken = ""


def register(server: Server) -> httpx.Response:
    body = {"username": "mallory", "password": "Str0ngPass!x"}
    return server.http.post("/api/v1/auth/register", json=body)


def change(server: Server) -> httpx.Response:
    """Ask for another table of the app."""
    added = {"entityName": "spoons", "fields": [{"name": "title", "type": "text"}]}
    changed = {**MANIFEST, "dataContract": [*MANIFEST["dataContract"], added]}
    return server.admin.post("/api/v1/apps", json=changed)


GUARDS: dict[str, Callable[[Server], httpx.Response]] = {
    "handler": lambda server: server.admin.get("/faulty"),
    "register_middleware": lambda server: server.http.get("/health"),
    # Asked where no one before it knows the caller.
    "authenticate": lambda server: server.http.get("/faulty"),
    "session_settings": lambda server: server.admin.post(CUPS, json={"title": "no"}),
    "record_scope": lambda server: server.admin.get(CUPS),
    "record_writing": lambda server: server.admin.post(CUPS, json={"title": "no"}),
    "event_recorded": lambda server: server.admin.post(CUPS, json={"title": "no"}),
    "app_planning": lambda s: s.admin.post("/api/v1/apps/schema/verify", json=MANIFEST),
    "app_installing": lambda s: s.admin.post("/api/v1/apps", json={**MANIFEST, "name": "No"}),
    "app_changing": lambda server: change(server),
    "app_removing": lambda server: server.admin.delete("/api/v1/apps/tea"),
    "account_created": register,
    "account_closing": lambda s: s.admin.delete(f"/api/v1/users/{OTHER[0]}"),
}
OTHER: list[str] = []


@pytest.mark.parametrize("hook", GUARDS)
def test_what_guards_fails_closed_and_the_log_names_it(server: Server, hook: str) -> None:
    OTHER[:] = [server.user().id]
    with broken(hook) as logs:
        answer = GUARDS[hook](server)
    assert answer.status_code == 500
    number = answer.headers["x-request-id"]
    said = f"internal error; quote request id {number} to find it in the server's log"
    assert answer.json() == {"error": said}
    [line] = [line for line in logs if line["event"] == "a request failed"]
    assert line["log_level"] == "error"
    if hook in ("handler", "register_middleware"):
        assert line["plugin"] == "faulty"
        assert line["where"].startswith(f"{__file__}:")
    else:
        assert line["where"].startswith(f"plugin faulty, hook {hook}, {__file__}:")
    assert line["remedy"] == FIX_PLUGIN


def test_who_returns_no_reply_is_named(server: Server) -> None:
    with capture_logs() as logs:
        assert server.http.get("/mute").status_code == 500
    [line] = [line for line in logs if line["event"] == "a request failed"]
    assert (line["plugin"], line["error"]) == ("faulty", "NoReply")
    assert line["where"].startswith(f"{__file__}:")
    assert line["remedy"] == "return reply(...)"
    assert str(line["exc_info"]) == "the handler of GET /mute returned dict"


def test_nothing_came_of_it(server: Server) -> None:
    assert [cup["title"] for cup in server.admin.get(CUPS).json()] == ["first"]
    assert server.admin.get("/api/v1/apps").json()[0]["name"] == "Tea"
    login = {"username": "mallory", "password": "Str0ngPass!x"}
    assert server.http.post("/api/v1/auth/login", json=login).status_code == 401


def test_an_observer_that_fails_harms_no_other_and_the_log_names_it(server: Server) -> None:
    with broken("event_committed") as logs:
        assert server.admin.post(CUPS, json={"title": "second"}).status_code == 201
        reported = [line for line in logs if line["event"] == "an observer failed"]
    assert reported
    assert (reported[0]["plugin"], reported[0]["hook"]) == ("faulty", "event_committed")
    assert reported[0]["at"].startswith(f"{__file__}:")
    assert reported[0]["error"] == "ValueError: event_committed is broken"
    assert reported[0]["remedy"] == FIX_PLUGIN


def test_a_second_request_works_as_before(server: Server) -> None:
    assert server.admin.get("/faulty").status_code == 200
    assert server.http.get("/faulty").status_code == 401
