"""The page about agents: its commands run in order, and its JSON is what it says."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from contrib.mcp.catalog.actions import list_actions
from kernel.testing import running_server
from tests.contrib.mcp.support import Agent
from tests.pages import ROOT, blocks

PAGE = (ROOT / "docs/howto/connect-an-agent.md").read_text("utf-8")
CONTACTS = {
    "appId": "crm",
    "name": "CRM",
    "dataContract": [
        {
            "entityName": "contacts",
            "fields": [{"name": "first_name", "type": "text"}, {"name": "email", "type": "text"}],
        }
    ],
}


@pytest.mark.slow
def test_the_commands_of_the_page_work_in_order(postgres) -> None:
    [toml] = [block.text for block in blocks(PAGE) if block.language == "toml"]
    assert "[plugins.mcp]" in toml
    with running_server(postgres, {"plugins": {"mcp": {}}}) as server:
        server.install(CONTACTS)
        create = {"op": "create", "entity": "contacts", "data": {"first_name": "Ada"}}
        Agent(server.admin, name="page").use("mutate_data", app="crm", operations=[create])
        token = server.admin.tokens["accessToken"]
        commands = [block.text for block in blocks(PAGE) if block.language == "sh"]
        script = "\necho --\n".join(commands)
        environment = {**os.environ, "url": server.url, "token": token}
        done = subprocess.run(
            ["bash", "-eu", "-c", script],
            env=environment, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        contacts = server.admin.get("/api/v1/apps/crm/collections/contacts").json()
    _, answer, trail, undone = done.stdout.split("--\n")
    text = json.loads(answer)["result"]["content"][0]["text"]
    assert [record["first_name"] for record in json.loads(text)["data"]] == ["Ada"]
    assert {"via": "mcp", "client": "page"}.items() <= json.loads(trail)[0].items()
    assert (json.loads(undone)["undone"], contacts) == (1, [])


def test_the_json_of_the_page_is_what_it_says() -> None:
    texts = [block.text for block in blocks(PAGE) if block.language == "json"]
    client, manifest = map(json.loads, texts)
    assert client["mcpServers"]["caudex"]["url"].endswith("/api/v1/mcp")
    [action] = list_actions(manifest["actions"])
    assert action["method"] == "sendWelcomeEmail"
