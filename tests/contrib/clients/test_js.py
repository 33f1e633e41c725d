"""The JavaScript client in Node.js and bun, against a server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel.testing import Postgres, Server, running_server
from tests.plugins.workers.support import deploy

CLIENT = Path(__file__).parents[3] / "contrib" / "clients" / "js"
SCRIPT = Path(__file__).parent / "client.mjs"
MANIFEST = {
    "appId": "shop",
    "name": "Shop",
    "dataContract": [
        {
            "entityName": "deals",
            "fields": [
                {"name": "title", "type": "text", "required": True},
                {"name": "value", "type": "number"},
            ],
            "indexes": [{"columns": ["title"], "unique": True}],
        }
    ],
}
WORKER = """
from caudex_worker import Worker
worker = Worker()

@worker.rpc
def greet(params, ctx):
    return {"text": f"Hello, {params['name']}"}

@worker.job
def count(payload, ctx):
    if payload["count"] < 0:
        raise ValueError("too few")
    ctx.progress(0.5)
    worker.log.info(f"counted {payload['count']}")
    return payload["count"]

worker.run()
"""
RUNTIMES = [
    pytest.param(
        name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not here")
    )
    for name in ("node", "bun")
]


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Iterator[Server]:
    with running_server(postgres) as running:
        yield running


@pytest.fixture
def shop(server: Server) -> Server:
    server.install(MANIFEST)
    server.sql("truncate shop.deals")
    return server


@pytest.fixture(params=RUNTIMES)
def run(request: pytest.FixtureRequest, shop: Server) -> Any:
    """Run a case of the script, and return what it printed."""
    created = shop.admin.post("/api/v1/auth/keys", json={"name": "script"})
    options = {
        "url": shop.url,
        "username": shop.admin.username,
        "password": shop.admin.password,
        "key": created.json()["key"],
    }

    def run_case(name: str) -> Any:
        command = [request.param, str(SCRIPT), name, json.dumps(options)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    yield run_case
    shop.admin.delete(f"/api/v1/auth/keys/{created.json()['id']}").raise_for_status()


def test_records_are_written_read_and_paged(run: Any) -> None:
    got = run("records")
    request_id = got["gone"].pop("requestId")
    assert request_id
    assert got["gone"].pop("message").endswith("not found")
    assert got == {
        "changed": 2,
        "stale": 412,
        "upserted": ["updated", "created"],
        "pages": [["a", "b", "c"], ["d"]],
        "found": ["a", "c"],
        "total": 2,
        "gone": {"status": 404},
        "listed": [["id", "title"]],
    }


def test_records_come_and_go_as_files_and_batches(run: Any) -> None:
    assert run("exchange") == {"created": 1, "errors": ["value"], "exported": True, "value": 7}


def test_changes_are_followed_over_broken_connections(run: Any) -> None:
    assert run("feeds") == {
        "seen": [["page", ["first"]], ["enter", "second"], ["change", "first"], ["leave", None]],
        "named": [["rich", "rich"], [None, "later"]],
        "cut": True,
        "refused": 400,
    }


def test_a_list_is_read_again_once_the_next_stream_has_begun(run: Any) -> None:
    """Else a write between both would be in neither."""
    ready = ["ready", "p1", None]
    assert run("ends") == [
        "opened", ready, "opened", "opened", ["resync", "p2", "role"], ["ready", "p2", None],
        "opened", ready, "opened", "opened", ["page", "p2", None], ["ready", "p2", None],
    ]  # fmt: skip


def test_a_failure_has_the_servers_words(run: Any) -> None:
    got = run("refusals")
    assert got["unknown"] is None
    assert got["wrong"]["message"] == "invalid credentials"
    assert got["wrong"]["status"] == got["refused"] == 401
    assert got["away"] == {"status": 0, "message": "the server does not answer", "requestId": ""}


def test_a_script_uses_a_key(run: Any, shop: Server) -> None:
    assert run("keys") == {"username": shop.admin.username, "apps": ["shop"]}


def test_a_session_goes_on_after_a_reload_and_ends(run: Any, shop: Server) -> None:
    assert run("session") == {"resumed": shop.admin.username, "left": "", "after": None}


def test_only_what_has_one_effect_is_sent_again(run: Any, shop: Server) -> None:
    shop.admin.post("/api/v1/apps/shop/collections/deals", json={"title": "a"}).raise_for_status()
    got = run("repeats")
    assert got["read"] == {"requests": 3, "keys": 1, "hasKey": False, "error": {}}
    assert got["create"] == {"requests": 2, "keys": 1, "hasKey": True, "error": {}}
    assert got["update"]["requests"] == 1
    assert got["update"]["error"]["message"] == "the server does not answer"
    assert got["refused update"] == {"requests": 2, "keys": 1, "hasKey": False, "error": {}}
    assert got["made"] == 1


@pytest.mark.slow
def test_calls_jobs_and_logs_of_a_worker(run: Any, shop: Server) -> None:
    deploy(shop.admin, "shop", {"worker.py": WORKER}).raise_for_status()
    got = run("worker")
    assert got["greeting"] == {"text": "Hello, Ada"}
    assert got["unknown"] == 404
    assert got["result"] == 3
    assert got["failed"] == "too few"
    assert "counted 3" in got["lines"]


def test_the_types_name_every_method() -> None:
    types = (CLIENT / "index.d.ts").read_text()
    for path in CLIENT.glob("*.js"):
        for name in re.findall(r"^  (?:async )?\*?([a-z]\w+)\(", path.read_text(), re.MULTILINE):
            is_public = path.name in ("index.js", "apps.js", "records.js")
            if is_public and name != "constructor":
                assert re.search(rf"^  {name}[<(]", types, re.MULTILINE), f"{path.name}: {name}"
