"""The pages for operators and authors of apps: every block of theirs is pasted into a shell."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernel.config.settings import load_config
from kernel.testing import MakeServer, Server
from plugins.audit.evidence.service import EVIDENCE
from tests.pages import ROOT, alike, last_reply, run_shell, write_files
from tests.plugins.frontends.support import targz
from tests.plugins.workers.support import result, rpc

pytestmark = pytest.mark.slow

PASSWORD = "Str0ngPass!x"
QUIET = {"CAUDEX_LOG__LEVEL": "error", "CAUDEX_PLUGINS__WORKERS__SANDBOX": "off"}


def page(name: str) -> str:
    return (ROOT / "docs" / "howto" / f"{name}.md").read_text("utf-8")


@pytest.fixture
def kept_ports() -> Iterator[list[str]]:
    """Two ports that no other is given: bound, but a server that names them may listen there."""
    with socket.socket() as one, socket.socket() as two:
        for kept in (one, two):
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            kept.bind(("127.0.0.1", 0))
        yield [str(kept.getsockname()[1]) for kept in (one, two)]


def with_ada(make_server: MakeServer, **more: object) -> Server:
    """A server whose admin is the one of the pages."""
    server = make_server(**more)
    body = {"username": "ada", "password": PASSWORD}
    assert server.http.post("/api/v1/auth/register", json=body).status_code == 201
    return server


def command(server: Server, folder: Path) -> Mapping[str, str]:
    """The environment in which `caudex` is that of a server."""
    return {
        **QUIET,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DATABASE_URL": server.dsn,
        "CAUDEX_DATA_DIR": str(folder),
    }


def before(line: str, wait: str, text: str) -> str:
    """A page with a wait before a line: a shell is faster than a notification of a change."""
    assert text.count(line) == 1
    waited = f"for try in $(seq 99); do {wait} && break; sleep 0.1; done"
    return text.replace(line, f"{waited}\n{line}")


def pasted(
    text: str, url: str, folder: Path, environment: Mapping[str, str] | None = None
) -> list[str]:
    """Paste a page, compare the replies that it shows, and return what each block printed."""
    outputs = run_shell(text, url, folder, environment)
    for output, shown in outputs:
        if shown is not None:
            assert alike(last_reply(output)) == alike(shown)
        refused = [line for line in output.splitlines() if line.startswith('{"error"')]
        assert len(refused) == (isinstance(shown, dict) and "error" in shown), output
    return [output for output, _ in outputs]


@pytest.mark.skipif(not (shutil.which("node") or shutil.which("bun")), reason="no JavaScript here")
def test_a_worker_is_written_as_the_guide_says(make_server: MakeServer, tmp_path: Path):
    server = with_ada(make_server)
    # Three seconds are short where others work too: a reader who sees nothing looks again.
    look = 'timeout 3 curl -sSN -H "authorization: Bearer $token" "$api/apps/greeter/logs?tail=20"'
    again = f"for try in 1 2 3 4 5; do {look} | tee seen; grep -q Grace seen && break; done"
    assert page("write-a-worker").count(look) == 1
    text = page("write-a-worker").replace(look, again)
    outputs = pasted(text, server.url, tmp_path)
    ada = server.login("ada")
    assert result(ada, "greeter", "people") == ["Brendan", "Grace"]
    assert rpc(server.user(), "greeter", "people").status_code == 403
    [log] = [output for output in outputs if "data: " in output]
    assert '"message":"greeted Grace"' in log


def test_jobs_are_run_as_the_guide_says(make_server: MakeServer, tmp_path: Path):
    server = with_ada(make_server)
    outputs = pasted(page("run-jobs"), server.url, tmp_path)
    [job] = [last_reply(output) for output in outputs if '"completed"' in output]
    assert isinstance(job, dict)
    assert (job["result"], job["progress"]) == ({"sent": 4}, 1)


def test_changes_are_reacted_to_as_the_guide_says(make_server: MakeServer, tmp_path: Path):
    server = with_ada(make_server)
    outputs = pasted(page("react-to-changes"), server.url, tmp_path)
    notes = re.findall(r'"text":"([^"]*)"', outputs[-1])
    assert notes == ["enter a boat", "change a boat", "leave a boat"]


def test_records_are_queried_as_the_guide_says(make_server: MakeServer, tmp_path: Path):
    server = with_ada(make_server)
    outputs = pasted(page("query-records"), server.url, tmp_path)
    assert len(outputs) == 14
    ada = server.login("ada")
    body = {"aggregate": {"sum": {"$sum": "value"}}}
    found = ada.post("/api/v1/apps/sales/collections/deals/query", json=body).json()
    assert found["data"] == [{"sum": 6070}]


def test_a_frontend_is_published_as_the_guide_says(make_server: MakeServer, tmp_path: Path):
    server = with_ada(make_server)
    server.login("ada").post("/api/v1/apps", json={"appId": "crm", "name": "CRM"})
    port = server.url.rpartition(":")[2]
    token = server.login("ada").tokens["accessToken"]
    text = page("publish-a-frontend").replace("9100", port)
    text = text.replace("http://127.0.0.1:" + port, "http://127.0.0.1:9100")
    write_files(text, tmp_path)
    pasted(text, server.url, tmp_path, {"token": token})
    assert (tmp_path / "page.html").read_text() == (tmp_path / "site/index.html").read_text()


def test_changes_are_followed_as_the_guide_says(make_server: MakeServer, tmp_path: Path):
    server = with_ada(make_server)
    outputs = pasted(page("follow-changes"), server.url, tmp_path)
    events = [line.removeprefix("event: ") for line in outputs[1].split("\n") if line]
    assert events == ["ready", "enter", "enter", "change"]
    missed = outputs[2].split("\n")
    assert missed[0] == "event: change"
    assert '"price":15' in missed[1]
    names = [json.loads("{" + line + "}")["subscription"] for line in outputs[3].split()]
    assert names == ["dear", "dear", "all"]
    assert outputs[4].split("\n")[0] == "event: page"
    assert outputs[4].count("Desk") == 1
    assert outputs[5].split() == ['"what":"Chair"']


def test_changes_are_undone_as_the_guide_says(make_server: MakeServer, tmp_path: Path):
    server = with_ada(make_server)
    outputs = pasted(page("undo-changes"), server.url, tmp_path)
    assert outputs[2].split()[:2] == ['"undone":3', '"undone":3']
    assert '"count":3' in outputs[-1]
    [product] = server.login("ada").get("/api/v1/apps/shop/collections/products").json()
    assert (product["name"], product["price"]) == ("Lamp", 10)


def test_an_app_is_built_by_hand_as_the_guide_says(make_server: MakeServer, tmp_path: Path):
    server = with_ada(make_server)
    outputs = pasted(page("build-an-app-by-hand"), server.url, tmp_path)
    assert '"client"' in outputs[3]
    [first] = server.login("ada").get("/api/v1/apps/workshop/collections/repairs?limit=1").json()
    assert "customer" in first
    assert "due" not in first


def test_records_are_seen_as_boards_and_charts_as_the_guide_says(
    make_server: MakeServer, tmp_path: Path
):
    server = with_ada(make_server)
    pasted(page("see-records-as-boards-and-charts"), server.url, tmp_path)
    views = server.login("ada").get("/api/v1/console/views?app=studio").json()
    assert len(views) == 5


def test_files_are_kept_as_the_guide_says(make_server: MakeServer, tmp_path: Path):
    data = tmp_path / "data"
    server = with_ada(make_server, data_dir=data)
    outputs = pasted(page("keep-files"), server.url, tmp_path, command(server, data))
    assert outputs[3].split() == ["We", "agree.", "agree", "1"]
    assert outputs[4].strip() == "We agree."
    assert "2 contents were read, 0 are damaged" in outputs[5]
    assert "2 file(s) had it" in outputs[5]
    assert not server.sql("select 1 from caudex_files.files where sha256 is not null and size = 10")


@contextmanager
def sealing(server: Server) -> Iterator[None]:
    """Seals the trail several times a second, where a server does it each minute."""
    sealer = server.services.get(EVIDENCE).sealer
    assert sealer is not None
    over = threading.Event()

    def seal_again() -> None:
        while not over.wait(0.3):
            server.run(sealer.seal_all)

    thread = threading.Thread(target=seal_again)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_the_trail_is_proven_as_the_guide_says(make_server: MakeServer, tmp_path: Path):
    data = tmp_path / "data"
    server = with_ada(make_server, data_dir=data)
    sealed = "call $api/audit/evidence | grep -q '\"pending\":0'"
    text = before("caudex audit verify\n```", sealed, page("prove-the-trail"))
    with sealing(server):
        outputs = pasted(text, server.url, tmp_path, command(server, data))
    assert "verified up to 20" in outputs[1]
    assert "0 rows are not sealed yet" in outputs[1]
    assert '"ok":true' in outputs[2]
    assert outputs[6].count("rows are as they were sealed") == 2
    assert "1 rows are as they were sealed" in outputs[6]
    assert "not proven: line" in outputs[7]
    assert "refused" in outputs[7]


def test_spreadsheets_are_exchanged_as_the_guide_says(make_server: MakeServer, tmp_path: Path):
    server = with_ada(make_server)
    outputs = pasted(page("exchange-with-spreadsheets"), server.url, tmp_path)
    assert any(output.split() == ["title,amount", "Bolts,8", "Robots,1234.5"] for output in outputs)
    rows = server.login("ada").get("/api/v1/apps/trade/collections/orders").json()
    assert {row["title"]: (row["paid"], row["ordered_on"]) for row in rows} == {
        "Robots": (True, "2030-12-31"),
        "Bolts": (False, "2031-04-03"),
    }


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not on PATH")
def test_secrets_are_kept_rotated_and_given_up_as_the_guide_says(
    make_server: MakeServer, tmp_path: Path
):
    data = tmp_path / "data"
    server = with_ada(make_server, data_dir=data)
    outputs = pasted(page("keep-secrets"), server.url, tmp_path, command(server, data))
    assert "data keys are sealed by a new master key" in "".join(outputs)
    assert not (tmp_path / "stripe-key").exists()
    server.stop()
    key = data / "config" / "master.key"
    lost = key.read_bytes()
    key.unlink()
    again = make_server(dsn=server.dsn, data_dir=data)
    assert key.read_bytes() != lost
    ada = again.login("ada")
    assert ada.get("/api/v1/apps/billing/secrets").json() == []
    body = {"key": "STRIPE_KEY", "value": "sk-3"}
    assert ada.post("/api/v1/apps/billing/secrets", json=body).status_code == 200
    named = ada.get("/api/v1/audit", params={"app_id": "core", "entity": "secrets"}).json()
    assert "billing/SMTP_PASSWORD" in [row["record_id"] for row in named]


def test_a_backup_is_made_and_restored_as_the_guide_says(
    make_server: MakeServer, postgres, tmp_path: Path
):
    data = tmp_path / "data"
    server = with_ada(make_server, data_dir=data)
    assert (
        server.login("ada").post("/api/v1/apps", json={"appId": "kept", "name": "Kept"}).is_success
    )
    empty = postgres.create()
    environment = {**command(server, data), "EMPTY_DATABASE_URL": empty}
    outputs = pasted(page("back-up-and-restore"), server.url, tmp_path, environment)
    assert sum("wrote" in output for output in outputs) == 2
    assert sum("restored the backup" in output for output in outputs) == 2
    assert any("ok     backup" in output for output in outputs)
    restored = make_server(dsn=empty, data_dir=tmp_path / "restored")
    apps = restored.login("ada").get("/api/v1/apps").json()
    assert [app["id"] for app in apps] == ["kept"]


def test_an_app_is_made_as_the_guide_says(make_server: MakeServer, tmp_path: Path):
    server = with_ada(make_server)
    environment = {**command(server, tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    outputs = pasted(page("make-an-app"), server.url, tmp_path, environment)
    printed = "\n".join(outputs)
    assert "created stock; next:" in printed
    assert "manifest 1 is installed" in printed
    assert "export interface ItemsRecord" in (tmp_path / "stock/records.ts").read_text("utf-8")
    assert "Gears,70" in printed
    assert outputs[-1].strip() == '"state": "unchanged",'


def test_several_servers_run_as_the_guide_says(postgres, tmp_path: Path, kept_ports: list[str]):
    url = postgres.create()
    ports = dict(zip(("9101", "9102"), kept_ports, strict=True))
    text = re.sub("910[12]", lambda written: ports[written[0]], page("run-several-servers"))
    one, two = (f"http://127.0.0.1:{port}/api/v1" for port in kept_ports)
    # Secrets of the platform are for core admins: two has heard that ada is one. Then the app.
    for line, heard in (
        (f"call {two}/apps -H", f"{two}/platform/secrets"),
        (f"call {one}/apps/shared/worker/status", f"{one}/apps/shared/worker/status"),
    ):
        wait = f'curl -sf {heard} -H "authorization: Bearer $token" > heard'
        text = before(line, wait, text)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**QUIET, "PATH": path, "DATABASE_URL": url}
    try:
        outputs = run_shell(text, "http://127.0.0.1:9100", tmp_path, environment)
        for output, shown in outputs:
            assert shown is None or last_reply(output) == shown
        assert '"message":"app \'shared\' installed"' in outputs[2][0]
        assert '"app_id":"shared","status":"stopped"' in outputs[2][0]
    finally:
        postgres.drop(url)
    for name in ("one.log", "two.log"):
        assert "Traceback" not in (tmp_path / name).read_text("utf-8")


def test_the_configuration_of_several_processes_is_good(tmp_path: Path):
    assert write_files(page("run-several-servers"), tmp_path) == ["caudex.toml"]
    assert load_config(str(tmp_path / "caudex.toml"), environ={}).server.workers == 4


def test_a_frontend_signs_in_as_the_guide_says(make_server: MakeServer, tmp_path: Path):
    server = with_ada(make_server)
    ada = server.login("ada")
    crm = {"appId": "crm", "name": "CRM", "dataContract": []}
    assert ada.post("/api/v1/apps", json=crm).status_code == 200
    site = targz({"index.html": "<!doctype html><title>Contacts</title>"})
    assert ada.post("/api/v1/apps/crm/frontend", content=site).status_code == 200
    port = server.url.rpartition(":")[2]
    text = page("sign-in-from-a-frontend").replace("crm.localhost:9100", f"crm.localhost:{port}")
    token = ada.tokens["accessToken"]
    outputs = pasted(text, server.url, tmp_path, {"token": token})
    begin, callback, session = outputs[:3]
    assert begin.strip() == "console/#/app-sign-in?app=…&challenge=…&state=…"
    assert callback.strip() == "303"
    assert session.strip() == "200"
