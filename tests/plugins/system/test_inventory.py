"""What a core admin learns of the plugins, and what no one does."""

import os
import textwrap
from pathlib import Path
from typing import Any

import pytest

from kernel.testing import Client, MakeServer, Server
from plugins.system.inventory import _quantile
from tests.waiting import eventually

BUSY = """
from contextlib import asynccontextmanager
import anyio
from caudex import *

class BusyConfig(Section, frozen=True, kw_only=True):
    password: str = ""
    depth: int = 1

class BusyPlugin(Plugin):
    name = "busy"
    version = "3.1"
    uses = (ServiceKey("jobs"),)
    Config = BusyConfig

    @hookimpl
    def register_routes(self, services):
        return [Route("GET", "/busy", self.get, needs=ANY_USER)]

    async def get(self, request):
        return reply({})

    @hookimpl
    async def event_committed(self, event):
        if event.operation == "APP_INSTALLED":
            raise RuntimeError("hush: the token is s3cret")
        await anyio.sleep(0.01)

    @hookimpl
    async def authenticate(self, request):
        if request.headers.get("x-badge") == "forged":
            raise Unauthenticated
"""


@pytest.fixture
def busy(make_server: MakeServer, tmp_path: Path) -> Server:
    (tmp_path / "busy.py").write_text(BUSY)
    return make_server(
        {
            "server": {"plugins_dir": str(tmp_path)},
            "plugins": {"busy": {"password": "hunter2", "on_failure": "stop"}},
        }
    )


def plugin(admin: Client, name: str) -> dict[str, Any]:
    answer = admin.get("/api/v1/plugins")
    assert answer.status_code == 200, answer.text
    [found] = [each for each in answer.json()["plugins"] if each["name"] == name]
    return found


def hook(admin: Client, name: str) -> dict[str, Any]:
    [found] = [each for each in plugin(admin, "busy")["hooks"] if each["hook"] == name]
    return found


def test_it_says_what_a_plugin_is_gives_and_needs(busy: Server):
    found = plugin(busy.admin, "busy")
    assert (found["version"], found["state"], found["note"]) == ("3.1", "on", "")
    assert found["origin"].endswith("busy.py")
    assert (found["provides"], found["requires"], found["uses"]) == ([], [], ["jobs"])
    assert found["routes"] == [{"method": "GET", "path": "/busy", "needs": "any user"}]
    assert 0 < found["boot_seconds"] < 30
    auth = plugin(busy.admin, "auth")
    assert "identity" in auth["provides"]
    assert "statements" in auth["requires"]


def test_names_of_settings_are_reported_and_values_never(busy: Server):
    found = plugin(busy.admin, "busy")
    assert found["settings"] == ["password", "depth"]
    assert found["configured"] == ["password"]
    assert list(found["sources"]) == ["password"]
    assert "hunter2" not in busy.admin.get("/api/v1/plugins").text


def test_plugins_that_are_off_are_reported_too(make_server: MakeServer):
    server = make_server({"plugins": {"vault": {"enabled": False}}})
    found = plugin(server.admin, "vault")
    assert (found["state"], found["routes"], found["hooks"]) == ("off", [], [])
    assert server.admin.get("/api/v1/plugins").json()["process"] == os.getpid()


def test_calls_are_counted_with_their_times(busy: Server):
    admin = busy.admin
    busy.user()
    before = hook(admin, "event_committed")
    assert before["calls"] >= 2
    assert before["errors"] == 0
    assert before["last_error"] is None
    assert 9 <= before["p50_ms"] <= before["p99_ms"] < 5000  # a timer may end a little early


def test_a_fault_is_reported_by_class_and_place_without_what_it_said(busy: Server):
    admin = busy.admin
    admin.post("/api/v1/apps", json={"appId": "tea", "name": "Tea"}).raise_for_status()
    found = eventually(lambda: (seen := hook(admin, "event_committed"))["errors"] and seen)
    line = 1 + BUSY.splitlines().index(
        '            raise RuntimeError("hush: the token is s3cret")'
    )
    assert found["last_error"]["error"].startswith("RuntimeError at ")
    assert found["last_error"]["error"].endswith(f"busy.py:{line}")
    assert "s3cret" not in admin.get("/api/v1/plugins").text


def test_a_refusal_is_no_fault(busy: Server):
    answer = busy.http.get("/busy", headers={"x-badge": "forged"})
    assert answer.status_code == 401
    found = hook(busy.admin, "authenticate")
    assert found["refusals"] == 1
    assert (found["errors"], found["last_error"]) == (0, None)


def test_it_is_for_the_admin_of_core_alone(busy: Server):
    assert busy.http.get("/api/v1/plugins").status_code == 401
    assert busy.user().get("/api/v1/plugins").status_code == 403


def test_a_plugin_that_is_left_out_is_reported_wherever_someone_asks(
    make_server: MakeServer, tmp_path: Path
):
    (tmp_path / "mailer.py").write_text(
        textwrap.dedent("""
            from caudex import *

            class MailerPlugin(Plugin):
                name = "mailer"

                @hookimpl
                def lifespan(self, services):
                    raise OSError("postgresql://me:hush@mail/x refuses")
        """)
    )
    server = make_server(
        {"server": {"plugins_dir": str(tmp_path)}, "plugins": {"mailer": {"on_failure": "degrade"}}}
    )
    found = plugin(server.admin, "mailer")
    assert found["state"] == "degraded"
    assert "mailer.py:9: it failed to start: OSError" in found["note"]
    assert "hush" not in found["note"]
    assert server.admin.get("/api/v1/status").json()["mailer"] == {
        "state": "Error",
        "degraded": True,
    }
    ready = server.http.get("/health/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "degraded": ["mailer"]})
    assert server.http.get("/health").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(0, 0.5, None), (1, 0.5, 1.0), (1, 0.99, 1.0), (100, 0.5, 50.0), (100, 0.99, 99.0),
     (256, 0.99, 254.0), (2, 0.5, 1.0)],
)  # fmt: skip
def test_a_quantile_is_one_of_the_values(count: int, share: float, expected: float | None):
    assert _quantile([number / 1000 for number in range(1, count + 1)], share) == expected


def test_a_change_of_plugins_is_planned_and_nothing_is_changed(server: Server):
    answer = server.admin.post("/api/v1/plugins/plan", json={"disable": ["vault"]})
    plan = answer.json()
    assert plan["starts"] is True
    assert "removed  plugin vault" in plan["lines"]
    assert any("table caudex_vault.secrets" in line for line in plan["lines"])
    refused = server.admin.post("/api/v1/plugins/plan", json={"disable": ["apps"]}).json()
    assert refused["starts"] is False
    both = {"disable": ["vault"], "enable": ["vault"]}
    assert server.admin.post("/api/v1/plugins/plan", json=both).status_code == 400
    assert server.user().post("/api/v1/plugins/plan", json={}).status_code == 403
    plugins = server.admin.get("/api/v1/plugins").json()["plugins"]
    assert next(each["state"] for each in plugins if each["name"] == "vault") == "on"


def test_status_shows_pool_disk_and_backup(server: Server):
    status = server.admin.get("/api/v1/status").json()
    assert status["pool"]["connections"] >= 1
    assert 0 < status["disk"]["free"] <= status["disk"]["size"]
    assert status["backup"] == {"state": "Online", "last": None, "verified": None}
