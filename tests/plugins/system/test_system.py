"""Health and status with every other plugin off, and with subsystems that misbehave."""

import pkgutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

import plugins
from kernel.public import HOOKS, STATEMENTS
from kernel.testing import MakeServer
from plugins.system.service import SystemService
from tests.waiting import eventually

KEPT = ("system", "http_server")
SICK = """
import anyio
from kernel.public import Health, Plugin, hookimpl

class Sick(Plugin):
    name = "sick"

    @hookimpl
    async def health(self):
        {body}
"""


class Slow:
    """A database that answers after so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked = 0

    async def fetch(self, *_: object) -> bytes:
        self.asked += 1
        await anyio.sleep(self.seconds)
        return b"1"


def alone() -> dict[str, Any]:
    names = (info.name for info in pkgutil.iter_modules(plugins.__path__) if info.ispkg)
    return {name: {"enabled": False} for name in names if name not in KEPT}


def with_plugin(folder: Path, body: str) -> dict[str, Any]:
    (folder / "sick.py").write_text(SICK.format(body=body))
    return {"server": {"plugins_dir": str(folder)}, "plugins": alone()}


def test_it_works_with_every_other_plugin_off(make_server: MakeServer):
    server = make_server({"plugins": alone()})
    assert server.http.get("/health").json() == {"status": "ok"}
    assert server.http.get("/health/ready").json() == {"status": "ready"}
    assert server.http.get("/api/v1/status").status_code == 401


def test_switched_off_its_routes_are_gone(make_server: MakeServer):
    server = make_server({"plugins": alone() | {"system": {"enabled": False}}})
    assert server.http.get("/health").status_code == 404


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    ["raise ValueError('secret words')", "await anyio.sleep(60)",
     "return Health(name='sick', state='Offline', ready=False)"],
)  # fmt: skip
def test_a_subsystem_that_is_away_raises_or_hangs_makes_the_server_not_ready(
    make_server: MakeServer, tmp_path: Path, body: str
):
    server = make_server(with_plugin(tmp_path, body))
    started = time.monotonic()
    answer = server.http.get("/health/ready")
    assert time.monotonic() - started < 30
    assert answer.status_code == 503
    assert answer.json() == {"error": "not ready: sick"}
    assert server.http.get("/health").status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "said"),
    [("raise ValueError('it leaks')", "ValueError: it leaks"),
     ("await anyio.sleep(60)", "TimeoutError: it took more than 2 seconds")],
)  # fmt: skip
def test_why_a_subsystem_reports_nothing_is_logged_once(
    make_server: MakeServer, tmp_path: Path, body: str, said: str
):
    server = make_server(with_plugin(tmp_path, body))
    with capture_logs() as logs:
        for _ in range(2):
            assert server.http.get("/health/ready").status_code == 503
    reported = [line for line in logs if line["event"] == "a plugin does not report its health"]
    assert [(line["plugin"], line["error"]) for line in reported] == [("sick", said)]
    found = server.services.get(HOOKS).implementations("health")
    [implementation] = [each for each in found if each.plugin == "sick"]
    assert implementation.statistics.errors == 2


def test_a_subsystem_that_is_merely_idle_does_not(make_server: MakeServer, tmp_path: Path):
    server = make_server(with_plugin(tmp_path, "return Health(name='sick', state='Offline')"))
    assert server.http.get("/health/ready").status_code == 200


@pytest.mark.slow
def test_a_database_that_hangs_is_reported_in_time(make_server: MakeServer):
    server = make_server({"plugins": alone()})
    real = server.services.get(STATEMENTS)
    server.services.put(STATEMENTS, Slow(60))  # type: ignore[arg-type]
    started = time.monotonic()
    assert server.http.get("/health/ready").json() == {"error": "not ready: postgres"}
    assert time.monotonic() - started < 30
    server.services.put(STATEMENTS, real)  # type: ignore[arg-type]
    assert server.http.get("/health/ready").status_code == 200


def test_who_asks_while_the_database_is_asked_shares_the_next_round(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
):
    server = make_server({"plugins": alone()})
    came, ask = list[SystemService](), SystemService._ask

    async def counted(self: SystemService) -> Any:
        came.append(self)
        return await ask(self)

    class Gate(Slow):
        """A database that answers when all have come."""

        async def fetch(self, *_: object) -> bytes:
            self.asked += 1
            while len(came) < 20:
                await anyio.sleep(0.01)
            return b"1"

    def ready(_: int) -> int:
        return server.http.get("/health/ready").status_code

    monkeypatch.setattr(SystemService, "_ask", counted)
    monkeypatch.setattr("plugins.system.service.LIMIT", 30.0)
    real, gate = server.services.get(STATEMENTS), Gate(0)
    server.services.put(STATEMENTS, gate)  # type: ignore[arg-type]
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(ready, 0)
        eventually(lambda: gate.asked, 20, "no one asks the database")
        others = list(pool.map(ready, range(19)))
    assert [first.result(), *others] == [200] * 20
    assert gate.asked == 2
    server.services.put(STATEMENTS, real)


def test_without_roles_no_user_may_see_the_plugins(make_server: MakeServer):
    server = make_server({"plugins": alone()})
    assert server.http.get("/api/v1/plugins").status_code == 404
