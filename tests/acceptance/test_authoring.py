"""From an empty folder to an app that a second user works with, by the command line alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from kernel.testing import PASSWORD, MakeServer
from kernel.testing.servers import NO_TLS
from tests.kernel.processes import open_folder
from tests.plugins.authoring.support import Author
from tests.plugins.authoring.test_dev import Development, pids_of

pytestmark = pytest.mark.slow


def sign_in(url: str, username: str, password: str) -> httpx.Client:
    body = {"username": username, "password": password}
    with httpx.Client(base_url=url, verify=NO_TLS, timeout=60) as client:
        answer = client.post("/api/v1/auth/login", json=body)
        assert answer.is_success, answer.text
    headers = {"authorization": f"Bearer {answer.json()['accessToken']}"}
    return httpx.Client(base_url=url, verify=NO_TLS, timeout=60, headers=headers)


def use(url: str, admin: httpx.Client, app_id: str) -> Any:
    """A second user signs in, gets a role, and works with the app."""
    body = {"username": "bob", "password": PASSWORD}
    user = admin.post("/api/v1/auth/register", json=body).json()
    with sign_in(url, "bob", PASSWORD) as bob:
        records = f"/api/v1/apps/{app_id}/collections/items"
        assert bob.get(records).status_code == 403
        role = {"userId": user["user"]["id"] if "user" in user else user["id"], "role": "member"}
        assert admin.post(f"/api/v1/apps/{app_id}/roles/assign", json=role).is_success
        created = bob.post(records, json={"name": "Tea", "price": 3})
        assert created.status_code == 201, created.text
        call = {"method": "summary", "params": {}}
        return bob.post(f"/api/v1/apps/{app_id}/rpc", json=call).json()


def test_an_app_is_made_run_changed_and_shipped(make_server: MakeServer) -> None:
    with open_folder() as folder:
        author = Author(folder)
        author.ok("app", "new", "stock")
        project = author.inside("stock")
        development = Development(project, "--port", "0")
        try:
            server = development.wait(event="server")
            development.wait(event="watching")
            project.edit("manifest.json", '{ "name": "notes", "type": "text" }',
                         '{ "name": "price", "type": "number" }')  # fmt: skip
            development.wait(event="deployed", part="manifest", state="changed")
            with sign_in(server["url"], server["username"], server["password"]) as admin:
                assert use(server["url"], admin, "stock") == {"items": 1, "open": 1}
            status = project.json("app", "status", "--url", server["url"])
            assert status["worker"]["status"] == "running"
        finally:
            assert development.stop() == 130
        assert pids_of(folder) == []
        again(project, folder)

        target = make_server()
        words = ("login", "--url", target.url, "--username", "ada", "--register")
        project.ok(*words, typed=f"{PASSWORD}\n")
        parts = {part["part"]: part["state"] for part in project.json("app", "deploy")["parts"]}
        assert (parts["manifest"], parts["worker"]) == ("changed", "changed")
        with sign_in(target.url, "ada", PASSWORD) as admin:
            assert use(target.url, admin, "stock") == {"items": 1, "open": 1}


def again(project: Author, folder: Path) -> None:
    """A second start finds the data of the first, and has nothing to deploy."""
    development = Development(project, "--port", "0")
    try:
        server = development.wait(event="server")
        assert development.wait(event="deployed", part="worker")["state"] == "unchanged"
        with sign_in(server["url"], server["username"], server["password"]) as admin:
            records = admin.get("/api/v1/apps/stock/collections/items").json()
            assert [record["name"] for record in records] == ["Tea"]
    finally:
        assert development.stop() == 130
    assert pids_of(folder) == []
