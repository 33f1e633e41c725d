"""What workers declare of their handlers, for forms: bounded, and never a reason to refuse one."""

import json
import shutil

import pytest

from plugins.workers.child.protocol import Discovered, decode_message
from plugins.workers.replica.handlers import MAX_HANDLERS, MAX_SCHEMA, read_handlers
from tests.plugins.workers.support import deployed, rpc

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
PYTHON = """
from caudex_worker import Worker

worker = Worker()

PARAMS = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}

@worker.rpc(params=PARAMS)
def greet(params, ctx):
    \"\"\"Greet a person.

    With the name.
    \"\"\"
    return "hello " + params["name"]

@worker.rpc("other-name")
def other(params, ctx):
    return 1

@worker.job("report", params={"properties": {"month": {"type": "string"}}})
def report(payload, ctx):
    return payload

@worker.job
async def rest(payload, ctx):
    return None

worker.run()
"""
JAVASCRIPT = """
serve({
  rpc: { async greet(params) { return "hello " + params.name; } },
  async onJob(payload) { return payload; },
  describe: {
    rpc: {
      greet: { text: "Greet a person.", params: { properties: { name: { type: "string" } } } },
    },
    jobs: { report: { params: { properties: { month: { type: "string" } } } } },
  },
});
"""


def declared(server, app_id):
    answer = server.admin.get(f"/api/v1/apps/{app_id}/worker/handlers")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_python_worker_declares_names_texts_and_schemas(workers):
    app_id = deployed(workers, PYTHON)
    assert declared(workers, app_id) == {
        "running": True,
        "calls": [
            {"name": "greet", "text": "Greet a person.", "params": SCHEMA},
            {"name": "other-name", "text": "", "params": None},
        ],
        "jobs": [
            {"name": "", "text": "", "params": None},
            {"name": "report", "text": "", "params": {"properties": {"month": {"type": "string"}}}},
        ],
    }
    assert rpc(workers.admin, app_id, "greet", {"name": "Ada"}).json() == "hello Ada"
    assert rpc(workers.admin, app_id, "other-name").json() == 1
    stranger = workers.user()
    assert stranger.get(f"/api/v1/apps/{app_id}/worker/handlers").status_code == 403
    member = workers.user(roles={app_id: ["admin"]})
    assert member.get(f"/api/v1/apps/{app_id}/worker/handlers").status_code == 200
    workers.admin.post(f"/api/v1/apps/{app_id}/worker/stop").raise_for_status()
    assert declared(workers, app_id) == {"running": False, "calls": [], "jobs": []}
    assert workers.admin.get("/api/v1/apps/gone/worker/handlers").status_code == 404


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine")
def test_a_javascript_worker_declares_them(workers):
    app_id = deployed(workers, {"index.js": JAVASCRIPT})
    shown = declared(workers, app_id)
    assert [call["name"] for call in shown["calls"]] == ["greet"]
    assert shown["calls"][0]["text"] == "Greet a person."
    assert shown["calls"][0]["params"] == {"properties": {"name": {"type": "string"}}}
    assert [job["name"] for job in shown["jobs"]] == ["report"]


def test_code_that_reads_messages_by_itself_declares_its_methods():
    handlers = read_handlers(b"null", b'["b", "a"]')
    assert [call.name for call in handlers.calls] == ["b", "a"]
    assert handlers.jobs == []


@pytest.mark.parametrize(
    "text",
    [
        b"7",
        b'"x"',
        b'[{"kind": "rpc"}]',
        b'[{"kind": "other", "name": "x"}]',
        b'[{"kind": "rpc", "name": "x", "params": 7}]',
        b"[" * 5000 + b"]" * 5000,
    ],
)
def test_what_is_no_list_of_handlers_is_left_out(text):
    assert read_handlers(text, b"null").calls == []


def test_it_is_bounded():
    many = [{"kind": "rpc", "name": f"m{n}", "text": "x" * 9000} for n in range(MAX_HANDLERS + 50)]
    handlers = read_handlers(json.dumps(many).encode(), b"null")
    assert len(handlers.calls) == MAX_HANDLERS
    assert len(handlers.calls[0].text) == 500

    large = {"properties": {"x": {"description": "x" * MAX_SCHEMA}}}
    one = [{"kind": "rpc", "name": "a", "params": large}, {"kind": "rpc", "name": "x" * 201}]
    [call] = read_handlers(json.dumps(one).encode(), b"null").calls
    assert call.params is None

    medium = {"properties": {"x": {"description": "x" * (MAX_SCHEMA - 100)}}}
    rows = [{"kind": "job", "name": f"j{n}", "params": medium} for n in range(100)]
    jobs = read_handlers(json.dumps(rows).encode(), b"null").jobs
    assert sum(job.params is not None for job in jobs) == 12


def test_any_message_of_the_start_is_read():
    for more in ('"methods": 7', '"handlers": {"x": 1}', '"handlers": null', '"batches": 1'):
        message = decode_message(f'{{"type": "discover", {more}}}'.encode())
        assert isinstance(message, Discovered)
