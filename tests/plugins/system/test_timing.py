"""`Server-Timing`: each reply shows what each plugin cost, where the setting is on."""

import re
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from kernel.cli import main as cli
from kernel.config.settings import load_config
from kernel.testing import MakeServer, Server
from plugins.system.timing import MAX_HEADER, Timings, current, spent, timed

TIMED: dict[str, Any] = {"server": {"server_timing": True}}
SLOW = """
import anyio
from caudex import *

class SlowPlugin(Plugin):
    name = "slow"

    @hookimpl
    async def authenticate(self, request):
        async def pause():
            await anyio.sleep(0.02)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pause)

    @hookimpl
    def register_middleware(self, services):
        def wrap(app):
            async def middleware(scope, receive, send):
                await anyio.sleep(0.01)
                await app(scope, receive, send)
            return middleware
        return [wrap]

    @hookimpl
    def register_routes(self, services):
        return [Route("GET", "/slow", self.get, needs=ANY_USER),
                Route("GET", "/slow/broken", self.fail, needs=PUBLIC)]

    async def get(self, request):
        await anyio.sleep(0.005)
        return reply({})

    async def fail(self, request):
        raise RuntimeError("no")
"""
WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"


def reported(header: str) -> dict[str, float]:
    """Names and milliseconds; each entry is as RFC 9110 and the W3C have it."""
    entries = [
        re.fullmatch(rf'({WORD});dur=([0-9.]+)(;desc="[^"]*")?', part.strip())
        for part in re.split(r",\s+(?=[^\"]*(?:\"[^\"]*\"[^\"]*)*$)", header)
    ]
    assert all(entries), header
    return {entry[1]: float(entry[2]) for entry in entries if entry}


def with_slow(folder: Path) -> dict[str, Any]:
    (folder / "slow.py").write_text(SLOW)
    return {"server": {"plugins_dir": str(folder), "server_timing": True}}


def test_each_plugin_and_hook_has_an_entry(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(with_slow(tmp_path))
    answer = server.admin.get("/slow")
    assert answer.status_code == 200
    found = reported(answer.headers["server-timing"])
    assert found["slow.handler"] >= 4  # a timer of uvloop may end a millisecond early
    assert found["slow.middleware"] >= 9
    assert found["auth.authenticate"] > 0
    assert found["total"] >= found["slow.handler"] + found["slow.middleware"]


def test_a_hook_that_waits_for_a_task_of_its_own_is_counted(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server(with_slow(tmp_path))
    found = reported(server.http.get("/slow").headers["server-timing"])  # auth says: not mine
    assert found["slow.authenticate"] >= 19


def test_the_database_the_access_check_and_transactions_are_reported(
    make_server: MakeServer,
) -> None:
    server = make_server(TIMED)
    body = {"appId": "tea", "name": "Tea"}
    made = reported(server.admin.post("/api/v1/apps", json=body).headers["server-timing"])
    assert {"tx", "apps.handler", "auth.authenticate"} <= made.keys()
    read = reported(server.admin.get("/api/v1/platform/secrets").headers["server-timing"])
    assert 0 < read["db"] < read["total"]
    assert "access" in read


def test_replies_of_every_status_have_it(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(with_slow(tmp_path))
    for path, status in (("/slow", 401), ("/nowhere", 404), ("/slow/broken", 500)):
        answer = server.http.get(path)
        assert answer.status_code == status
        assert "total" in reported(answer.headers["server-timing"])


def test_requests_at_the_same_time_are_counted_apart(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server(with_slow(tmp_path))
    headers = {"authorization": server.admin.headers["authorization"]}
    server.admin.get("/api/v1/users").raise_for_status()  # token and roles are cached from now on

    async def ask() -> list[httpx.Response]:
        answers: list[httpx.Response] = []
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as client:

            async def one() -> None:
                answers.append(await client.get("/slow"))

            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(one)
        return answers

    answers = anyio.run(ask)
    assert len(answers) == 10
    assert not [h for a in answers if "calls" in (h := a.headers["server-timing"])]


def test_nothing_is_reported_unless_it_is_asked_for(server: Server) -> None:
    assert "server-timing" not in server.admin.get("/api/v1/audit").headers
    assert not any(impl.statistics.observe for impl in server.kernel.bus.all_implementations())


@pytest.mark.parametrize(
    ("words", "table", "on"),
    [
        (["--reload"], "", True),
        (["--plugin", "x.py"], "", True),
        ([], "", False),
        ([], "server_timing = true", True),
        (["--reload"], "server_timing = false", False),
        (["--reload", "--host", "0.0.0.0"], "", False),
        (["--reload", "--host", "0.0.0.0"], "server_timing = true", True),
    ],
)
def test_it_is_on_during_development_on_the_own_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], table: str, on: bool
) -> None:
    served: list[Any] = []
    monkeypatch.setattr(cli, "serve", lambda config, _read, **_: served.append(config) or 0)
    (tmp_path / "caudex.toml").write_text(f"[server]\n{table}\n")
    assert cli.main(["serve", "--config", str(tmp_path / "caudex.toml"), *words]) == 0
    assert bool(served[0].server.server_timing) is on


def test_it_is_off_by_default() -> None:
    assert load_config(environ={}).server.server_timing is None


def test_the_header_stays_short_whatever_is_counted() -> None:
    timings = Timings()
    for number in range(5000):
        timings.add(f"{'plugin' * 6}{number}.hook", number / 1000)
    header = timings.header()
    assert len(header) <= MAX_HEADER
    found = reported(header.decode())
    assert list(found)[:1] == ["total"]
    assert list(found)[-1] == "others"
    assert sum(found.values()) - found["total"] == pytest.approx(sum(range(5000)), rel=0.001)


def test_what_is_called_often_is_one_entry_that_says_so() -> None:
    async def work() -> bytes:
        token = current.set(timings := Timings())
        for _ in range(3):
            await timed(anyio.sleep, "nap")(0)
        current.reset(token)
        return timings.header()

    assert b"nap;dur=" in (header := anyio.run(work))
    assert b'desc="nap, 3 calls"' in header


def test_outside_of_a_request_nothing_is_counted() -> None:
    spent("nothing", 0.0)
    assert current.get() is None
