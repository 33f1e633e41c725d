"""What a search of the trail costs: pages that are read, and time where nothing is found."""

import json
import math
import time
from typing import Any

import pytest

from kernel.contracts.statements import POOL
from kernel.public import AUDIT, MAX_PAGE_BYTES, AuditFilter
from kernel.testing import Server
from plugins.audit.searches import choose_statement

ABSENT = "99999999-9999-4999-8999-999999999999"
BUSY = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
"""The id of a record that changed often."""
WANTED = [
    AuditFilter(),
    AuditFilter(app_id="many"),
    AuditFilter(app_id="many", entity="e1"),
    AuditFilter(entity="e1", operation="UPDATE"),
    AuditFilter(record_id="7"),
    AuditFilter(actor_id="00000000-0000-4000-8000-000000000007"),
    AuditFilter(app_id="many", before=50_000),
    AuditFilter(app_id="many", current=True),
    AuditFilter(app_id="many", record_id="7", current=True),
    AuditFilter(record_id=BUSY),
    AuditFilter(record_id=BUSY.upper()),
]
ABSENTEES = [
    AuditFilter(app_id="absent"),
    AuditFilter(entity="absent"),
    AuditFilter(app_id="many", entity="rare"),
    AuditFilter(app_id="many", operation="TRUNCATE"),
    AuditFilter(record_id="absent"),
    AuditFilter(actor_id=ABSENT),
    AuditFilter(app_id="many", entity="rare", actor_id=ABSENT),
    AuditFilter(app_id="many", entity="e1", current=True, before=10),
    AuditFilter(app_id="later", current=True),
    AuditFilter(app_id="later", record_id="7", current=True),
]


@pytest.fixture(scope="module")
def many(trail: Server) -> Server:
    """A hundred thousand rows; those of `rare` are the oldest."""
    trail.sql(
        "insert into caudex_audit.kinds select 'many', name, operation from"
        " unnest('{e1,e2,rare}'::text[]) as name,"
        " unnest('{INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) as operation"
    )
    trail.sql(
        "insert into caudex_audit.log"
        " (table_schema, table_name, record_id, operation, new_record, actor_id)"
        " select 'many', case when i < 5 then 'rare' else 'e' || 1 + i % 2 end, i::text,"
        " (array['INSERT', 'UPDATE'])[1 + i / 3 % 2], '{}',"
        " ('00000000-0000-4000-8000-00000000000' || i % 10)::uuid"
        " from generate_series(1, 100000) as i"
    )
    trail.sql(
        "insert into caudex_audit.kinds values ('later', 'e1', 'INSERT');"
        "insert into caudex_audit.log (table_schema, table_name, record_id, operation, new_record)"
        " select 'later', 'e1', i::text, 'INSERT', '{}' from generate_series(1, 30000) as i;"
        "insert into caudex_kernel.apps (app_id) values ('later');"
        "insert into caudex_audit.apps values ('later', nextval('caudex_audit.log_id'))"
    )
    trail.sql(
        "insert into caudex_audit.log (table_schema, table_name, record_id, operation, new_record)"
        " select 'many', 'e1', %s, 'UPDATE', '{}' from generate_series(1, 30000) as i",
        BUSY,
    )
    trail.sql("analyze caudex_audit.log")
    return trail


def test_a_row_of_a_request_with_many_costs_no_more_than_its_first(trail: Server) -> None:
    def pages(rows: int) -> int:
        """Add rows of one request; return how many pages that read."""
        query = (
            "explain (analyze, buffers, timing off, format json)"
            " insert into caudex_audit.log (table_schema, table_name, operation, request_id)"
            f" select 'bulk', 'deals', 'INSERT', 'r-import' from generate_series(1, {rows})"
        )
        [(found,)] = trail.sql(query)
        return found[0]["Plan"]["Shared Hit Blocks"]

    first = pages(1000)
    pages(20_000)
    assert pages(1000) < 2 * first


@pytest.fixture(scope="module")
def searched(many: Server) -> Server:
    """Twenty searches are over: by now, a plan for any values would be in use."""
    service = many.services.get(AUDIT)
    for turn in range(20):
        many.run(service.search, WANTED[turn % len(WANTED)])
    return many


@pytest.mark.parametrize("wanted", [*WANTED, *ABSENTEES])
def test_a_search_reads_few_pages_after_twenty_others(
    searched: Server, wanted: AuditFilter
) -> None:
    query, params = choose_statement(wanted)
    explain: Any = "explain (analyze, buffers, timing off, format json) " + query
    values = (MAX_PAGE_BYTES, wanted.limit, *params)

    async def plan() -> bytes | None:
        return await searched.services.get(POOL).fetch(explain, *values, custom_plan=True)

    found = json.loads(searched.run(plan) or b"")[0]["Plan"]
    read = found["Shared Hit Blocks"] + found["Shared Read Blocks"]
    assert read < 900, json.dumps(found, indent=1)


@pytest.mark.slow
def test_a_search_for_what_is_absent_is_as_fast_as_a_common_one(many: Server) -> None:
    service = many.services.get(AUDIT)

    def took(wanted: AuditFilter) -> float:
        started = time.perf_counter()
        many.run(service.search, wanted)
        return time.perf_counter() - started

    usual = AuditFilter(app_id="many", entity="e1")
    for wanted in ABSENTEES:
        common = absent = math.inf
        ends = time.monotonic() + 30
        for turn in range(400):  # in turns: a busy moment hits both
            common, absent = min(common, took(usual)), min(absent, took(wanted))
            if turn >= 19 and (absent <= 2 * common or time.monotonic() > ends):
                break
        assert absent <= 2 * common, wanted
