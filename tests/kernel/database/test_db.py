"""Statements, transactions and streams against a real PostgreSQL."""

import asyncio
import os
import signal
import time
import tracemalloc
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, LiteralString
from uuid import UUID, uuid4

import anyio
import msgspec
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from structlog.testing import capture_logs

from kernel.contracts.statements import Param, Transaction
from kernel.database import dialect
from kernel.database import pool as db_module
from kernel.database.dialect import OutcomeUnknown, to_text, translate
from kernel.database.pool import Database
from kernel.database.streams import BATCH, PIECE
from kernel.errors import (
    BadRequest,
    ConstraintViolation,
    KernelError,
    SchemaChanged,
    StatementFailed,
    Unavailable,
)
from kernel.testing import Postgres
from tests.kernel.databases import (
    ACTOR,
    RAISING,
    SLEEPS,
    asleep,
    at_rest,
    kill,
    opened,
    sql,
    table,
    text,
    together,
)
from tests.waiting import until

ID = UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479")
MOMENT = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
HARD = [
    'say "hi"',
    "back\\slash",
    "a,b",
    "{brace}",
    "",
    "NULL",
    "null",
    "Zoë 日本 🎈",
    "tab\tnl\n",
    " ",
]


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> Generator[str]:
    """A database that the tests of this module share."""
    url = postgres.create()
    yield url
    postgres.drop(url)


# --- parameters and results -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "param", "printed"),
    [
        ("select $1::text", "Zoë \\ ' \" 🎈", "Zoë \\ ' \" 🎈"),
        ("select $1::text", "", ""),
        ("select $1::int8", 2**62, str(2**62)),
        ("select $1::int4", "12", "12"),
        ("select $1::float8", 0.1, "0.1"),
        ("select $1::float8", 1e300, "1e+300"),
        ("select $1::float8", float("inf"), "Infinity"),
        ("select $1::boolean", True, "t"),
        ("select $1::boolean", False, "f"),
        ("select $1::uuid", ID, str(ID)),
        ("select $1::timestamptz", MOMENT, "2024-01-15 10:30:00+00"),
        ("select $1::timestamptz", "2024-01-15T10:30:00+02:00", "2024-01-15 08:30:00+00"),
        ("select $1::date", "2024-01-15", "2024-01-15"),
        ("select $1::jsonb", b'{"a": [1, "\\u00e9"]}', '{"a": [1, "é"]}'),
        ("select $1::text", b"bytes are text \xc3\xa9", "bytes are text é"),
        ("select ($1::jsonb)->>'k'", msgspec.json.encode({"k": 'q"\\'}), 'q"\\'),
        ("select $1::float8[]", [1.5, -2.0], "{1.5,-2}"),
        ("select $1::int8[]", [1, 2], "{1,2}"),
        ("select $1::int8[]", [], "{}"),
        ("select $1::boolean[]", [True, False], "{t,f}"),
        ("select $1::uuid[]", [ID], "{" + str(ID) + "}"),
        ("select array_length($1::text[], 1)", (b"as", "tuple"), "2"),
    ],
)  # fmt: skip
async def test_every_kind_of_parameter_arrives(
    dsn: str, query: str, param: Param, printed: str
) -> None:
    async with opened(dsn) as db:
        assert await db.fetch(text(query), param) == printed.encode()
        assert await db.fetch_all(text(query), param) == [printed.encode()]
        assert await db.execute(text(query), param) == printed.encode()
        assert await db.execute_all(text(query), param) == [printed.encode()]


async def test_arrays_keep_quotes_backslashes_nulls_and_unicode(dsn: str) -> None:
    async with opened(dsn) as db:
        items: list[Any] = [*HARD, None, "last"]
        found = await db.fetch("select to_json($1::text[])", items)
        assert msgspec.json.decode(found or b"") == items


async def test_null_and_no_row_are_none_and_null_in_a_list_is_json(dsn: str) -> None:
    async with opened(dsn) as db:
        assert await db.fetch("select $1::text", None) is None
        assert await db.fetch("select 1 where false") is None
        assert await db.fetch_all("select 1 where false") == []
        assert await db.fetch_all("select x from (values (null), ('1')) as v(x)") == [b"null", b"1"]
        assert await db.execute("create table if not exists nothing ()") is None


async def test_results_are_printed_in_utc_whatever_the_url_says(dsn: str) -> None:
    url = f"{dsn} options='-c timezone=Asia/Tokyo -c search_path=elsewhere'"
    async with opened(url) as db:
        assert await db.fetch("show timezone") == b"UTC"
        assert await db.fetch("show search_path") == b"elsewhere"


@pytest.mark.parametrize(
    "bad", ["a\0b", "\ud800", "half \udfff", b"a\0b", ["ok", "a\0b"], ["\ud83d"], b"\xff\xfe", "\0"]
)
async def test_text_that_cannot_be_stored_is_a_bad_request(dsn: str, bad: Any) -> None:
    query = "select $1::text[]" if isinstance(bad, list) else "select $1::text"
    async with opened(dsn) as db:
        for call in (db.fetch, db.fetch_all, db.execute, db.execute_all):
            with pytest.raises(BadRequest):
                await call(text(query), bad)
        assert await db.fetch("select 'still here'") == b"still here"


@pytest.mark.parametrize("raw", [b'{"a": "\\u0000"}', b'{"a": "\\ud800"}', b"{", b"[1,]", b"nan"])
async def test_json_that_postgres_refuses_is_a_bad_request(dsn: str, raw: bytes) -> None:
    async with opened(dsn) as db:
        with pytest.raises(BadRequest):
            await db.execute("select $1::jsonb", raw)


def test_a_surrogate_is_refused_before_it_is_sent() -> None:
    with pytest.raises(BadRequest, match="surrogate"):
        to_text("\ud800")


# --- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("22P02", BadRequest), ("22003", BadRequest), ("22021", BadRequest), ("22P05", BadRequest),
        ("23502", ConstraintViolation), ("23503", ConstraintViolation),
        ("23505", ConstraintViolation),
        ("23514", ConstraintViolation), ("54000", BadRequest), ("54001", BadRequest),
        ("42703", SchemaChanged), ("42P01", SchemaChanged), ("3F000", SchemaChanged),
        ("40001", Unavailable), ("40P01", Unavailable), ("40003", Unavailable),
        ("55P03", Unavailable), ("57014", Unavailable), ("53100", Unavailable),
        ("53300", Unavailable), ("58030", Unavailable), ("25006", Unavailable),
        ("25P03", Unavailable), ("08006", OutcomeUnknown), ("57P01", OutcomeUnknown),
        ("57P03", OutcomeUnknown),
    ],
)  # fmt: skip
async def test_each_class_of_sqlstate_has_a_status(
    dsn: str, state: str, expected: type[KernelError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "disk", dialect.DiskWatch())  # no other test sees a full disk
    async with opened(dsn) as db:
        with pytest.raises(expected) as caught:
            await db.execute(text(RAISING % state))
        assert type(caught.value) is expected
        if expected is not BadRequest:
            assert "secret" not in caught.value.message


@pytest.mark.parametrize("state", ["P0001", "42501", "42601", "XX000", "0A000", "25P02", "21000"])
async def test_what_is_a_fault_of_ours_stays_the_drivers_error(dsn: str, state: str) -> None:
    async with opened(dsn) as db:
        with pytest.raises(psycopg.Error) as caught:
            await db.execute(text(RAISING % state))
        assert translate(caught.value) is None


async def test_a_violation_names_table_column_and_constraint(dsn: str) -> None:
    name = table(dsn, "id int primary key, n int not null, constraint small check (n < 10)")
    async with opened(dsn) as db:
        await db.execute(text(f"insert into {name} values (1, 1)"))
        with pytest.raises(ConstraintViolation) as caught:
            await db.execute(text(f"insert into {name} values (1, 1)"))
        assert (caught.value.sqlstate, caught.value.constraint) == ("23505", f"{name}_pkey")
        with pytest.raises(ConstraintViolation) as caught:
            await db.execute(text(f"insert into {name} values (2, 50)"))
        assert (caught.value.table, caught.value.constraint) == (name, "small")
        with pytest.raises(ConstraintViolation) as caught:
            await db.execute(text(f"insert into {name} (id) values (3)"))
        assert caught.value.column == "n"


# --- plans ----------------------------------------------------------------------------------


async def test_a_custom_plan_is_never_prepared_and_others_are(dsn: str) -> None:
    async with opened(dsn, pool_size=1) as db:
        for number in range(10):
            assert await db.fetch("select $1::int + 1", number) == str(number + 1).encode()
            await db.fetch("select $1::int + 2", number, custom_plan=True)
            await db.fetch_all("select $1::int + 3", number, custom_plan=True)
        prepared = await db.fetch_all("select statement from pg_prepared_statements")
        assert any(b"+ 1" in statement for statement in prepared)
        assert not any(b"+ 2" in statement or b"+ 3" in statement for statement in prepared)


async def test_nothing_is_prepared_where_the_operator_says_so(dsn: str) -> None:
    async with opened(dsn, pool_size=1, prepare=False) as db:
        for number in range(10):
            await db.fetch("select $1::int + 1", number)
        assert await db.fetch("select count(*) from pg_prepared_statements") == b"0"


async def test_a_prepared_statement_survives_a_change_of_its_result_type(dsn: str) -> None:
    name = table(dsn)
    sql(dsn, f"insert into {name} values (1, 5)")
    async with opened(dsn, pool_size=1) as db:
        query = text(f"select n from {name} where id = $1::int")
        for _ in range(6):
            assert await db.fetch(query, 1) == b"5"
        sql(dsn, f"alter table {name} alter n type text")
        for _ in range(6):
            assert await db.fetch(query, 1) == b"5"
        sql(dsn, f"alter table {name} alter n type float8 using n::float8 + 0.5")
        assert await db.run(ACTOR, lambda tx: tx.fetch(query, 1)) == b"5.5"


async def test_a_column_that_went_away_is_reported_as_such(dsn: str) -> None:
    name = table(dsn)
    async with opened(dsn) as db:
        await db.fetch(text(f"select n from {name}"))
        sql(dsn, f"alter table {name} drop n")
        with pytest.raises(SchemaChanged):
            await db.fetch(text(f"select n from {name}"))


# --- streams --------------------------------------------------------------------------------


async def test_a_stream_comes_in_bounded_batches(dsn: str) -> None:
    async with opened(dsn) as db:
        query = "select g from generate_series(1, $1::int) as g"
        async with db.stream(query, BATCH + 1) as batches:
            sizes = [(len(batch), batch[0]) async for batch in batches]
        assert sizes == [(BATCH, b"1"), (1, b"%d" % (BATCH + 1))]
        async with db.stream(query, 0) as batches:
            assert [batch async for batch in batches] == []


@pytest.mark.slow
async def test_large_rows_after_small_ones_take_no_more_memory(dsn: str) -> None:
    """How many rows are small says nothing about the next."""
    query = """
        select case when g > 2000 then repeat(chr(96 + g % 26), 1000000) else g::text end
        from generate_series(1, 2200) as g"""
    async with opened(dsn) as db, db.stream(query) as batches:
        tracemalloc.start()
        try:
            held = [(len(batch), sum(map(len, batch))) async for batch in batches]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert sum(size for _, size in held) > 200_000_000
    assert sum(count for count, _ in held) == 2200
    bound = BATCH * PIECE + 1_000_000
    assert max(size for _, size in held) <= bound
    assert peak < 4 * bound  # the pieces, what they are joined to, its parts, the batch before


@pytest.mark.slow
async def test_a_row_that_comes_in_many_pieces_is_put_together_once(dsn: str) -> None:
    """Joined again with each of them it would be copied as often, and be there three times."""
    size = 80_000_000
    async with opened(dsn) as db:
        tracemalloc.start()
        try:
            async with db.stream(f"select repeat('x', {size})") as batches:
                assert [[len(row) for row in batch] async for batch in batches] == [[size]]
            assert tracemalloc.get_traced_memory()[1] < 2.4 * size
        finally:
            tracemalloc.stop()


async def test_rows_of_every_length_come_whole_and_in_order(dsn: str) -> None:
    """Around the length of a piece, with characters of several bytes across its end."""
    query = """
        select case when g % 7 = 0 then null when g % 7 = 1 then '' else
            repeat('x', g % 3) || repeat('\u65e5', 2664 * (g % 4) + g / 100) end
        from generate_series(1, 1200) as g"""
    async with opened(dsn) as db:
        expected = [b"null" if row is None else row.encode() for (row,) in sql(dsn, query)]
        assert {len(row) % PIECE for row in expected} >= {PIECE - 2, PIECE - 1, 0, 1}
        async with db.stream(query) as batches:
            assert [row async for batch in batches for row in batch] == expected


async def test_what_a_stream_is_made_of_costs_no_compiling(dsn: str) -> None:
    """Its rows are guessed to be so many that PostgreSQL would compile the plan of every one."""
    async with opened(dsn) as db:
        async with db.stream("select current_setting('jit') -- and a comment") as batches:
            assert [batch async for batch in batches] == [[b"off"]]
        [(before,)] = sql(dsn, "show jit")
        assert await db.fetch("show jit") == before.encode()


async def test_a_stream_can_be_left_in_the_middle_many_times(dsn: str) -> None:
    async with opened(dsn, pool_size=2) as db:
        for _ in range(12):  # prepared meanwhile, and far more than may be open at once
            async with db.stream("select g from generate_series(1, 5000) as g") as batches:
                assert len(await anext(batches)) == BATCH
        assert await db.fetch("select 1") == b"1"


async def test_one_batch_is_made_while_another_is_used_and_no_more(dsn: str) -> None:
    name = f"made_{uuid4().hex}"
    sql(dsn, f"create sequence {name}")

    def count_made() -> int:
        return sql(dsn, f"select last_value from {name}")[0][0]

    query = f"select nextval('{name}') from generate_series(1, {4 * BATCH})"
    async with opened(dsn) as db, db.stream(text(query)) as batches:
        for number in (1, 2):
            assert len(await anext(batches)) == BATCH
            await until(lambda number=number: count_made() == (number + 1) * BATCH)
        await anyio.sleep(0.05)
        assert count_made() == 3 * BATCH
        assert [len(batch) async for batch in batches] == [BATCH, BATCH]
    sql(dsn, f"drop sequence {name}")


SLOW_SECOND_BATCH = text(
    f"select case when g > {BATCH} then pg_sleep(600)::text else g::text end"
    f" from generate_series(1, {2 * BATCH}) as g"
)


async def test_what_is_made_ahead_ends_with_its_stream(dsn: str) -> None:
    async with opened(dsn, pool_size=1) as db:
        async with db.stream(SLOW_SECOND_BATCH) as batches:
            await anext(batches)
        assert await db.fetch("select 1") == b"1"  # the one connection is free again
        async with db.stream(SLOW_SECOND_BATCH) as batches:
            await anext(batches)
            with anyio.move_on_after(0.1) as scope:
                await anext(batches)
        assert scope.cancelled_caught
        assert await db.fetch("select 1") == b"1"
        assert db.held() == []
        # A cancellation that comes before the statement is lost: the connection is closed then, and
        # PostgreSQL ends the statement when it looks whether its client is there.
        await until(lambda: sql(dsn, SLEEPS, "from stream") == [])


async def test_a_fault_of_a_batch_comes_after_the_batch_before_it(dsn: str) -> None:
    query = text(f"select 1 / (g - {BATCH + 1}) from generate_series(1, {2 * BATCH}) as g")
    async with opened(dsn, pool_size=1) as db:
        async with db.stream(query) as batches:
            assert len(await anext(batches)) == BATCH
            with pytest.raises(BadRequest, match="division by zero"):
                await anext(batches)
        assert await db.fetch("select 1") == b"1"


async def test_streams_leave_a_connection_to_other_statements(dsn: str) -> None:
    async with opened(dsn, pool_size=4, pool_timeout=2) as db, AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(db.stream("select 1"))
        with pytest.raises(Unavailable, match="too many requests") as caught:
            async with db.stream("select 1"):
                pass
        assert caught.value.headers["retry-after"] == "5"
        assert await db.fetch("select 1") == b"1"


async def test_streams_leave_a_small_pool_a_connection(dsn: str) -> None:
    async with opened(dsn, pool_size=2, pool_timeout=2) as db, db.stream("select 1"):
        with pytest.raises(Unavailable):
            async with db.stream("select 1"):
                pass
        assert await db.fetch("select 1") == b"1"


async def test_an_error_of_either_side_releases_the_stream(dsn: str) -> None:
    async with opened(dsn, pool_size=3) as db:
        for _ in range(6):
            with pytest.raises(BadRequest):
                await drained(db, "select 1 / (g - 3) from generate_series(1, 9) as g")
            with pytest.raises(KeyError):
                async with db.stream("select 1"):
                    raise KeyError
            with pytest.raises(SchemaChanged):
                async with db.stream("select missing from nowhere"):
                    pass
        assert await db.fetch("select 1") == b"1"


# --- bounds ---------------------------------------------------------------------------------


@pytest.mark.slow
async def test_an_exhausted_pool_answers_within_its_timeout(dsn: str) -> None:
    async with opened(dsn, pool_size=2, pool_timeout=2.0) as db:
        holding, release = list[Transaction](), anyio.Event()

        async def hold(tx: Transaction) -> None:
            holding.append(tx)
            await release.wait()

        async def refused(call: Any) -> None:
            started = time.monotonic()
            with pytest.raises(Unavailable, match="no free connection"):
                await call("select 1")
            assert 1.9 < time.monotonic() - started < 4.8  # without the setting: 5

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(db.run, ACTOR, hold)
            tasks.start_soon(db.run, ACTOR, hold)
            with anyio.fail_after(20):
                while len(holding) < 2:
                    await anyio.sleep(0.01)
            calls = (db.fetch, db.fetch_all, db.execute)
            await together(*[lambda call=call: refused(call) for call in calls])
            release.set()
        assert await db.fetch("select 1") == b"1"


async def test_a_slow_statement_is_cut_off(dsn: str) -> None:
    async with opened(dsn, statement_timeout=0.3) as db:
        with pytest.raises(Unavailable):
            await db.fetch("select pg_sleep(60)")
        assert await db.fetch("select 1") == b"1"


async def test_a_wait_for_a_lock_is_cut_off(dsn: str) -> None:
    name = table(dsn)
    with psycopg.connect(dsn) as holder:
        holder.execute(f"lock table {name}".encode())
        async with opened(dsn, lock_timeout=0.3) as db:
            assert await db.fetch("show lock_timeout") == b"300ms"
            with pytest.raises(Unavailable) as raised:
                await db.execute(text(f"insert into {name} values (1)"))
            assert isinstance(raised.value.__cause__, psycopg.errors.LockNotAvailable)


async def test_a_wish_to_cancel_that_fails_is_repeated(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where PostgreSQL takes no connection more, by which it is reported."""
    ask, faults = psycopg.AsyncConnection[Any].cancel_safe, [psycopg.OperationalError("full")] * 2

    async def refused(self: psycopg.AsyncConnection[Any], **more: Any) -> None:
        if faults:
            raise faults.pop()
        await ask(self, **more)

    monkeypatch.setattr(psycopg.AsyncConnection, "cancel_safe", refused)

    slept = list[object]()

    async def sleep(tx: Transaction) -> None:
        slept.append(await tx.fetch("select pg_sleep(20)"))

    async def fails() -> None:
        await asleep(dsn, "pg_sleep(20)")
        raise LookupError

    async def write(tx: Transaction) -> None:
        await asyncio.gather(sleep(tx), fails())

    async with opened(dsn) as db:
        with pytest.raises(LookupError):
            await db.run(ACTOR, write)
    assert slept == [], "it was cancelled"
    assert faults == []


async def test_a_caller_that_gives_up_leaves_a_usable_connection(dsn: str) -> None:
    name = table(dsn)
    sql(dsn, f"create sequence {name}_ends")
    async with opened(dsn, pool_size=1) as db:
        for _ in range(3):
            with anyio.move_on_after(0.1):
                await db.fetch(text(f"select nextval('{name}_ends') from pg_sleep(9)"))
            assert await db.fetch("select 1") == b"1"
    assert sql(dsn, f"select is_called from {name}_ends") == [(False,)], "it was cancelled"


@pytest.mark.parametrize("large", ["parameter", "answer", "transaction"])
async def test_a_connection_that_took_a_large_buffer_is_replaced(dsn: str, large: str) -> None:
    """libpq keeps the buffer of its largest message, in either direction."""
    pid = "select pg_backend_pid()"
    async with opened(dsn, pool_size=1) as db:
        before = await db.fetch(pid)
        assert await db.fetch("select length($1::text)", "x" * 3_000_000) == b"3000000"
        assert len(await db.fetch("select repeat('x', 3000000)") or b"") == 3_000_000
        assert await db.fetch(pid) == before
        if large == "parameter":
            assert await db.execute("select length($1::text)", "x" * 30_000_000) == b"30000000"
        elif large == "answer":
            assert len(await db.fetch("select repeat('x', 30000000)") or b"") == 30_000_000
        else:

            async def twice(tx: Transaction) -> None:
                assert await tx.execute("select length($1::text)", "x" * 30_000_000)
                assert await tx.fetch(pid) == before

            await db.run(ACTOR, twice)
        assert await db.fetch(pid) != before


# --- lost connections -----------------------------------------------------------------------


async def test_a_read_is_sent_again_when_its_connection_breaks(dsn: str) -> None:
    async with opened(dsn, pool_size=4) as db:
        for _ in range(5):
            await together(*[lambda: db.fetch("select pg_sleep(0.05)")] * 4)
            await at_rest(db)
            assert kill(dsn) >= 1
            assert await db.fetch("select 1") == b"1"


async def test_a_read_in_flight_is_sent_again(dsn: str) -> None:
    name = table(dsn)
    sql(dsn, f"create sequence {name}_tries")
    slow = f"select 'a' from pg_sleep(case nextval('{name}_tries') when 1 then 9 else 0 end)"
    async with opened(dsn, pool_size=3) as db:

        async def cut() -> None:
            await asleep(dsn, f"{name}_tries")
            await at_rest(db, out=1)
            assert kill(dsn) >= 1

        async def read() -> None:
            assert await db.fetch(text(slow)) == b"a"
            assert await db.fetch_all("select 'b'") == [b"b"]

        await together(cut, read)
    assert sql(dsn, f"select last_value from {name}_tries") == [(2,)]


async def test_a_write_in_flight_is_unavailable_and_never_sent_twice(dsn: str) -> None:
    name = table(dsn)
    sql(dsn, f"create sequence {name}_tries")
    async with opened(dsn, pool_size=3) as db:

        async def cut() -> None:
            await asleep(dsn, f"{name}_tries")
            await at_rest(db, out=1)
            assert kill(dsn) >= 1

        async def write() -> None:
            slow = f"insert into {name} select nextval('{name}_tries') from pg_sleep(9)"
            with pytest.raises(OutcomeUnknown) as reported:
                await db.execute(text(slow))
            assert "may have been made" in reported.value.message
            assert "retry-after" not in reported.value.headers

        await together(cut, write)
        assert await db.execute("select 'next'") == b"next"
    assert sql(dsn, f"select is_called from {name}_tries") == [(False,)]
    assert sql(dsn, f"select * from {name}") == []


async def test_a_stream_whose_connection_breaks_fails_and_is_released(dsn: str) -> None:
    async with opened(dsn, pool_size=2) as db:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await drained(db, "select g from generate_series(1, 5000) as g", lambda: kill(dsn))
        assert await db.fetch("select 1") == b"1"


# --- helpers --------------------------------------------------------------------------------


async def drained(db: Database, query: LiteralString, each: Callable[[], Any] = int) -> None:
    """Read a whole stream, with something done at each batch."""
    async with db.stream(query) as batches:
        async for _ in batches:
            each()


async def test_literal_text_that_names_what_is_not_there_is_wrong(dsn: str) -> None:
    async with opened(dsn) as db:
        with pytest.raises(StatementFailed, match="function jso_build_object") as caught:
            await db.fetch("select jso_build_object()::text")
    assert caught.value.sqlstate == "42883"


async def test_a_compiled_statement_that_names_what_is_not_there_is_outdated(dsn: str) -> None:
    async with opened(dsn) as db:
        with capture_logs() as logged, pytest.raises(SchemaChanged):
            await db.fetch(b"select jso_build_object()::text")
    [line] = [each for each in logged if each["event"] == "a statement does not fit the schema"]
    assert (line["sqlstate"], "jso_build_object" in line["error"]) == ("42883", True)


async def test_a_peer_that_says_nothing_any_more_costs_a_bounded_time(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a proxy that acknowledges for a server that is gone."""
    monkeypatch.setattr(db_module, "ANSWER_GRACE", 0.3)
    async with opened(dsn, statement_timeout=0.3, pool_size=1) as db:
        pid = int(await db.fetch("select pg_backend_pid()") or 0)
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(OutcomeUnknown):
                await db.execute("select 1")
            assert await db.fetch("select 1") == b"1"  # on a new connection
        finally:
            os.kill(pid, signal.SIGCONT)


async def test_a_task_cancelled_while_a_connection_is_released_takes_it_from_no_other(
    dsn: str,
) -> None:
    """If the release stopped halfway, the connection and its next waiter would be lost."""
    inside, leave = asyncio.Event(), asyncio.Event()

    async def stay(tx: Transaction) -> None:
        inside.set()
        await leave.wait()

    async with opened(dsn, pool_size=1, pool_timeout=5.0) as db:
        holder = asyncio.get_running_loop().create_task(db.run(ACTOR, stay))
        await inside.wait()
        async with db.connections.pool._lock:  # as others do that come and go at this moment
            leave.set()
            await asyncio.wait([holder], timeout=1)
            holder.cancel()
            await asyncio.wait([holder], timeout=1)
        assert await db.fetch("select 1") == b"1"


async def test_a_direct_connection_has_the_options_of_its_own_url(database: str) -> None:
    pooled, direct = (
        make_conninfo(database, options=f"-c search_path={name}") for name in ("pooled", "direct")
    )
    async with opened(pooled, direct_url=direct) as db:
        for is_direct, wanted in ((False, "pooled"), (True, "direct")):
            async with db.connect(direct=is_direct) as connection:
                cursor = await connection.execute("show search_path")
                assert await cursor.fetchone() == (wanted,)
