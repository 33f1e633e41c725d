"""The demo of the CRM runs, on a server of its own and on others', twice."""

from __future__ import annotations

import shutil
import socket
from contextlib import closing
from types import SimpleNamespace

import pytest

from examples.crm import demo, sample, show
from examples.crm.client import ApiError, Client


@pytest.fixture
def nowhere(monkeypatch):
    """An address at which no one answers, in place of the default one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        monkeypatch.setattr(demo, "DEFAULT_URL", url)
        yield url


def run(capsys, *arguments):
    status = demo.main(arguments)
    said = capsys.readouterr()
    return status, said.out + said.err


@pytest.mark.slow
def test_without_a_server_it_brings_one(capsys, nowhere):
    status, said = run(capsys)
    assert status == 0, said
    assert "App 'crm' installed." in said
    assert f"contacts      {sample.CONTACTS} records in 4 requests" in said
    assert "This server and its data go away now." in said
    assert "app 'crm' deployed and started" in said
    assert "404 unknown method: noSuchMethod" in said
    assert "log │ stdout Closed Lost:" in said
    assert "job │ completed" in said
    assert "signed with the secret" in said


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("bun") or shutil.which("node")), reason="no bun, no node")
def test_the_same_worker_in_javascript_says_the_same(capsys, make_server):
    server = make_server()
    status, said = run(capsys, "--url", server.url, "--language", "javascript")
    assert status == 0, said
    assert "subject: Follow up: " in said
    assert "404 unknown method: noSuchMethod" in said
    assert "log │ info   Closed Lost:" in said
    assert "signed with the secret" in said


@pytest.mark.slow
def test_it_runs_on_a_running_server_and_again(capsys, make_server):
    server = make_server()
    status, first = run(capsys, "--url", server.url)
    assert status == 0, first
    status, second = run(capsys, "--url", server.url)
    assert status == 0, second
    assert f"deals         {sample.DEALS + demo.REP_DEALS} records from an earlier run" in second
    for said in (first, second):
        assert "404 record '" in said
        assert "403 the permission 'deals.delete' is needed" in said
        assert "stage: Lead → Qualified" in said
        assert "stage: Proposal → Closed Lost, value: 24000 → 22500" in said
    assert "\x1b" not in first


@pytest.mark.slow
def test_it_says_whose_password_it_needs(capsys, make_server):
    server = make_server()
    admin = server.admin
    status, said = run(capsys, "--url", server.url)
    assert status == 1
    assert "its admin is another user; give --username and --password of a core admin" in said
    status, said = run(capsys, "--url", server.url, "--username", "admin", "--password", "wrong")
    assert status == 1
    assert "admin cannot log in" in said
    credentials = ("--username", admin.username, "--password", admin.password)
    status, said = run(capsys, "--url", server.url, *credentials)
    assert status == 0, said


def test_it_needs_a_core_admin(capsys, make_server):
    server = make_server()
    user = server.user()
    credentials = ("--username", user.username, "--password", user.password)
    status, said = run(capsys, "--url", server.url, *credentials)
    assert status == 1
    assert "is no core admin" in said


def test_it_leaves_an_app_of_the_same_name_alone(capsys, make_server):
    server = make_server()
    entity = {"entityName": "things", "fields": [{"name": "label", "type": "text"}]}
    manifest = {"appId": "crm", "name": "Ours", "dataContract": [entity]}
    server.admin.post("/api/v1/apps", json=manifest).raise_for_status()
    credentials = ("--username", server.admin.username, "--password", server.admin.password)
    status, said = run(capsys, "--url", server.url, *credentials)
    assert status == 1
    assert "another app 'crm'" in said
    assert [app["entities"] for app in server.admin.get("/api/v1/apps").json()] == [["things"]]


def test_a_named_server_that_does_not_answer_is_reported(capsys, nowhere):
    status, said = run(capsys, "--url", nowhere)
    assert status == 1
    assert "no Caudex server answers" in said


def test_the_client_raises_what_the_server_says(server):
    refused = pytest.raises(ApiError, match="bearer token")
    with closing(Client(server.url)) as client, refused as caught:
        client.get("/api/v1/users")
    assert caught.value.status == 401


def test_progress_is_a_bar_on_a_terminal(capsys, monkeypatch):
    clock = iter([100.0, 101.5])
    monkeypatch.setattr(show, "TERMINAL", True)
    monkeypatch.setattr(show, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert list(show.progress("things", [[1, 2], [3]])) == [[1, 2], [3]]
    said = capsys.readouterr().out
    assert "0/3" in said
    assert "2/3" in said
    assert said.endswith("\r\x1b[K  things          3 records in 2 requests, 1.5 s\n")
