"""The recipes for plugins are what runs here: all of them on one server."""

import hashlib
import hmac
import http.server
import importlib.util
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kernel.contracts.access import ACCESS, AppGrants, FactorDemands
from kernel.contracts.base import supports
from kernel.contracts.hookspecs import record_writing
from kernel.contracts.jobs import JOBS
from kernel.testing import Client, Postgres, Server, running_server
from tests.pages import ROOT, blocks, write_files
from tests.waiting import eventually

TEXT = (ROOT / "docs/howto/plugin-recipes.md").read_text("utf-8")
ORDERS = "/api/v1/apps/shop/collections/orders"
CUSTOMERS = "/api/v1/apps/shop/collections/customers"
SHOP: dict[str, Any] = {
    "appId": "shop",
    "name": "Shop",
    "dataContract": [
        {
            "entityName": "customers",
            "fields": [{"name": "name", "type": "text"}, {"name": "active", "type": "boolean"}],
        },
        {
            "entityName": "orders",
            "fields": [
                {
                    "name": "customer",
                    "type": "entity_link",
                    "references": {"entity": "customers", "field": "id"},
                },
                {"name": "state", "type": "text"},
                {"name": "total", "type": "number"},
                {"name": "branch", "type": "text"},
            ],
        },
    ],
}


class Receiver(http.server.BaseHTTPRequestHandler):
    """Another system: it is away for the first request of each id."""

    seen: list[tuple[dict[str, str], bytes]]

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers["content-length"]))
        first = all(one["webhook-id"] != headers["webhook-id"] for one, _ in self.seen)
        self.seen.append((headers, body))
        self.send_response(503 if first else 204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def receiver() -> Iterator[SimpleNamespace]:
    Receiver.seen = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield SimpleNamespace(url=f"http://127.0.0.1:{found.server_port}/", seen=Receiver.seen)
        found.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    write_files(TEXT, folder)
    return folder


@pytest.fixture(autouse=True)
def weekday(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no weekend, unless a test says so."""
    monkeypatch.setattr(server.services.get(ACCESS), "is_weekend", lambda: False)


@pytest.fixture(scope="module")
def server(postgres: Postgres, folder: Path, receiver: SimpleNamespace) -> Iterator[Server]:
    plugins = {
        "announcements": {"url": receiver.url},
        "kept": {"subjects": ["shop.customers"]},
        "workers": {"enabled": False},
    }
    config = {"plugins": plugins}
    with running_server(postgres, config, plugins=sorted(folder.glob("*.py"))) as found:
        found.install(SHOP)
        role = {"name": "clerk", "permissions": ["orders.*", "customers.*"]}
        found.admin.post("/api/v1/apps/shop/roles", json=role).raise_for_status()
        yield found


def clerk(server: Server, name: str, branch: str) -> Client:
    found = server.user(name, roles={"shop": ["clerk"]})
    path = f"/api/v1/branches/{found.id}"
    assert server.admin.put(path, json={"branch": branch}).json() == {"branch": branch}
    return found


def create(client: Client, path: str = ORDERS, **values: Any) -> dict[str, Any]:
    answer = client.post(path, json=values)
    assert answer.status_code == 201, answer.text
    return answer.json()


def plugin(server: Server, name: str) -> Any:
    return next(each for each in server.kernel.instances if each.name == name)


def test_every_recipe_is_a_plugin_of_the_page(server: Server, folder: Path) -> None:
    on = {info.name for info in server.kernel.plugins if info.state == "on"}
    written = {block.text.split()[1] for block in blocks(TEXT) if block.language == "python"}
    assert len(written) == 12
    assert {name.removesuffix(".py") for name in written} <= on


@pytest.mark.parametrize("page", ["plugin-recipes", "swap-a-subsystem", "write-a-plugin"])
def test_what_is_copied_from_a_page_suits_the_settings_of_a_new_plugin(
    page: str, tmp_path: Path
) -> None:
    """Those of `caudex plugin new`, with `caudex` as a package that is installed."""
    write_files((ROOT / f"docs/howto/{page}.md").read_text("utf-8"), tmp_path)
    shutil.copy(ROOT / "plugins/scaffold/template/pyproject.toml", tmp_path)
    for words in (("check",), ("format", "--check")):
        command = [sys.executable, "-m", "ruff", *words, "--no-cache", "."]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_comments_are_children_of_a_record(server: Server) -> None:
    order = create(server.admin, total=1, branch="north")
    path = f"{ORDERS}/{order['id']}/comments"
    answer = server.admin.post(path, json={"body": "by bike"})
    assert answer.status_code == 201
    assert [each["body"] for each in server.admin.get(path).json()] == ["by bike"]
    south = clerk(server, "sue", "south")
    assert south.get(path).status_code == 404
    assert server.user("stranger").get(path).status_code == 403
    assert server.admin.post(path, json={"body": ""}).status_code == 400
    server.admin.delete(f"{ORDERS}/{order['id']}").raise_for_status()
    assert server.sql("select count(*) from caudex_comments.comments") == [(0,)]


def test_an_order_needs_an_active_customer(server: Server) -> None:
    active = create(server.admin, CUSTOMERS, name="Ada", active=True)
    gone = create(server.admin, CUSTOMERS, name="Eve", active=False)
    order = create(server.admin, customer=active["id"])
    answer = server.admin.post(ORDERS, json={"customer": gone["id"]})
    said = "customer: this customer is not active"
    assert (answer.status_code, answer.json()) == (400, {"error": said})
    change = server.admin.patch(f"{ORDERS}/{order['id']}", json={"customer": gone["id"]})
    assert change.status_code == 400


def test_an_order_moves_along_the_arrows_only(server: Server) -> None:
    order = create(server.admin, total=1)
    path = f"{ORDERS}/{order['id']}"
    assert order["state"] == "open"
    answer = server.admin.patch(path, json={"state": "shipped"})
    said = "state: an order that is open cannot become shipped"
    assert (answer.status_code, answer.json()) == (400, {"error": said})
    for state in ("paid", "paid", "shipped"):
        assert server.admin.patch(path, json={"state": state}).json()["state"] == state
    assert server.admin.post(ORDERS, json={"state": "paid"}).status_code == 400


def test_records_of_entities_that_the_configuration_names_are_kept(server: Server) -> None:
    path = f"{CUSTOMERS}/{create(server.admin, CUSTOMERS, name='Ada')['id']}"
    answer = server.admin.delete(path)
    said = "shop.customers: its records are kept"
    assert (answer.status_code, answer.json()) == (403, {"error": said})
    assert "kept" not in [i.plugin for i in server.kernel.bus.listeners(record_writing, "shop.x")]


def test_records_of_entities_that_a_manifest_names_are_kept(server: Server) -> None:
    fields = [{"name": "text", "type": "text"}]
    contract = [{"entityName": name, "fields": fields} for name in ("notes", "drafts")]
    notes = {"appId": "notes", "name": "Notes", "kept": ["notes"], "dataContract": contract}
    server.install(notes)
    path = "/api/v1/apps/notes/collections"
    draft = create(server.admin, f"{path}/drafts", text="x")
    assert server.admin.delete(f"{path}/drafts/{draft['id']}").is_success
    note = create(server.admin, f"{path}/notes", text="x")
    answer = server.admin.delete(f"{path}/notes/{note['id']}")
    said = "notes.notes: its records are kept"
    assert (answer.status_code, answer.json()) == (403, {"error": said})
    assert [i.plugin for i in server.kernel.bus.listeners(record_writing, "notes.notes")] == [
        "kept"
    ]
    assert server.kernel.bus.listeners(record_writing, "notes.drafts") == []
    server.install({**notes, "kept": []})
    assert server.admin.delete(f"{path}/notes/{note['id']}").is_success


@pytest.mark.slow
def test_a_webhook_is_signed_and_repeated_until_it_arrives(
    server: Server, receiver: SimpleNamespace
) -> None:
    secret = {"key": "WEBHOOK_KEY", "value": "s3cret"}
    server.admin.post("/api/v1/apps/shop/secrets", json=secret).raise_for_status()
    order = create(server.admin, total=7)

    def arrived() -> list[tuple[dict[str, str], bytes]]:
        mine = [(h, b) for h, b in receiver.seen if json.loads(b)["record"]["id"] == order["id"]]
        return mine if len(mine) > 1 else []

    (first, body), (second, again) = eventually(arrived, 20)
    assert (first["webhook-id"], body) == (second["webhook-id"], again)
    assert second["webhook-signature"] == hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert json.loads(body)["operation"] == "INSERT"
    assert server.admin.post(ORDERS, json={"state": "paid", "total": 4242}).status_code == 400
    count = "select count(*) from caudex_jobs.jobs where payload->'record'->>'total' = '4242'"
    assert server.sql(count) == [(0,)]


def test_a_nightly_task_runs_in_one_process(server: Server, folder: Path) -> None:
    [task] = plugin(server, "nightly").tasks.info()
    assert task.name == "drop cancelled orders"
    eventually(
        lambda: server.sql("select holder from caudex_kernel.leases where name like 'nightly.%%'")
    )
    spec = importlib.util.spec_from_file_location("recipe_nightly", folder / "nightly.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    at = datetime(2026, 1, 1, 2, 30, tzinfo=UTC)
    assert module.seconds_until(3, at) == 1800
    assert module.seconds_until(3, at + timedelta(minutes=30)) == 86_400
    order = create(server.admin, total=1)
    server.admin.patch(f"{ORDERS}/{order['id']}", json={"state": "cancelled"}).raise_for_status()
    server.run(plugin(server, "nightly")._statements.execute, module.DROP)
    assert server.admin.get(f"{ORDERS}/{order['id']}").status_code == 200
    sooner = module.DROP.replace("90 days", "0 days")
    server.run(plugin(server, "nightly")._statements.execute, sooner)
    assert server.admin.get(f"{ORDERS}/{order['id']}").status_code == 404


def test_a_clerk_sees_and_writes_the_orders_of_the_own_branch(server: Server) -> None:
    north, west = clerk(server, "nora", "north-1"), clerk(server, "wes", "west-1")
    order = create(north, total=1)
    assert order["branch"] == "north-1"
    path = f"{ORDERS}/{order['id']}"
    assert [each["id"] for each in north.get(ORDERS).json()] == [order["id"]]
    assert west.get(ORDERS).json() == []
    assert west.patch(path, json={"total": 2}).status_code == 404
    assert north.patch(path, json={"branch": "west-1"}).status_code == 403
    assert north.post(ORDERS, json={"branch": "west-1"}).status_code == 403
    assert server.admin.get(path).status_code == 200
    assert server.admin.put(f"/api/v1/branches/{north.id}", json={"branch": "x"}).is_success
    eventually(lambda: north.get(ORDERS).json() == [])
    nowhere = server.user("noel", roles={"shop": ["clerk"]})
    assert nowhere.get(ORDERS).status_code == 403


def test_a_wrapped_engine_decides(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    access: Any = server.services.get(ACCESS)
    assert type(access).__name__ == "Weekends"
    assert supports(access, FactorDemands)
    assert supports(access, AppGrants)
    mia = clerk(server, "mia", "north-2")
    monkeypatch.setattr(access, "is_weekend", lambda: False)
    order = create(mia, total=1)
    monkeypatch.setattr(access, "is_weekend", lambda: True)
    path, said = f"{ORDERS}/{order['id']}", {"error": "records are not changed at weekends"}
    for answer in (
        mia.post(ORDERS, json={"total": 2}),
        mia.patch(path, json={"total": 2}),
        mia.delete(path),
        mia.post(f"{ORDERS}/bulk", json=[{"total": 2}]),
    ):
        assert (answer.status_code, answer.json()) == (403, said)
    assert mia.get(path).json()["total"] == 1
    assert server.admin.patch(path, json={"total": 3}).is_success
    [info] = [info for info in server.kernel.plugins if info.name == "weekends"]
    assert info.wraps == ("access",)


def test_other_services_are_called(server: Server) -> None:
    dear = create(server.admin, total=1_000_000)
    shown = server.admin.get("/api/v1/apps/shop/overview").json()
    assert (shown["hello"], shown["orders"][0]["id"]) == (server.admin.username, dear["id"])
    made = server.admin.post("/api/v1/apps/shop/report")
    assert made.status_code == 201
    assert server.admin.post("/api/v1/apps/shop/report").json() == made.json()
    job = json.loads(server.run(server.services.get(JOBS).get, "shop", made.json()["job"]))
    assert job["payload"] == {"type": "report", "for": server.admin.username}
    ona = clerk(server, "ona", "north")
    assert ona.post("/api/v1/apps/shop/report").status_code == 403
    assert ona.get("/api/v1/apps/shop/overview").json()["hello"] == "ona"
    assert server.user("out").get("/api/v1/apps/shop/overview").status_code == 403


def test_a_page_and_its_files_are_served(server: Server) -> None:
    page = server.http.get("/board/")
    assert "<title>Board</title>" in page.text
    assert page.headers["content-type"].startswith("text/html")
    script = server.http.get("/board/board.js")
    assert "board/count" in script.text
    tag = {"if-none-match": script.headers["etag"]}
    assert server.http.get("/board/board.js", headers=tag).status_code == 304
    assert server.http.get("/board/count").json() >= 0
    hello = server.http.get("/board/hello", params={"name": "<b>"})
    assert hello.text == "<!doctype html><h1>Hello &lt;b&gt;</h1>"
    assert server.http.get("/board/none.css").status_code == 404


def test_another_plugin_answers_a_hook(server: Server) -> None:
    ask = server.user("asks").get
    assert ask("/api/v1/shipping/2").json() == {"cents": 690}
    assert ask("/api/v1/shipping/31").json() == {"cents": None}
