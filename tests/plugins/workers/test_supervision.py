"""Workers that crash, hang, flood, fork or will not go: the server and the others go on."""

import asyncio
import errno
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from msgspec import structs

from kernel.hooks.implementation import HookImplementation
from kernel.public import (
    WORKERS,
    Actor,
    BadRequest,
    Caller,
    ConcurrencyLimiter,
    HandlerFailed,
    Unauthenticated,
    WorkerLost,
    WorkerState,
)
from kernel.testing import MakeServer, Server
from plugins.workers.child.pipes import InputPipe
from plugins.workers.config import WorkersConfig
from plugins.workers.control.supervisor import Supervisor
from plugins.workers.host import Background, StateListeners
from plugins.workers.models import DesiredState, Installation, Release
from plugins.workers.releases.builds import Builder
from plugins.workers.replica.callers import CALLERS
from plugins.workers.replica.replica import ReplicaSpec
from plugins.workers.service import SERVICE
from tests.plugins.workers.support import (
    PYTHON,
    QUICK,
    deploy,
    deployed,
    folder_of,
    install,
    processes_of,
    reaches,
    result,
    rpc,
    status,
)
from tests.waiting import eventually

LONG = os.environ.get("CAUDEX_TEST_LONG") == "1"
HEAD = """import os, signal, subprocess, sys, time
from caudex_worker import Worker
worker = Worker()
"""
RAW = """
import json, os, signal, sys, time
def say(**message):
    sys.stdout.write(json.dumps(message) + "\\n"); sys.stdout.flush()
for line in sys.stdin:
    m = json.loads(line)
    if m["type"] == "discover":
        say(type="discover", methods=[])
    elif m["type"] == "shutdown":
        break
    elif m["type"] == "rpc":
"""
"""A worker without the SDK; the body of its handler follows, indented by eight."""


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def stop(server: Server, app: str) -> float:
    started = time.monotonic()
    assert server.admin.post(f"/api/v1/apps/{app}/worker/stop").status_code == 200
    return time.monotonic() - started


# Crashes


def test_a_worker_that_dies_comes_back(workers: Server):
    app = deployed(workers)
    pid = result(workers.admin, app, "pid")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not alive(pid))
    eventually(lambda: rpc(workers.admin, app, "pid").status_code == 200)
    assert result(workers.admin, app, "pid") != pid
    assert status(workers.admin, app)["status"] == "running"


@pytest.mark.slow
def test_after_the_fifth_crash_in_a_minute_a_worker_is_crashed_until_a_later_try(
    make_server: MakeServer,
):
    workers = make_server({"plugins": {"workers": {**QUICK, "backoff": 0.25}}})
    app = deployed(workers)
    for _ in range(4):
        reaches(workers.admin, app, "running")
        eventually(lambda: rpc(workers.admin, app, "die").status_code == 503)
        eventually(lambda: status(workers.admin, app)["status"] != "crashed")
    reaches(workers.admin, app, "running")
    eventually(lambda: rpc(workers.admin, app, "echo").status_code == 200)
    rpc(workers.admin, app, "die")
    reaches(workers.admin, app, "crashed")
    assert rpc(workers.admin, app, "echo").status_code == 503
    shown = workers.admin.get("/api/v1/status").json()["workers"]
    assert shown["crashed"] == [app]
    problem = "crashed too often and tried again with growing pauses: 1"
    assert workers.http.get("/health/ready").json()["problems"] == [f"workers: {problem}"]
    reaches(workers.admin, app, "running", 20)
    assert result(workers.admin, app, "echo", 1) == 1
    rpc(workers.admin, app, "die")
    reaches(workers.admin, app, "crashed")  # it has not run for a minute
    assert workers.admin.post(f"/api/v1/apps/{app}/worker/start").status_code == 200
    assert result(workers.admin, app, "echo", 1) == 1
    assert "problems" not in workers.http.get("/health/ready").json()


@pytest.mark.slow
def test_a_deploy_repairs_what_crashed(workers: Server):
    app = deployed(workers, HEAD + "worker.on_start(lambda: None)\nworker.run()")
    dies = (
        HEAD
        + """
import threading
say = worker.say
def reported(message):  # dies when it is up: the first that it says is that it is
    say(message)
    threading.Timer(0.1, os._exit, [1]).start()
worker.say = reported
worker.run()
"""
    )
    assert deploy(workers.admin, app, {"worker.py": dies}).status_code == 200
    reaches(workers.admin, app, "crashed", 30)
    answer = workers.admin.post(f"/api/v1/apps/{app}/worker/start")
    assert answer.status_code in (200, 503)
    assert deploy(workers.admin, app, {"worker.py": PYTHON}).status_code == 200
    assert status(workers.admin, app)["status"] == "running"
    assert result(workers.admin, app, "echo", 1) == 1


@pytest.mark.slow
def test_waits_between_crashes_grow(make_server: MakeServer, monkeypatch: pytest.MonkeyPatch):
    """What was decided is compared: each wait that can be measured has a start of Python in it."""
    decided = list[tuple[str, float]]()

    def report(self: Supervisor, wait: float) -> None:
        decided.append((self.app_id, wait))

    monkeypatch.setattr(Supervisor, "_report_wait", report)
    server = make_server({"plugins": {"workers": {**QUICK, "backoff": 0.4}}})
    app, waits = deployed(server), [0, 0.4, 0.8]
    for wait in waits:
        began = time.monotonic()
        rpc(server.admin, app, "die")
        eventually(lambda: rpc(server.admin, app, "echo").status_code == 200)
        assert time.monotonic() - began > wait
    assert [wait for reported, wait in decided if reported == app] == pytest.approx(waits)


BUILD = 75.0
"""Seconds after which pip gives up where it finds no index: longer than crashes are counted."""


class Slowly(Builder):
    """Of a server where a release takes long to fail, by a clock of its own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.begun: list[float] = []

    async def prepare(self, release: Release) -> ReplicaSpec:
        self.begun.append(self.now)
        self.now += BUILD
        raise BadRequest("pip failed")

    async def tidy(self, *_: object) -> None:
        """There is nothing."""


def slow_supervisor() -> tuple[Supervisor, Slowly]:
    builder = Slowly()

    host: Any = SimpleNamespace(
        config=WorkersConfig(backoff=2.0), clock=lambda: builder.now,
        background=Background(), states=StateListeners(),
        logs=SimpleNamespace(write=lambda *_: None),
    )  # fmt: skip
    return Supervisor(Installation("crm", 1), host, builder), builder


def wanted(revision: int) -> DesiredState:
    release = Release(app_id="crm", number=1, key=1, version=1, digest="0" * 64)
    return DesiredState(
        app_id="crm", number=1, key=1, version=1, revision=revision, release=release
    )


async def step_until(supervisor: Supervisor, builder: Slowly, state: WorkerState) -> None:
    for _ in range(50):
        pause = await supervisor._step()
        if supervisor.state == state:
            return
        builder.now += pause or 0.0
    raise AssertionError(f"{supervisor.state} for ever, begun at {builder.begun}")


def test_starts_that_fail_slowly_wait_longer_and_longer():
    async def fail() -> None:
        supervisor, builder = slow_supervisor()
        for attempt in (1, 2):  # a start or a deploy begins again
            builder.begun.clear()
            supervisor.set_desired(wanted(attempt))
            await step_until(supervisor, builder, "crashed")
            waits = [after - before - BUILD for before, after in pairwise(builder.begun)]
            assert waits == [0, 2, 4, 8]
        builder.begun.clear()
        for _ in range(14):
            builder.now += await supervisor._step() or 0.0
            assert supervisor.state == "crashed"
        waits = [after - before - BUILD for before, after in pairwise(builder.begun)]
        assert waits == [32, 64, 128, 256, 300, 300]

    anyio.run(fail)


@pytest.mark.slow
def test_a_start_of_what_cannot_start_says_why(workers: Server):
    app = deployed(workers)
    folder = folder_of(workers.kernel.context.data_dir, app)
    [release] = [path for path in folder.iterdir() if path.name[0].isdigit()]
    stop(workers, app)
    (release / "worker.py").write_text("raise SystemExit('gone bad')\n")
    answer = workers.admin.post(f"/api/v1/apps/{app}/worker/start")
    assert answer.status_code == 503
    assert "retry-after" not in answer.headers  # it stays wanted, and would fail again
    assert "gone bad" in answer.json()["error"]
    reaches(workers.admin, app, "crashed", 30)
    stop(workers, app)
    assert status(workers.admin, app)["status"] == "stopped"


@pytest.mark.slow
def test_crashes_leave_no_zombie_and_no_open_file(workers: Server):
    app, cycles = deployed(workers), 100 if LONG else 12

    def cycle() -> None:
        os.kill(result(workers.admin, app, "pid"), signal.SIGKILL)
        workers.admin.post(f"/api/v1/apps/{app}/worker/stop")
        assert workers.admin.post(f"/api/v1/apps/{app}/worker/start").status_code == 200

    def counted() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(defunct())

    def defunct() -> list[str]:
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat") as file:
                    state, parent = file.read().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state == "Z" and int(parent) == os.getpid():
                found.append(name)
        return found

    for _ in range(2):
        cycle()
    files, zombies = counted()
    for _ in range(cycles):
        cycle()
    # Pools grow by some connections; what each worker leaves open is there once for each cycle.
    eventually(lambda: counted()[0] <= files + 8)
    eventually(lambda: len(defunct()) <= zombies)


# The end of a process


@pytest.mark.slow
def test_a_worker_that_ignores_everything_is_killed(workers: Server):
    body = HEAD + (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        # Holds up its own event loop, which would end it after nine seconds.
        "@worker.on_shutdown\nasync def never():\n    time.sleep(60)\n"
        "@worker.rpc\ndef pid(p, c):\n    return os.getpid()\nworker.run()\n"
    )
    app = deployed(workers, body)
    pid = result(workers.admin, app, "pid")
    took = stop(workers, app)
    assert 2.5 < took < 12  # after 13 a stop waits no more
    assert not alive(pid)
    assert status(workers.admin, app)["status"] == "stopped"


def test_while_it_stops_the_status_says_so(workers: Server, monkeypatch: pytest.MonkeyPatch):
    host = workers.services.get(SERVICE).host
    monkeypatch.setattr(host, "config", structs.replace(host.config, shutdown_wait=30))
    slow = "def slow():\n    while not os.path.exists('go'): time.sleep(0.02)\n"
    app = deployed(workers, f"{HEAD}@worker.on_shutdown\n{slow}worker.run()\n")
    stopping = threading.Thread(target=stop, args=(workers, app))
    stopping.start()
    reaches(workers.admin, app, "stopping")
    assert rpc(workers.admin, app, "x").status_code == 503
    [code] = folder_of(workers.kernel.context.data_dir, app).glob("1-*")
    (code / "go").touch()
    stopping.join()
    assert status(workers.admin, app)["status"] == "stopped"


FORKS = (
    HEAD
    + """
children = []
for n in range(20):
    children.append(subprocess.Popen(["/bin/sh", "-c", "trap '' TERM HUP; sleep 300 & sleep 300"]))
@worker.rpc
def kids(p, c):
    return [child.pid for child in children]
@worker.rpc
def die(p, c):
    os._exit(1)
worker.run()
"""
)


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_what_a_worker_forked_dies_with_it(workers: Server, how: str):
    app = deployed(workers, FORKS)
    kids = result(workers.admin, app, "kids")
    assert len(processes_of(workers, app)) > 20
    if how == "crash":
        rpc(workers.admin, app, "die")
        eventually(lambda: not any(map(alive, kids)))
    stop(workers, app)
    eventually(lambda: not processes_of(workers, app))


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="counts processes of an account of its own")
def test_a_fork_bomb_stays_small(make_server: MakeServer):
    server = make_server({"plugins": {"workers": {**QUICK, "processes": 40}}})
    body = (
        HEAD
        + """
@worker.rpc
def bomb(p, c):
    made = 0
    for n in range(500):
        try:
            subprocess.Popen(["/bin/sleep", "300"])
            made += 1
        except OSError:
            break
    return made
worker.run()
"""
    )
    app = deployed(server, body)
    assert result(server.admin, app, "bomb") < 40
    assert server.http.get("/health").status_code == 200
    stop(server, app)
    eventually(lambda: not processes_of(server, app), 5)


@pytest.mark.slow
def test_a_worker_without_its_output_is_of_no_use(workers: Server):
    app = deployed(workers, HEAD + "@worker.rpc\ndef shut(p, c):\n    os.close(worker._wire._out)\n"
                   "    time.sleep(60)\nworker.run()\n")  # fmt: skip
    started = time.monotonic()
    assert rpc(workers.admin, app, "shut").status_code == 503
    assert time.monotonic() - started < 15


# Memory


@pytest.mark.slow
def test_memory_has_a_limit(make_server: MakeServer):
    server = make_server({"plugins": {"workers": {**QUICK, "memory_mb": 256}}})
    app = deployed(server, HEAD + "@worker.rpc\ndef eat(p, c):\n    return len(bytearray(2**30))\n"
                   "@worker.rpc\ndef echo(p, c):\n    return p\nworker.run()\n")  # fmt: skip
    assert rpc(server.admin, app, "eat").json() == {"error": "MemoryError"}
    assert result(server.admin, app, "echo", 1) == 1


@pytest.mark.slow
def test_an_idle_worker_costs_the_server_less_than_a_megabyte(make_server: MakeServer):
    server = make_server({"plugins": {"workers": dict(QUICK)}})
    deployed(server)

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    gc.collect()
    before, count = resident(), 5
    for _ in range(count):
        deployed(server)
    gc.collect()
    assert (resident() - before) / count < 1_000_000


# What it says


@pytest.mark.slow
def test_a_flood_on_stdout_harms_no_other(workers: Server):
    quiet = deployed(workers)
    flood = deployed(
        workers,
        HEAD
        + """
import threading
@worker.rpc
def flood(p, c):
    def pour():
        while True:
            os.write(worker._wire._out, b"y\\n" * 30000)
    threading.Thread(target=pour, daemon=True).start()
worker.run()
""",
    )
    rpc(workers.admin, flood, "flood")
    time.sleep(0.5)
    took = []
    for _ in range(20):
        started = time.monotonic()
        assert result(workers.admin, quiet, "echo", 1) == 1
        took.append(time.monotonic() - started)
    assert sorted(took)[10] < 0.5
    assert workers.http.get("/health").status_code == 200
    stop(workers, flood)
    assert status(workers.admin, flood)["status"] == "stopped"


def test_an_endless_line_harms_no_other(workers: Server):
    app = deployed(
        workers,
        RAW
        + """
        for n in range(30):
            sys.stdout.write("x" * 1000000)
        sys.stdout.write("\\n")
        say(type="rpc_response", id=m["id"], result="after it")
""",
    )
    assert result(workers.admin, app, "any") == "after it"


@pytest.mark.parametrize("where", ["first", "last"])
def test_a_reply_over_10_mb_is_500(workers: Server, where: str):
    order = '"id": m["id"], "result": big' if where == "first" else '"result": big, "id": m["id"]'
    app = deployed(
        workers,
        RAW
        + f"""
        big = "x" * 11000000 if m["method"] == "big" else "small"
        say(**{{"type": "rpc_response", {order}}})
""",
    )
    answer = rpc(workers.admin, app, "big")
    assert (answer.status_code, answer.json()) == (500, {"error": "the reply is over 10 MB"})
    assert result(workers.admin, app, "small") == "small"


def test_a_large_reply_passes(workers: Server):
    app = deployed(
        workers, RAW + '        say(type="rpc_response", id=m["id"], result="x" * 9900000)\n'
    )
    assert len(result(workers.admin, app, "any")) == 9_900_000


@pytest.mark.parametrize(
    "said",
    [
        """'{"type":"rpc_response","id":"%s","result":' + "[" * 100000 + "]" * 100000 + "}" """,
        """'{"type":"rpc_response","id":"%s","result":nonsense}'""",
        """'{"type":"rpc_response","id":"%s","result":"\\udcff"}'""",
    ],
)
def test_a_reply_that_is_no_json_is_500(workers: Server, said: str):
    app = deployed(
        workers,
        RAW
        + f"""
        sys.stdout.buffer.write((({said}) % m["id"]).encode("utf-8", "surrogateescape") + b"\\n")
        sys.stdout.flush()
""",
    )
    answer = rpc(workers.admin, app, "any")
    assert (answer.status_code, answer.json()) == (500, {"error": "the reply is not valid JSON"})


def test_garbage_is_only_noise(workers: Server):
    app = deployed(
        workers,
        RAW
        + """
        out = sys.stdout.buffer
        out.write(os.urandom(20000) + b"\\n\\n\\n")
        for text in (
            '{"type":"job_result","id":"x","result":1}', '{"type":"rpc_response","id":"r999"}',
            '{"type":"job_progress","id":"x","value":1}', '{"type":"nonsense"}', "{}", "[]",
            '{"type":"collection_op","id":"1","op":"find","entity":"contacts","call":"r9"}',
            '{"type":"log","level":"strange","message":{"a":1}}', '{"type":"discover"}',
            '{"type":"event","name":"x"}',
        ):
            out.write(text.encode() + b"\\n")
        out.flush()
        say(type="rpc_response", id=m["id"], result="fine")
""",
    )
    assert result(workers.admin, app, "any") == "fine"
    assert result(workers.admin, app, "any") == "fine"


def test_an_operation_that_does_not_fit_is_an_error_of_the_handler(workers: Server):
    app = deployed(
        workers,
        """
from caudex_worker import Worker
worker = Worker()

@worker.rpc
async def add(params, ctx):
    return await ctx.collection("contacts").insert(params)

worker.run()
""",
    )
    for params in ([{"name": "Ann"}], "Ann", 7):
        answer = rpc(workers.admin, app, "add", params)
        assert answer.status_code == 500
        assert "collection_op: Expected `object`" in answer.json()["error"]
    assert result(workers.admin, app, "add", {"name": "Ann"})["name"] == "Ann"


def test_a_result_is_passed_on_unchanged(workers: Server):
    app = deployed(
        workers,
        RAW
        + """
        text = '{"type":"rpc_response","id":"%s","result": {"b" : 1.50, "a":[ ] } }\\n'
        sys.stdout.write(text % m["id"])
        sys.stdout.flush()
""",
    )
    assert rpc(workers.admin, app, "any").content == b'{"b" : 1.50, "a":[ ] }'


def test_errors_of_any_shape_are_reported(workers: Server):
    app = deployed(
        workers,
        RAW
        + """
        say(type="rpc_response", id=m["id"], error=m["params"])
""",
    )
    for error, words in (("text", "text"), ({"message": "in it"}, "in it"), ([1], "[1]")):
        answer = rpc(workers.admin, app, "any", error)
        assert (answer.status_code, answer.json()) == (500, {"error": words})
    for text in ("Unknown method: x", "unknown METHOD"):
        assert rpc(workers.admin, app, "any", text).status_code == 404
    answer = rpc(workers.admin, app, "any", "")
    assert (answer.status_code, answer.json()) == (500, {"error": "the handler failed"})


@pytest.mark.slow
def test_a_worker_that_does_not_read_gets_no_more_calls(
    workers: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(InputPipe.wait_ready, "__defaults__", (1.0,))
    host = workers.services.get(SERVICE).host
    monkeypatch.setattr(host, "config", structs.replace(host.config, rpc_timeout=3))
    app = deployed(workers, RAW + "        time.sleep(300)\n")
    answers: list[tuple[int, str]] = []

    def call() -> None:
        answer = rpc(workers.login("admin"), app, "any", "x" * 900_000)
        answers.append((answer.status_code, answer.json()["error"]))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert {code for code, _ in answers} <= {500, 503}
    assert workers.http.get("/health").status_code == 200
    stop(workers, app)


@pytest.mark.slow
def test_too_many_calls_at_once_are_503(workers: Server):
    app = deployed(workers)

    async def many() -> list[str]:

        service = workers.services.get(WORKERS)
        caller = Caller(user_id="1", username="x")

        async def one() -> str:
            try:
                await service.rpc(app, "sleep", b'{"seconds": 1}', caller)
            except Exception as error:
                return type(error).__name__
            return "answered"

        return await asyncio.gather(*[one() for _ in range(70)])

    found = workers.run(many)
    assert (found.count("answered"), found.count("Unavailable")) == (64, 6)


def test_operations_beyond_measure_are_worked_off(workers: Server):
    app = deployed(
        workers,
        HEAD
        + """
import asyncio
@worker.rpc
async def many(p, c):
    found = await asyncio.gather(*[c.collection("contacts").find({}) for _ in range(500)])
    return len(found)
worker.run()
""",
    )
    assert result(workers.admin, app, "many") == 500


# Storms


@pytest.mark.slow
def test_a_storm_of_starts_and_stops_ends_in_the_last_wish(workers: Server):
    app = deployed(workers)
    clients = [workers.login("admin") for _ in range(6)]

    def press(client, number: int) -> None:
        for step in range(4):
            action = "start" if (step + number) % 2 else "stop"
            client.post(f"/api/v1/apps/{app}/worker/{action}")

    pressing = [
        threading.Thread(target=press, args=(client, number))
        for number, client in enumerate(clients)
    ]
    for thread in pressing:
        thread.start()
    for thread in pressing:
        thread.join()
    assert workers.admin.post(f"/api/v1/apps/{app}/worker/start").status_code == 200
    assert result(workers.admin, app, "echo", 1) == 1
    stop(workers, app)
    assert not processes_of(workers, app)


def test_deploys_at_once_are_taken_in_turn(workers: Server):
    app, answers = deployed(workers), []
    clients = [workers.login("admin") for _ in range(3)]
    threads = [
        threading.Thread(
            target=lambda client=client: answers.append(
                deploy(client, app, {"worker.py": PYTHON}).status_code
            )
        )
        for client in clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 3
    assert status(workers.admin, app)["version"] == 4
    eventually(lambda: len(processes_of(workers, app)) == 1)


def test_a_restart_replaces_the_process_and_no_call_is_lost(workers: Server):
    app = deployed(workers)
    pid, codes, done = result(workers.admin, app, "pid"), [], threading.Event()

    def call() -> None:
        client = workers.login("admin")
        while not done.is_set():
            codes.append(rpc(client, app, "echo").status_code)

    caller = threading.Thread(target=call)
    caller.start()
    eventually(lambda: codes)
    workers.run(workers.services.get(WORKERS).restart, app)
    eventually(lambda: result(workers.admin, app, "pid") != pid)
    done.set()
    caller.join()
    assert set(codes) == {200}


# Jobs, as the job queue asks for them


JOBS = (
    HEAD
    + """
@worker.job("echo")
def echo(payload, ctx): return [payload, ctx.username]
@worker.job("fail")
def fail(payload, ctx): raise ValueError("cannot: " + payload["why"])
@worker.job("die")
def die(payload, ctx): os._exit(1)
@worker.job("long")
def long(payload, ctx):
    for n in range(1000):
        ctx.progress(n)
        if ctx.cancelled:
            return "stopped"
        time.sleep(0.01)
@worker.job("find")
def find(payload, ctx): return ctx.collection("contacts").find({})
worker.run()
"""
)


def job(
    server: Server, app: str, payload: bytes, caller: Caller | None = None, said=None, name="j1"
):
    async def progress(value: bytes) -> None:
        if said is not None:
            said.append(value)

    service = server.services.get(WORKERS)
    return server.run(service.run_job, app, name, payload, caller, progress)


def test_a_job_is_run_and_its_result_returned(workers: Server):
    app = deployed(workers, JOBS)
    caller = Caller(user_id="u", username="ann")
    assert job(workers, app, b'{"type": "echo",\n"a": 1}', caller) == (
        b'[{"type":"echo","a":1},"ann"]'
    )
    with pytest.raises(HandlerFailed, match="cannot: today"):
        job(workers, app, b'{"type": "fail", "why": "today"}')
    with pytest.raises(HandlerFailed, match="no handler takes this job: other"):
        job(workers, app, b'{"type": "other"}')
    assert job(workers, app, b'{"type": "find"}') == b"[]"


def test_a_job_whose_worker_dies_is_a_lost_delivery(workers: Server):
    app = deployed(workers, JOBS)
    with pytest.raises(WorkerLost, match="exit status 1"):
        job(workers, app, b'{"type": "die"}')


def test_a_job_reports_progress_and_learns_that_it_is_cancelled(workers: Server):
    app, said = deployed(workers, JOBS), []
    service = workers.services.get(WORKERS)
    running: list[bytes] = []
    thread = threading.Thread(
        target=lambda: running.append(job(workers, app, b'{"type": "long"}', said=said))
    )
    thread.start()
    eventually(lambda: len(said) > 2)
    workers.run(service.cancel_job, app, "j1")
    thread.join(5)
    assert running == [b'"stopped"']
    assert len(said) < 60, "only the latest is reported, now and then"


def test_a_job_that_is_cancelled_while_its_worker_is_not_ready_hears_of_it(
    workers: Server, monkeypatch: pytest.MonkeyPatch
):
    app, service = deployed(workers, JOBS), workers.services.get(WORKERS)
    waits, ready, usual = threading.Event(), threading.Event(), InputPipe.wait_ready

    async def later(self: InputPipe) -> None:
        waits.set()
        while not ready.is_set():
            await asyncio.sleep(0.01)
        await usual(self)

    monkeypatch.setattr(InputPipe, "wait_ready", later)
    monkeypatch.setattr(InputPipe, "is_ready", False)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(job, workers, app, b'{"type": "long"}')
        assert waits.wait(10)
        workers.run(service.cancel_job, app, "j1")
        ready.set()
        assert running.result(30) == b'"stopped"'


def test_a_change_of_state_is_reported(workers: Server):
    seen: list[tuple[str, str]] = []

    async def on_state_change(app_id: str, state: str) -> None:
        seen.append((app_id, state))

    service = workers.services.get(WORKERS)
    service.on_change(on_state_change)
    app = deployed(workers, JOBS)
    assert app in service.running()
    stop(workers, app)
    assert app not in service.running()
    assert [state for reported, state in seen if reported == app] == [
        "running",
        "stopping",
        "stopped",
    ]


def test_a_caller_is_remembered_for_a_moment_and_needs_an_account(workers: Server):
    user, callers = workers.user(), workers.services.get(CALLERS)
    actor = Actor(user_id=user.id, username=user.username)
    caller = workers.run(callers.get_caller, actor, "app")
    assert (caller.user_id, caller.username) == (user.id, user.username)
    assert workers.run(callers.get_caller, actor, "app") is caller
    for unknown in (None, "", "nonsense", "00000000-0000-0000-0000-000000000000"):
        with pytest.raises(Unauthenticated):
            workers.run(callers.get_caller, Actor(user_id=unknown), "app")


@pytest.mark.slow
def test_secrets_that_change_while_a_worker_comes_up_reach_it(workers: Server):
    app = install(workers)
    url = f"/api/v1/apps/{app}/secrets"
    slow = (
        HEAD
        + """
@worker.on_start
def wait(): time.sleep(1.2)
@worker.rpc
def key(p, c): return os.environ.get("KEY")
worker.run()
"""
    )
    deploying = threading.Thread(target=deploy, args=(workers.admin, app, {"worker.py": slow}))
    deploying.start()
    time.sleep(0.5)
    late = workers.login("admin")
    assert late.post(url, json={"key": "KEY", "value": "late"}).status_code == 200
    deploying.join()
    eventually(lambda: result(workers.admin, app, "key") == "late", 6)


def test_one_more_start_is_enough_where_secrets_never_stay_the_same(workers: Server):
    calls = Counter[str]()

    class Restless:
        async def worker_environment(self, app_id: str) -> dict[str, str]:
            calls[app_id] += 1
            return {"TICKET": str(calls[app_id])}

    implementations = workers.kernel.bus.implementations("worker_environment")
    restless = HookImplementation("restless", Restless().worker_environment, ["app_id"])
    implementations.append(restless)
    try:
        app = deployed(workers)

        def ticket() -> str:
            return result(workers.admin, app, "facts")["environment"]["TICKET"]

        eventually(lambda: ticket() == "3")
        time.sleep(0.5)
        assert ticket() == "3"
        assert calls[app] == 3, "deployed, found outdated, started again"
    finally:
        implementations.remove(restless)


def test_too_many_uploads_at_once_are_503(workers: Server, monkeypatch: pytest.MonkeyPatch):
    app = deployed(workers)
    deploys = workers.services.get(SERVICE)
    monkeypatch.setattr(deploys, "_uploads", ConcurrencyLimiter(0, retry_after=10))
    answer = deploy(workers.admin, app, {"worker.py": PYTHON})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "10"


def test_one_user_leaves_others_places_for_uploads(
    workers: Server, monkeypatch: pytest.MonkeyPatch
):
    deploys = workers.services.get(SERVICE)
    uploads = ConcurrencyLimiter(4, per_key=2, retry_after=10)
    monkeypatch.setattr(deploys, "_uploads", uploads)
    app, other = deployed(workers), workers.user()
    workers.assign(other, app, "admin")
    host, port = workers.url.removeprefix("http://").split(":")
    head = (
        f"POST /api/v1/apps/{app}/deploy HTTP/1.1\r\nhost: localhost\r\n"
        f"authorization: {workers.admin.headers['authorization']}\r\n"
        "content-type: multipart/form-data; boundary=x\r\ncontent-length: 60000\r\n\r\n--x"
    )
    with ExitStack() as stack:
        for _ in range(2):
            slow = socket.create_connection((host, int(port)), 10)
            stack.enter_context(slow).sendall(head.encode())
        eventually(lambda: uploads._active == 2)
        answer = deploy(workers.admin, app, {"worker.py": PYTHON})
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "10"
        assert deploy(other, app, {"worker.py": PYTHON}).status_code == 200
    eventually(lambda: uploads._active == 0)
    assert deploy(workers.admin, app, {"worker.py": PYTHON}).status_code == 200


def test_a_full_disk_is_503_and_the_old_version_goes_on(
    workers: Server, monkeypatch: pytest.MonkeyPatch
):
    app = deployed(workers)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("plugins.workers.releases.builds.unpack", full)
    answer = deploy(workers.admin, app, {"worker.py": PYTHON})
    assert (answer.status_code, answer.json()) == (503, {"error": "the server's disk is full"})
    assert result(workers.admin, app, "echo", 1) == 1
    folder = folder_of(workers.kernel.context.data_dir, app)
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".new-")]


def test_an_environment_that_cannot_be_gathered_keeps_the_old_version(workers: Server):
    app = deployed(workers)

    async def fails(app_id: str) -> dict[str, str]:
        raise RuntimeError("no vault today")

    implementations = workers.kernel.bus.implementations("worker_environment")
    broken = HookImplementation("broken", fails, ["app_id"])
    implementations.append(broken)
    try:
        assert deploy(workers.admin, app, {"worker.py": PYTHON}).status_code == 500
    finally:
        implementations.remove(broken)
    assert result(workers.admin, app, "echo", 1) == 1
    assert status(workers.admin, app)["version"] == 1


def test_a_worker_dies_with_a_server_that_is_killed(tmp_path):
    """Even one that ignores the end of its input."""
    (tmp_path / "data").mkdir()
    server = subprocess.Popen(
        [sys.executable, "-c", f"""
import asyncio, pathlib, uvloop
from plugins.workers.config import WorkersConfig
from plugins.workers.child.process import Child, Program
from plugins.workers.isolation.sandbox import Sandbox
from plugins.workers.isolation.wrapping import Place
class NoIsolation:
    def on_line(self, line): print(line.decode(), flush=True)
    def on_noise(self, level, text): print(level, text, flush=True)
    def on_unreadable(self, ids, why): pass
    def on_gone(self, ending): print("gone", flush=True)
async def main():
    sandbox = Sandbox(WorkersConfig(), pathlib.Path("{tmp_path}/data"))
    sandbox.prepare()
    argv = sandbox.wrap(["/bin/sh", "-c", "echo $$; sleep 300; sleep 300"], 1, Place())
    environment = {{"PATH": "/usr/bin:/bin"}}
    program = Program(argv=argv, environment=environment, folder=pathlib.Path("/"))
    await Child.spawn(NoIsolation(), program)
    await asyncio.sleep(300)
uvloop.run(main())
"""],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout
    lines = iter(server.stdout.readline, "")
    pid = int(next(line for line in lines if line.strip().isdecimal()))
    assert alive(pid)
    server.kill()
    server.wait()
    server.stdout.close()
    eventually(lambda: not alive(pid))


def test_a_deploy_has_ended_only_when_the_new_version_answers(
    workers: Server, monkeypatch: pytest.MonkeyPatch
):
    """However slow the look at the secrets is that follows."""

    async def slow(*_: object) -> bool:
        await asyncio.sleep(0.5)
        return False

    monkeypatch.setattr("plugins.workers.releases.builds.Builder.is_outdated", slow)
    app = deployed(workers)
    assert status(workers.admin, app)["status"] == "running"
    assert result(workers.admin, app, "echo", 1) == 1
    new = HEAD + "@worker.rpc\ndef new(p, c): return 2\nworker.run()\n"
    assert deploy(workers.admin, app, {"worker.py": new}).status_code == 200
    assert result(workers.admin, app, "new") == 2
