"""A project is deployed: what changed is said, what failed is undone, versions come back."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import Any

import pytest

from kernel.testing import MakeServer, Server
from tests.kernel.processes import environment
from tests.waiting import eventually

from .support import Author


@pytest.fixture
def project(author: Author, request: pytest.FixtureRequest) -> Author:
    """A new project with a name of its own."""
    name = request.node.originalname.removeprefix("test_")[:40]
    author.ok("app", "new", name, "--dir", "app")
    return author.inside("app")


def app_of(project: Author) -> str:
    return json.loads((project.folder / "manifest.json").read_text("utf-8"))["appId"]


def states(answer: Any) -> dict[str, str]:
    return {part["part"]: part["state"] for part in answer["parts"]}


def call(server: Server, app_id: str, method: str) -> Any:
    body = {"method": method, "params": {}}
    return server.admin.post(f"/api/v1/apps/{app_id}/rpc", json=body).json()


def test_a_deploy_sends_what_differs(project: Author, server: Server) -> None:
    plan = project.json("app", "plan")["parts"]
    assert "create table items (4 fields)" in plan["manifest"]["changes"]
    assert plan["roles"]["changes"] == ["+ member"]
    app_id = app_of(project)
    assert server.admin.get(f"/api/v1/apps/{app_id}").status_code == 404

    first = states(project.json("app", "deploy"))
    assert first == dict.fromkeys(("manifest", "roles", "worker", "frontend"), "changed")
    assert call(server, app_id, "summary") == {"items": 0, "open": 0}
    second = states(project.json("app", "deploy"))
    assert second == dict.fromkeys(("manifest", "roles", "worker", "frontend"), "unchanged")

    project.edit("worker.py", '"items": total["total"]', '"all": total["total"]')
    third = project.json("app", "deploy")
    assert states(third)["worker"] == "changed"
    assert states(third)["manifest"] == "unchanged"
    [worker] = [part for part in third["parts"] if part["part"] == "worker"]
    assert worker["changes"] == ["~ worker.py"]
    assert worker["version"] == 2
    assert call(server, app_id, "summary") == {"all": 0, "open": 0}


@pytest.mark.slow
def test_the_first_deploy_says_how_others_come_in(project: Author, server: Server) -> None:
    text = project.ok("app", "deploy").out
    assert f"users     invite them at {server.url}/console/#/users" in text
    project.edit("worker.py", '"items": total["total"]', '"all": total["total"]')
    assert "invite them" not in project.ok("app", "deploy").out


def test_a_section_that_no_plugin_reads_is_named(project: Author) -> None:
    project.edit("manifest.json", '"version"', '"crons": [], "version"')
    sentence = "ignored: crons (no plugin of the server reads it)"
    assert sentence in project.ok("app", "plan").out
    assert sentence in project.ok("app", "deploy").out


def test_a_worker_that_fails_undoes_the_manifest(project: Author, server: Server) -> None:
    project.ok("app", "deploy")
    app_id = app_of(project)
    before = server.admin.get(f"/api/v1/apps/{app_id}/manifest").json()
    roles = server.admin.get(f"/api/v1/apps/{app_id}/roles").json()
    project.edit("manifest.json", '"notes"', '"remarks"')
    project.edit("roles.json", '"items.delete"', '"app.extra"')
    project.edit("roles.json", ', "app.extra"', "")
    project.edit("worker.py", "worker = Worker()", "worker = Worker(\n    nothing)")
    refusal = project.refused("app", "deploy")
    assert refusal.startswith("worker: worker.py, line 6: ")
    assert "the roles are as before" in refusal
    assert refusal.endswith("the former manifest is installed again")
    assert server.admin.get(f"/api/v1/apps/{app_id}/manifest").json() == before
    assert server.admin.get(f"/api/v1/apps/{app_id}/roles").json() == roles
    assert call(server, app_id, "summary") == {"items": 0, "open": 0}


@pytest.mark.slow
def test_the_first_deploy_that_fails_leaves_no_app(project: Author, server: Server) -> None:
    project.edit("worker.py", "worker.run()", "raise SystemExit('no start')")
    refusal = project.refused("app", "deploy")
    assert refusal.endswith("was uninstalled again")
    assert server.admin.get(f"/api/v1/apps/{app_of(project)}").status_code == 404


def test_a_broken_file_changes_nothing(project: Author, server: Server) -> None:
    project.edit("worker.py", "worker.run()", "worker.run(")
    assert "worker.py, line" in project.refused("app", "deploy")
    assert server.admin.get(f"/api/v1/apps/{app_of(project)}").status_code == 404


@pytest.mark.parametrize(
    ("before", "after", "refusal"),
    [
        ('"name": "done",', '"name": "done"', "manifest.json, line 10: expecting ',' delimiter"),
        ('"date"', '"dat"', "manifest: manifest.json, line 11: dataContract[0].fields[2].type: "),
        ('"required": true', '"required": 1', "manifest: manifest.json, line 9: "),
    ],
)
def test_a_mistake_in_the_manifest_has_a_line(
    project: Author, before: str, after: str, refusal: str
) -> None:
    project.edit("manifest.json", before, after)
    assert project.refused("app", "deploy").startswith(refusal)


@pytest.mark.slow
def test_versions_come_back(project: Author, server: Server) -> None:
    app_id = app_of(project)
    project.ok("app", "deploy")
    assert "no deploy from here replaced a version" in project.refused("app", "rollback")
    project.edit("worker.py", '"items": total["total"]', '"all": total["total"]')
    project.edit("manifest.json", '"notes"', '"remarks"')
    project.ok("app", "deploy")
    worker, manifest = project.json("app", "rollback")["done"]
    assert worker == "version 1 of the worker is in service"
    # Its number counts the installs of all apps, so it depends on the tests before.
    assert re.fullmatch(r"manifest [0-9]+ is installed", manifest)
    assert call(server, app_id, "summary") == {"items": 0, "open": 0}
    fields = server.admin.get(f"/api/v1/apps/{app_id}").json()["entities"][0]["fields"]
    assert "notes" in [field["name"] for field in fields]
    project.ok("app", "rollback", "--worker", "2")
    assert call(server, app_id, "summary") == {"all": 0, "open": 0}
    assert "99" in project.refused("app", "rollback", "--worker", "99")


@pytest.mark.slow
def test_status_and_logs_show_the_app(project: Author) -> None:
    project.ok("app", "deploy")
    status = project.json("app", "status")
    assert status["worker"]["status"] == "running"
    assert [version["version"] for version in status["worker_versions"]] == [1]
    lines = [json.loads(line) for line in project.ok("app", "logs", "--json").out.splitlines()]
    assert "version 1 runs" in [line["message"] for line in lines]
    assert "running" in project.ok("app", "status").out


def test_roles_of_others_are_kept(project: Author, server: Server) -> None:
    app_id = app_of(project)
    project.ok("app", "deploy")
    role = {"name": "guest", "permissions": ["items.read"]}
    server.admin.post(f"/api/v1/apps/{app_id}/roles", json=role)
    project.edit("roles.json", '"items.delete"', '"items.read.own"')
    assert states(project.json("app", "deploy"))["roles"] == "changed"
    roles = {
        row["name"]: row["permissions"]
        for row in server.admin.get(f"/api/v1/apps/{app_id}/roles").json()
    }
    assert roles["guest"] == ["items.read"]
    assert "items.read.own" in roles["member"]


def test_a_link_is_not_followed(project: Author) -> None:
    (project.folder / "secret").symlink_to("/etc/passwd")
    assert project.refused("app", "deploy") == "secret is no plain file: replace it by one"


def test_outside_a_project_commands_say_so(author: Author) -> None:
    assert "there is no manifest.json here" in author.refused("app", "deploy")


def page(server: Server, app_id: str) -> str:
    """What a browser gets at the app's own host."""
    port = server.url.rpartition(":")[2]
    host = f"{app_id.replace('_', '-')}.localhost:{port}"
    return server.http.get("/", headers={"host": host}).text


@pytest.mark.slow
def test_a_frontend_is_sent_when_it_differs_and_comes_back(project: Author, server: Server) -> None:
    app_id = app_of(project)
    parts = {part["part"]: part for part in project.json("app", "deploy")["parts"]}
    assert parts["frontend"]["url"].endswith(f":{server.url.rpartition(':')[2]}/")
    first = page(server, app_id)
    assert 'src="app.js"' in first
    project.edit("frontend/index.html", "<main", "<p>second</p><main")
    assert project.json("app", "plan")["parts"]["frontend"]["changes"] == ["~ index.html"]
    parts = {part["part"]: part for part in project.json("app", "deploy")["parts"]}
    assert (parts["frontend"]["version"], parts["worker"]["state"]) == (2, "unchanged")
    assert "second" in page(server, app_id)
    done = project.json("app", "rollback")["done"]
    assert done == ["version 1 of the frontend is back"]
    assert page(server, app_id) == first
    project.ok("app", "rollback", "--frontend", "2")
    assert "second" in page(server, app_id)
    versions = project.json("app", "status")["frontend_versions"]
    assert [row["version"] for row in versions if row["current"]] == [2]


@pytest.mark.slow
def test_a_frontend_that_is_refused_undoes_worker_and_manifest(
    project: Author, server: Server
) -> None:
    app_id = app_of(project)
    project.ok("app", "deploy")
    before = server.admin.get(f"/api/v1/apps/{app_id}/manifest").json()
    project.edit("manifest.json", '"notes"', '"remarks"')
    project.edit("worker.py", '"items": total["total"]', '"all": total["total"]')
    (project.folder / "frontend/api").mkdir()
    (project.folder / "frontend/api/x.json").write_text("{}", "utf-8")
    refusal = project.run("app", "deploy").err
    assert "frontend: " in refusal
    assert "version 1 of the worker is in service again" in refusal
    assert "the former manifest is installed again" in refusal
    assert call(server, app_id, "summary") == {"items": 0, "open": 0}
    assert server.admin.get(f"/api/v1/apps/{app_id}/manifest").json() == before


@pytest.mark.slow
def test_a_server_without_frontends_is_named(author: Author, make_server: MakeServer) -> None:
    server = make_server({"plugins": {"frontends": {"enabled": False}}})
    author.ok("app", "new", "plain")
    project = author.inside("plain")
    project.variables["CAUDEX_URL"] = server.url
    project.variables["CAUDEX_TOKEN"] = server.admin.tokens["accessToken"]
    assert "frontends are off on this server" in project.ok("app", "plan").out
    assert states(project.json("app", "deploy"))["frontend"] == "off"


def log_of(project: Author, app_id: str) -> str:
    return project.run("app", "logs", "--app", app_id).out


@pytest.mark.slow
def test_an_interrupt_undoes_what_was_done(project: Author, server: Server) -> None:
    project.edit("worker.py", "worker.run()", "import time\n\ntime.sleep(20)\nworker.run()")
    path = f"/api/v1/apps/{app_of(project)}"
    process = subprocess.Popen(
        [sys.executable, "-m", "kernel", "app", "deploy"], cwd=project.folder,
        env=environment(project.variables), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    eventually(lambda: "deploying" in log_of(project, app_of(project)), 60)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    assert server.admin.get(path).status_code == 404
