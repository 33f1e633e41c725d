"""Calls to a worker, beside the two things that cannot be saved: a pipe and an HTTP request."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec

from .figures import Case, Measured
from .goals import HEALTH
from .load import first_body, load, request, run
from .processes import cpu
from .queues import APP, SCRIPTED, WORKER, archive, install_scripted, wait_for_worker
from .stage import ROOT, Stage

PARAMS = {"deal": "Deal 17", "stage": "Proposal", "value": 1200.5, "tags": ["fair", "2025"]}
CALLER = {"userId": "u", "username": "bench", "email": None, "authToken": "t" * 200}
ECHO = """
import os
rest = b""
while data := os.read(0, 65536):
    *lines, rest = (rest + data).split(b"\\n")
    for line in lines:
        os.write(1, line + b"\\n")
"""
PATH = f"/api/v1/apps/{APP}/rpc"
SQL_APP = f"{APP}_sql"
SQL_MANIFEST = {
    "appId": SQL_APP,
    "name": "SQL",
    "dataContract": [
        {
            "entityName": "deals",
            "fields": [{"name": "stage", "type": "text"}, {"name": "value", "type": "number"}],
        }
    ],
}
SQL_WORKER = b"""
from caudex_worker import Worker

worker = Worker()
REPORT = "select stage, count(*) as n, sum(value) as sum from deals group by stage order by stage"


@worker.rpc
async def statement(params, ctx):
    return await ctx.sql(REPORT)


@worker.rpc
async def query(params, ctx):
    reply = await ctx.collection("deals").query(
        group_by=["stage"], aggregate={"n": {"$count": "*"}, "sum": {"$sum": "value"}}
    )
    return reply["data"]


worker.run()
"""
SQL_ROWS = 1000


class OverHttp:
    """One caller, one call after the other."""

    def __init__(self, stage: Stage) -> None:
        self.name = stage.name
        self._stage = stage

    def _request(self) -> bytes:
        self._stage.sign_in()
        body = msgspec.json.encode({"method": "echo", "params": PARAMS})
        return request("POST", self._stage.url, PATH, self._stage.token, body)

    def check(self) -> None:
        """Raises ValueError where it does not answer what it was given."""
        answer = msgspec.json.decode(first_body(self._stage.url, self._request()))
        if answer not in (PARAMS, {"result": PARAMS}):
            raise ValueError(f"rpc answers {answer}")

    def measure(self, seconds: float) -> Measured:
        """Call."""
        stage, raw = self._stage, self._request()
        used = stage.cpu()
        sample = load(stage.url, [raw], connections=1, seconds=seconds)
        return Measured(
            rate=sample.per_second, p50=sample.p50, p99=sample.p99,
            server_cpu=(stage.cpu() - used) / sample.count, memory=stage.memory(),
        )  # fmt: skip


class Many:
    """Sixteen callers of a worker, which is the app `app`."""

    def __init__(self, stage: Stage, app: str) -> None:
        self.name = stage.name
        self._stage, self._path = stage, f"/api/v1/apps/{app}/rpc"

    def measure(self, seconds: float) -> Measured:
        """Call."""
        self._stage.sign_in()
        body = msgspec.json.encode({"method": "echo", "params": PARAMS})
        raw = request("POST", self._stage.url, self._path, self._stage.token, body)
        return _costs(self._stage, raw, seconds)


class Report:
    """A worker that makes a report of its caller's records, in one way."""

    def __init__(self, stage: Stage, method: str) -> None:
        self.name = f"{stage.name}, {method}"
        self._stage = stage
        self._method = method

    def make_request(self) -> bytes:
        """Make the request of a call."""
        self._stage.sign_in()
        body = msgspec.json.encode({"method": self._method, "params": None})
        path = f"/api/v1/apps/{SQL_APP}/rpc"
        return request("POST", self._stage.url, path, self._stage.token, body)

    def read(self) -> object:
        """Return the report."""
        return msgspec.json.decode(first_body(self._stage.url, self.make_request()))

    def measure(self, seconds: float) -> Measured:
        """Call, sixteen at a time."""
        return _costs(self._stage, self.make_request(), seconds)


class Health:
    """As many requests that reach no plugin's code."""

    name = HEALTH

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def measure(self, seconds: float) -> Measured:
        """Ask."""
        return _costs(self._stage, request("GET", self._stage.url, "/health"), seconds)


def _costs(stage: Stage, raw: bytes, seconds: float) -> Measured:
    used = stage.cpu()
    database_used = stage.database_cpu()
    sample = load(stage.url, [raw], connections=16, seconds=seconds)
    return Measured(
        rate=sample.per_second,
        p50=sample.p50,
        p99=sample.p99,
        server_cpu=(stage.cpu() - used) / sample.count,
        database_cpu=(stage.database_cpu() - database_used) / sample.count or None,
        memory=stage.memory(),
    )


class Floor:
    """A round trip over a pipe by asyncio's subprocess protocol, and one of bare HTTP."""

    def __init__(self, name: str, stage: Stage, code: str, greeting: Sequence[object]) -> None:
        self.name = name
        self._stage, self._code, self._greeting = stage, code, greeting

    def measure(self, seconds: float) -> Measured:
        """Add the two."""
        pipe, used = run(_pipe(self._code, self._greeting, seconds / 2))
        stage = self._stage
        before = stage.cpu()
        raw = request("GET", stage.url, "/health")
        sample = load(stage.url, [raw], connections=1, seconds=seconds / 2)
        middle = median(pipe) + sample.p50
        slow = sorted(pipe)[int(len(pipe) * 0.99)] + sample.p99
        http_cpu = (stage.cpu() - before) / sample.count
        return Measured(
            rate=1 / middle, p50=middle, p99=slow, server_cpu=used / len(pipe) + http_cpu
        )


class _Pipe(asyncio.SubprocessProtocol):
    def __init__(self) -> None:
        self._parts = b""
        self.line = asyncio.get_running_loop().create_future()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._parts += data
        if b"\n" in self._parts and not self.line.done():
            line, _, self._parts = self._parts.partition(b"\n")
            self.line.set_result(line)


async def _pipe(code: str, greeting: Sequence[object], seconds: float) -> tuple[list[float], float]:
    """Round trips to a child, and the processor time of both sides."""
    loop = asyncio.get_running_loop()
    sdk = {**os.environ, "PYTHONPATH": str(ROOT / "plugins/workers/sdk")}
    transport, protocol = await loop.subprocess_exec(
        _Pipe, sys.executable, "-c", code, env=sdk, stderr=subprocess.DEVNULL
    )
    wire = transport.get_pipe_transport(0)
    frame = {"type": "rpc", "id": "r1", "method": "echo", "params": PARAMS, "caller": CALLER}
    line = msgspec.json.encode(frame) + b"\n"
    for message in greeting:
        await _trip(protocol, wire, msgspec.json.encode(message) + b"\n")
    await _trip(protocol, wire, line)
    used = time.process_time() + cpu(transport.get_pid())
    taken: list[float] = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        sent = time.perf_counter()
        await _trip(protocol, wire, line)
        taken.append(time.perf_counter() - sent)
    used = time.process_time() + cpu(transport.get_pid()) - used
    transport.kill()
    transport.close()
    return taken, used


async def _trip(protocol: _Pipe, wire, line: bytes) -> bytes:
    wire.write(line)
    found = await asyncio.wait_for(protocol.line, 30)
    protocol.line = asyncio.get_running_loop().create_future()
    return found


def cases(stages: Sequence[Stage]) -> list[Case]:
    """One caller beside a pipe, and many of each language's worker beside bare HTTP."""
    apps = {"Python": APP}
    if install_scripted(stages):
        apps["JavaScript"] = SCRIPTED
    many = [
        Case(
            f"rpc, {language} worker", [Many(stage, app) for stage in stages], [Health(stages[-1])]
        )
        for language, app in apps.items()
    ]
    return [case(stages), *many, _report_case(stages[0])]


def _report_case(stage: Stage) -> Case:
    """A statement of `ctx.sql` against the query of the data API that says the same."""
    stage.call("POST", "/api/v1/apps", SQL_MANIFEST)
    stage.upload(f"/api/v1/apps/{SQL_APP}/deploy", archive(WORKER.name, SQL_WORKER))
    deals = f"/api/v1/apps/{SQL_APP}/collections/deals/bulk"
    stages = ("Lead", "Won", "Lost", "Open")
    records = [{"stage": stages[number % 4], "value": number} for number in range(SQL_ROWS)]
    stage.call("POST", deals, records)
    wait_for_worker(stage, SQL_APP)
    statement = Report(stage, "statement")
    query = Report(stage, "query")
    if statement.read() != query.read():
        raise ValueError(f"ctx.sql says {statement.read()}, a query {query.read()}")
    return Case("report of a worker", [statement], [query])


def case(stages: Sequence[Stage]) -> Case:
    """Through everything against the least."""
    ours = [OverHttp(stage) for stage in stages]
    for each in ours:
        each.check()
    code = Path(__file__).with_name("worker.py").read_text()
    hello = {"type": "discover", "app_id": APP, "runtime_url": "", "credentials": {}}
    others = [
        Floor("bare pipe + bare HTTP", stages[0], ECHO, []),
        Floor("pipe to the worker + bare HTTP", stages[0], code, [hello]),
    ]
    return Case("rpc", ours, others)
