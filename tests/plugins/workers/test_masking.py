"""Secrets in what a worker says, where others read it: errors, replies of deploys, events."""

import json
import time

import msgspec
import pytest

from kernel.hooks.implementation import HookImplementation
from kernel.public import LOGS, WORKERS, HandlerFailed
from kernel.testing import Server
from plugins.workers.child.protocol import MAX_LINE
from plugins.workers.replica.masking import Mask, mask_json, mask_text
from tests.plugins.workers.support import deploy, install, rpc
from tests.waiting import eventually

KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASC\n-----END KEY-----\n"
SECRETS = {"PEM": KEY, "PIN": "7q", "LONG": "a-token-of-many-letters", "ODD": 'pass"wo\\rd/é'}
WORKER = """
import json, os
from caudex_worker import Worker
worker = Worker()
SAID = {
    "line": lambda: "no key: " + os.environ["PEM"].splitlines()[1],
    "short": lambda: "no pin: " + os.environ["PIN"],
    "odd": lambda: "no password: " + os.environ["ODD"],
}
@worker.rpc
def fail(params, ctx):
    raise ValueError(SAID[params]())
@worker.job
def job(payload, ctx):
    raise ValueError(SAID[payload]())
@worker.rpc
def report(params, ctx):
    ctx.emit("used " + os.environ["ODD"], {"by": [os.environ["ODD"]], os.environ["ODD"]: 1.50})
    said = {"type": "log", "message": {"why": [os.environ["ODD"]]}}
    os.write(worker._wire._out, json.dumps(said).encode() + b"\\n")
worker.run()
"""


@pytest.fixture(scope="module")
def app(workers: Server) -> str:
    app = with_secrets(workers)
    assert deploy(workers.admin, app, {"worker.py": WORKER}).status_code == 200
    return app


def with_secrets(server: Server) -> str:
    app = install(server)
    for key, value in SECRETS.items():
        body = {"key": key, "value": value}
        answer = server.admin.post(f"/api/v1/apps/{app}/secrets", json=body)
        assert answer.status_code == 200, answer.text
    return app


@pytest.mark.parametrize(
    ("what", "said"),
    [("line", "no key: [secret]"), ("short", "no pin: [secret]"), ("odd", "no password: [secret]")],
)
def test_errors_of_calls_and_jobs_hide_them(workers: Server, app: str, what: str, said: str):
    answer = rpc(workers.admin, app, "fail", what)
    assert (answer.status_code, answer.json()) == (500, {"error": said})

    async def progress(value: bytes) -> None: ...

    service = workers.services.get(WORKERS)
    with pytest.raises(HandlerFailed) as failed:
        workers.run(service.run_job, app, f"job-{what}", f'"{what}"'.encode(), None, progress)
    assert failed.value.message == said


def test_an_error_that_is_an_object_hides_them_before_it_becomes_a_text(workers: Server):
    app = with_secrets(workers)
    raw = """
import json, os, sys
for line in sys.stdin:
    m = json.loads(line)
    if m["type"] == "discover":
        print(json.dumps({"type": "discover"}), flush=True)
    elif m["type"] == "rpc":
        error = {"code": 7, "why": [os.environ["ODD"]]}
        print(json.dumps({"type": "rpc_response", "id": m["id"], "error": error}), flush=True)
    else:
        break
"""
    assert deploy(workers.admin, app, {"worker.py": raw}).status_code == 200
    answer = rpc(workers.admin, app, "any")
    assert json.loads(answer.json()["error"]) == {"code": 7, "why": ["[secret]"]}


@pytest.mark.parametrize("before", [0, 390, 398])
def test_the_reply_of_a_deploy_hides_them_before_it_is_cut(workers: Server, before: int):
    app = with_secrets(workers)
    code = f"""
import os, sys
print("." * {before} + os.environ["LONG"] + "." * 50)
print(os.environ["PEM"].splitlines()[2], os.environ["PIN"], file=sys.stderr)
raise SystemExit(3)
"""
    answer = deploy(workers.admin, app, {"worker.py": code})
    assert answer.status_code == 400
    lines = answer.json()["error"].splitlines()
    assert "[secret] [secret]" in lines
    [dots] = [line for line in lines if line.count(".") > 10]
    assert dots == ("." * before + "[secret]" + "." * 50)[:400]


def test_events_and_objects_in_the_log_hide_what_json_writes_in_another_way(
    workers: Server, app: str
):
    assert rpc(workers.admin, app, "report").status_code == 200
    logs = workers.services.get(LOGS)

    def lines() -> list[str]:
        found = workers.run(logs.tail, app, 100)
        return [line.message for line in found if line.level in ("event", "info")]

    [event, said] = eventually(lambda: len(found := lines()) == 2 and found)
    assert json.loads(event) == {
        "name": "used [secret]",
        "data": {"by": ["[secret]"], "[secret]": 1.5},
    }
    assert json.loads(said) == {"why": ["[secret]"]}


def test_the_values_that_any_plugin_gives_are_hidden_in_the_log(workers: Server):
    async def give(app_id: str) -> dict[str, str]:
        return {"TICKET": "a-ticket-of-a-plugin"}

    implementations = workers.kernel.bus.implementations("worker_environment")
    giving = HookImplementation("giving", give, ["app_id"])
    implementations.append(giving)
    try:
        app = install(workers)
        code = f"import os\nprint('has ' + os.environ['TICKET'])\n{REPEATS}"
        assert deploy(workers.admin, app, {"worker.py": code}).status_code == 200
    finally:
        implementations.remove(giving)
    logs = workers.services.get(LOGS)

    def lines() -> list[str]:
        return [line.message for line in workers.run(logs.tail, app, 100)]

    eventually(lambda: "has [secret]" in lines())


def test_a_replaced_value_is_hidden_in_the_last_line_of_the_old_process(workers: Server):
    app, admin = install(workers), workers.admin
    url = f"/api/v1/apps/{app}/secrets"
    assert admin.post(url, json={"key": "KEY", "value": "the-old-value"}).status_code == 200
    raw = """
import json, os, sys
for line in sys.stdin:
    if json.loads(line)["type"] != "discover":
        break
    print(json.dumps({"type": "discover"}), flush=True)
print("ends with " + os.environ["KEY"])
"""
    assert deploy(admin, app, {"worker.py": raw}).status_code == 200
    assert admin.post(url, json={"key": "KEY", "value": "the-new-value"}).status_code == 200
    logs = workers.services.get(LOGS)

    def last() -> list[str]:
        found = workers.run(logs.tail, app, 100)
        return [line.message for line in found if line.message.startswith("ends with")]

    assert eventually(last) == ["ends with [secret]"]


VALUE = "a-value-that-becomes-a-secret"
REPEATS = """
from caudex_worker import Worker
worker = Worker()
@worker.on_start
def start(): print("begins with VALUE")
@worker.rpc
def repeat(params, ctx):
    ctx.log.info("said " + params)
    ctx.emit("said", {"text": "\\n" + params})
    return params
@worker.rpc
def fail(params, ctx): raise ValueError("not " + params)
@worker.job
def job(payload, ctx):
    ctx.progress("at " + payload)
    raise ValueError("not " + payload)
worker.run()
""".replace("VALUE", VALUE)


def test_texts_are_searched_only_once_a_secret_exists(
    workers: Server, monkeypatch: pytest.MonkeyPatch
):
    searched: list[str] = []
    hide = Mask.hide

    def counted(mask: Mask, text: str) -> str:
        searched.append(text)
        return hide(mask, text)

    monkeypatch.setattr(Mask, "hide", counted)
    app = install(workers)
    assert deploy(workers.admin, app, {"worker.py": REPEATS}).status_code == 200
    logs, service = workers.services.get(LOGS), workers.services.get(WORKERS)

    async def progress(value: bytes) -> None: ...

    def say(text: str) -> tuple[object, object, str]:
        result, error = (rpc(workers.admin, app, name, text).json() for name in ("repeat", "fail"))
        with pytest.raises(HandlerFailed) as failed:
            workers.run(
                service.run_job, app, f"job {text[:5]}", f'"{text}"'.encode(), None, progress
            )
        return result, error, failed.value.message

    def lines(mark: str) -> list[str]:
        found = workers.run(logs.tail, app, 100)
        return [line.message for line in found if mark in line.message and "said" in line.message]

    text = f"first {VALUE}"
    assert say(text) == (text, {"error": f"not {text}"}, f"not {text}")
    first = eventually(lambda: len(found := lines("first")) == 2 and found)
    assert all(VALUE in line for line in first)
    assert not [each for each in searched if VALUE in each]

    secret = {"key": "LATE", "value": VALUE}
    assert workers.admin.post(f"/api/v1/apps/{app}/secrets", json=secret).status_code == 200
    hidden = {"error": "not [secret]"}
    eventually(lambda: rpc(workers.admin, app, "fail", VALUE).json() == hidden)
    text, hidden = f"later {VALUE}", "not later [secret]"
    assert say(text) == (text, {"error": hidden}, hidden)  # results are the app's own
    later = eventually(lambda: len(found := lines("later")) == 2 and found)
    assert not any(VALUE in line for line in later)


def within(mask: Mask, raw: bytes) -> bytes:
    return bytes(mask_json(msgspec.Raw(raw), mask))


@pytest.mark.parametrize(
    "texts",
    [["\n", *["x"] * 150_000], ["\n", *[{"x": ["y"]}] * 40_000], ["\n" * 150_000]],
    ids=["many", "deep", "long"],
)
def test_neither_many_secrets_nor_many_texts_make_it_slow(texts: list[object]):
    mask = Mask([f"secret number {number}" for number in range(5000)])
    raw = json.dumps(texts).encode()
    began = time.thread_time()
    assert within(mask, raw) == raw
    assert time.thread_time() - began < 10  # 0.4 at most here; a search by pairs takes minutes


def test_the_texts_of_a_message_are_searched_in_the_time_of_one():
    """A worker may say hundreds of such messages at once."""
    mask = Mask(["\n".join(f"line {number}" for number in range(4900))])
    raw = json.dumps(["\n", *[""] * 400]).encode()
    within(mask, raw)
    began = time.thread_time()
    for _ in range(10):
        within(mask, raw)
    assert time.thread_time() - began < 0.5  # one text after the other: 2


def test_texts_side_by_side_are_none_together():
    mask = Mask(["a secret", "7q"])
    raw = json.dumps({"a": [" secret", "7", "q", "", "\n", "x a secret", {"7q": 7, "7q7": ""}]})
    assert json.loads(within(mask, raw.encode())) == {
        "a": [" secret", "7", "q", "", "\n", "x [secret]", {"[secret]": 7, "7q7": ""}]
    }


def test_an_error_is_not_searched_without_an_end():
    text = "a secret and " + "x" * 10 * MAX_LINE
    assert mask_text(text, Mask(["a secret"])) == "over 1 MB"
    assert mask_text(text, Mask([])) == text
    assert mask_text(text[:MAX_LINE], Mask(["a secret"])).startswith("[secret] and x")


def test_only_what_is_written_in_another_way_is_written_again():
    mask = Mask(['a"secret'])
    escaped = b'{"a": 1.50, "b": "a\\"secret"}'
    assert within(mask, escaped) == b'{"a":1.5,"b":"[secret]"}'
    for other in (
        b'{"a": 1.50, "b": "another\\n" }',
        b'{"a": 1.50, "b": "without" }',
        b'"a\\"secret"',
        b'{"b": "a\\"secret", "a": 1e999}',
        b"[" * 5000 + b'"a\\"secret"' + b"]" * 5000,
    ):
        assert within(mask, other) == other
    assert within(Mask([]), escaped) == escaped
    assert within(mask, escaped[:-1] + b" " * MAX_LINE + b"}") == b'"over 1 MB"'
