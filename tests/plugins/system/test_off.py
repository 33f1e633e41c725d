"""Each built-in plugin that is off has no effect: what it does is tried, not only its routes."""

from collections.abc import Callable
from typing import Any

import pytest

from kernel.contracts.statements import READS, STATEMENTS
from kernel.testing import MakeServer, Server
from tests.kernel.support import BUILT_IN

TEA = {
    "appId": "tea",
    "name": "Tea",
    "dataContract": [{"entityName": "cups", "fields": [{"name": "title", "type": "text"}]}],
}
CUPS = "/api/v1/apps/tea/collections/cups"


def audit(server: Server) -> None:
    server.install(TEA)
    server.admin.post(CUPS, json={"title": "x"}).raise_for_status()
    found = server.sql("select to_regclass('caudex_audit.log') is null")
    assert found == [(True,)] or server.sql("select count(*) from caudex_audit.log") == [(0,)]


def app_logins(server: Server) -> None:
    assert "app_logins" not in {each.name for each in server.kernel.instances}
    roles = "select count(*) from pg_roles where rolcanlogin and rolname ~ %s"
    [(oid,)] = server.sql("select oid from pg_database where datname = current_database()")
    server.install(TEA)
    assert server.sql(roles, f"^caudex_{oid}_w") == [(0,)]


def console(server: Server) -> None:
    assert server.http.get("/console/").status_code == 404


def backup(server: Server) -> None:
    assert "backup" not in {command.name for command in server.kernel.commands}


def idempotency(server: Server) -> None:
    server.install(TEA)
    key = {"idempotency-key": "once"}
    answer = server.admin.post(CUPS, json={"title": "x"}, headers=key)
    assert (answer.status_code, "is off" in answer.json()["error"]) == (400, True)
    assert server.admin.get(CUPS).json() == []  # not written twice by a client that counts on it


def jobs(server: Server) -> None:
    server.install(TEA)
    assert server.admin.post("/api/v1/apps/tea/jobs", json={}).status_code == 404
    assert "jobs" not in server.kernel.tasks


def logs(server: Server) -> None:
    server.install(TEA)
    assert server.admin.get("/api/v1/apps/tea/logs").status_code == 404
    assert "logs" not in server.kernel.tasks


def pipeline(server: Server) -> None:
    assert type(server.services.get(STATEMENTS)).__module__ == "kernel.database.pool"


def replica(server: Server) -> None:
    assert server.services.find(READS) is None
    server.install(TEA)
    server.admin.post(CUPS, json={"title": "x"}).raise_for_status()
    assert len(server.admin.get(CUPS).json()) == 1


def scaffold(server: Server) -> None:
    assert "plugin" not in {command.name for command in server.kernel.commands}


def vault(server: Server) -> None:
    assert [i.plugin for i in server.kernel.bus.implementations("worker_environment")] == []


def workers(server: Server) -> None:
    assert "workers" not in server.kernel.tasks
    assert server.admin.post("/api/v1/apps/tea/rpc", json={}).status_code == 404


EFFECTS: dict[str, Callable[[Server], None]] = {
    each.__name__: each
    for each in (audit, app_logins, backup, console, idempotency, jobs, logs, pipeline, replica,
                 scaffold, vault, workers)
}  # fmt: skip
NEEDED = {"apps", "auth", "data", "http_server", "notifications", "postgres", "rbac", "system"}
"""Without these nothing above can be tried; other tests do so (`test_system`, `test_loader`)."""
WITH: dict[str, tuple[str, ...]] = {"vault": ("backup",), "logs": ("jobs", "workers")}
"""What has to be off as well, because it needs the plugin."""


def test_each_built_in_plugin_is_looked_at() -> None:
    import plugins
    from kernel.loading.loader import folders

    assert plugins.__name__ == "plugins"
    assert set(folders("plugins")) == EFFECTS.keys() | NEEDED
    assert set(BUILT_IN) > NEEDED


@pytest.mark.slow
@pytest.mark.parametrize("name", EFFECTS)
def test_a_plugin_that_is_off_has_no_effect(make_server: MakeServer, name: str) -> None:
    off: dict[str, Any] = {each: {"enabled": False} for each in (name, *WITH.get(name, ()))}
    EFFECTS[name](make_server({"plugins": off}))
