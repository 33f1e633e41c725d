"""What of an app stays when it goes while a plugin is off: nothing, for its successor neither."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kernel.testing import Client, MakeServer, Server
from tests.plugins.workers.support import QUICK, deploy, folder_of, reaches, result, status
from tests.waiting import eventually

APP = "crm"
MANIFEST = {
    "appId": APP,
    "name": "CRM",
    "dataContract": [{"entityName": "contacts", "fields": [{"name": "name", "type": "text"}]}],
}
OFF = ("workers", "app_logins", "vault", "jobs", "logs", "audit")
WORKER = """
import os
from caudex_worker import Worker

worker = Worker()

@worker.rpc
def facts(params, ctx):
    return {"who": "WHO", "secret": os.environ.get("TOKEN"), "database": ctx.database_url}

print("a line of WHO", flush=True)
worker.run()
"""


def config(*off: str) -> dict[str, Any]:
    plugins: dict[str, Any] = {"workers": dict(QUICK)}
    for name in off:
        plugins[name] = {"enabled": False}
    return {"plugins": plugins}


def path(what: str) -> str:
    return f"/api/v1/apps/{APP}/{what}"


def code(who: str) -> dict[str, str]:
    return {"worker.py": WORKER.replace("WHO", who)}


def lines(server: Server) -> list[str]:
    return [text for (text,) in server.sql("select message from caudex_logs.lines")]


def with_everything(server: Server) -> Client:
    """Install an app that leaves something behind in each plugin, and return its admin."""
    server.install(MANIFEST)
    owner = server.user("former")
    server.assign(owner, APP, "admin")
    owner.post(path("secrets"), json={"key": "TOKEN", "value": "s3cret"}).raise_for_status()
    assert deploy(owner, APP, code("former")).status_code == 200
    assert result(owner, APP, "facts")["secret"] == "s3cret"
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    later = {"payload": {"of": "former"}, "run_at": tomorrow}
    owner.post(path("jobs"), json=later).raise_for_status()
    owner.post(path("collections/contacts"), json={"name": "former"}).raise_for_status()
    eventually(lambda: "a line of former" in lines(server), 30)
    assert trail(owner)
    return owner


def trail(client: Client) -> list[dict[str, Any]]:
    return client.get("/api/v1/audit", params={"app_id": APP}).raise_for_status().json()


def logins(server: Server) -> list[tuple[int, str]]:
    """Numbers and passwords. A start of a server makes other passwords."""
    return server.sql("""select l.number, p.password from caudex_app_logins.logins as l
        left join caudex_app_logins.passwords as p on p.number = l.number""")


def has_role(server: Server, number: int) -> bool:
    query = """select format('caudex_%%s_w%%s', oid, %s::text) in (select rolname from pg_roles)
        from pg_database where datname = current_database()"""
    return server.sql(query, str(number)) == [(True,)]


def install_again(server: Server) -> None:
    """Let a core admin reinstall the app for another user."""
    client = server.login("admin")
    client.delete(f"/api/v1/apps/{APP}").raise_for_status()
    client.post("/api/v1/apps", json=MANIFEST).raise_for_status()
    server.user("newcomer")
    body = {"userId": server.login("newcomer").id, "role": "admin"}
    client.post(path("roles/assign"), json=body).raise_for_status()


@pytest.mark.slow
@pytest.mark.parametrize("off", [OFF, *((name,) for name in OFF)], ids="-".join)
def test_nothing_of_an_app_that_went_while_plugins_were_off_is_its_successors(
    make_server: MakeServer, tmp_path: Path, off: tuple[str, ...]
):
    one = make_server(config(), data_dir=tmp_path)
    with_everything(one)
    [former] = logins(one)
    assert has_role(one, former[0])
    one.stop()

    without = make_server(config(*off), dsn=one.dsn, data_dir=tmp_path)
    without._admin = without.login("admin")
    install_again(without)
    without.stop()

    two = make_server(config(), dsn=one.dsn, data_dir=tmp_path)
    owner = two.login("newcomer")
    found = status(owner, APP)
    assert (found["status"], found["version"], found["replicas"]) == ("stopped", None, 0)
    assert owner.get(path("secrets")).json() == []
    assert owner.get(path("jobs")).json() == []
    assert lines(two) == []
    assert trail(owner) == []
    assert logins(two) == []
    assert not has_role(two, former[0])

    assert deploy(owner, APP, code("successor")).status_code == 200
    facts = result(owner, APP, "facts")
    assert (facts["who"], facts["secret"]) == ("successor", None)
    [(number, password)] = logins(two)
    assert number != former[0]
    assert password != former[1]
    assert facts["database"] is None or former[1] not in facts["database"]
    eventually(lambda: "a line of successor" in lines(two), 30)
    assert not [line for line in lines(two) if "former" in line]


@pytest.mark.slow
def test_an_app_that_stayed_while_plugins_were_off_keeps_everything(
    make_server: MakeServer, tmp_path: Path
):
    """Also through an update of it."""
    one = make_server(config(), data_dir=tmp_path)
    with_everything(one)
    [(number, _)] = logins(one)
    one.stop()
    without = make_server(config(*OFF), dsn=one.dsn, data_dir=tmp_path)
    without.login("admin").post("/api/v1/apps", json=MANIFEST).raise_for_status()
    without.stop()
    two = make_server(config(), dsn=one.dsn, data_dir=tmp_path)
    owner = two.login("former")
    for _ in range(2):
        reaches(owner, APP, "running", 30)
        assert result(owner, APP, "facts")["secret"] == "s3cret"
        assert [login for login, _ in logins(two)] == [number]
        assert [job["payload"] for job in owner.get(path("jobs")).json()] == [{"of": "former"}]
        assert "a line of former" in lines(two)
        assert trail(owner)
        two.login("admin").post("/api/v1/apps", json=MANIFEST).raise_for_status()
    two.stop()


@pytest.mark.slow
def test_what_an_app_leaves_goes_with_it_also_where_plugins_are_off(
    make_server: MakeServer, tmp_path: Path
):
    one = make_server(config(), data_dir=tmp_path)
    with_everything(one)
    one.stop()
    without = make_server(config(*OFF), dsn=one.dsn, data_dir=tmp_path)
    without.login("admin").delete(f"/api/v1/apps/{APP}").raise_for_status()
    for table in ("vault.secrets", "vault.data_keys", "jobs.jobs", "logs.lines", "audit.apps"):
        assert without.sql(f"select count(*) from caudex_{table}") == [(0,)], table
    without.stop()
    two = make_server(config(), dsn=one.dsn, data_dir=tmp_path)
    assert logins(two) == []
    assert two.sql("select count(*) from caudex_workers.chunks") == [(0,)]
    eventually(lambda: not folder_of(tmp_path, APP).exists(), 30)
