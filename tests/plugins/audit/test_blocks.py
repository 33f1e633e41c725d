"""Rows of one statement share entries of the indexes; no search misses or repeats one of them."""

import json
from random import Random
from typing import Any

import psycopg
import pytest
from anyio import create_task_group, run, to_thread
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.public import AUDIT, AuditFilter
from kernel.testing import Server
from tests.plugins.audit.conftest import install

ACTORS = [f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 3)]
REQUESTS = [f"r-{n}" for n in range(8)]
TABLES = ("cups", "plates")
SESSIONS = 4


def write(dsn: str, session: int) -> None:
    """Write a few rows and many, by statements whose ids mix with those of other sessions."""
    chance = Random(session)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for _ in range(30):
            with connection.transaction():
                set_to = "select set_config('caudex.actor_id', %s, true)"
                connection.execute(set_to, [chance.choice(ACTORS)])
                set_to = "select set_config('caudex.request_id', %s, true)"
                connection.execute(set_to, [chance.choice(REQUESTS)])
                for _ in range(chance.randint(1, 3)):
                    table = chance.choice(TABLES)
                    connection.execute(
                        f"insert into shop.{table} (name) select %s from generate_series(1, %s)",
                        [f"of {session}", chance.choice((1, 1, 2, 16, 60))],
                    )
                    if chance.random() < 0.3:
                        connection.execute(
                            f"delete from shop.{table} where id in (select id from shop.{table}"
                            " where name = %s limit %s)",
                            [f"of {session}", chance.choice((1, 20))],
                        )


@pytest.fixture(scope="module")
def shop(trail: Server) -> list[dict[str, Any]]:
    """All rows of the trail, the newest first: of four sessions at once, and of a time when each
    row had its entries."""
    install(trail, "shop", *TABLES)
    trail.sql(
        "insert into caudex_audit.log (table_schema, table_name, record_id, operation, actor_id,"
        " request_id) select 'shop', 'cups', n::text, 'INSERT', %s, 'r-1'"
        " from generate_series(1, 50) as n",
        ACTORS[0],
    )
    trail.sql("update caudex_audit.apps set begins = nextval('caudex_audit.log_id')"
              " where app_id = 'shop'")  # fmt: skip

    async def at_once() -> None:
        async with create_task_group() as group:
            for session in range(SESSIONS):
                group.start_soon(to_thread.run_sync, write, trail.dsn, session)

    run(at_once)
    found = trail.sql("select row_to_json(l)::text from caudex_audit.log as l order by id desc")
    return [json.loads(row) for (row,) in found]


def test_the_rows_of_a_statement_share_entries(trail: Server) -> None:
    install(trail, "sets", *TABLES)
    counted = "select count(*), count(*) filter (where follows is null) from caudex_audit.log"
    with psycopg.connect(trail.dsn) as connection:
        for change in (
            "insert into sets.cups (name) select 'of a set' from generate_series(1, 160)",
            "delete from sets.cups",
        ):
            [last] = connection.execute("select last_value from caudex_audit.log_id").fetchone()
            connection.execute(change)
            found = connection.execute(counted + " where id > %s", [last]).fetchone()
            assert found in {(160, 10), (160, 11)}
        connection.rollback()


def test_sessions_took_turns(shop: list[dict[str, Any]]) -> None:
    """Otherwise the searches below would not meet blocks with rows of several transactions."""
    blocks: dict[int, set[int]] = {}
    for row in shop:
        if row["table_schema"] == "shop":
            blocks.setdefault(row["id"] >> 4, set()).add(row["xid"])
    assert sum(len(each) > 1 for each in blocks.values()) > 20


@settings(max_examples=200)
@given(data=st.data())
def test_a_search_finds_what_a_look_at_each_row_finds(
    shop: list[dict[str, Any]], trail: Server, data: st.DataObject
) -> None:
    def maybe(*values: Any) -> Any:
        return data.draw(st.sampled_from([None, None, *values]))

    some = shop[data.draw(st.integers(0, len(shop) - 1))]
    app_id, block = maybe("shop"), some["id"] | 15
    wanted = AuditFilter(
        app_id=app_id, entity=maybe(*TABLES), operation=maybe("INSERT", "DELETE"),
        actor_id=maybe(*ACTORS), record_id=maybe(some["record_id"]),
        request_id=maybe(some["request_id"], *REQUESTS[:2]),
        before=maybe(some["id"], some["id"] + 1, block, block + 1),
        current=app_id is not None and data.draw(st.booleans()),
        limit=data.draw(st.sampled_from([1, 3, 20, 100])),
    )  # fmt: skip
    [(begins,)] = trail.sql("select begins from caudex_audit.apps where app_id = 'shop'")
    limits = {
        "table_schema": wanted.app_id, "table_name": wanted.entity, "operation": wanted.operation,
        "actor_id": wanted.actor_id, "request_id": wanted.request_id,
        "record_id": wanted.record_id,
    }  # fmt: skip
    expected = [
        row["id"]
        for row in shop
        if all(value is None or row[name] == value for name, value in limits.items())
        and (wanted.before is None or row["id"] < wanted.before)
        and (not wanted.current or row["id"] > begins)
    ]
    found = json.loads(trail.run(trail.services.get(AUDIT).search, wanted))
    assert [row["id"] for row in found] == expected[: wanted.limit]
