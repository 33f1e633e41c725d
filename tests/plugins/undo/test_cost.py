"""What an undo and a trace read of the trail does not grow with the trail."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from kernel.testing import Server
from plugins.audit.recorded import statements, traces
from tests.plugins.undo.conftest import Crm

ROWS = 60_000
USER = "00000000-0000-4000-8000-00000000000"
FILL = """
insert into caudex_audit.log
    (table_schema, table_name, record_id, operation, old_record, new_record, actor_id, request_id)
select 'crm', 'contacts', (n / 3)::text, 'UPDATE', '{{"a": 1}}', '{{"a": 2}}',
    ('{user}' || n % 10)::uuid, 'r' || n / 20
from generate_series(1, {rows}) as n"""
NONE = {1: "'crm'", 2: "null", 3: "null", 4: "null", 5: "null", 6: "null", 7: "100001", 8: "null"}
REQUESTS = "array['r77', 'r900']"
CASES: Mapping[str, tuple[str, Mapping[int, str]]] = {
    "requests": (statements.LIST_OF_REQUESTS, {8: REQUESTS}),
    "record": (statements.LIST_OF_RECORD, {8: "array['777']"}),
    "begin": (statements.BEGINS, {}),
    "changes": (traces._CHANGES, {1: REQUESTS, 2: "100000"}),
    "events": (traces._EVENTS, {1: REQUESTS, 2: "1000"}),
}


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes_of(child)


def rows_read(server: Server, query: str, values: Mapping[int, str]) -> float:
    """Return how many rows of the trail a statement reads."""
    for number in sorted(values, reverse=True):
        query = query.replace(f"${number}", values[number])
    [(explained,)] = server.sql("explain (analyze, format json) " + query)
    plan = explained if isinstance(explained, list) else json.loads(explained)
    read = 0.0
    for node in nodes_of(plan[0]["Plan"]):
        if str(node.get("Relation Name", "")).startswith("log_"):
            passed = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            read += passed * node["Actual Loops"]
    return read


@pytest.fixture(scope="module")
def filled(installed: Server) -> Server:
    installed.sql(FILL.format(user=USER, rows=ROWS))
    installed.sql("analyze caudex_audit.log")
    return installed


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_trail_is_not_searched(filled: Server, case: str) -> None:
    query, values = CASES[case]
    assert rows_read(filled, query, {**NONE, **values}) < ROWS / 50


@pytest.mark.slow
def test_no_other_user_is_read_for_what_one_did(filled: Server) -> None:
    values = {**NONE, 6: f"'{USER}7'", 7: "100"}
    assert rows_read(filled, statements.LIST_OF_ACTOR, values) < ROWS / 5


@pytest.mark.slow
def test_an_undo_beside_a_long_trail(filled: Server, crm: Crm) -> None:
    crm.create("contacts", name="Ada")
    assert crm.undo(request=crm.request)["undone"] == 1
