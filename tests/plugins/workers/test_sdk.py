"""The Python SDK and the JavaScript prelude, each in a process of its own, without a server."""

import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, Queue

import pytest

from plugins.data.exchange.worker_operations import KINDS
from plugins.workers.releases.folders import SDK
from tests.plugins.workers.support import bun

HELLO = {
    "type": "discover", "app_id": "crm", "runtime_url": "http://x", "credentials": {"KEY": "v"},
}  # fmt: skip
CALLER = {"userId": "u1", "username": "ann", "email": None, "authToken": "t"}
INTERPRETERS = [
    path for path in (sys.executable, "/usr/bin/python3") if path and Path(path).exists()
]


class Talk:
    """A worker that is spoken to by hand."""

    def __init__(self, command: list[str], folder: Path):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=folder, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(SDK)},
        )  # fmt: skip
        self._lines: Queue[bytes] = Queue()
        self.stderr: list[bytes] = []
        readers = (self._read, self._read_errors)
        self._readers = [threading.Thread(target=reader, daemon=True) for reader in readers]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self._lines.put(line)

    def _read_errors(self) -> None:
        self.stderr += self.process.stderr or ()

    def say(self, **message) -> None:
        self.say_at_once(message)

    def say_at_once(self, *messages: dict) -> None:
        """Send messages in one piece."""
        assert self.process.stdin
        self.process.stdin.write(b"".join(json.dumps(one).encode() + b"\n" for one in messages))
        self.process.stdin.flush()

    def hear(self, kind: str | None = None) -> dict:
        """The next message, or the next of a kind."""
        while True:
            message = json.loads(self._lines.get(timeout=10))
            if kind is None or message["type"] == kind:
                return message

    def silent(self) -> bool:
        try:
            self._lines.get(timeout=0.2)
        except Empty:
            return True
        return False

    def rest(self) -> list[dict]:
        """What else it said, once it has ended."""
        self.join()
        return [json.loads(self._lines.get_nowait()) for _ in range(self._lines.qsize())]

    def end(self) -> int:
        assert self.process.stdin
        self.process.stdin.close()
        return self.process.wait(10)

    def join(self) -> None:
        """Wait until all that it wrote before its end is read."""
        for reader in self._readers:
            reader.join(60)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.join()  # a pipe must not be closed while a thread reads it
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe
            pipe.close()


@pytest.fixture
def python(tmp_path: Path):
    talks: list[Talk] = []

    def start(code: str, interpreter: str = sys.executable, hello: bool = True) -> Talk:
        head = "from caudex_worker import Worker\nworker = Worker()\n"
        (tmp_path / "worker.py").write_text(f"{head}{code}\nworker.run()\n")
        talks.append(Talk([interpreter, "worker.py"], tmp_path))
        if hello:
            talks[0].say(**HELLO)
        return talks[0]

    yield start
    for talk in talks:
        talk.close()


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_calls_are_answered_by_plain_and_async_handlers(python, interpreter: str):
    talk = python(
        """
@worker.rpc
def plain(params, ctx): return {"got": params, "who": ctx.username, "app": ctx.app_id}
@worker.rpc
async def later(params, ctx): return [ctx.user_id, ctx.credentials["KEY"], ctx.runtime_url]
@worker.rpc("a name")
def named(params, ctx): return ctx.request_id if params else None
@worker.job
def job(payload, ctx): return ctx.request_id
""",
        interpreter,
    )
    ready = talk.hear()
    names = [(handler["kind"], handler["name"]) for handler in ready.pop("handlers")]
    assert names == [("rpc", "a name"), ("rpc", "later"), ("rpc", "plain"), ("job", "")]
    assert ready == {
        "type": "discover", "methods": ["a name", "later", "plain"], "batches": True
    }  # fmt: skip
    talk.say(type="rpc", id="r1", method="plain", params={"a": 1}, caller=CALLER)
    assert talk.hear()["result"] == {"got": {"a": 1}, "who": "ann", "app": "crm"}
    talk.say(type="rpc", id="r2", method="later", params={}, caller=CALLER)
    assert talk.hear() == {"type": "rpc_response", "id": "r2", "result": ["u1", "v", "http://x"]}
    talk.say(type="rpc", id="r3", method="a name", params={}, caller=CALLER)
    assert talk.hear()["result"] is None
    talk.say(type="rpc", id="r5", method="a name", params=1, caller=CALLER, request_id="q")
    assert talk.hear()["result"] == "q"
    talk.say(type="job", id="j1", payload=1)
    assert talk.hear()["result"] == "j1"
    talk.say(type="rpc", id="r4", method="absent", params={}, caller=CALLER)
    assert talk.hear()["error"] == "unknown method: absent"
    assert talk.end() == 0


def test_outcomes_of_one_moment_come_in_one_piece_behind_what_was_said_before(python):
    talk = python(
        """
import asyncio, os
pieces, write = [], os.write
os.write = lambda fd, data: pieces.append(bytes(data)) or write(fd, data)
both = asyncio.Event()
@worker.rpc
async def meet(params, ctx):
    if params["last"]:
        both.set()
    await both.wait()
    worker.log.info("met")
    return params
@worker.rpc
async def alone(params, ctx): return [piece.decode() for piece in pieces]
"""
    )
    assert talk.hear("discover")
    for name, last in (("r1", False), ("r2", True)):
        talk.say(type="rpc", id=name, method="meet", params={"last": last}, caller=CALLER)
    heard = [talk.hear()["type"] for _ in range(4)]
    assert heard.index("log") == 0
    assert heard.count("rpc_response") == 2
    talk.say(type="rpc", id="r3", method="alone", caller=CALLER)
    pieces = talk.hear("rpc_response")["result"]
    assert "".join(pieces).count("rpc_response") == 2
    assert len(pieces) < 5  # discover, and fewer than the two outcomes and two lines of the log


NEIGHBOURS = {f"j{n}": n for n in range(9)}
DEATHS = [
    "os._exit(7)", "sys.exit(7)", "os.kill(os.getpid(), signal.SIGKILL)", "ctypes.string_at(0)"
]  # fmt: skip


def outcomes_beside_a_killer(talk: Talk, *, batch: bool = False) -> dict[str, object]:
    """Send jobs together with one that ends the process; returns the results of the others."""
    assert talk.hear("discover")
    payloads = {**{name: {"n": n} for name, n in NEIGHBOURS.items()}, "killer": {"die": True}}
    jobs = [{"id": name, "payload": one, "caller": None} for name, one in payloads.items()]
    if batch:
        talk.say(type="jobs", jobs=jobs)
    else:
        talk.say_at_once(*({"type": "job", **one} for one in jobs))
    talk.process.wait(10)
    heard = [talk.hear("job_result") for _ in NEIGHBOURS]
    return {message["id"]: message["result"] for message in heard}


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("death", DEATHS)
def test_a_handler_that_ends_the_process_loses_no_outcome_of_its_neighbours(
    python, death: str, batch: bool
):
    talk = python(
        f"""
import ctypes, os, signal, sys
@worker.job
async def work(payload, ctx):
    if "die" in payload: {death}
    return payload["n"]
"""
    )
    assert outcomes_beside_a_killer(talk, batch=batch) == NEIGHBOURS


EXITS = {
    "async": "async def die(payload, ctx): sys.exit(7)",
    "thread": "def die(payload, ctx): sys.exit(7)",
    "task": "async def die(payload, ctx): await asyncio.create_task(leave())",
    "lone task": "async def die(payload, ctx): asyncio.create_task(leave()); await forever()",
    "callback": "async def die(payload, ctx): worker.loop.call_soon(sys.exit, 7); await forever()",
    "loop held up": """
def die(payload, ctx):
    worker.loop.call_soon_threadsafe(time.sleep, 60)
    time.sleep(0.5)
    sys.exit(7)""",
}


@pytest.mark.parametrize("how", EXITS)
def test_a_handler_that_exits_ends_the_worker_at_once_and_says_nothing_of_its_neighbours(
    python, how: str
):
    """Any caller that waits for them hears that the worker is gone, not that they failed."""
    talk = python(
        f"""
import asyncio, sys, time
async def leave(): sys.exit(7)
async def forever(): await asyncio.get_running_loop().create_future()
@worker.job("thread")
def thread(payload, ctx):
    ctx.progress("begun")
    time.sleep(60)
@worker.job("async")
async def waits(payload, ctx):
    ctx.progress("begun")
    await forever()
@worker.rpc
async def call(params, ctx): await forever()
@worker.job("die")
{EXITS[how].strip()}
"""
    )
    talk.hear("discover")
    talk.say(type="rpc", id="call", method="call", params={}, caller=CALLER)
    for kind in ("thread", "async"):
        talk.say(type="job", id=kind, payload={"type": kind}, caller=None)
        assert talk.hear() == {"type": "job_progress", "id": kind, "value": "begun"}
    talk.say(type="job", id="killer", payload={"type": "die"}, caller=None)
    assert talk.process.wait(20) == 7
    assert talk.rest() == []
    assert b"SystemExit: 7" in b"".join(talk.stderr)


@pytest.mark.parametrize("define", ["def", "async def"])
@pytest.mark.parametrize(
    ("argument", "status"), [("", 0), ("0", 0), ("3", 3), ("261", 5), ("'gone bad'", 1)]
)
def test_the_status_of_an_exit_is_that_of_the_interpreter(
    python, define: str, argument: str, status: int
):
    talk = python(f"import sys\n@worker.on_start\n{define} first(): sys.exit({argument})")
    assert talk.process.wait(20) == status
    assert talk.rest() == []
    assert b"SystemExit" in b"".join(talk.stderr)


def test_an_exit_is_an_orderly_way_to_end_the_shutdown(python):
    talk = python("import sys\n@worker.on_shutdown\ndef last(): sys.exit(0)")
    talk.hear("discover")
    talk.say(type="shutdown")
    assert talk.process.wait(20) == 0
    assert talk.rest() == []
    assert talk.stderr == []


def test_whatever_else_a_handler_raises_is_an_error_of_its_own(python):
    talk = python(
        """
class Odd(BaseException): pass
@worker.job("thread")
def thread(payload, ctx): raise Odd("so odd")
@worker.job("async")
async def waits(payload, ctx): raise Odd("so odd")
@worker.job("next")
def first(payload, ctx): return next(iter([]))
"""
    )
    talk.hear("discover")
    expected = {"thread": "so odd", "async": "so odd", "next": "handler raised StopIteration"}
    for kind, error in expected.items():
        talk.say(type="job", id=kind, payload={"type": kind}, caller=None)
        assert talk.hear("job_result") == {"type": "job_result", "id": kind, "error": error}


def test_outcomes_of_threads_do_not_wait_for_an_event_loop_that_is_held_up(python):
    talk = python(
        """
import os, threading, time
send, reported, held = worker._wire.send, [], threading.Event()
def noted(message, **how):
    send(message, **how)
    reported.append(message["type"])
worker._wire.send = noted
def hold_up():
    held.set()
    time.sleep(60)
@worker.job
def work(payload, ctx):
    if "die" not in payload:
        held.wait(7)
        return payload["n"]
    worker.loop.call_soon_threadsafe(hold_up)
    ends = time.monotonic() + 7
    while reported.count("job_result") < 9 and time.monotonic() < ends:
        time.sleep(0.01)
    os._exit(7)
"""
    )
    assert outcomes_beside_a_killer(talk) == NEIGHBOURS


@pytest.mark.parametrize("size", [1, 7, 4096, 400_000])
def test_a_message_may_come_in_pieces_and_several_in_one(python, size: int):
    talk = python("""
@worker.rpc
async def length(params, ctx): return len(params)
""")
    assert talk.hear("discover")
    call = {"type": "rpc", "method": "length", "params": "x" * 1000, "caller": CALLER}
    sent = b"".join(json.dumps({**call, "id": f"r{n}"}).encode() + b"\n" for n in range(3))
    assert talk.process.stdin
    for start in range(0, len(sent), size):
        talk.process.stdin.write(sent[start : start + size])
        talk.process.stdin.flush()
    assert [talk.hear()["result"] for _ in range(3)] == [1000] * 3


def test_a_file_for_input_is_read_to_its_end(tmp_path: Path):
    (tmp_path / "worker.py").write_text("from caudex_worker import Worker\nWorker().run()\n")
    (tmp_path / "input").write_text(json.dumps(HELLO) + "\n")
    with (tmp_path / "input").open() as file:
        done = subprocess.run(
            [sys.executable, "worker.py"], stdin=file, cwd=tmp_path, env={"PYTHONPATH": str(SDK)},
            capture_output=True, timeout=60, check=True,
        )  # fmt: skip
    assert done.returncode == 0


@pytest.mark.slow
def test_an_error_of_any_size_or_kind_is_reported(python):
    talk = python(
        """
class Odd(Exception):
    def __str__(self): raise ValueError
@worker.rpc
def long(params, ctx): raise ValueError("\\n" * 12_000_000)
@worker.job
async def job(payload, ctx): raise Odd
"""
    )
    talk.hear("discover")
    talk.say(type="rpc", id="1", method="long", params={}, caller=CALLER)
    assert set(talk.hear("rpc_response")["error"]) == {"\n"}
    talk.say(type="job", id="2", payload={}, caller=CALLER)
    assert talk.hear("job_result")["error"] == "Odd"


def test_what_handlers_raise_is_the_error_and_the_trace_goes_to_the_log(python):
    talk = python(
        """
import datetime, uuid
@worker.rpc
def bad(params, ctx): raise ValueError("so bad")
@worker.rpc
async def silent(params, ctx): raise KeyError
@worker.rpc
def odd(params, ctx): return {"value": object()}
@worker.rpc
def nan(params, ctx): return float("nan")
@worker.rpc
def big(params, ctx): return "x" * 11_000_000
@worker.rpc
def circle(params, ctx):
    ring = []
    ring.append(ring)
    return ring
@worker.rpc
def usual(params, ctx):
    return [datetime.date(2024, 1, 2), uuid.UUID(int=1), {1}, (2,)]
"""
    )
    talk.hear("discover")
    expected = {"bad": "so bad", "silent": "KeyError", "odd": "object is not JSON"}
    for method, error in expected.items():
        talk.say(type="rpc", id=method, method=method, params={}, caller=CALLER)
        assert "Traceback" in talk.hear("log")["message"]
        assert talk.hear("rpc_response") == {"type": "rpc_response", "id": method, "error": error}
    talk.say(type="rpc", id="n", method="nan", params={}, caller=CALLER)
    assert "JSON" in talk.hear("rpc_response")["error"]
    talk.say(type="rpc", id="b", method="big", params={}, caller=CALLER)
    assert talk.hear("rpc_response")["error"] == "the rpc_response is over 10 MB"
    talk.say(type="rpc", id="c", method="circle", params={}, caller=CALLER)
    assert talk.hear("rpc_response")["error"]
    talk.say(type="rpc", id="u", method="usual", params={}, caller=CALLER)
    answer = talk.hear("rpc_response")["result"]
    assert answer == ["2024-01-02", "00000000-0000-0000-0000-000000000001", [1], [2]]


def test_a_blocking_handler_does_not_hold_up_the_others(python):
    talk = python(
        """
import threading
import time
go = threading.Event()
@worker.rpc
def wait(params, ctx): return go.wait(5)
@worker.rpc
def release(params, ctx): go.set()
"""
    )
    talk.hear("discover")
    talk.say(type="rpc", id="1", method="wait", params={}, caller=CALLER)
    talk.say(type="rpc", id="2", method="release", params={}, caller=CALLER)
    answers = {talk.hear()["id"]: True for _ in range(2)}
    assert answers == {"1": True, "2": True}


def test_blocking_handlers_need_no_tasks(python):
    talk = python(
        """
import asyncio, threading
all_here = threading.Barrier(8)
@worker.rpc
def count(params, ctx):
    all_here.wait(5)
    return len(asyncio.all_tasks(worker.loop))
"""
    )
    talk.hear("discover")
    call = {"type": "rpc", "method": "count", "params": {}, "caller": CALLER}
    talk.say_at_once(*({**call, "id": f"r{n}"} for n in range(8)))
    assert [talk.hear("rpc_response")["result"] for _ in range(8)] == [1] * 8


def test_coroutines_need_a_task_each_only_while_they_wait(python):
    talk = python(
        """
import asyncio
all_here = asyncio.Event()
tasks = []
@worker.rpc
async def quick(params, ctx): return asyncio.current_task().get_name()
@worker.rpc
async def waits(params, ctx):
    task = asyncio.current_task()
    tasks.append(task)
    if len(tasks) == 3:
        all_here.set()
    await all_here.wait()
    return [task is asyncio.current_task(), len(set(tasks))]
"""
    )
    talk.hear("discover")
    call = {"type": "rpc", "params": {}, "caller": CALLER}
    talk.say_at_once(*({**call, "id": f"r{n}", "method": "quick"} for n in range(4)))
    assert len({talk.hear("rpc_response")["result"] for _ in range(4)}) == 1
    methods = ["waits", "quick", "waits", "waits"]
    talk.say_at_once(
        *({**call, "id": f"r{n}", "method": name} for n, name in enumerate(methods, 4))
    )
    heard = [talk.hear("rpc_response") for _ in methods]
    assert [one["result"] for one in heard if one["id"] != "r5"] == [[True, 3]] * 3


def test_what_a_coroutine_sets_in_its_context_is_its_own(python):
    talk = python(
        """
import asyncio, contextvars
seen = contextvars.ContextVar("seen", default=None)
@worker.rpc
async def note(params, ctx):
    before = seen.get()
    seen.set(params)
    if params % 2:
        await asyncio.sleep(0)
    return [before, seen.get()]
"""
    )
    talk.hear("discover")
    call = {"type": "rpc", "method": "note", "caller": CALLER}
    talk.say_at_once(*({**call, "id": f"r{n}", "params": n} for n in range(6)))
    heard = sorted(talk.hear("rpc_response")["result"][::-1] for _ in range(6))
    assert heard == [[n, None] for n in range(6)]


def test_calls_are_answered_where_no_further_thread_can_start(python):
    talk = python(
        """
import threading
def refuse(self): raise RuntimeError("can't start new thread")
@worker.on_start
async def begin(ctx): threading.Thread.start = refuse
@worker.rpc
def double(params, ctx): return params * 2
"""
    )
    talk.hear("discover")
    call = {"type": "rpc", "method": "double", "caller": CALLER}
    talk.say_at_once(*({**call, "id": f"r{n}", "params": n} for n in range(4)))
    assert [talk.hear("rpc_response")["result"] for _ in range(4)] == [0, 2, 4, 6]


def test_jobs_go_to_the_handler_of_their_type_or_to_the_bare_one(python):
    talk = python(
        """
@worker.job("send_report")
def send(payload, ctx):
    ctx.progress(0.4)
    return {"sent": payload["to"]}
@worker.job
async def rest(payload, ctx): return "rest"
"""
    )
    talk.hear("discover")
    talk.say(type="job", id="j1", payload={"type": "send_report", "to": "x"}, caller=None)
    assert talk.hear() == {"type": "job_progress", "id": "j1", "value": 0.4}
    assert talk.hear() == {"type": "job_result", "id": "j1", "result": {"sent": "x"}}
    for payload in ({"type": "other"}, {"type": 7}, {}, None, "text", [1]):
        talk.say(type="job", id="j2", payload=payload, caller=None)
        assert talk.hear()["result"] == "rest"


def test_a_job_that_no_one_takes_says_so(python):
    talk = python("")
    talk.hear("discover")
    talk.say(type="job", id="j1", payload={"type": "x"}, caller=None)
    assert talk.hear()["error"] == "no handler takes this job: x"


def test_a_job_hears_that_it_is_cancelled(python):
    talk = python(
        """
import time
@worker.job
def long(payload, ctx):
    ctx.progress("begun")
    while not ctx.cancelled:
        time.sleep(0.01)
    return "stopped"
"""
    )
    talk.hear("discover")
    talk.say(type="job", id="j1", payload={}, caller=None)
    talk.hear("job_progress")
    talk.say(type="job_cancel", id="another")
    talk.say(type="job_cancel", id="j1")
    assert talk.hear("job_result")["result"] == "stopped"


@pytest.mark.parametrize("define", ["def", "async def"])
def test_a_cancel_that_comes_with_its_job_is_heard(python, define: str):
    talk = python(f"@worker.job\n{define} work(payload, ctx): return ctx.cancelled")
    talk.hear("discover")
    job = {"type": "job", "payload": {}, "caller": None}
    talk.say_at_once({**job, "id": "j1"}, {"type": "job_cancel", "id": "j1"}, {**job, "id": "j2"})
    heard = [talk.hear("job_result") for _ in range(2)]
    assert {message["id"]: message["result"] for message in heard} == {"j1": True, "j2": False}
    talk.say(**job, id="j1")
    assert talk.hear("job_result")["result"] is False, "another run of the job begins again"


@pytest.mark.parametrize("interpreter", INTERPRETERS)
@pytest.mark.parametrize("define", ["def", "async def"])
def test_jobs_of_one_message_run_and_may_be_cancelled_one_by_one(
    python, define: str, interpreter: str
):
    code = (
        f"@worker.job\n{define} work(payload, ctx): return [payload, ctx.username, ctx.cancelled]"
    )
    talk = python(code, interpreter)
    assert talk.hear("discover")["batches"] is True
    jobs = [{"id": f"j{n}", "payload": n, "caller": CALLER} for n in range(3)]
    talk.say_at_once({"type": "jobs", "jobs": jobs}, {"type": "job_cancel", "id": "j1"})
    heard = [talk.hear("job_result") for _ in jobs]
    assert {message["id"]: message["result"] for message in heard} == {
        f"j{n}": [n, "ann", n == 1] for n in range(3)
    }


def test_a_number_that_is_too_long_to_read_holds_up_no_other_job(python):
    talk = python("@worker.job\ndef work(payload, ctx): return str(payload)[:4]")
    talk.hear("discover")
    assert talk.process.stdin
    payloads = enumerate(["7" * 5000, "-" + "7" * 5000, "1234", "0.25"])
    jobs = ",".join(f'{{"id": "j{n}", "payload": {one}}}' for n, one in payloads)
    talk.process.stdin.write(f'{{"type": "jobs", "jobs": [{jobs}]}}\n'.encode())
    talk.process.stdin.flush()
    heard = {message["id"]: message["result"] for message in (talk.hear() for _ in range(4))}
    assert heard == {"j0": "inf", "j1": "-inf", "j2": "1234", "j3": "0.25"}


@pytest.mark.parametrize(("define", "wait"), [("def", ""), ("async def", "await ")])
def test_records_are_asked_of_the_server(python, define: str, wait: str):
    talk = python(
        f"""
@worker.rpc
{define} work(params, ctx):
    contacts = ctx.collection("contacts")
    found = {wait}contacts.find({{"vip": True}})
    try:
        {wait}contacts.delete("x")
    except Exception as error:
        return [found, str(error)]
"""
    )
    talk.hear("discover")
    talk.say(type="rpc", id="r1", method="work", params={}, caller=CALLER)
    asked = talk.hear("collection_op")
    assert {**asked, "id": ""} == {
        "type": "collection_op", "id": "", "op": "find", "entity": "contacts",
        "data": {"vip": True}, "call": "r1",
    }  # fmt: skip
    talk.say(type="collection_op_result", id="unknown", result=[])
    talk.say(type="collection_op_result", id=asked["id"], result=[{"id": "1"}])
    asked = talk.hear("collection_op")
    assert (asked["op"], asked["data"]) == ("delete", {"id": "x"})
    talk.say(type="collection_op_result", id=asked["id"], error="no such record")
    assert talk.hear("rpc_response")["result"] == [[{"id": "1"}], "no such record"]


@pytest.mark.parametrize(("define", "wait"), [("def", ""), ("async def", "await ")])
def test_writes_carry_the_key_of_once(python, define: str, wait: str):
    talk = python(
        f"""
@worker.rpc
{define} work(params, ctx):
    contacts = ctx.collection("contacts").once("k")
    {wait}contacts.insert({{"key": "a column"}})
    {wait}contacts.find({{}})
    {wait}ctx.collection("contacts").update({{"id": "1"}}, key="a column")
"""
    )
    talk.hear("discover")
    talk.say(type="rpc", id="r1", method="work", params={}, caller=CALLER)
    for key, data in (
        ("k", {"key": "a column"}),
        (None, {}),
        (None, {"id": "1", "key": "a column"}),
    ):
        asked = talk.hear("collection_op")
        assert (asked.get("key"), asked["data"]) == (key, data)
        talk.say(type="collection_op_result", id=asked["id"], result=None)
    assert talk.hear("rpc_response")["result"] is None


def test_whatever_is_printed_goes_to_the_log_and_not_onto_the_wire(python):
    talk = python(
        """
import subprocess, sys
@worker.rpc
def speak(params, ctx):
    print('{"type": "rpc_response", "id": "r1", "result": "forged"}')
    print("a", "b", end="")
    print("c")
    subprocess.run(["/bin/echo", '{"type":"event","name":"forged"}'])
    sys.__stdout__.write('{"type":"event","name":"forged"}'); sys.__stdout__.flush()
    worker.log.warn("careful", {"x": 1})
    worker.emit("done", [1])
    return sys.stdin.read()
"""
    )
    talk.hear("discover")
    talk.say(type="rpc", id="r1", method="speak", params={}, caller=CALLER)
    printed = talk.hear()
    assert (printed["type"], printed["level"]) == ("log", "stdout")
    assert talk.hear()["message"] == "a bc"
    assert talk.hear() == {"type": "log", "level": "warn", "message": 'careful {"x": 1}'}
    assert talk.hear() == {"type": "event", "name": "done", "data": [1]}
    assert talk.hear() == {"type": "rpc_response", "id": "r1", "result": ""}
    assert talk.end() == 0
    talk.join()
    assert b"forged" in b"".join(talk.stderr)


def test_the_start_is_answered_when_its_handlers_have_settled(python):
    talk = python(
        """
import asyncio
@worker.on_start
async def first(ctx):
    await asyncio.sleep(0.2)
    ctx.log.info(ctx.app_id)
"""
    )
    assert talk.hear()["message"] == "crm"
    assert talk.hear()["type"] == "discover"


def test_a_start_handler_that_raises_ends_the_worker(python):
    talk = python("@worker.on_start\ndef first(): raise RuntimeError('not today')")
    assert talk.process.wait(10) == 1
    assert b"not today" in b"".join(talk.stderr)


def test_the_shutdown_waits_for_what_runs(python):
    talk = python(
        """
import time
@worker.rpc
def slow(params, ctx):
    time.sleep(0.5)
    return "done"
@worker.on_shutdown
def last(): worker.log.info("bye")
"""
    )
    talk.hear("discover")
    talk.say(type="rpc", id="r1", method="slow", params={}, caller=CALLER)
    talk.say(type="shutdown")
    assert talk.hear("rpc_response")["result"] == "done"
    assert talk.hear("log")["message"] == "bye"
    assert talk.process.wait(10) == 0


def test_the_shutdown_waits_for_handlers_that_have_no_thread_yet(python):
    talk = python(
        """
import time
@worker.job
def work(payload, ctx):
    time.sleep(0.3)
    return payload
"""
    )
    talk.hear("discover")
    jobs = [{"type": "job", "id": f"j{n}", "payload": n, "caller": None} for n in range(70)]
    talk.say_at_once(*jobs, {"type": "shutdown"})
    assert talk.process.wait(10) == 0
    done = [message["result"] for message in talk.rest() if message["type"] == "job_result"]
    assert sorted(done) == list(range(70))


def test_a_handler_that_hangs_does_not_outlive_a_server_that_is_gone(python):
    talk = python("import time\n@worker.rpc\ndef hang(params, ctx): time.sleep(60)")
    talk.hear("discover")
    talk.say(type="rpc", id="r1", method="hang", params={}, caller=CALLER)
    assert talk.end() == 0


def test_nonsense_from_the_server_is_ignored(python):
    talk = python("@worker.rpc\ndef ping(params, ctx): return 'pong'")
    assert talk.process.stdin
    talk.process.stdin.write(b'garbage\n[]\n"x"\n7\n{}\n{"type":"unknown"}\n\n')
    talk.hear("discover")
    talk.say(type="rpc", id="r1", method="ping", params={}, caller=CALLER)
    assert talk.hear("rpc_response")["result"] == "pong"


def test_the_sdk_needs_nothing_but_an_old_python():
    import ast

    modules = sorted((SDK / "caudex_worker").glob("*.py"))
    assert modules
    for module in modules:
        tree = ast.parse(module.read_text("utf-8"), feature_version=(3, 9))
        imported: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                imported.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add((node.module or "").split(".")[0])
        assert imported <= sys.stdlib_module_names, module


# JavaScript


@pytest.fixture(params=["node", "bun"])
def engine(request: pytest.FixtureRequest) -> list[str]:
    program = shutil.which("node") if request.param == "node" else bun()
    if program is None:
        pytest.skip(f"no {request.param} on this machine")
    return [program, "--require" if request.param == "node" else "--preload"]


@pytest.fixture
def javascript(tmp_path: Path, engine: list[str]):
    shutil.copy(SDK / "prelude.js", tmp_path / "prelude.cjs")
    talks: list[Talk] = []

    def start(code: str) -> Talk:
        (tmp_path / "index.js").write_text(code)
        talks.append(Talk([*engine, str(tmp_path / "prelude.cjs"), "index.js"], tmp_path))
        talks[0].say(**HELLO)
        return talks[0]

    yield start
    for talk in talks:
        talk.close()


def test_raw_readers_of_standard_input_run_as_they_are(javascript):
    talk = javascript(
        """
const { createInterface } = require("readline");
const write = (m) => process.stdout.write(JSON.stringify(m) + "\\n");
const rl = createInterface({ input: process.stdin });
rl.on("line", async (l) => {
  let m; try { m = JSON.parse(l); } catch { return; }
  switch (m.type) {
    case "discover": write({ type: "discover", methods: ["ping"] }); break;
    case "rpc":
      console.log("called", m.method);
      if (m.method === "ping") write({ type: "rpc_response", id: m.id, result: { pong: true } });
      else write({ type: "rpc_response", id: m.id, error: `unknown method: ${m.method}` });
      break;
    case "shutdown": process.exit(0);
  }
});
"""
    )
    assert talk.hear() == {"type": "discover", "methods": ["ping"]}
    talk.say(type="rpc", id="r1", method="ping", params={}, caller=CALLER)
    assert talk.hear() == {"type": "log", "level": "info", "message": "called ping"}
    assert talk.hear() == {"type": "rpc_response", "id": "r1", "result": {"pong": True}}
    talk.say(type="shutdown")
    assert talk.process.wait(10) == 0


STYLES = {
    "flat with hooks": """
        serve(
          { ping: async (params, caller, ctx) => ({ params, who: caller.username, app: ctx.appId }),
            bad: () => { throw new Error("so bad"); } },
          { onStart: (ctx) => log.info("up", ctx.app_id),
            onJob: async (payload, caller, ctx) => { ctx.progress(0.5); return payload.n + 1; },
            onError: (error) => log.warn("reported", error.message),
            onShutdown: () => emit("bye", 1) });""",
    "one object": """
        serve({
          rpc: { ping: (params, caller, ctx) => ({ params, who: caller.username, app: ctx.appId }),
                 bad: async () => { throw new Error("so bad"); } },
          onStart: async (ctx) => ctx.log.info("up", ctx.appId),
          onJob: (payload, caller, ctx) => { ctx.progress(0.5); return payload.n + 1; },
          onError: (error) => log.warn("reported", error.message),
          onShutdown: async () => emit("bye", 1) });""",
}


@pytest.mark.parametrize("style", STYLES)
def test_both_styles_of_serve(javascript, style: str):
    talk = javascript(STYLES[style])
    assert talk.hear() == {"type": "log", "level": "info", "message": "up crm"}
    ready = talk.hear()
    assert [handler["name"] for handler in ready.pop("handlers")] == ["ping", "bad", ""]
    assert ready == {"type": "discover", "methods": ["ping", "bad"], "batches": True}
    talk.say(type="rpc", id="r1", method="ping", params=[1], caller=CALLER)
    assert talk.hear()["result"] == {"params": [1], "who": "ann", "app": "crm"}
    talk.say(type="rpc", id="r2", method="bad", params={}, caller=CALLER)
    assert talk.hear("log")["level"] == "error"
    assert talk.hear("log")["message"] == "reported so bad"
    assert talk.hear() == {"type": "rpc_response", "id": "r2", "error": "so bad"}
    talk.say(type="rpc", id="r3", method="toString", params={}, caller=CALLER)
    assert talk.hear()["error"] == "unknown method: toString"
    talk.say(type="job", id="j1", payload={"n": 1}, caller=None)
    assert talk.hear() == {"type": "job_progress", "id": "j1", "value": 0.5}
    assert talk.hear() == {"type": "job_result", "id": "j1", "result": 2}
    talk.say(type="shutdown")
    assert talk.hear() == {"type": "event", "name": "bye", "data": 1}
    assert talk.process.wait(10) == 0


def test_flat_without_hooks_and_odd_results(javascript):
    talk = javascript(
        """
serve({ nothing: () => undefined, big: () => "x".repeat(11000000), loop: () => { const a = {};
  a.a = a; return a; }, text: () => { throw "just text"; } });
"""
    )
    assert talk.hear()["methods"] == ["nothing", "big", "loop", "text"]
    talk.say(type="rpc", id="1", method="nothing", params={}, caller=CALLER)
    assert talk.hear("rpc_response")["result"] is None
    talk.say(type="rpc", id="2", method="big", params={}, caller=CALLER)
    assert "over 10 MB" in talk.hear("rpc_response")["error"]
    talk.say(type="rpc", id="3", method="loop", params={}, caller=CALLER)
    assert talk.hear("rpc_response")["error"]
    talk.say(type="rpc", id="4", method="text", params={}, caller=CALLER)
    assert talk.hear("rpc_response")["error"] == "just text"
    talk.say(type="job", id="5", payload={}, caller=None)
    assert talk.hear("job_result")["error"] == "no handler takes this job"
    assert talk.end() == 0


def test_records_are_promises(javascript):
    talk = javascript(
        """
serve({ work: async (params, caller, ctx) => {
  const found = await ctx.collection("contacts").find({ vip: true });
  try { await ctx.collection("contacts").update({ id: "1", name: "x" }); }
  catch (error) { return [found, error.message]; }
} });
"""
    )
    talk.hear("discover")
    talk.say(type="rpc", id="r1", method="work", params={}, caller=CALLER)
    asked = talk.hear("collection_op")
    assert (asked["op"], asked["data"], asked["call"]) == ("find", {"vip": True}, "r1")
    talk.say(type="collection_op_result", id=asked["id"], result=[1])
    asked = talk.hear("collection_op")
    talk.say(type="collection_op_result", id=asked["id"], error="refused")
    assert talk.hear("rpc_response")["result"] == [[1], "refused"]


def test_writes_of_javascript_carry_the_key_of_once(javascript):
    talk = javascript(
        """
serve({ work: async (params, caller, ctx) => {
  const contacts = ctx.collection("contacts").once("k");
  await contacts.insert({ key: "a column" });
  await contacts.find({});
  await contacts.delete("1");
} });
"""
    )
    talk.hear("discover")
    talk.say(type="rpc", id="r1", method="work", params={}, caller=CALLER)
    for op, key in (("insert", "k"), ("find", None), ("delete", "k")):
        asked = talk.hear("collection_op")
        assert (asked["op"], asked.get("key")) == (op, key)
        talk.say(type="collection_op_result", id=asked["id"], result=None)
    assert talk.hear("rpc_response")["result"] is None


def test_a_start_handler_of_javascript_that_fails_ends_the_worker(javascript):
    talk = javascript('serve({}, { onStart: async () => { throw new Error("not today"); } });')
    assert "not today" in talk.hear("log")["message"]
    assert talk.process.wait(10) == 1


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("handler", ["async (payload) =>", "(payload) =>"])
@pytest.mark.parametrize("death", ["process.exit(7)", "process.kill(process.pid, 'SIGKILL')"])
def test_a_handler_of_javascript_that_ends_the_process_loses_no_outcome_of_its_neighbours(
    javascript, death: str, handler: str, batch: bool
):
    talk = javascript(
        f"""
serve({{}}, {{ onJob: {handler} {{
  if (payload.die) {death};
  return payload.n;
}} }});
"""
    )
    assert outcomes_beside_a_killer(talk, batch=batch) == NEIGHBOURS


def test_jobs_of_one_message_run_and_may_be_cancelled_one_by_one_in_javascript(javascript):
    talk = javascript(
        """
serve({ ping: () => "pong" }, { onJob: async (payload, caller, ctx) => {
  await new Promise((resolve) => setTimeout(resolve, 50));
  return [payload, caller.username, ctx.cancelled, ctx.requestId];
} });
"""
    )
    assert talk.hear("discover")["batches"] is True
    jobs = [{"id": f"j{n}", "payload": n, "caller": CALLER} for n in range(3)]
    call = {"type": "rpc", "id": "r1", "method": "ping", "params": {}, "caller": CALLER}
    batch = {"type": "jobs", "jobs": jobs}
    talk.say_at_once(batch, {"type": "job_cancel", "id": "j1"}, call, {"type": "jobs", "jobs": []})
    assert talk.hear()["result"] == "pong"
    heard = [talk.hear("job_result") for _ in jobs]
    assert {message["id"]: message["result"] for message in heard} == {
        f"j{n}": [n, "ann", n == 1, f"j{n}"] for n in range(3)
    }
    talk.process.stdin.write(b'null\n7\n"x"\n')
    talk.say(**call)
    assert talk.hear()["result"] == "pong"


def test_outcomes_of_javascript_of_one_moment_come_in_one_piece(javascript):
    talk = javascript(
        """
let pieces = 0, deliveries = 0;
const write = process.stdout.write;
process.stdout.write = (...given) => { pieces++; return write.apply(process.stdout, given); };
performance.now = () => 0;  // what is held for a moment is not written because that has passed
serve({
  echo: async (params) => params,
  logs: (params) => { log.info("between"); return params; },
  count: () => ({ pieces, deliveries }),
});
process.stdin.on("data", () => { deliveries++; });
"""
    )
    talk.hear("discover")
    call = {"type": "rpc", "method": "echo", "caller": CALLER}
    talk.say_at_once(*({**call, "id": f"r{n}", "params": n} for n in range(30)))
    assert [talk.hear("rpc_response")["result"] for _ in range(30)] == list(range(30))
    talk.say(**{**call, "method": "count", "id": "c"})
    count = talk.hear("rpc_response")["result"]
    # The pipe delivers in as many pieces as it likes; the answers to one of these are one piece.
    assert count["pieces"] <= count["deliveries"], count
    two = {**call, "id": "r31", "params": 31}, {**call, "id": "r32", "method": "logs"}
    talk.say_at_once(*two)
    assert [talk.hear()["type"] for _ in range(3)] == ["rpc_response", "log", "rpc_response"]


def test_a_handler_of_javascript_that_takes_long_holds_no_answer_back(javascript, tmp_path):
    talk = javascript(
        """
const { existsSync } = require("fs");
const busy = (ms) => { const end = Date.now() + ms; while (Date.now() < end); };
const long = () => { while (!existsSync("go on")); return 2; };
serve({ quick: () => { busy(5); return 1; }, long });
"""
    )
    talk.hear("discover")
    call = {"type": "rpc", "params": {}, "caller": CALLER}
    talk.say_at_once(
        {**call, "id": "r1", "method": "quick"},
        {**call, "id": "r2", "method": "quick"},
        {**call, "id": "r3", "method": "long"},
    )
    assert talk.hear("rpc_response")["result"] == 1
    (tmp_path / "go on").touch()
    assert [talk.hear("rpc_response")["result"] for _ in range(2)] == [1, 2]


def test_what_has_ended_is_answered_by_javascript_that_exits(javascript):
    talk = javascript("serve({ echo: (params) => params, die: () => process.exit(7) });")
    talk.hear("discover")
    call = {"type": "rpc", "method": "echo", "caller": CALLER}
    talk.say_at_once(
        *({**call, "id": f"r{n}", "params": n} for n in range(9)),
        {**call, "id": "killer", "method": "die"},
    )
    assert talk.process.wait(10) == 7
    assert [talk.hear("rpc_response")["result"] for _ in range(9)] == list(range(9))


@pytest.mark.parametrize(
    ("death", "status"),
    [
        ("process.exit(7)", 7),
        ("setImmediate(() => { throw new Error('no handler catches it'); })", 1),
        ("Promise.reject(new Error('no handler catches it'))", 1),
    ],
)
def test_an_end_of_javascript_says_nothing_of_what_is_under_way(
    javascript, death: str, status: int
):
    talk = javascript(
        f"""
const forever = () => new Promise((resolve) => setTimeout(resolve, 60000));
serve({{ call: forever }}, {{ onJob: (payload, caller, ctx) => {{
  ctx.progress("begun");
  if (payload.die) {death};
  return forever();
}} }});
"""
    )
    talk.hear("discover")
    talk.say(type="rpc", id="call", method="call", params={}, caller=CALLER)
    talk.say(type="job", id="neighbour", payload={}, caller=None)
    talk.say(type="job", id="killer", payload={"die": True}, caller=None)
    assert talk.process.wait(20) == status
    assert {message["type"] for message in talk.rest()} == {"job_progress"}


def test_long_messages_arrive_whole(javascript):
    talk = javascript("serve({ size: (params) => params.text.length, echo: (params) => params });")
    talk.hear("discover")
    talk.say(type="rpc", id="1", method="size", params={"text": "é" * 900_000}, caller=CALLER)
    assert talk.hear("rpc_response")["result"] == 900_000
    talk.say(type="rpc", id="2", method="echo", params={"text": "é" * 900_000}, caller=CALLER)
    assert talk.hear("rpc_response")["result"] == {"text": "é" * 900_000}


# Both

CALLS = [
    ('insert({"a": 1})', "insert({a: 1})"),
    ('update({"id": "1", "a": 2})', 'update({id: "1", a: 2})'),
    ('update("1", a=2)', 'update("1", {a: 2})'),
    ('delete("1")', 'delete("1")'),
    ('delete({"id": "1"})', 'delete({id: "1"})'),
    ("find()", "find()"),
    ('find({"a": 1})', "find({a: 1})"),
    ('find_one({"a": 1})', "findOne({a: 1})"),
    ('query({"a": 1}, order_by="a", group_by=["a"], expand=["b"], search="x")',
     'query({a: 1}, {orderBy: "a", groupBy: ["a"], expand: ["b"], search: "x"})'),
    ('export({"a": 1}, format="ndjson")', 'export({a: 1}, {format: "ndjson"})'),
    ('import_file("a\\n1", on="a", mode="valid", dry_run=True)',
     'importFile("a\\n1", {on: "a", mode: "valid", dryRun: true})'),
    ('insert_many([{"a": 1}])', "insertMany([{a: 1}])"),
    ('upsert([{"a": 1}], "a", "ignore")', 'upsert([{a: 1}], "a", "ignore")'),
    ('upsert([{"a": 1}], "a")', 'upsert([{a: 1}], "a")'),
    ('update_where({"a": 1}, {"a": 2}, expect=3)', "updateWhere({a: 1}, {a: 2}, {expect: 3})"),
    ('delete_where({"a": 1}, max=3)', "deleteWhere({a: 1}, {max: 3})"),
    ('batch([{"op": "delete"}], dry_run=True)', 'batch([{op: "delete"}], {dryRun: true})'),
    ('batch([{"op": "delete"}])', 'batch([{op: "delete"}])'),
    ('once("k").insert({"a": 1})', 'once("k").insert({a: 1})'),
    ('if_match("e").update("1", a=2)', 'ifMatch("e").update("1", {a: 2})'),
]  # fmt: skip
"""Each call of a collection in Python and in JavaScript."""


def test_both_languages_have_the_same_calls_and_send_the_same(python, javascript):
    names = "[n for n in dir(type(rows)) if not n.startswith('_')]"
    talk = python(f"""
@worker.rpc
async def work(params, ctx):
    rows = ctx.collection("things")
    for call in {[mine for mine, _ in CALLS]!r}:
        await eval("rows." + call)
    return {names}
""")
    ours, known = asked_by(talk)
    talk = javascript(f"""
serve({{ work: async (params, caller, ctx) => {{
  const rows = ctx.collection("things");
  for (const call of {json.dumps([theirs for _, theirs in CALLS])}) await eval("rows." + call);
  return Object.keys(rows);
}} }});
""")
    theirs, camel = asked_by(talk)
    assert sorted(re.sub("[A-Z]", lambda m: "_" + m[0].lower(), name) for name in camel) == known
    called = {part.partition("(")[0] for mine, _ in CALLS for part in mine.split(").")}
    assert set(known) == {*called, "changes"}  # a loop: see test_changes
    assert ours == theirs
    assert {each["op"] for each in ours} == {*KINDS, "find", "findOne"}


def asked_by(talk: Talk) -> tuple[list[dict], list[str]]:
    """What a call of `work` asks for, without what has its default, and its reply."""
    talk.hear("discover")
    talk.say(type="rpc", id="r1", method="work", params=None, caller=CALLER)
    found: list[dict] = []
    while (message := talk.hear())["type"] != "rpc_response":
        if message["type"] == "collection_op":
            data = {
                name: value
                for name, value in message["data"].items()
                if (name, value) not in (("then", "update"), ("dryRun", False))
            }
            found.append({**message, "data": data, "id": ""})
            talk.say(type="collection_op_result", id=message["id"], result=None)
    return found, message["result"]
