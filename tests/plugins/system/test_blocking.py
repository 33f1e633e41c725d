"""Code that holds the event loop, and tasks that are left behind: each is named."""

import asyncio
import selectors
import sys
import threading
import time
from collections.abc import Generator, Sequence
from typing import Any, ClassVar

import pytest
from structlog.testing import capture_logs

from kernel.public import (
    PUBLIC,
    REGISTRY,
    Event,
    Plugin,
    Request,
    Response,
    Route,
    Services,
    hookimpl,
    reply,
)
from kernel.testing import Postgres, Server, running_server
from plugins.system import blocking
from tests.waiting import eventually


class RudePlugin(Plugin):
    name = "rude"
    fails: ClassVar[bool] = False
    left: ClassVar[list[Any]] = []

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        return [
            Route("GET", "/sleeps", self.sleeps, PUBLIC),
            Route("GET", "/spins", self.spins, PUBLIC),
            Route("GET", "/leaks", self.leaks, PUBLIC),
            Route("GET", "/throws", self.throws, PUBLIC),
        ]

    async def sleeps(self, request: Request) -> Response:
        time.sleep(0.7)  # noqa: ASYNC251
        return reply({})

    async def spins(self, request: Request) -> Response:
        until = time.monotonic() + 0.7
        while time.monotonic() < until:
            pass
        return reply({})

    async def leaks(self, request: Request) -> Response:
        self.left += [asyncio.create_task(self._forever()) for _ in range(20)]  # noqa: TID251
        return reply({})

    async def throws(self, request: Request) -> Response:
        self.left.append(asyncio.create_task(self._raises()))  # noqa: TID251
        return reply({})

    async def _forever(self) -> None:
        await asyncio.sleep(3600)

    async def _raises(self) -> None:
        raise RuntimeError("lost")

    @hookimpl
    async def event_committed(self, event: Event) -> None:
        if self.fails:
            raise RuntimeError("an observer that fails")

    @hookimpl
    async def event_recorded(self, event: Event) -> None: ...


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Generator[Server]:
    config = {"plugins": {"rude": {"module": RudePlugin}}}
    with capture_logs() as logs, running_server(postgres, config) as running:
        running.boot_logs = logs  # type: ignore[attr-defined]
        yield running


def line_of(function: Any, offset: int) -> str:
    return f"{__file__}:{function.__code__.co_firstlineno + offset}"


def rude(server: Server) -> dict[str, Any]:
    plugins = server.admin.get("/api/v1/plugins").json()["plugins"]
    return next(each for each in plugins if each["name"] == "rude")


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/sleeps", "/spins"])
def test_code_that_blocks_is_named_with_its_line_and_shown_in_health(server: Server, path: str):
    with capture_logs() as logs:
        assert server.http.get(path).status_code == 200
    [line] = [each for each in logs if each["event"] == "the event loop is blocked"]
    assert line["plugin"] == "rude"
    assert 0.2 <= line["seconds"] < 1  # named within a second, while the code still blocks
    assert line["at"].rpartition(":")[0] == __file__
    assert "to_thread" in line["remedy"]
    if path == "/sleeps":
        assert line["at"] == line_of(RudePlugin.sleeps, 1)
    ready = server.http.get("/health/ready").json()
    assert ready == {"status": "ready", "problems": ["rude: its code blocks the event loop"]}
    assert server.admin.get("/api/v1/status").json()["rude"]["blocks"].startswith(f"{__file__}:")
    assert f"its code at {line['at']} blocks the event loop" in rude(server)["warnings"]


@pytest.mark.slow
def test_one_place_is_logged_once_a_minute_unless_all_are_wanted(server: Server):
    with capture_logs() as logs:
        server.http.get("/sleeps")
        server.http.get("/sleeps")
    blocked = [each for each in logs if each["event"] == "the event loop is blocked"]
    assert len(blocked) <= 1
    watch = server.kernel.instances
    [system] = [each for each in watch if each.name == "system"]
    system._watch._always = True  # type: ignore[attr-defined]
    with capture_logs() as logs:
        server.http.get("/sleeps")
        server.http.get("/sleeps")
    assert len([each for each in logs if each["event"] == "the event loop is blocked"]) == 2


def test_a_plugin_that_leaves_tasks_behind_is_named(server: Server, monkeypatch: Any):
    monkeypatch.setattr(blocking, "MANY_TASKS", 30)
    monkeypatch.setattr(blocking, "SHOWN", 0.2)
    with capture_logs() as logs:
        for _ in range(2):
            assert server.http.get("/leaks").status_code == 200
        eventually(lambda: [each for each in logs if each["event"] == "a plugin has many tasks"])
    [line, *_] = [each for each in logs if each["event"] == "a plugin has many tasks"]
    assert (line["plugin"], line["tasks"]) == ("rude", 40)
    assert server.http.get("/health").status_code == 200


def test_what_a_task_raises_that_no_code_waits_for_is_logged_with_its_plugin(server: Server):
    with capture_logs() as logs:
        assert server.http.get("/throws").status_code == 200
        RudePlugin.left.clear()  # an error is reported when its task is collected
        eventually(lambda: [each for each in logs if "no code waits for" in each["event"]])
    [line] = [each for each in logs if "no code waits for" in each["event"]]
    assert (line["plugin"], line["at"]) == ("rude", line_of(RudePlugin._raises, 1))


def test_an_observer_that_is_skipped_is_shown_everywhere(server: Server):
    assert "degraded" not in server.http.get("/health/ready").json()
    RudePlugin.fails = True
    for _ in range(6):
        server.user()
    RudePlugin.fails = False
    assert server.http.get("/health/ready").json()["degraded"] == ["rude"]
    found = rude(server)
    [hook] = [each for each in found["hooks"] if each["hook"] == "event_committed"]
    assert hook["breaker"] == "open"
    assert "event_committed keeps failing and is skipped for a while" in found["warnings"]


def test_a_guard_without_subjects_is_said_at_boot_and_in_the_inventory(server: Server):
    said = (
        "event_recorded takes every entity off the one-statement path; limit it with @for_subjects"
    )
    assert said in rude(server)["warnings"]
    logs: list[Any] = server.boot_logs  # type: ignore[attr-defined]
    [line] = [each for each in logs if each["event"] == "a plugin slows others down"]
    assert (line["plugin"], line["warnings"]) == ("rude", [said])


def test_a_loop_that_only_waits_is_not_blamed(server: Server) -> None:
    """The machine can leave the process without time: no code holds the loop then."""
    watch = blocking.LoopWatch(server.services.get(REGISTRY), always=True)
    thread = threading.Thread(target=selectors.SelectSelector().select, args=(0.5,))
    thread.start()
    eventually(lambda: _is_in_selectors(thread))
    with capture_logs() as lines:
        watch._report(sys._current_frames()[thread.ident or 0], 1.0)
        assert lines == []
        watch._report(sys._current_frames()[threading.get_ident()], 1.0)
        assert [line["event"] for line in lines] == ["the event loop is blocked"]
    thread.join()


def _is_in_selectors(thread: threading.Thread) -> bool:
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and frame.f_globals["__name__"] == "selectors"


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_loop_that_waits_is_not_woken(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = blocking.LoopWatch(server.services.get(REGISTRY), always=True)
    loop, asked = asyncio.get_running_loop(), list[float]()
    ask = loop.call_soon_threadsafe

    def counted(*words: Any, **more: Any) -> asyncio.Handle:
        asked.append(time.monotonic())
        return ask(*words, **more)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    async with watch.running():
        counts = list[int]()
        for _ in range(5):  # a busy machine may hold up the loop in some of them
            asked.clear()
            await asyncio.sleep(0.6)
            counts.append(len(asked))
        assert min(counts) <= 1  # of six looks, one may meet the end of the pause
        asked.clear()
        time.sleep(0.2)  # noqa: ASYNC251
        assert asked
