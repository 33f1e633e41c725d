"""The tools of the benchmark measure what they say: wrong figures are worse than none."""

from __future__ import annotations

import asyncio

import pytest

from tests.benchmarks.load import BadReply, drain, measure, request
from tests.benchmarks.report import Table
from tests.benchmarks.stage import crm_manifest
from tests.benchmarks.statements import Pgbench, Statement, statements_in

LOG = """\
caudex> LOG:  execute _pg3_4: select row_to_json(r) from (
\tselect 1 from "crm"."deals" where id = $1::uuid and title = $2::text) r
caudex> DETAIL:  Parameters: $1 = '0198-a', $2 = 'it''s, $3 = ''x''', $3 = NULL
caudex news> LOG:  statement: select topic from revisions
caudex> LOG:  execute <unnamed>: select count(*) from "crm"."deals"
caudex> LOG:  execute <unnamed>: select 1
"""


def run(server, requests, **more):
    return asyncio.run(measure(server.url, requests, connections=3, seconds=10, **more))


def test_every_request_is_counted_and_timed(server):
    sample = run(server, [request("GET", server.url, "/health")], count=50)
    assert sample.count == 50
    assert 0 < sample.p50 <= sample.p99 < 10
    assert sample.per_second > 0


def test_a_refusal_is_no_measurement(server):
    with pytest.raises(BadReply, match="bearer token"):
        run(server, [request("GET", server.url, "/api/v1/users")], count=5)


def test_a_complete_list_is_read_to_its_end(server):
    server.admin.post("/api/v1/apps", json=crm_manifest()).raise_for_status()
    path = "/api/v1/apps/crm/collections/companies"
    rows = [{"name": f"Company {n}"} for n in range(1000)]
    server.admin.post(f"{path}/bulk", json=rows).raise_for_status()
    token = server.admin.tokens["accessToken"]
    size, lines = asyncio.run(drain(server.url, request("GET", server.url, path, token)))
    assert size > len(server.admin.get(path).content)
    assert 999 <= lines <= 2000


def test_statements_are_read_from_the_log_with_their_parameters():
    first, second = statements_in(LOG, '"deals"')
    assert first == Statement(
        'select row_to_json(r) from (\nselect 1 from "crm"."deals" where id = $1::uuid'
        " and title = $2::text) r",
        ("0198-a", "it's, $3 = 'x'", None),
        prepared=True,
    )
    assert second == Statement('select count(*) from "crm"."deals"', (), prepared=False)


def test_a_pgbench_script_binds_what_the_server_binds(tmp_path):
    statement = Statement("select $1::uuid, $2::text, $3::int", ("a", "b", None), prepared=True)
    pgbench = Pgbench(tmp_path, "case", [statement], {"a": ["a", "c"]})
    assert pgbench.mode == "prepared"
    assert (tmp_path / "case-1.sql").read_text() == (
        "select :v1s0p1::uuid, :v1s0p2::text, null::int;\n"
    )
    assert "v0s0p1=a" in pgbench.arguments
    assert "v1s0p1=c" in pgbench.arguments


def test_a_table_is_aligned(capsys):
    table = Table("what", "figure")
    table.row("a longer name", "7 x")
    table.show()
    assert capsys.readouterr().out == (
        "what           figure\n-------------  ------\na longer name     7 x\n\n"
    )
