"""The tools of the benchmark measure what they say: wrong figures are worse than none."""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

import tests.benchmarks.__main__ as command
from kernel.contracts.apps import Entity, Field
from kernel.toolkit.limiter import ConcurrencyLimiter
from plugins.data.statements.entity_table import Table as EntityTable
from plugins.jobs.inserts import INSERT, INSERT_MANY
from tests.benchmarks import check, processes, requests
from tests.benchmarks.__main__ import GROUP_OF, GROUPS, groups
from tests.benchmarks.chart import svg
from tests.benchmarks.figures import Case, Measured, ratio
from tests.benchmarks.goals import costs
from tests.benchmarks.load import (
    BadReply,
    drain,
    first_body,
    load,
    measure,
    request,
    unchunked,
    wrk_sample,
)
from tests.benchmarks.machine import machine
from tests.benchmarks.peers.program import ROOT
from tests.benchmarks.queues import WORKER, archive
from tests.benchmarks.report import Table, of_ratios
from tests.benchmarks.requests import BULK, MANY, WANTS, records, same
from tests.benchmarks.stage import CONFIG, crm_manifest
from tests.benchmarks.statements import Pgbench, Statement, statements_in
from tests.benchmarks.surroundings import LISTENERS
from tests.waiting import eventually

LOG = """\
caudex> LOG:  execute _pg3_4: select row_to_json(r) from (
\tselect 1 from "crm"."deals" where id = $1::uuid and title = $2::text) r
caudex> DETAIL:  Parameters: $1 = '0198-a', $2 = 'it''s, $3 = ''x''', $3 = NULL
caudex notifications> LOG:  statement: select topic from revisions
caudex> LOG:  execute <unnamed>: select count(*) from "crm"."deals"
caudex> LOG:  execute <unnamed>: select 1
"""
RECORD = {"title": "A", "value": 1.5, "stage": "Lead", "close_date": "2025-01-02", "notes": "n"}
WITH_WRK = [None] if shutil.which("wrk") is None else [None, shutil.which("wrk")]


def run(server, requests, **more):
    return asyncio.run(measure(server.url, requests, connections=3, seconds=10, **more))


class Reported:
    """A contender that answers, or measures, what it is asked to."""

    def __init__(self, name, body=b"", rates=()):
        self.name, self._body, self._rates = name, body, list(rates)

    def body(self):
        return self._body

    def measure(self, seconds):
        rate = self._rates.pop(0)
        return Measured(rate=rate, server_cpu=1 / rate, p50=None)


# Load


def test_every_request_is_counted_and_timed(server):
    sample = run(server, [request("GET", server.url, "/health")], count=50)
    assert sample.count == 50
    assert 0 < sample.p50 <= sample.p99 < 10
    assert sample.per_second > 0


@pytest.mark.slow
@pytest.mark.parametrize("wrk", WITH_WRK)
def test_load_sends_every_variant_and_counts_what_was_answered(server, wrk):
    raw = [request("GET", server.url, f"/health?{n}") for n in range(3)]
    began = time.perf_counter()
    sample = load(server.url, raw, connections=4, seconds=1, wrk=wrk)
    took = time.perf_counter() - began
    assert sample.count > 8  # each connection goes on
    assert 0 < sample.p50 <= sample.p99 < 5
    assert sample.count / took <= sample.per_second < 2 * sample.count


@pytest.mark.parametrize("wrk", WITH_WRK)
def test_a_refusal_is_no_measurement(server, wrk):
    raw = [request("GET", server.url, "/api/v1/users")]
    with pytest.raises(BadReply, match="bearer token"):
        load(server.url, raw, connections=2, seconds=1, wrk=wrk)


def test_refusals_that_only_wrk_meets_are_no_measurement():
    assert wrk_sample("caudex 100 2000000 1500 9000 0\n").per_second == 50
    with pytest.raises(BadReply, match="3 of 100"):
        wrk_sample("caudex 100 2000000 1500 9000 3\n")
    with pytest.raises(BadReply, match="no such option"):
        wrk_sample("no such option")


def test_a_complete_list_is_read_to_its_end(server):
    server.admin.post("/api/v1/apps", json=crm_manifest()).raise_for_status()
    path = "/api/v1/apps/crm/collections/companies"
    rows = [{"name": f"Company {n}"} for n in range(1000)]
    server.admin.post(f"{path}/bulk", json=rows).raise_for_status()
    token = server.admin.tokens["accessToken"]
    raw = request("GET", server.url, path, token)
    size, lines = asyncio.run(drain(server.url, raw))
    assert size > len(server.admin.get(path).content)
    assert 999 <= lines <= 2000
    assert first_body(server.url, raw) == server.admin.get(path).content


def test_chunks_are_joined():
    assert unchunked(b"4\r\nab\r\n\r\n3;x=1\r\ncde\r\n0\r\n\r\n") == b"ab\r\ncde"


# Statements


def test_statements_are_read_from_the_log_with_their_parameters():
    first, second = statements_in(LOG, '"deals"')
    assert first == Statement(
        'select row_to_json(r) from (\nselect 1 from "crm"."deals" where id = $1::uuid'
        " and title = $2::text) r",
        ("0198-a", "it's, $3 = 'x'", None),
        prepared=True,
    )
    assert second == Statement('select count(*) from "crm"."deals"', (), prepared=False)


def test_statements_of_the_pipeline_are_read_too():
    log = LOG.replace("caudex> LOG:  execute <unnamed>", "caudex pipeline> LOG:  execute s1")
    assert [each.prepared for each in statements_in(log, '"deals"')] == [True, True]


def test_a_pgbench_script_binds_what_the_server_binds(tmp_path):
    statement = Statement("select $1::uuid, $2::text, $3::int", ("a", "b", None), prepared=True)
    pgbench = Pgbench(tmp_path, "case", [statement], {"a": ["a", "c"]})
    assert pgbench.mode == "prepared"
    assert (tmp_path / "case-1.sql").read_text() == (
        "select :v1s0p1::uuid, :v1s0p2::text, null::int;\n"
    )
    assert "v0s0p1=a" in pgbench.arguments
    assert "v1s0p1=c" in pgbench.arguments


def test_a_pgbench_script_makes_the_ids_that_the_server_makes(tmp_path):
    title = Field(name="title", type="text", sql_type="text")
    deals = Entity(app_id="crm", name="deals", id_type="uuid", id_declared=False, fields=(title,))
    text = EntityTable(deals).writes.insert_many_statement(("title",), 40, 1).decode()
    ids = "{01a223b3-8255-7000-86b9-54a1f1f5effd}"
    made = Statement(text, ("{}", "owner", ids, "{A}"), prepared=True)
    pgbench = Pgbench(tmp_path, "case", [made])
    script = (tmp_path / "case-0.sql").read_text()
    assert 'select uuidv7(), x."title"::text, :v0s0p2::uuid from' in script
    assert "v0s0p4={A}" in pgbench.arguments


def test_a_pgbench_script_makes_the_id_of_a_job(tmp_path):
    values = ("01a223b3-8255-7000-86b9-54a1f1f5effd", "crm", *["1"] * 11)
    made = Statement(INSERT, values, prepared=True)
    Pgbench(tmp_path, "case", [made])
    assert "values (uuidv7(), :v0s0p1::text, " in (tmp_path / "case-0.sql").read_text()


def test_a_pgbench_script_makes_the_ids_of_several_jobs(tmp_path):
    made = Statement(INSERT_MANY, ("[]",), prepared=True)
    Pgbench(tmp_path, "case", [made])
    assert "select uuidv7(), n.app_id, " in (tmp_path / "case-0.sql").read_text()


def test_a_pgbench_script_makes_the_id_of_a_single_record(tmp_path):
    title = Field(name="title", type="text", sql_type="text")
    deals = Entity(app_id="crm", name="deals", id_type="uuid", id_declared=False, fields=(title,))
    text = EntityTable(deals).writes.insert_statement(("id", "title")).decode()
    made = Statement(text, ("{}", "01a223b3-8255-7000-86b9-54a1f1f5effd", "A", "b"), prepared=True)
    pgbench = Pgbench(tmp_path, "case", [made])
    script = (tmp_path / "case-0.sql").read_text()
    assert "select uuidv7(), :v0s0p2::text, :v0s0p3::uuid where" in script
    assert pgbench.arguments[:6:2] == ["-D", "-D", "-D"]
    assert pgbench.arguments[1:6:2] == ["v0s0p1={}", "v0s0p2=A", "v0s0p3=b"]


# Comparing


@pytest.mark.parametrize(
    "found",
    [
        {"id": 1, **RECORD, "close_date": "2025-01-02 00:00:00.000Z"},
        [RECORD],
        {"items": [RECORD], "page": 1},
        [{"status": 200, "body": RECORD}],
        [json.dumps(RECORD)],
        [[RECORD]],
    ],
    ids=["a record", "a list", "a page", "a batch", "a column of text", "a column of JSON"],
)
def test_records_are_found_in_whatever_they_are_wrapped(found):
    assert records(json.dumps(found).encode()) == [RECORD]


@pytest.mark.parametrize(
    "linked",
    [
        {"company_id": "c1", "expand": {"company_id": {"id": "c1", "name": "Acme"}}},
        {"company": "c1", "expand": {"company": {"id": "c1", "name": "Acme"}}},
        {"company_id": "c1", "company": {"id": "c1", "name": "Acme"}},
    ],
    ids=["ours", "PocketBase", "by hand"],
)
def test_linked_records_are_compared_wherever_they_are(linked):
    found = json.dumps([{**RECORD, **linked}]).encode()
    assert records(found) == [{**RECORD, "company": "Acme"}]


def test_nothing_is_timed_that_answers_otherwise():
    one, other = b'[{"title": "A"}]', b'[{"title": "B"}]'
    same("x", 1, [Reported("ours", one), Reported("theirs", one)])
    with pytest.raises(ValueError, match=r"theirs answers otherwise than ours.*'A'.*'B'"):
        same("x", 1, [Reported("ours", one), Reported("theirs", other)])
    with pytest.raises(ValueError, match="theirs answers otherwise"):
        same("x", 1, [Reported("ours", one), Reported("theirs", b"[]")])
    with pytest.raises(ValueError, match="answers 1 records, 20 are wanted"):
        same("x", 20, [Reported("ours", one)])


def test_contenders_take_turns_and_medians_are_divided():
    ours, theirs = Reported("ours", rates=[10, 30, 20]), Reported("theirs", rates=[5, 100, 4])
    case = Case("case", [ours], [theirs])
    for _ in range(3):
        case.round(1)
    [found] = case.ratios()
    assert (found.case, found.ours, found.against) == ("case", "ours", "theirs")
    assert found.rate == 4
    assert found.server_cpu == pytest.approx((1 / 20) / (1 / 5))
    assert found.p50 is None
    assert found.memory is None


def test_no_caller_is_always_first():
    turns = []

    class Noted(Reported):
        def measure(self, seconds):
            turns.append(self.name)
            return super().measure(seconds)

    case = Case("case", [Noted("ours", rates=[1, 1])], [Noted("theirs", rates=[1, 1])])
    case.round(1)
    case.round(1)
    assert turns == ["ours", "theirs", "theirs", "ours"]


def test_what_was_not_measured_is_no_ratio():
    one = [Measured(rate=1, memory=50)]
    assert ratio("x", "a", one, "b", [Measured(rate=2, memory=0)]).memory is None


# What is reported


def test_groups_are_chosen_by_name_and_wrong_names_are_reported():
    assert groups("jobs, rpc") == ["jobs", "rpc"]
    with pytest.raises(argparse.ArgumentTypeError, match=r"no such group: job .*jobs"):
        groups("job")
    assert {want.name for want in WANTS} == set(GROUP_OF)
    assert set(GROUP_OF.values()) <= set(GROUPS)
    assert len(MANY) == BULK


def test_one_user_may_be_all_the_listeners_of_a_log():
    readers = tomllib.loads(CONFIG)["plugins"]["logs"]["readers_per_app"]
    shares = ConcurrencyLimiter(per_key=(readers + 1) // 2)
    for _ in range(LISTENERS):
        shares.take("the user")


def test_what_was_measured_is_reported_also_where_a_case_fails(tmp_path, monkeypatch, capsys):
    class Standing:
        def ask(self, _):
            return "18.6"

    def until_it_fails(stages, results, *_):
        results.ratios.append(ratio("first", "c", [Measured(rate=3)], "d", [Measured(rate=1)]))
        raise RuntimeError("the second failed")

    monkeypatch.setattr(command, "program", lambda _: None)
    monkeypatch.setattr(command, "stage", lambda *_, **__: nullcontext(Standing()))
    monkeypatch.setattr(command, "_run", until_it_fails)
    file, chart = tmp_path / "found.json", tmp_path / "found.svg"
    with pytest.raises(RuntimeError, match="the second failed"):
        command.main(["--json", str(file), "--chart", str(chart)])
    assert "3.00 x" in capsys.readouterr().out
    assert [each["case"] for each in json.loads(file.read_text())["ratios"]] == ["first"]
    assert "first" in chart.read_text()


def test_a_table_is_aligned(capsys):
    table = Table("what", "figure")
    table.row("a longer name", "7 x")
    table.show()
    assert capsys.readouterr().out == (
        "what           figure\n-------------  ------\na longer name     7 x\n\n"
    )


def test_ratios_are_shown_and_a_dash_where_there_is_none(capsys):
    found = ratio("list", "caudex", [Measured(rate=50)], "a < b", [Measured(rate=2)])
    of_ratios([found]).show()
    assert capsys.readouterr().out.splitlines()[2].split()[-6:] == ["x", *"-----"]
    chart = ElementTree.fromstring(svg([found, ratio("x", "c", [], "d", [])], "On <this>"))
    texts = [element.text for element in chart.iter("{http://www.w3.org/2000/svg}text")]
    assert {"list", "25", "1 x", "against a < b", "On <this>"} <= set(texts)
    assert "x" not in texts


def test_a_chart_draws_the_faster_to_the_right_of_one_and_the_slower_to_the_left():
    both = [
        ratio("fast", "c", [Measured(rate=10)], "d", [Measured(rate=1)]),
        ratio("slow", "c", [Measured(rate=1)], "d", [Measured(rate=10)]),
    ]
    chart = ElementTree.fromstring(svg(both, "x"))
    bars = [one for one in chart.iter("{http://www.w3.org/2000/svg}rect") if len(one)]
    fast, slow = ((float(bar.get("x", 0)), float(bar.get("width", 0))) for bar in bars)
    assert fast[0] == pytest.approx(slow[0] + slow[1], abs=0.2)
    assert fast[1] == pytest.approx(slow[1], abs=0.2)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="the figures come from /proc")
def test_processor_time_and_memory_are_those_of_the_whole_tree():
    burn = "import time\nend = time.process_time() + 0.6\nwhile time.process_time() < end: pass"
    burnt = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    code = f"{burnt}; print(flush=True); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as child:
        child.stdout.readline()  # its own child has ended, and its time went over, rounded again
        assert 0.5 <= processes.cpu(child.pid) < 3
        without = processes.cpu(os.getpid(), child.pid)
        assert processes.cpu(os.getpid()) >= without + 0.5
        assert 2 < processes.memory(child.pid) < 200
        child.communicate(b"\n")
    assert processes.cpu(child.pid) == 0


def test_a_machine_is_reported_without_its_name():
    reported = str(machine("18.1"))
    assert f"{os.cpu_count()} cores" in reported
    assert "PostgreSQL 18.1" in reported
    assert os.uname().nodename not in reported


def test_the_worker_is_packed_as_it_is_deployed():
    assert b"from caudex_worker import Worker" in gzip.decompress(
        archive("worker.py", WORKER.read_bytes())
    )


def test_what_is_compared_with_is_pinned_by_hash_and_names_no_address():
    lock = (ROOT / "tests/benchmarks/peers/requirements.txt").read_text()
    wanted = (ROOT / "tests/benchmarks/peers/requirements.in").read_text()
    for line in wanted.splitlines():
        if line and not line.startswith("#"):
            name = line.partition(">")[0].partition("[")[0]
            assert f"\n{name}==" in lock
    assert "--hash=sha256:" in lock
    assert "://" not in lock


class Spender:
    """Takes so much processor time for a request while another one is measured as well."""

    def __init__(self, name: str, cost: float, meet: threading.Barrier) -> None:
        self.name = name
        self._cost, self._meet = cost, meet
        self._speeds = iter([1, 1, 1, 2, 2])

    def measure(self, seconds: float) -> Measured:
        self._meet.wait(10)
        cost = self._cost * next(self._speeds)
        return Measured(rate=1, server_cpu=cost * 0.7, database_cpu=cost * 0.3)


@pytest.mark.parametrize(("cost", "code"), [(1.05, 0), (1.2, 1)])
def test_processor_time_that_grew_is_found(
    cost: float, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    meet = threading.Barrier(2)
    case = Case("get", [Spender(check.OURS, cost, meet)], [Spender(check.EARLIER, 1.0, meet)])
    ratios = check.measure([case], rounds=5, seconds=1)
    assert ratios == {"get": pytest.approx(cost)}
    assert check.show([ratios], "v0") == code
    assert ("is too much" in capsys.readouterr().out) == bool(code)


def test_a_check_of_nothing_fails() -> None:
    assert check.show([{}], "v0") == 1


@pytest.mark.parametrize(("each", "code"), [((1.18, 0.98), 0), ((1.18, 1.08), 1)])
def test_one_start_alone_does_not_decide(each: tuple[float, ...], code: int) -> None:
    assert check.show([{"get": ratio} for ratio in each], "v0") == code


def test_servers_take_turns_and_run_on_afterwards() -> None:
    sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    try:
        files = [Path(f"/proc/{each.pid}/stat") for each in sleepers]
        seen = set[tuple[str, ...]]()
        with check.taking_turns([each.pid for each in sleepers]):
            for _ in range(40):
                time.sleep(0.01)
                seen.add(tuple(file.read_text().split()[2] for file in files))
        assert {("T", "S"), ("S", "T")} <= seen
        eventually(lambda: [file.read_text().split()[2] for file in files] == ["S", "S"])
    finally:
        for each in sleepers:
            each.kill()
            each.wait()


def test_both_versions_do_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    servers: Any = SimpleNamespace(name=check.OURS), SimpleNamespace(name=check.EARLIER)
    monkeypatch.setattr(requests, "ours_of", lambda stage, want: stage)
    monkeypatch.setattr(requests, "same", lambda name, rows, pair: None)
    monkeypatch.setattr(check, "OTHERS", {"login": {"login": lambda stage: stage}})
    found = check.cases(*servers, ["list", "filter", "login"])
    names = ["list of 20", "list of 100", "filtered list of 20", "login"]
    assert [each.name for each in found] == names


def test_costs_are_shown_beside_their_goals(capsys: pytest.CaptureFixture[str]):
    cpu = {"server_cpu": 0.000_07, "database_cpu": 0.000_025}
    ours = [Measured(rate=1000, **cpu)]
    measured = {
        "GET by id": {
            "caudex (pipeline)": ours,
            "pgbench, same statements": [Measured(rate=4000)],
            "FastAPI + SQLAlchemy": [Measured(rate=50)],
        },
        "rpc, Python worker": {
            "caudex (pipeline)": ours,
            "GET /health": [Measured(rate=1, server_cpu=0.000_02)],
        },
        "2 processes": {"2 processes": ours},
    }
    costs(measured).show()
    lines = capsys.readouterr().out.splitlines()
    got, rpc = (line for line in lines if line.startswith(("GET", "rpc")))
    assert got.split("  ")[0] == "GET by id"
    assert [cell.strip() for cell in got.split("  ") if cell.strip()][1:5] == [
        "70", "25", "0.25 / 0.33 !", "20.0 / 15",
    ]  # fmt: skip
    assert "3.50 / 2.7 !" in rpc
    assert "2 processes" not in "".join(lines)
