"""Workers in JavaScript over a real server: three styles, under node and under bun."""

import json
import shutil
from collections.abc import Generator

import pytest

from kernel.testing import MakeServer, Postgres, Server, running_server
from tests.plugins.workers.support import (
    QUICK,
    bun,
    deploy,
    deployed,
    folder_of,
    grant,
    install,
    result,
    rpc,
    status,
)
from tests.waiting import eventually

RAW = """
import { createInterface } from "readline";

const write = (m) => process.stdout.write(JSON.stringify(m) + "\\n");
let appId = "", runtimeUrl = "";

createInterface({ input: process.stdin }).on("line", (line) => {
  let msg;
  try { msg = JSON.parse(line); } catch { return; }
  switch (msg.type) {
    case "discover":
      appId = msg.app_id; runtimeUrl = msg.runtime_url;
      write({ type: "discover", methods: ["whoami"] });
      break;
    case "rpc": handle(msg); break;
    case "shutdown": process.exit(0);
  }
});

async function handle(msg) {
  try {
    const result = await dispatch(msg.method, msg.params, msg.caller);
    write({ type: "rpc_response", id: msg.id, result });
  } catch (e) {
    write({ type: "rpc_response", id: msg.id, error: e.message });
  }
}

async function dispatch(method, params, caller) {
  if (method !== "whoami") throw new Error(`Unknown method: ${method}`);
  console.log("asked by", caller.username);
  const res = await fetch(`${runtimeUrl}/api/v1/auth/me`, {
    headers: { Authorization: `Bearer ${caller.authToken}` },
  });
  return { appId, me: await res.json() };
}
"""
FLAT = """
serve(
  {
    count: async (params, caller, ctx) => (await ctx.collection("contacts").find({})).length,
    add: (params, caller, ctx) => ctx.collection("contacts").insert(params),
    request: (params, caller, ctx) => ctx.requestId,
    bad: () => { throw new Error("so bad"); },
  },
  { onStart: (ctx) => log.info(`up ${ctx.appId}`), onJob: (payload) => payload },
);
"""
OBJECT = """
type Row = { id: string; name: string };
serve({
  rpc: {
    first: async (params: { name: string }, _caller: unknown, ctx: any): Promise<Row | null> =>
      ctx.collection("contacts").findOne({ name: params.name }),
    whoami: (_: any, caller: any) => caller,
  },
});
"""


@pytest.fixture(scope="module", params=["node", "bun"])
def server(request: pytest.FixtureRequest, postgres: Postgres) -> Generator[Server]:
    settings = {**QUICK, "rpc_timeout": 20}  # an engine loads much for its first call
    if request.param == "bun":
        if (program := bun()) is None:
            pytest.skip("no bun on this machine")
        settings["bun"] = program
    elif not shutil.which("node"):
        pytest.skip("no node on this machine")
    else:
        settings["bun"] = "/nonexistent/bun"
    with running_server(postgres, {"plugins": {"workers": settings}}) as running:
        running.engine = request.param  # type: ignore[attr-defined]
        yield running


def test_a_raw_reader_of_standard_input_runs_unchanged(server: Server):
    app = deployed(server, {"index.js": RAW})
    found = result(server.admin, app, "whoami")
    assert found["appId"] == app
    assert found["me"]["id"] == server.admin.id
    answer = rpc(server.admin, app, "other")
    assert (answer.status_code, answer.json()) == (404, {"error": "Unknown method: other"})
    assert server.engine in status(server.admin, app)["sandbox"]["program"]  # type: ignore[attr-defined]


def test_a_flat_object_with_hooks_runs_unchanged(server: Server):
    app, reader = deployed(server, {"main.js": FLAT}), server.user()
    grant(server, reader, app, "contacts.read")
    assert result(server.admin, app, "add", {"name": "Ann"})["name"] == "Ann"
    assert result(reader, app, "count") == 1
    refused = rpc(reader, app, "add", {"name": "Bob"})
    assert (refused.status_code, "contacts.create" in refused.json()["error"]) == (500, True)
    assert rpc(server.admin, app, "bad").json() == {"error": "so bad"}
    called = rpc(server.admin, app, "request")
    assert called.json() == called.headers["x-request-id"]


def test_one_object_in_typescript_under_src(server: Server):
    app = install(server)
    answer = deploy(server.admin, app, {"src/index.ts": OBJECT})
    if server.engine == "node":  # type: ignore[attr-defined]
        assert answer.status_code == 400
        assert "TypeScript needs bun" in answer.json()["error"]
        return
    assert answer.status_code == 200, answer.text
    assert result(server.admin, app, "first", {"name": "absent"}) is None
    assert result(server.admin, app, "whoami")["userId"] == server.admin.id


def test_compiled_code_may_be_beside_its_source(server: Server):
    files = {"src/index.ts": OBJECT, "main.ts": OBJECT, "src/main.js": FLAT}
    app = deployed(server, files)
    compiled = server.engine == "node"  # type: ignore[attr-defined]
    assert result(server.admin, app, "count" if compiled else "whoami") is not None


def test_packages_are_installed(server: Server):
    app = install(server)
    files = {
        "index.js": 'const hello = require("hello");\nserve({ greet: () => hello() });\n',
        "package.json": json.dumps({"dependencies": {"hello": "file:./vendor/hello"}}),
        "vendor/hello/package.json": json.dumps({"name": "hello", "version": "1.0.0"}),
        "vendor/hello/index.js": 'module.exports = () => "hi";\n',
    }
    if server.engine == "node" and not shutil.which("npm"):  # type: ignore[attr-defined]
        pytest.skip("no npm on this machine")
    answer = deploy(server.admin, app, files)
    assert answer.status_code == 200, answer.text
    assert result(server.admin, app, "greet") == "hi"
    code = folder_of(server.kernel.context.data_dir, app)
    [installed] = code.glob("1-*/node_modules/hello/index.js")
    assert installed.stat().st_nlink == 1, "the file is linked to another folder"


@pytest.mark.slow
def test_a_stale_lock_file_does_not_stop_a_deploy(server: Server):
    if server.engine == "node" and not shutil.which("npm"):  # type: ignore[attr-defined]
        pytest.skip("no npm on this machine")
    app = install(server)
    lock = {
        "name": "app", "version": "1.0.0", "lockfileVersion": 3,
        "packages": {"": {"name": "app", "version": "1.0.0"}},
    }  # fmt: skip
    files = {
        "index.js": 'const hello = require("hello");\nserve({ greet: () => hello() });\n',
        "package.json": json.dumps(
            {"name": "app", "version": "1.0.0", "dependencies": {"hello": "file:./vendor/hello"}}
        ),
        "package-lock.json": json.dumps(lock),
        "vendor/hello/package.json": json.dumps({"name": "hello", "version": "1.0.0"}),
        "vendor/hello/index.js": 'module.exports = () => "hi";\n',
    }
    answer = deploy(server.admin, app, files)
    assert answer.status_code == 200, answer.text
    assert result(server.admin, app, "greet") == "hi"
    if server.engine == "node":  # type: ignore[attr-defined]
        query = "select message from caudex_logs.lines where app_id = %s order by id"
        eventually(lambda: ("installing dependencies with npm install",) in server.sql(query, app))
        assert ("npm ci failed",) in server.sql(query, app)
        said = "package-lock.json did not fit package.json: versions were chosen again"
        eventually(lambda: (said,) in server.sql(query, app))


def test_a_syntax_error_is_reported(server: Server):
    answer = deploy(server.admin, install(server), {"index.js": "serve({ ping: ( => 1 });"})
    assert answer.status_code == 400
    assert "index.js" in answer.json()["error"]


def test_without_any_engine_the_deploy_says_so(make_server: MakeServer):
    settings = {**QUICK, "bun": "/nonexistent/bun", "node": "/nonexistent/node"}
    server = make_server({"plugins": {"workers": settings}})
    answer = deploy(server.admin, install(server), {"index.js": "serve({})"})
    assert answer.status_code == 400
    assert "neither bun nor node" in answer.json()["error"]
