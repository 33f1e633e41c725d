"""Each built-in plugin that is off has no effect: what it does is tried, not only its routes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel.config.settings import load_config
from kernel.contracts.access import ACCESS
from kernel.contracts.files import STORAGE
from kernel.contracts.records import RECORDS
from kernel.contracts.server import DATABASE_SERVER
from kernel.contracts.statements import NOTIFICATIONS, READS, STATEMENTS
from kernel.errors import BootErrors
from kernel.loading.loader import load
from kernel.testing import MakeServer, Server
from tests.kernel.here import caudex_here
from tests.kernel.processes import environment

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


def apps(server: Server) -> None:
    assert server.http.get("/api/v1/apps").status_code == 404
    assert server.http.post("/api/v1/apps", json=TEA).status_code == 404
    assert server.sql("select app_id from caudex_kernel.apps") == [("core",)]


def auth(server: Server) -> None:
    account = {"username": "ada", "password": "Str0ngPass!x"}
    assert server.http.post("/api/v1/auth/register", json=account).status_code == 404
    assert server.http.post("/api/v1/auth/login", json=account).status_code == 404
    assert server.kernel.bus.implementations("authenticate") == []


def data(server: Server) -> None:
    server.install(TEA)
    assert server.sql("select count(*) from tea.cups") == [(0,)]  # the table is that of apps
    assert server.admin.post(CUPS, json={"title": "x"}).status_code == 404
    assert server.services.find(RECORDS) is None


def authoring(server: Server) -> None:
    commands = {command.name for command in server.kernel.commands}
    assert commands.isdisjoint({"app", "login", "types", "data"})


def exports(server: Server) -> None:
    server.install(TEA)
    body = {"entity": "cups"}
    assert server.admin.post("/api/v1/apps/tea/exports", json=body).status_code == 404


def files(server: Server) -> None:
    server.install(TEA)
    assert server.admin.post("/api/v1/apps/tea/files", content=b"x").status_code == 404
    assert "files" not in server.kernel.tasks


def frontends(server: Server) -> None:
    server.install(TEA)
    assert server.admin.post("/api/v1/apps/tea/frontend", content=b"x").status_code == 404
    assert server.http.get("/", headers={"host": "tea.localhost"}).status_code in (400, 404)
    assert server.admin.get("/api/v1/apps/tea").json()["url"] is None


def feed(server: Server) -> None:
    server.install(TEA)
    assert server.admin.get(f"{CUPS}/feed").status_code == 400  # no id of a record
    assert server.admin.post("/api/v1/apps/tea/feed", json={}).status_code == 404


def undo(server: Server) -> None:
    server.install(TEA)
    body = {"request": "x"}
    assert server.admin.post("/api/v1/apps/tea/undo", json=body).status_code == 404


def trace(server: Server) -> None:
    server.install(TEA)
    request = server.admin.post(CUPS, json={"title": "x"}).headers["x-request-id"]
    assert server.admin.get(f"/api/v1/requests/{request}").status_code == 404
    assert "trace" not in server.kernel.tasks


def storage(server: Server) -> None:
    assert server.services.find(STORAGE) is None
    assert not (server.kernel.config.data_dir / "files").exists()


def notifications(server: Server) -> None:
    listening = "select count(*) from pg_stat_activity where query ilike 'listen%%' and datname = "
    assert server.sql(f"{listening} current_database()") == [(0,)]
    assert server.services.find(NOTIFICATIONS) is None


def postgres(server: Server) -> None:
    assert server.services.find(DATABASE_SERVER) is None
    assert not (server.kernel.config.data_dir / "postgres").exists()


def rbac(server: Server) -> None:
    assert server.kernel.bus.implementations("account_created") == []
    assert server.http.get("/api/v1/apps/core/roles").status_code == 404
    assert server.services.find(ACCESS) is None


def system(server: Server) -> None:
    assert server.admin.get("/api/v1/plugins").status_code == 404
    commands = {command.name for command in server.kernel.commands}
    assert commands.isdisjoint({"doctor", "plugins", "routes", "init"})


EFFECTS: dict[str, Callable[[Server], None]] = {
    each.__name__: each
    for each in (
        apps, audit, auth, authoring, app_logins, backup, console, data, exports, feed,
        files, frontends, idempotency, jobs, logs, notifications, pipeline, postgres,
        rbac, replica, scaffold, storage, system, trace, undo, vault, workers,
    )
}  # fmt: skip
ALWAYS = {"http_server"}
"""Nothing is served without it: `test_what_nothing_is_served_without_is_refused_beforehand`."""


def test_each_built_in_plugin_is_looked_at() -> None:
    from kernel.loading.bundles import folders

    assert set(folders("plugins")) == EFFECTS.keys() | ALWAYS


def without(name: str) -> set[str]:
    """A plugin, and those that do not start without what it provides."""
    off = {name}
    while True:
        overrides = {f"plugins.{each}": {"enabled": False} for each in off}
        try:
            load(load_config(environ={}, overrides=overrides))
        except BootErrors as caught:
            off |= {error.plugin for error in caught.errors}
        else:
            return off


@pytest.mark.slow
@pytest.mark.parametrize("name", EFFECTS)
def test_a_plugin_that_is_off_has_no_effect(make_server: MakeServer, name: str) -> None:
    off: dict[str, Any] = {each: {"enabled": False} for each in without(name)}
    server = make_server({"plugins": off})
    EFFECTS[name](server)
    assert name not in server.kernel.tasks
    used = {each.plugin for each in server.kernel.bus.all_implementations()}
    assert name not in used | {plugin for plugin, _ in server.kernel.routes}
    schema = f"select count(*) from pg_namespace where nspname = 'caudex_{name}'"
    assert server.sql(schema) == [(0,)]


@pytest.mark.parametrize("name", ["apps", "auth", "notifications", "rbac"])
def test_those_that_need_it_are_named_with_the_remedy(name: str) -> None:
    config = load_config(environ={}, overrides={f"plugins.{name}": {"enabled": False}})
    with pytest.raises(BootErrors) as caught:
        load(config)
    for error in caught.value.errors:
        assert "needs the service" in error.problem
        disable = f"(not on: {name}), or disable {error.plugin}"
        assert disable in error.remedy or error.remedy == f"enable plugin {name}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("http_server", "HTTP server: no plugin that is on provides it"),
        ("postgres", "database: none is configured and no plugin runs one"),
        ("apps", "plugin data: needs the service 'apps', which no plugin provides"),
    ],
)
def test_what_nothing_is_served_without_is_refused_beforehand(
    tmp_path: Path, name: str, reason: str
) -> None:
    """`config check`, `plugins plan` and `serve` say the same, and nothing is made."""
    here = {**environment(), "CAUDEX_DATA_DIR": str(tmp_path / "data")}
    planned = caudex_here("plugins", "plan", "--disable", name, cwd=tmp_path, env=here)
    assert (planned.status, reason in planned.out) == (78, True)
    off = {**here, f"CAUDEX_PLUGINS__{name.upper()}__ENABLED": "false"}
    for words in (("config", "check"), ("serve", "--port", "0")):
        refused = caudex_here(*words, cwd=tmp_path, env=off)
        assert (refused.status, reason in refused.err) == (78, True), words
    assert not (tmp_path / "data").exists()


def test_a_plugin_that_is_left_out_is_said_beforehand(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import no_such_module\n", "utf-8")
    text = '[server]\nplugin_files = ["bad.py"]\n[plugins.bad]\non_failure = "degrade"\n'
    (tmp_path / "caudex.toml").write_text(text, "utf-8")
    here = {**environment(), "CAUDEX_DATA_DIR": str(tmp_path / "data")}
    said = "plugin bad is left out: plugin bad, bad.py:1: cannot be imported: ModuleNotFoundError"
    for words in (("config", "check"), ("plugins", "plan", "--disable", "vault")):
        ended = caudex_here(*words, cwd=tmp_path, env=here)
        assert (ended.status, said in ended.out + ended.err) == (0, True), ended
