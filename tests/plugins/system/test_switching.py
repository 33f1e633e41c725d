"""Off means off: a plugin that is switched off has no effect, and what it leaves is purged."""

import io
import sys
from typing import Any

import pytest
from structlog.testing import capture_logs

from kernel.errors import BootError
from kernel.testing import MakeServer, Server
from tests.kernel.here import caudex_here
from tests.kernel.processes import environment

TEA = {
    "appId": "tea",
    "name": "Tea",
    "dataContract": [{"entityName": "cups", "fields": [{"name": "title", "type": "text"}]}],
}
MILK = {**TEA, "appId": "milk", "name": "Milk"}
CUPS = "/api/v1/apps/tea/collections/cups"
OFF = {"plugins": {"audit": {"enabled": False}}}


def again(server: Server, make_server: MakeServer, config: Any = None) -> Server:
    """Stop a server and start another one on its database."""
    server.stop()
    folder = server.kernel.config.data_dir
    return make_server(config or {}, dsn=server.dsn, data_dir=folder)


def write(server: Server, title: str) -> None:
    server.admin.post(CUPS, json={"title": title}).raise_for_status()


def trail(server: Server, app: str = "tea") -> list[str]:
    found = server.sql("select operation from caudex_audit.log where table_schema = %s", app)
    return [row[0] for row in found]


@pytest.mark.slow
def test_the_trail_stops_and_resumes_and_says_since_when(make_server: MakeServer):
    server = make_server()
    server.install(TEA)
    write(server, "recorded")
    assert trail(server) == ["INSERT"]
    off = again(server, make_server, OFF)
    client = _signed_in(off)
    client.post(CUPS, json={"title": "not recorded"}).raise_for_status()
    record = client.get(CUPS).json()[0]["id"]
    client.patch(f"{CUPS}/{record}", json={"title": "neither"}).raise_for_status()
    client.delete(f"{CUPS}/{record}").raise_for_status()
    client.post("/api/v1/apps", json=MILK).raise_for_status()
    milk = CUPS.replace("tea", "milk")
    client.post(milk, json={"title": "of an app that came meanwhile"}).raise_for_status()
    assert trail(off) == ["INSERT"]
    assert trail(off, "milk") == []
    with capture_logs() as logs:
        on = again(off, make_server)
    [line] = [each for each in logs if each["event"] == "a plugin is switched on again"]
    assert line["plugin"] == "audit"
    client = _signed_in(on)
    client.post(CUPS, json={"title": "recorded again"}).raise_for_status()
    client.post(milk, json={"title": "recorded as well"}).raise_for_status()
    assert trail(on) == ["INSERT", "INSERT"]
    assert trail(on, "milk") == ["INSERT"]
    rows = on.sql("select operation, new_record ->> 'offSince' from caudex_audit.log"
                  " where table_name = 'audit' order by id")  # fmt: skip
    assert [row[0] for row in rows] == ["TRAIL_STOPPED", "TRAIL_RESUMED"]
    assert rows[1][1] == on.sql("select (to_json(changed_at) #>> '{}') from caudex_audit.log"
                                " where operation = 'TRAIL_STOPPED'")[0][0]  # fmt: skip
    found = client.get("/api/v1/audit?operation=TRAIL_RESUMED").json()
    assert [row["table_name"] for row in found] == ["audit"]


def _signed_in(server: Server) -> Any:
    """A client of the admin that another server of this database registered."""
    body = {"username": "admin", "password": "Str0ngPass!x"}
    token = server.http.post("/api/v1/auth/login", json=body).json()["accessToken"]
    server.http.headers["authorization"] = f"Bearer {token}"
    return server.http


@pytest.mark.slow
def test_safe_mode_switches_nothing(make_server: MakeServer):
    server = make_server()
    server.install(TEA)
    write(server, "recorded")
    safe = again(server, make_server, {"plugins": {**OFF["plugins"], "system": {"safe": True}}})
    safe.sql("insert into tea.cups (title) values ('recorded in spite of it')")
    assert trail(safe) == ["INSERT", "INSERT"]
    assert safe.sql("select enabled from caudex_system.switches where plugin = 'audit'") == [
        (True,)
    ]


@pytest.mark.slow
def test_a_server_with_another_setting_than_those_that_run_does_not_start(make_server: MakeServer):
    server = make_server()
    folder = server.kernel.config.data_dir
    with pytest.raises(BootError) as caught:
        make_server(OFF, dsn=server.dsn, data_dir=folder)
    assert str(caught.value) == (
        "plugin audit: it is off in this configuration and on in servers that run; "
        "stop them first, or give both the same setting"
    )
    make_server(dsn=server.dsn, data_dir=folder)  # one of the same setting does
    server.install(TEA)
    write(server, "recorded")
    assert trail(server) == ["INSERT"]


@pytest.mark.slow
def test_logins_of_apps_are_shut_while_their_plugin_is_off(make_server: MakeServer):
    server = make_server()
    [(oid,)] = server.sql("select oid from pg_database where datname = current_database()")
    role = f"caudex_{oid}_w7"
    server.sql(f'create role "{role}" login')
    try:
        can = "select rolcanlogin from pg_roles where rolname = %s"
        assert server.sql(can, role) == [(True,)]
        off = again(server, make_server, {"plugins": {"app_logins": {"enabled": False}}})
        assert off.sql(can, role) == [(False,)]
        off.stop()
        ended = _purge(off, "app_logins", "app_logins", "--yes")
        assert (ended.status, ended.err) == (0, "")
        assert off.sql(can, role) == []
    finally:
        server.sql(f'drop role if exists "{role}"')


def _purge(server: Server, off: str, *words: str) -> Any:
    """Run `caudex plugins purge` with a plugin that is off."""
    env = environment() | {
        "CAUDEX_DATABASE__URL": server.dsn,
        "CAUDEX_DATA_DIR": str(server.kernel.config.data_dir),
        f"CAUDEX_PLUGINS__{off.upper()}__ENABLED": "false",
    }
    return caudex_here("plugins", "purge", *words, env=env)


@pytest.mark.slow
def test_what_a_plugin_left_is_shown_and_dropped(make_server: MakeServer):
    server = make_server()
    server.install(TEA)
    write(server, "recorded")
    refused = _purge(server, "logs", "audit")
    assert refused.err == "caudex: plugin audit is not off: [plugins.audit] enabled = false\n"
    refused = _purge(server, "audit", "audit")
    assert "a server runs with plugin audit: stop it, or restart it without" in refused.err
    off = again(server, make_server, OFF)
    shown = _purge(off, "audit", "audit", "--dry-run")
    assert (shown.status, shown.err) == (0, "")
    assert "would be dropped: table caudex_audit.log (" in shown.out
    assert "would be dropped: trigger caudex_audit_insert on tea.cups" in shown.out
    assert "would be dropped: migration 0001_initial.sql" in shown.out
    assert trail(off) == ["INSERT"]
    unasked = _purge(off, "audit", "audit")
    assert unasked.status == 1
    assert "only a terminal can ask; use --yes" in unasked.err
    assert trail(off) == ["INSERT"]
    dropped = _purge(off, "audit", "audit", "--yes")
    assert dropped.out == shown.out.replace("would be dropped", "dropped")
    gone = "select count(*) from pg_namespace where nspname = 'caudex_audit'"
    assert off.sql(gone) == [(0,)]
    assert off.sql("select count(*) from caudex_kernel.migrations where plugin = 'audit'") == [(0,)]
    assert _purge(off, "audit", "audit").out == "plugin audit has left nothing\n"
    client = _signed_in(off)
    client.post(CUPS, json={"title": "still works"}).raise_for_status()
    on = again(off, make_server)
    _signed_in(on).post(CUPS, json={"title": "recorded"}).raise_for_status()
    assert trail(on) == ["INSERT"]


@pytest.mark.slow
def test_a_purge_asks_on_a_terminal(make_server: MakeServer, monkeypatch: pytest.MonkeyPatch):
    server = make_server()
    server.install(TEA)
    write(server, "recorded")
    off = again(server, make_server, OFF)
    terminal = io.StringIO("n\ny\n")
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", terminal)
    declined = _purge(off, "audit", "audit")
    assert declined.status == 1
    assert "would be dropped: table caudex_audit.log (" in declined.out
    assert "It is what plugin audit knows, and cannot come back. [y/N]" in declined.out
    assert declined.out.endswith("nothing was dropped\n")
    assert trail(off) == ["INSERT"]
    confirmed = _purge(off, "audit", "audit")
    assert confirmed.status == 0
    assert "\ndropped: table caudex_audit.log (" in confirmed.out
