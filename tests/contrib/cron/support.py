"""Servers with crons whose time has come when the test says so."""

from __future__ import annotations

from typing import Any

from kernel.testing import Server
from tests.plugins.jobs.support import install_with, overrides
from tests.waiting import eventually

QUICK = {"poll_interval": 0.1}


def config(**cron: Any) -> dict[str, Any]:
    """A configuration with the plugin on, fake workers, and short times."""
    tree = overrides()
    tree["plugins"]["cron"] = {**QUICK, **cron}
    return tree


def app_with(server: Server, *crons: dict[str, Any], running: tuple[Server, ...] = ()) -> str:
    """Install an app with crons that are not due for long, and start its worker there."""
    every = [{"schedule": "0 0 1 1 *", **cron} for cron in crons]
    return install_with(server, {"crons": every}, running=running)


def path(app: str, name: str = "", what: str = "") -> str:
    return "/".join(filter(None, [f"/api/v1/apps/{app}/crons", name, what]))


def make_due(server: Server, app: str, name: str = "%", ago: float = 1) -> None:
    """Let crons of an app be due since some seconds."""
    server.sql(
        "update caudex_cron.crons set next_due = date_trunc('second', now())"
        " - make_interval(secs => %s) where app_id = %s and name like %s",
        ago, app, name,
    )  # fmt: skip


def runs(server: Server, app: str, name: str, **query: Any) -> list[dict[str, Any]]:
    answer = server.admin.get(path(app, name, "runs"), params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def states(server: Server, app: str, name: str) -> list[str]:
    """States of the run log, oldest first."""
    return [run["state"] for run in reversed(runs(server, app, name))]


def fired(server: Server, app: str, name: str, count: int = 1) -> list[dict[str, Any]]:
    """Wait until the run log has so many lines, and return it, oldest first."""
    found = eventually(lambda: len(log := runs(server, app, name)) >= count and log, 20)
    return found[::-1]


def jobs(server: Server, app: str) -> list[dict[str, Any]]:
    """The jobs of an app, oldest first."""
    return server.admin.get(f"/api/v1/apps/{app}/jobs?limit=1000").json()[::-1]
