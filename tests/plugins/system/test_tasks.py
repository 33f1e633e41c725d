"""Background tasks of plugins, on a real server."""

from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from kernel.public import Plugin, Services, hookimpl
from kernel.testing import MakeServer, Server
from tests.waiting import eventually

SWEPT: list[str] = []


class BusyPlugin(Plugin):
    name = "busy"

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services):
        self.tasks.every(0.05, self._sweep, "sweep", leader=True)
        self.tasks.start(self._fail, "import")
        self.tasks.start(anyio.sleep_forever, "listen")
        yield
        SWEPT.append("stopped")

    async def _sweep(self) -> None:
        SWEPT.append("swept")

    async def _fail(self) -> None:
        raise RuntimeError("hush: the token is s3cret")


@pytest.fixture
def server(make_server: MakeServer) -> Server:
    SWEPT.clear()
    return make_server(plugins=[BusyPlugin])


def tasks(server: Server) -> dict[str, Any]:
    plugins = server.admin.get("/api/v1/plugins").json()["plugins"]
    found = next(each for each in plugins if each["name"] == "busy")["tasks"]
    return {task["name"]: task for task in found}


def test_a_task_that_fails_is_shown_and_the_server_goes_on(server: Server):
    eventually(lambda: tasks(server)["import"]["failures"] >= 2)
    found = tasks(server)
    assert {name: task["state"] for name, task in found.items()} == {
        "import": "failing", "listen": "running", "sweep": "running",
    }  # fmt: skip
    assert found["import"]["error"].startswith("RuntimeError ")
    assert "test_tasks.py:" in found["import"]["error"]
    assert "s3cret" not in str(found)
    assert server.admin.get("/api/v1/status").json()["busy"] == {
        "state": "Online", "tasks": {"import": "failing"},
    }  # fmt: skip
    assert server.http.get("/health/ready").json() == {"status": "ready"}


def test_a_task_ends_before_its_plugin_does(server: Server):
    eventually(lambda: len(SWEPT) > 2)
    server.stop()
    assert SWEPT.index("stopped") == len(SWEPT) - 1


def test_another_process_takes_over(server: Server, make_server: MakeServer):
    def states() -> list[str]:
        found = [each.kernel.tasks["busy"] for each in (server, other)]
        return [task.state for tasks in found for task in tasks if task.name == "sweep"]

    eventually(lambda: tasks(server)["sweep"]["state"] == "running")
    folder = server.kernel.config.data_dir
    other = make_server(plugins=[BusyPlugin], dsn=server.dsn, data_dir=folder)
    eventually(lambda: states() == ["running", "standby"], why=states)
    led = "select holder from caudex_kernel.leases where name = 'busy.sweep' and expires > now()"
    holder = other.sql(led)
    server.stop()
    assert len(holder) == 1
    assert other.sql(led) != holder  # free, or already the other's
