"""A guard that takes too long is never skipped; a plugin that floods is bounded and named."""

import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar
from unittest.mock import patch

import anyio
import httpx
import pytest
from structlog.testing import capture_logs

from kernel.contracts import hookspecs
from kernel.errors import HookTimeout
from kernel.public import (
    ANY_USER,
    RECORDS,
    STATEMENTS,
    Event,
    Grant,
    Plugin,
    Request,
    Response,
    Route,
    Services,
    Target,
    for_subjects,
    hookimpl,
    reply,
)
from kernel.testing import Postgres, Server, running_server
from tests.waiting import eventually

TITLE = {"name": "title", "type": "text"}
TEA = {
    "appId": "tea",
    "name": "Tea",
    "dataContract": [{"entityName": name, "fields": [TITLE]} for name in ("cups", "pots")],
}
CUPS, POTS = (f"/api/v1/apps/tea/collections/{name}" for name in ("cups", "pots"))
LOGIN = {"username": "grace", "password": "Str0ngPass!x"}


class SleepyPlugin(Plugin):
    """Every guard of it sleeps while a test says so."""

    name = "sleepy"
    requires = (RECORDS,)
    asleep: ClassVar[str] = ""

    async def _sleep(self, hook: str) -> None:
        if self.asleep == hook:
            await anyio.sleep(60)

    @hookimpl
    def register_routes(self, services: Services) -> list[Route]:
        self._services = services
        return [Route("GET", "/sleepy", self.show, ANY_USER)]

    async def show(self, request: Request) -> Response:
        return reply({})

    @hookimpl
    async def authenticate(self, request: Request) -> None:
        await self._sleep("authenticate")

    @hookimpl
    async def record_scope(self) -> None:
        await self._sleep("record_scope")

    @hookimpl
    @for_subjects("tea.cups")
    async def record_writing(self) -> None:
        await self._sleep("record_writing")

    @hookimpl
    @for_subjects("tea.cups")
    async def event_recorded(self) -> None:
        await self._sleep("event_recorded")

    @hookimpl
    async def app_planning(self) -> None:
        await self._sleep("app_planning")

    @hookimpl
    async def app_changing(self) -> None:
        await self._sleep("app_changing")

    @hookimpl
    async def app_installing(self) -> None:
        await self._sleep("app_installing")

    @hookimpl
    async def app_removing(self) -> None:
        await self._sleep("app_removing")

    @hookimpl
    async def account_created(self) -> None:
        await self._sleep("account_created")

    @hookimpl
    async def account_closing(self) -> None:
        await self._sleep("account_closing")

    @hookimpl
    async def worker_environment(self) -> Mapping[str, str]:
        await self._sleep("worker_environment")
        return {}

    @hookimpl
    @for_subjects("tea.pots")
    async def event_committed(self, event: Event) -> None:
        """Answer each pot by another one, without an end."""
        records = self._services.get(RECORDS)
        target = Target(event.actor, Grant(), "tea", "pots")
        await records.create(target, {"title": "and another"})


class PouringPlugin(Plugin):
    """Writes into its table without a pause."""

    name = "pouring"
    pours: ClassVar[bool] = False
    poured: ClassVar[int] = 0
    pause: ClassVar[float] = 0
    requires = (STATEMENTS,)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        self._statements = services.get(STATEMENTS)
        self.tasks.every(0, self.pour, "pour")
        yield

    async def pour(self) -> float:
        if not PouringPlugin.pours:
            return 0.05
        rows = 1000
        await self._statements.execute(
            "insert into caudex_pouring.drops select n from generate_series(1, $1::integer) as n",
            rows,
        )
        PouringPlugin.poured += rows
        return self.pause


@pytest.fixture(scope="module")
def server(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    config = {"server": {"hook_timeout": 0.5}}
    PouringPlugin.migrations = tmp_path_factory.mktemp("pouring")
    table = "create table caudex_pouring.drops (n integer);"
    (PouringPlugin.migrations / "0001_drops.sql").write_text(table)
    with (
        patch("plugins.system.PERIOD", 1.0),
        running_server(postgres, config, plugins=[SleepyPlugin, PouringPlugin]) as running,
    ):
        running.admin.post("/api/v1/apps", json=TEA).raise_for_status()
        running.http.post("/api/v1/auth/register", json=LOGIN).raise_for_status()
        yield running


def register(server: Server) -> httpx.Response:
    body = {"username": "mallory", "password": "Str0ngPass!x"}
    return server.http.post("/api/v1/auth/register", json=body)


def change(server: Server) -> httpx.Response:
    """Ask for another table of the app."""
    added = {"entityName": "spoons", "fields": [{"name": "title", "type": "text"}]}
    changed = {**TEA, "dataContract": [*TEA["dataContract"], added]}
    return server.admin.post("/api/v1/apps", json=changed)


GUARDS: dict[str, Callable[[Server], httpx.Response]] = {
    "authenticate": lambda server: server.http.get("/sleepy"),
    "record_scope": lambda server: server.admin.get(CUPS),
    "record_writing": lambda server: server.admin.post(CUPS, json={"title": "no"}),
    "event_recorded": lambda server: server.admin.post(CUPS, json={"title": "no"}),
    "app_planning": lambda s: s.admin.post("/api/v1/apps", json={**TEA, "name": "No"}),
    "app_installing": lambda s: s.admin.post("/api/v1/apps", json={**TEA, "name": "No"}),
    "app_changing": lambda server: change(server),
    "app_removing": lambda server: server.admin.delete("/api/v1/apps/tea"),
    "account_created": register,
    "account_closing": lambda s: s.admin.delete(f"/api/v1/users/{OTHER[0]}"),
}
OTHER: list[str] = []


@pytest.mark.parametrize("hook", GUARDS)
def test_a_guard_that_takes_too_long_is_503_and_nothing_is_done(
    server: Server, monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    OTHER[:] = [server.user().id]
    monkeypatch.setattr(SleepyPlugin, "asleep", hook)
    with capture_logs() as logs:
        answer = GUARDS[hook](server)
    monkeypatch.setattr(SleepyPlugin, "asleep", "")
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True), answer.text
    [line] = [line for line in logs if line["event"] == "a hook took too long"]
    assert (line["plugin"], line["hook"], line["log_level"]) == ("sleepy", hook, "error")
    assert line["at"].startswith(f"{__file__}:")
    assert server.admin.get(CUPS).json() == []
    assert [each["name"] for each in server.admin.get("/api/v1/apps").json()] == ["Tea"]
    names = [each["username"] for each in server.admin.get("/api/v1/users").json()]
    assert "mallory" not in names
    assert OTHER[0] in [each["id"] for each in server.admin.get("/api/v1/users").json()]


def test_a_worker_does_not_start_without_the_environment_of_a_guard(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SleepyPlugin, "asleep", "worker_environment")

    async def ask() -> Any:
        return await server.kernel.bus.gather(hookspecs.worker_environment, app_id="tea")

    with pytest.raises(HookTimeout):
        server.run(ask)


@pytest.mark.slow
def test_an_observer_that_floods_its_own_hook_is_ended_and_named(server: Server) -> None:
    with capture_logs() as logs:
        began = time.monotonic()
        assert server.admin.post(POTS, json={"title": "first"}).status_code == 201
        assert time.monotonic() - began < 5
    bad = [line for line in logs if line["log_level"] in ("warning", "error")]
    # On a machine that is busy the event loop is late in any code.
    bad = [line for line in bad if line["event"] != "the event loop is blocked"]
    assert {line.get("plugin") for line in bad} == {"sleepy"}, bad
    answer = server.http.post("/api/v1/auth/login", json=LOGIN)
    assert answer.status_code == 200

    def is_over() -> bool:
        before = server.sql("select count(*) from tea.pots")
        time.sleep(1)
        return server.sql("select count(*) from tea.pots") == before

    eventually(is_over, 20)
    [info] = [each for each in server.admin.get("/api/v1/plugins").json()["plugins"]
              if each["name"] == "sleepy"]  # fmt: skip
    [hook] = [each for each in info["hooks"] if each["hook"] == "event_committed"]
    assert hook["errors"] > 0
    kept = server.sql("select count(*) from tea.pots where title = 'first'")
    assert kept == [(1,)]  # what was acknowledged is not lost


@pytest.mark.slow
def test_a_plugin_that_pours_into_its_table_holds_up_no_other_and_is_named(server: Server) -> None:
    quickest = min(timed(server) for _ in range(3))
    PouringPlugin.pours = True
    deadline = time.monotonic() + 10
    while PouringPlugin.poured < 3000 and time.monotonic() < deadline:
        time.sleep(0.05)
    slowest = min(timed(server) for _ in range(3))
    assert PouringPlugin.poured > 3000
    assert slowest < quickest + 1.0
    PouringPlugin.pause = 0.05

    def problems() -> list[str]:
        return server.http.get("/health/ready").raise_for_status().json().get("problems", [])

    with capture_logs() as logs:
        eventually(lambda: problems() == ["pouring: it floods its tables"], 15)
    [line] = [each for each in logs if each["event"] == "a plugin floods its tables"]
    assert (line["plugin"], line["rows_per_second"] > 1000) == ("pouring", True)
    assert server.admin.get("/api/v1/status").json()["pouring"]["rows_per_second"] > 1000
    [info] = [each for each in server.admin.get("/api/v1/plugins").json()["plugins"]
              if each["name"] == "pouring"]  # fmt: skip
    assert info["warnings"][0].startswith("it floods its tables: ")
    PouringPlugin.pours = False
    eventually(lambda: not problems(), 15)


def timed(server: Server) -> float:
    began = time.monotonic()
    server.http.post("/api/v1/auth/login", json=LOGIN).raise_for_status()
    server.admin.get(CUPS, params={"limit": 1}).raise_for_status()
    return time.monotonic() - began
