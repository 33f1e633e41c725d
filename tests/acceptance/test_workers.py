"""Workers over HTTP: deploy, start, stop, status, rpc."""

import gzip
import io
import json
import os
import random
import shutil
import threading
import time
import tracemalloc
import zipfile

import httpx
import pytest

from kernel.testing import Client, Postgres, Server, running_server
from tests.plugins.workers.support import (
    PYTHON,
    QUICK,
    deploy,
    deployed,
    folder_of,
    grant,
    install,
    reaches,
    result,
    rpc,
    status,
    supervisor_of,
    tar,
    targz,
)
from tests.waiting import eventually

MISSING = "/api/v1/apps/nowhere"
ROUTES = [
    ("POST", "deploy"), ("POST", "worker/start"), ("POST", "worker/stop"),
    ("GET", "worker/status"), ("POST", "rpc"),
]  # fmt: skip


@pytest.fixture(scope="module")
def server(postgres: Postgres):
    """A server that waits for calls for longer than a busy machine makes them take."""
    patient = {**QUICK, "rpc_timeout": 60}
    with running_server(postgres, {"plugins": {"workers": patient}}) as running:
        yield running


@pytest.fixture
def hasty(postgres: Postgres):
    """A server that gives up calls after a moment."""
    with running_server(postgres, {"plugins": {"workers": dict(QUICK)}}) as running:
        yield running


@pytest.fixture(scope="module")
def app(server: Server) -> str:
    return deployed(server)


# Permissions


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_a_token_nothing_is_reported(server: Server, app: str, method: str, path: str):
    assert server.http.request(method, f"/api/v1/apps/{app}/{path}").status_code == 401


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_an_unknown_app_is_404(server: Server, method: str, path: str):
    answer = server.admin.request(method, f"{MISSING}/{path}")
    assert answer.status_code == 404
    assert "nowhere" in answer.json()["error"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_who_has_no_role_on_the_app_is_refused(server: Server, app: str, method: str, path: str):
    answer = server.user().request(method, f"/api/v1/apps/{app}/{path}")
    assert answer.status_code == 403


def test_any_role_may_call_and_ask_and_none_but_admins_may_deploy(server: Server, app: str):
    user = server.user()
    grant(server, user, app, "contacts.read")
    assert status(user, app)["status"] == "running"
    assert result(user, app, "echo", {"a": 1}) == {"a": 1}
    assert deploy(user, app, {"worker.py": PYTHON}).status_code == 403
    for action in ("start", "stop"):
        assert user.post(f"/api/v1/apps/{app}/worker/{action}").status_code == 403


# Status, start, stop


def test_an_app_without_a_worker_is_stopped(server: Server):
    app = install(server)
    found = status(server.admin, app)
    assert (found["app_id"], found["status"], found["replicas"]) == (app, "stopped", 0)


def test_what_was_never_deployed_cannot_be_started_but_stopped(server: Server):
    app = install(server)
    assert server.admin.post(f"/api/v1/apps/{app}/worker/start").status_code == 404
    assert server.admin.post(f"/api/v1/apps/{app}/worker/stop").status_code == 200
    answer = rpc(server.admin, app, "echo")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]


def test_a_worker_is_stopped_and_started(server: Server):
    app, admin = deployed(server), server.admin
    assert status(admin, app)["status"] == "running"
    first = result(admin, app, "pid")
    stopped = admin.post(f"/api/v1/apps/{app}/worker/stop")
    assert (stopped.status_code, stopped.json()) == (200, {"message": f"worker '{app}' stopped"})
    assert status(admin, app)["status"] == "stopped"
    assert not os.path.exists(f"/proc/{first}")
    assert rpc(admin, app, "pid").status_code == 503
    assert admin.post(f"/api/v1/apps/{app}/worker/stop").status_code == 200
    started = admin.post(f"/api/v1/apps/{app}/worker/start")
    assert (started.status_code, started.json()) == (200, {"message": f"worker '{app}' started"})
    second = result(admin, app, "pid")
    assert second != first
    assert admin.post(f"/api/v1/apps/{app}/worker/start").status_code == 200
    assert result(admin, app, "pid") == second, "a worker that runs is left alone"


def test_the_status_says_what_confines_the_worker(server: Server, app: str):
    found = status(server.admin, app)
    assert (found["replicas"], found["version"]) == (1, 1)
    assert found["sandbox"]["memory_mb"] == 2048
    assert "landlock" in found["sandbox"]
    system = server.admin.get("/api/v1/status").json()["workers"]
    assert system["state"] == "Online"
    assert system["running"] >= 1


# Deploy


def test_a_second_deploy_replaces_the_first(server: Server):
    app = deployed(server, "from caudex_worker import Worker\nw = Worker()\nw.run()\n")
    assert rpc(server.admin, app, "echo").status_code == 404
    assert deploy(server.admin, app, {"worker.py": PYTHON}).status_code == 200
    assert result(server.admin, app, "echo", [1]) == [1]
    assert status(server.admin, app)["version"] == 2


def test_a_version_that_does_not_come_up_is_rolled_back(server: Server):
    app = deployed(server)
    pid = result(server.admin, app, "pid")
    bad = "import sys\nprint('about to break', file=sys.stderr)\nraise SystemExit('broken thing')\n"
    answer = deploy(server.admin, app, {"worker.py": bad})
    assert answer.status_code == 400
    assert "broken thing" in answer.json()["error"]
    assert "about to break" in answer.json()["error"]
    assert result(server.admin, app, "pid") == pid
    assert status(server.admin, app)["status"] == "running"
    assert status(server.admin, app)["version"] == 1
    server.admin.post(f"/api/v1/apps/{app}/worker/stop")
    server.admin.post(f"/api/v1/apps/{app}/worker/start")
    assert result(server.admin, app, "echo", 1) == 1


def test_a_start_handler_that_raises_is_a_failed_start(server: Server):
    app = install(server)
    code = (
        "from caudex_worker import Worker\nworker = Worker()\n@worker.on_start\n"
        "async def start(ctx):\n    raise RuntimeError('no such database')\nworker.run()\n"
    )
    answer = deploy(server.admin, app, {"worker.py": code})
    assert answer.status_code == 400
    assert "no such database" in answer.json()["error"]
    assert status(server.admin, app)["status"] == "stopped"


@pytest.mark.slow
def test_a_worker_that_never_answers_is_given_up(server: Server, make_server):
    server = make_server({"plugins": {"workers": {**QUICK, "start_timeout": 4}}})
    app = install(server)
    code = "import time\nprint('thinking', flush=True)\ntime.sleep(60)\n"
    answer = deploy(server.admin, app, {"worker.py": code})
    assert answer.status_code == 400
    assert "4 s" in answer.json()["error"]
    assert "thinking" in answer.json()["error"]


def test_hostile_archives_are_refused_and_nothing_changes(server: Server, app: str):
    pid = result(server.admin, app, "pid")
    for data in (b"garbage", targz({"../worker.py": PYTHON}), targz({"worker.py": PYTHON})[:-30]):
        answer = deploy(server.admin, app, data)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]
    assert result(server.admin, app, "pid") == pid
    assert status(server.admin, app)["version"] == 1


def test_without_an_entry_file_nothing_is_replaced(server: Server, app: str):
    answer = deploy(server.admin, app, {"readme.md": "x", "lib/worker.py": "x"})
    assert answer.status_code == 400
    assert "worker.py" in answer.json()["error"]


def test_prefixes_and_files_of_macos_are_fine(server: Server):
    app = install(server)
    files = {"./worker.py": PYTHON, "./._worker.py": b"\x00\x05"}
    assert deploy(server.admin, app, files).status_code == 200


def test_the_first_file_will_do_where_no_field_is_called_archive(server: Server):
    app, url = install(server), "/api/v1/apps/{}/deploy"
    data = targz({"worker.py": PYTHON})
    form = [("note", (None, "hello")), ("file", ("a.tar.gz", data)), ("more", ("b", b"junk"))]
    assert server.admin.post(url.format(app), files=form).status_code == 200
    form = [("file", ("b", b"junk")), ("archive", ("a.tar.gz", data))]
    assert server.admin.post(url.format(app), files=form).status_code == 200


def test_forms_that_are_none_are_refused(server: Server, app: str):
    url, admin = f"/api/v1/apps/{app}/deploy", server.admin
    kind = {"content-type": "multipart/form-data; boundary=x"}
    broken = [
        admin.post(url, content=b"x", headers={"content-type": "application/gzip"}),
        admin.post(url, json={"archive": "x"}),
        admin.post(url),
        admin.post(url, content=b"", headers={"content-type": "multipart/form-data"}),
        admin.post(url, content=b"", headers=kind),
        admin.post(url, content=b"--y\r\n\r\n", headers=kind),
        admin.post(url, content=b"--x\r\nno header\r\n\r\nz\r\n--x--\r\n", headers=kind),
        admin.post(url, files={"note": (None, "only a field")}),
        admin.post(url, files=[(f"f{n}", ("x", b"x")) for n in range(5)]),
    ]
    cut = b'--x\r\nContent-Disposition: form-data; name="archive"; filename="a"\r\n\r\nabc'
    broken.append(admin.post(url, content=cut, headers=kind))
    long = (
        b'--x\r\nContent-Disposition: form-data; name="archive"; x="' + b"y" * 20_000 + b'"\r\n\r\n'
    )
    broken.append(admin.post(url, content=long, headers=kind))
    for answer in broken:
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]
    assert result(admin, app, "echo", 1) == 1


def test_an_archive_over_the_limit_is_413(server: Server, app: str):
    answer = deploy(server.admin, app, os.urandom(1024) * 49_000)
    assert answer.status_code == 413


def test_a_large_archive_is_never_in_memory(server: Server):
    app = install(server)
    # Twice what the rest of the process allocates meanwhile: 5 to 12 MB, however large it is.
    noise = random.Random(7).randbytes(24_000_000)
    archive = gzip.compress(tar({"worker.py": PYTHON, "data.bin": noise}), 0)

    def pieces():
        yield (b'--x\r\nContent-Disposition: form-data; name="archive"; filename="a"\r\n\r\n')
        for at in range(0, len(archive), 65_536):
            yield archive[at : at + 65_536]
        yield b"\r\n--x--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=x"}
    tracemalloc.start()
    try:
        answer = server.admin.post(f"/api/v1/apps/{app}/deploy", content=pieces(), headers=headers)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code == 200, answer.text
    assert peak < len(archive), "the archive was held in memory"
    [(parts, size)] = server.sql(
        "select count(*), sum(length(data)) from caudex_workers.chunks where app_id = %s", app
    )
    assert (parts, size) == (-(-len(archive) // 1_000_000), len(archive))


@pytest.mark.slow
def test_five_versions_are_kept(server: Server):
    app = deployed(server)
    for _ in range(6):
        assert deploy(server.admin, app, {"worker.py": PYTHON}).status_code == 200
    versions = server.sql(
        "select version from caudex_workers.versions where app_id = %s order by version", app
    )
    assert versions == [(3,), (4,), (5,), (6,), (7,)]
    folder = folder_of(server.kernel.context.data_dir, app)

    def kept() -> set[str]:
        return {path.name.split("-")[0] for path in folder.iterdir() if path.name[0].isdigit()}

    eventually(lambda: kept() == {"3", "4", "5", "6", "7"})


def test_deploys_and_starts_are_audited(server: Server):
    app = deployed(server)
    server.admin.post(f"/api/v1/apps/{app}/worker/stop")
    rows = server.admin.get("/api/v1/audit", params={"app_id": "core", "entity": "workers"}).json()
    mine = [row for row in rows if row["record_id"] == app]
    assert [row["operation"] for row in mine] == ["WORKER_STOPPED", "DEPLOYED"]
    assert mine[1]["new_record"]["version"] == 1
    assert len(mine[1]["new_record"]["sha256"]) == 64


@pytest.mark.slow
def test_calls_go_on_while_a_new_version_is_deployed(server: Server):
    app, admin, seen, done = deployed(server), server.admin, [], threading.Event()

    def call() -> None:
        with Client(base_url=server.url, headers=dict(admin.headers), timeout=30) as client:
            while not done.is_set():
                seen.append(rpc(client, app, "echo", 1).status_code)

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for _ in range(3):
        assert deploy(admin, app, {"worker.py": PYTHON}).status_code == 200
    done.set()
    for caller in callers:
        caller.join()
    assert len(seen) > 20
    assert set(seen) == {200}


@pytest.mark.slow
def test_a_call_that_runs_ends_on_the_old_version(server: Server):
    app, answers = deployed(server), []
    slow = threading.Thread(
        target=lambda: answers.append(rpc(server.admin, app, "sleep", {"seconds": 1.5}))
    )
    slow.start()
    is_called(server, app)
    other = "from caudex_worker import Worker\nw = Worker()\nw.run()\n"
    assert deploy(server.admin, app, {"worker.py": other}).status_code == 200
    slow.join()
    assert answers[0].json() == "slept"


def is_called(server: Server, app: str) -> None:
    """Wait until the worker has a call to answer."""
    replica = supervisor_of(server, app).replica
    assert replica is not None
    eventually(lambda: replica._calls._pending)


def test_removing_the_app_removes_everything(server: Server):
    app = deployed(server)
    pid = result(server.admin, app, "pid")
    folder = folder_of(server.kernel.context.data_dir, app)
    assert folder.is_dir()
    assert server.admin.delete(f"/api/v1/apps/{app}").status_code == 200
    eventually(lambda: not folder.exists() and not os.path.exists(f"/proc/{pid}"))
    assert status_code(server, app) == 404
    for table in ("apps", "versions", "chunks"):
        rows = server.sql(f"select * from caudex_workers.{table} where app_id = %s", app)
        assert rows == []
    eventually(
        lambda: not server.sql("select * from caudex_workers.replicas where app_id = %s", app)
    )


def test_an_app_of_the_same_name_starts_from_nothing(server: Server):
    app = deployed(server)
    result(server.admin, app, "write", {"path": "$HOME/left"})
    uid = result(server.admin, app, "facts")["uid"]
    assert server.admin.delete(f"/api/v1/apps/{app}").status_code == 200
    manifest = {"appId": app, "name": app, "dataContract": []}
    assert server.admin.post("/api/v1/apps", json=manifest).status_code == 200
    eventually(lambda: status(server.admin, app)["status"] == "stopped")
    assert deploy(server.admin, app, {"worker.py": PYTHON}).status_code == 200
    data_dir = server.kernel.context.data_dir  # the former folder may be there for a moment
    eventually(lambda: not list(folder_of(data_dir, app).glob("home/*")))
    if os.geteuid() == 0:
        assert result(server.admin, app, "facts")["uid"] != uid


def status_code(server: Server, app: str) -> int:
    return server.admin.get(f"/api/v1/apps/{app}/worker/status").status_code


# Dependencies


def wheel(name: str, code: str) -> bytes:
    made, info = io.BytesIO(), f"{name}-1.0.dist-info"
    with zipfile.ZipFile(made, "w") as file:
        file.writestr(f"{name}.py", code)
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    return made.getvalue()


DEPENDS = """
import greeting
from caudex_worker import Worker
worker = Worker()
@worker.rpc
def greet(params, ctx):
    return greeting.hello()
worker.run()
"""


@pytest.mark.slow
def test_requirements_go_into_an_environment_of_the_apps_own(server: Server):
    app = install(server)
    files = {
        "worker.py": DEPENDS,
        "requirements.txt": "# ours\n./vendor/greeting-1.0-py3-none-any.whl\n",
        "vendor/greeting-1.0-py3-none-any.whl": wheel("greeting", "def hello(): return 'hi'"),
    }
    answer = deploy(server.admin, app, files)
    assert answer.status_code == 200, answer.text
    assert result(server.admin, app, "greet") == "hi"
    other = install(server)
    assert deploy(server.admin, other, {"worker.py": DEPENDS}).status_code == 400


def test_requirements_that_cannot_be_met_are_400_with_the_tools_words(server: Server):
    app = install(server)
    files = {"worker.py": PYTHON, "requirements.txt": "./vendor/absent-1.0-py3-none-any.whl\n"}
    answer = deploy(server.admin, app, files)
    assert answer.status_code == 400
    assert "absent" in answer.json()["error"]
    assert status(server.admin, app)["status"] == "stopped"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("npm"), reason="no npm on this machine")
def test_packages_of_javascript_are_installed(server: Server):
    app = install(server)
    files = {
        "index.js": 'const hello = require("hello");\nserve({ greet: () => hello() });\n',
        "package.json": json.dumps({"dependencies": {"hello": "file:./vendor/hello"}}),
        "vendor/hello/package.json": json.dumps({"name": "hello", "version": "1.0.0"}),
        "vendor/hello/index.js": 'module.exports = () => "hi";\n',
    }
    answer = deploy(server.admin, app, files)
    assert answer.status_code == 200, answer.text
    assert result(server.admin, app, "greet") == "hi"


@pytest.mark.parametrize("text", ["{", "[]", '"x"'])
def test_a_package_json_that_is_none_is_400(server: Server, text: str):
    files = {"index.js": "serve({})", "package.json": text}
    answer = deploy(server.admin, install(server), files)
    assert answer.status_code == 400
    assert "package.json" in answer.json()["error"]


# RPC


def test_the_handlers_value_is_the_reply(server: Server, app: str):
    for value in ({"a": [1, 2.5, None, "é\u2028", True]}, [], "text", 7, None, False, {}):
        answer = rpc(server.admin, app, "echo", {"value": value})
        assert answer.json() == {"value": value}
        assert answer.headers["content-type"] == "application/json"


def test_params_are_an_empty_object_where_there_are_none(server: Server, app: str):
    assert result(server.admin, app, "echo") == {}


def test_the_handlers_error_is_reported(server: Server, app: str):
    answer = rpc(server.admin, app, "fail", {"say": "Failed to connect to SMTP server"})
    assert answer.status_code == 500
    assert answer.json() == {"error": "Failed to connect to SMTP server"}


def test_unknown_methods_are_404(server: Server, app: str):
    answer = rpc(server.admin, app, "nope")
    assert (answer.status_code, answer.json()) == (404, {"error": "unknown method: nope"})
    for method in ("__init__", "__class__", "__x"):
        assert rpc(server.admin, app, method).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b'"x"', b"{}", b'{"method": 7}', b'{"method": null}', b'{"method": ""}',
        b'{"params": {}}', b'{"method": "echo", "params": }', b'{"method": "echo\\u0000"}',
        b'{"method": "' + b"m" * 300 + b'"}', b'{"method": "echo", "params": ' + b"[" * 5000,
        b'{"method": "echo", "params": ' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"method": "echo", "params": "\xff"}', b'{"method": "echo", "params": NaN}',
    ],
)  # fmt: skip
def test_bodies_that_are_no_call_are_400(server: Server, app: str, body: bytes):
    kind = {"content-type": "application/json"}
    answer = server.admin.post(f"/api/v1/apps/{app}/rpc", content=body, headers=kind)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]


def test_params_have_a_limit(server: Server, app: str):
    params = {"text": "x" * 9_999_900}
    assert rpc(server.admin, app, "echo", params).json() == params
    body = b'{"method": "echo", "params": "' + b"x" * 10_000_000 + b'"}'
    kind = {"content-type": "application/json"}
    answer = server.admin.post(f"/api/v1/apps/{app}/rpc", content=body, headers=kind)
    assert answer.status_code == 413


def test_line_breaks_in_params_do_not_break_the_wire(server: Server, app: str):
    body = b'{"method": "echo",\r\n "params": {\n\r "a":\t[\r1,\n 2], "b": "x\\ny"}}\n'
    kind = {"content-type": "application/json"}
    answer = server.admin.post(f"/api/v1/apps/{app}/rpc", content=body, headers=kind)
    assert answer.json() == {"a": [1, 2], "b": "x\ny"}


@pytest.mark.slow
def test_a_handler_that_hangs_is_500_after_a_while(hasty: Server):
    app = deployed(hasty)
    started = time.monotonic()
    answer = rpc(hasty.admin, app, "sleep", {"seconds": 9})
    assert (answer.status_code, answer.json()) == (500, {"error": "rpc timeout (3s)"})
    assert time.monotonic() - started < 8
    assert result(hasty.admin, app, "echo", 1) == 1, "the others go on"


def test_calls_fail_at_once_when_the_worker_dies(server: Server):
    app, answers = deployed(server), []
    waiting = threading.Thread(
        target=lambda: answers.append(rpc(server.admin, app, "sleep", {"seconds": 60}))
    )
    waiting.start()
    is_called(server, app)
    assert rpc(server.admin, app, "die").status_code == 503
    waiting.join()
    assert answers[0].status_code == 503
    assert "retry-after" not in answers[0].headers  # a retry might repeat a finished call
    assert "exit status 3" in answers[0].json()["error"]
    reaches(server.admin, app, "running")
    assert result(server.admin, app, "echo", 1) == 1


def test_a_handler_knows_who_calls(server: Server, app: str):
    user = server.user()
    grant(server, user, app, "contacts.read")
    caller = result(user, app, "whoami")
    assert (caller["userId"], caller["username"]) == (user.id, user.username)
    me = server.http.get(
        "/api/v1/auth/me", headers={"authorization": f"Bearer {caller['authToken']}"}
    )
    assert me.json()["id"] == user.id


def test_a_caller_whose_role_is_gone_is_refused(server: Server, app: str):
    user = server.user()
    grant(server, user, app, "contacts.read")
    assert rpc(user, app, "echo").status_code == 200
    roles = f"/api/v1/apps/{app}/roles"
    mine = [a for a in server.admin.get(f"{roles}/assignments").json() if a["userId"] == user.id]
    body = {"userId": user.id, "role": mine[0]["role"]}
    assert server.admin.post(f"{roles}/revoke", json=body).status_code == 200
    eventually(lambda: rpc(user, app, "echo").status_code == 403)


# Records


def test_a_worker_acts_with_the_rights_of_its_caller(server: Server):
    app, reader, no_one = deployed(server), server.user(), server.user()
    grant(server, reader, app, "contacts.read")
    grant(server, no_one, app, "contacts.delete")
    made = result(
        server.admin, app, "op", {"entity": "contacts", "op": "insert", "data": {"name": "Ann"}}
    )
    assert made["name"] == "Ann"
    for method in ("op", "op_async"):
        find = {"entity": "contacts", "op": "find", "data": {"name": "Ann"}}
        assert result(reader, app, method, find) == [made]
        refused = rpc(no_one, app, method, find)
        assert refused.status_code == 500
        assert "contacts.read" in refused.json()["error"]
        insert = {"entity": "contacts", "op": "insert", "data": {"name": "Bob"}}
        assert rpc(reader, app, method, insert).status_code == 500
    owned = result(no_one, app, "op_own", {"entity": "contacts", "op": "find", "data": {}})
    assert owned == [made], "without a caller it is the app itself that acts"


def test_every_operation_answers_as_rest_does(server: Server, app: str):
    admin = server.admin

    def op(op: str, data):
        return result(admin, app, "op", {"entity": "contacts", "op": op, "data": data})

    made = op("insert", {"name": "Zoe", "age": 7})
    url = f"/api/v1/apps/{app}/collections/contacts/{made['id']}"
    assert admin.get(url).json() == made
    changed = op("update", {"id": made["id"], "age": 8})
    assert changed == {**made, "age": 8, "updated_at": changed["updated_at"]}
    assert op("find_one", {"name": "Zoe"}) == changed
    assert op("find_one", {"name": "absent"}) is None
    assert op("find", {"name": "absent"}) == []
    assert op("delete", {"id": made["id"]}) is None
    assert admin.get(url).status_code == 404


def test_operations_that_make_no_sense_are_errors_of_the_handler(server: Server, app: str):
    for entity, op, data in (
        ("nothing", "find", {}),
        ("contacts", "find", {"absent": 1}),
        ("contacts", "insert", {"absent": 1}),
        ("contacts", "insert", {"age": "many"}),
        ("contacts", "update", {"name": "x"}),
        ("contacts", "update", {"id": "no-uuid", "name": "x"}),
        ("contacts", "delete", {}),
    ):
        answer = rpc(server.admin, app, "op", {"entity": entity, "op": op, "data": data})
        assert answer.status_code == 500
        assert "unexpected" not in answer.json()["error"]


def test_what_a_worker_writes_is_audited_as_its_callers(server: Server, app: str):
    user = server.user()
    grant(server, user, app, "contacts.*")
    body = {
        "method": "op",
        "params": {"entity": "contacts", "op": "insert", "data": {"name": "seen"}},
    }
    made = user.post(f"/api/v1/apps/{app}/rpc", json=body, headers={"x-request-id": "by-hand-1"})
    rows = server.admin.get("/api/v1/audit", params={"record_id": made.json()["id"]}).json()
    assert (rows[0]["actor_id"], rows[0]["request_id"]) == (user.id, "by-hand-1")


# Secrets and logs


SECRETIVE = """
import os
from caudex_worker import Worker
worker = Worker()
@worker.rpc
def secrets(params, ctx):
    return [os.environ.get("API_KEY"), ctx.credentials, os.getpid()]
@worker.rpc
def leak(params, ctx):
    print("the key is", ctx.credentials["API_KEY"])
    raise ValueError("cannot use " + ctx.credentials["API_KEY"])
worker.run()
"""


def test_secrets_reach_the_worker_and_a_change_reaches_it_while_it_runs(server: Server):
    app, admin = install(server), server.admin
    url = f"/api/v1/apps/{app}/secrets"
    assert admin.post(url, json={"key": "API_KEY", "value": "first-value"}).status_code == 200
    assert deploy(admin, app, {"worker.py": SECRETIVE}).status_code == 200
    value, credentials, pid = result(admin, app, "secrets")
    assert (value, credentials["API_KEY"]) == ("first-value", "first-value")
    assert admin.post(url, json={"key": "API_KEY", "value": "second-value"}).status_code == 200
    eventually(lambda: result(admin, app, "secrets")[0] == "second-value", 20)
    assert result(admin, app, "secrets")[2] != pid


def test_secrets_are_masked_in_errors_and_logs(server: Server):
    app, admin = install(server), server.admin
    body = {"key": "API_KEY", "value": "very-secret-value"}
    assert admin.post(f"/api/v1/apps/{app}/secrets", json=body).status_code == 200
    assert deploy(admin, app, {"worker.py": SECRETIVE}).status_code == 200
    answer = rpc(admin, app, "leak")
    assert answer.status_code == 500
    assert answer.json()["error"].startswith("cannot use ")
    assert "very-secret-value" not in answer.text
    bad = "import os\nraise SystemExit('it is ' + os.environ['API_KEY'])"
    answer = deploy(admin, app, {"worker.py": bad})
    assert answer.status_code == 400
    assert "it is " in answer.json()["error"]
    assert "very-secret-value" not in answer.text
    lines = logged(server, app)
    assert any("the key is" in line["message"] for line in lines)
    assert not any("very-secret-value" in line["message"] for line in lines)


def logged(server: Server, app: str) -> list[dict]:
    """The lines of an app's log."""
    found: list[dict] = []
    url = f"/api/v1/apps/{app}/logs?tail=1000"
    with server.admin.stream("GET", url) as stream:
        try:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    found.append(json.loads(line[6:]))
                if line.startswith("data: ") and "ended" in found[-1]["message"]:
                    break
        except httpx.ReadTimeout:
            pass
    return found


def test_what_a_worker_says_is_in_its_log(server: Server):
    app = install(server)
    code = """
import sys
from caudex_worker import Worker
worker = Worker()
print("before it runs")
@worker.rpc
def speak(params, ctx):
    print("printed")
    print("on stderr", file=sys.stderr)
    ctx.log.warn("careful")
    ctx.emit("sold", {"price": 7})
    import os
    sys.stderr.flush()
    os._exit(5)
worker.run()
"""
    assert deploy(server.admin, app, {"worker.py": code}).status_code == 200
    rpc(server.admin, app, "speak")
    lines = logged(server, app)
    found = {(line["level"], line["message"]) for line in lines}
    assert {("stdout", "before it runs"), ("stdout", "printed"), ("stderr", "on stderr")} <= found
    assert ("warn", "careful") in found
    assert ("event", '{"name":"sold","data":{"price":7}}') in found
    system = [line["message"] for line in lines if line["level"] == "system"]
    assert "version 1 runs" in system
    assert "the worker ended (exit status 5)" in system


# Jobs


def test_a_job_is_done_by_the_worker(server: Server):
    app, user = install(server), server.user()
    code = """
from caudex_worker import Worker
worker = Worker()
@worker.job("send_report")
async def send(payload, ctx):
    ctx.progress(0.5)
    found = await ctx.collection("contacts").find({})
    return {"sent": True, "to": payload["to"], "by": ctx.username, "contacts": len(found)}
worker.run()
"""
    assert deploy(server.admin, app, {"worker.py": code}).status_code == 200
    grant(server, user, app, "contacts.read")
    body = {"payload": {"type": "send_report", "to": "x"}}
    made = user.post(f"/api/v1/apps/{app}/jobs", json=body)
    assert made.status_code == 201
    url = f"/api/v1/apps/{app}/jobs/{made.json()['job_id']}"
    done = eventually(lambda: job if (job := user.get(url).json())["status"] == "completed" else 0)
    expected = {"sent": True, "to": "x", "by": user.username, "contacts": 0}
    assert (done["result"], done["attempts"]) == (expected, 1)


@pytest.mark.slow
def test_a_secret_that_does_not_open_stops_the_start_and_is_named(server: Server):
    app = deployed(server)
    path = f"/api/v1/apps/{app}"
    server.admin.post(f"{path}/worker/stop").raise_for_status()
    secret = {"key": "SEALED_KEY", "value": "v"}
    server.admin.post(f"{path}/secrets", json=secret).raise_for_status()
    server.sql(
        "update caudex_vault.secrets set sealed = set_byte(sealed, 30, get_byte(sealed, 30) # 1)"
        " where app_id = %s",
        app,
    )
    answer = server.admin.post(f"{path}/worker/start")
    assert answer.status_code == 503
    assert "set them again: SEALED_KEY" in answer.text
    assert deploy(server.admin, app, {"worker.py": PYTHON}).status_code == 400
    server.admin.post(f"{path}/secrets", json=secret).raise_for_status()
    server.admin.post(f"{path}/worker/start").raise_for_status()
