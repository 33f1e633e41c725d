"""Lifespans and services that fail while the server runs, or keep it from its start or end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from kernel.errors import BootError
from kernel.loading import slow_starts
from kernel.testing import MakeServer, Server
from kernel.toolkit.backoff import Backoff
from tests.kernel.mistakes.mistake import Mistake
from tests.waiting import eventually

BREAKS = """
works = True

async def work(self):
    while self.works:
        await anyio.sleep(0.02)
    self.works = True
    raise OSError("the other server is away")  # here

@hookimpl
def register_routes(self, services):
    return [Route("POST", "/break", self.stop, PUBLIC), Route("GET", "/count", self.count, PUBLIC)]

async def stop(self, request):
    self.works = False
    return reply({})

async def count(self, request):
    return reply(self.begun)

begun = 0
"""
LIFESPAN = f"""
{BREAKS}
@hookimpl
@asynccontextmanager
async def lifespan(self, services):
    self.begun += 1
    self.tasks.start(anyio.sleep_forever, "listen")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(self.work)
        yield
        tasks.cancel_scope.cancel()
"""
SERVICE = f"""
{BREAKS}
@hookimpl
def provide_services(self):
    return [provide(ServiceKey("tea"), self.open)]

@asynccontextmanager
async def open(self, services):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(self.work)
        yield "tea"
        tasks.cancel_scope.cancel()
"""
HEAD = """
class Tea(Protocol):
    async def pour(self) -> None: ...
"""
Start = Callable[..., tuple[Server, Mistake]]


@pytest.fixture
def start(make_server: MakeServer, tmp_path: Path) -> Start:
    """Start a server with the plugin `broken`."""

    def start(body: str, **table: Any) -> tuple[Server, Mistake]:
        mistake = Mistake(title="", body=body, head=HEAD)
        file = str(mistake.save("broken", tmp_path))
        config = {"server": {"plugin_files": [file]}, "plugins": {"broken": table}}
        return make_server(config), mistake

    return start


def named(logs: list[Any], event: str) -> Any:
    lines = eventually(lambda: [line for line in logs if line["event"] == event])
    return lines[0]


@pytest.mark.parametrize("on_failure", ["stop", "degrade"])
def test_a_lifespan_whose_task_fails_ends_no_server_and_begins_again(
    start: Start, tmp_path: Path, on_failure: str
) -> None:
    with capture_logs() as logs:
        server, mistake = start(LIFESPAN, on_failure=on_failure)
        assert server.http.post("/break").status_code == 200
        line = named(logs, "a plugin failed while it runs")
        assert (line["plugin"], line["where"]) == ("broken", mistake.place("broken", tmp_path))
        assert line["remedy"].startswith("fix the plugin")
        ready = server.http.get("/health/ready")
        if on_failure == "degrade":
            assert (ready.status_code, ready.json()["degraded"]) == (200, ["broken"])
        else:
            assert (ready.status_code, ready.json()) == (503, {"error": "not ready: broken"})
        status = server.admin.get("/api/v1/status").json()["broken"]
        assert status["state"] == "Error"
        assert status["failing"] == f"OSError at {line['where']}"
        assert server.http.get("/health").status_code == 200
        named(logs, "a plugin works again")
    assert server.http.get("/count").json() == 2
    assert server.http.get("/health/ready").status_code == 200
    plugins = server.admin.get("/api/v1/plugins").json()["plugins"]
    [broken] = [plugin for plugin in plugins if plugin["name"] == "broken"]
    assert [(task["name"], task["state"]) for task in broken["tasks"]] == [("listen", "running")]


def test_a_service_whose_task_fails_ends_no_server(start: Start, tmp_path: Path) -> None:
    with capture_logs() as logs:
        server, mistake = start(SERVICE)
        assert server.http.post("/break").status_code == 200
        line = named(logs, "a plugin failed while it runs")
    assert (line["plugin"], line["where"]) == ("broken", mistake.place("broken", tmp_path))
    assert server.http.get("/health/ready").json() == {"error": "not ready: broken"}
    assert server.http.get("/health").status_code == 200


def test_a_lifespan_that_does_not_end_is_named(start: Start, tmp_path: Path) -> None:
    body = """
        @hookimpl  # here
        @asynccontextmanager
        async def lifespan(self, services):
            yield
            yield
    """
    with capture_logs() as logs:
        server, mistake = start(body)
        with pytest.raises(RuntimeError, match="generator didn't stop"):
            server.stop()
    line = named(logs, "a plugin failed to end")
    assert (line["plugin"], line["where"]) == ("broken", mistake.place("broken", tmp_path))
    server._thread._error = None  # type: ignore[attr-defined]  # it is the test's


def factory(key: str, code: str) -> str:
    """Return a plugin whose factory of a service is this."""
    return f"""
        @hookimpl
        def provide_services(self):
            return [provide({key}, self.make)]

        {code}  # here
    """


TEA = "ServiceKey('tea')"
BEGINS = {
    "a lifespan that is a coroutine function": (
        """
        @hookimpl  # here
        async def lifespan(self, services):
            yield
        """,
        "it failed to start: HookFailed: lifespan returned async_generator, not AbstractAsync",
    ),
    "a lifespan that returns a generator": (
        """
        async def live(self):
            yield

        @hookimpl  # here
        def lifespan(self, services):
            return self.live()
        """,
        "it failed to start: HookFailed: lifespan returned async_generator, not AbstractAsync",
    ),
    "a lifespan that does not yield": (
        """
        @hookimpl  # here
        @asynccontextmanager
        async def lifespan(self, services):
            if services is None:
                yield
        """,
        "it failed to start: RuntimeError: generator didn't yield; fix it, disable it",
    ),
    "a lifespan that calls sys.exit": (
        """
        @hookimpl
        @asynccontextmanager
        async def lifespan(self, services):
            sys.exit(1)  # here
            yield
        """,
        "it failed to start: SystemExit: 1; raise an error: a plugin cannot end the server",
    ),
    "a factory that returns nothing": (
        factory(TEA, "def make(self, services): ..."),
        "service 'tea': its factory returned nothing; return the service",
    ),
    "a factory that is a coroutine function": (
        factory(TEA, "async def make(self, services): ..."),
        "service 'tea': its factory returned a coroutine; write a plain def, or a context manager",
    ),
    "a factory that is a generator function": (
        factory(TEA, "async def make(self, services): yield"),
        "service 'tea': its factory returned a generator; mark it with @asynccontextmanager",
    ),
}


@pytest.mark.parametrize("name", BEGINS)
def test_what_cannot_be_begun_stops_the_start(start: Start, tmp_path: Path, name: str) -> None:
    body, problem = BEGINS[name]
    place = Mistake(title="", body=body, head=HEAD).place("broken", tmp_path)
    with pytest.raises(BootError) as caught:
        start(body)
    assert str(caught.value).startswith(f"plugin broken, {place}: {problem}"), str(caught.value)


def test_a_service_that_lacks_what_its_key_declares_is_named(start: Start, tmp_path: Path) -> None:
    with capture_logs() as logs:
        _, mistake = start(factory("ServiceKey[Tea]('tea')", "def make(self, services): return 1"))
    line = named(logs, "a service lacks what its key declares")
    assert (line["plugin"], line["service"], line["missing"]) == ("broken", "tea", ["pour"])
    assert line["at"] == mistake.place("broken", tmp_path)
    assert line["remedy"] == "write what Tea declares"


@pytest.mark.parametrize("code", ["time.sleep(2)", "await anyio.sleep(2)"])
def test_what_takes_long_to_begin_is_named(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(slow_starts, "BEAT", 0.05)
    monkeypatch.setattr(slow_starts, "PAUSES", Backoff(first=0.5, longest=60.0))
    blocks = code.startswith("time")
    body = f"""
        @hookimpl{"" if blocks else "  # here"}
        @asynccontextmanager
        async def lifespan(self, services):
            {code}{"  # here" if blocks else ""}
            yield
    """
    with capture_logs() as logs:
        server, mistake = start(body)
    line = named(logs, "a plugin takes long to start")
    assert (line["plugin"], line["at"]) == ("broken", mistake.place("broken", tmp_path))
    assert line["remedy"].startswith("start long work by self.tasks")
    assert server.http.get("/health").status_code == 200
    time.sleep(0.1)
