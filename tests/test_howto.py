"""The pages for operators and authors of apps: every block of theirs is pasted into a shell."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from kernel.config import load_config
from kernel.testing import MakeServer, Server
from tests.pages import ROOT, alike, last_reply, run_shell, write_files
from tests.plugins.workers.support import result, rpc

PASSWORD = "Str0ngPass!x"
QUIET = {"CAUDEX_LOG__LEVEL": "error", "CAUDEX_PLUGINS__WORKERS__SANDBOX": "off"}


def page(name: str) -> str:
    return (ROOT / "docs" / "howto" / f"{name}.md").read_text("utf-8")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


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


def pasted(
    name: str, url: str, folder: Path, environment: Mapping[str, str] | None = None
) -> list[str]:
    """Paste a page, compare the replies that it shows, and return what each block printed."""
    outputs = run_shell(page(name), url, folder, environment)
    for output, shown in outputs:
        if shown is not None:
            assert alike(last_reply(output)) == alike(shown)
        refused = [line for line in output.splitlines() if line.startswith('{"error"')]
        assert len(refused) == (isinstance(shown, dict) and "error" in shown), output
    return [output for output, _ in outputs]


@pytest.mark.skipif(not (shutil.which("node") or shutil.which("bun")), reason="no JavaScript here")
def test_a_worker_is_written_as_the_guide_says(make_server: MakeServer, tmp_path: Path):
    server = with_ada(make_server)
    outputs = pasted("write-a-worker", server.url, tmp_path)
    ada = server.login("ada")
    assert result(ada, "greeter", "people") == ["Brendan", "Grace"]
    assert rpc(server.user(), "greeter", "people").status_code == 403
    [log] = [output for output in outputs if "data: " in output]
    assert '"message":"greeted Grace"' in log


def test_jobs_are_run_as_the_guide_says(make_server: MakeServer, tmp_path: Path):
    server = with_ada(make_server)
    outputs = pasted("run-jobs", server.url, tmp_path)
    [job] = [last_reply(output) for output in outputs if '"completed"' in output]
    assert isinstance(job, dict)
    assert (job["result"], job["progress"]) == ({"sent": 4}, 1)


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not on PATH")
def test_secrets_are_kept_rotated_and_given_up_as_the_guide_says(
    make_server: MakeServer, tmp_path: Path
):
    data = tmp_path / "data"
    server = with_ada(make_server, data_dir=data)
    outputs = pasted("keep-secrets", server.url, tmp_path, command(server, data))
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
    outputs = pasted("back-up-and-restore", server.url, tmp_path, environment)
    assert sum("wrote" in output for output in outputs) == 2
    assert sum("restored the backup" in output for output in outputs) == 2
    assert any("good   backup" in output for output in outputs)
    restored = make_server(dsn=empty, data_dir=tmp_path / "restored")
    apps = restored.login("ada").get("/api/v1/apps").json()
    assert [app["id"] for app in apps] == ["kept"]


def test_several_servers_run_as_the_guide_says(postgres, tmp_path: Path):
    url = postgres.create()
    ports = {"9101": str(free_port()), "9102": str(free_port())}
    text = page("run-several-servers")
    for written, free in ports.items():
        text = text.replace(written, free)
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
