"""Transactions, any caller that carries them: the kernel's pool or the pipelined driver."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import anyio
import psycopg
import pytest
from structlog.testing import capture_logs

from kernel.contracts.base import Actor, Event
from kernel.contracts.hookspecs import hookimpl
from kernel.contracts.statements import SETTINGS, Statements, Transaction, Work
from kernel.database.dialect import OutcomeUnknown
from kernel.database.transactions import TRIES
from kernel.errors import BadRequest, ConstraintViolation, Unavailable
from kernel.testing import Postgres
from plugins.pipeline.config import PipelineConfig
from plugins.pipeline.service import PipelinedStatements
from tests.kernel.databases import ACTOR, RAISING, kill, sql, table, text, together
from tests.kernel.databases import opened as opened_pool
from tests.waiting import until

Opening = Callable[..., AbstractAsyncContextManager[Statements]]


@asynccontextmanager
async def opened_group(dsn: str, *plugins: object, **settings: Any) -> AsyncGenerator[Statements]:
    """A pipelined driver with few connections."""
    async with opened_pool(dsn, *plugins, **settings) as pool:
        config = PipelineConfig(reads=1, filters=1, writes=3, prepared=10)
        async with PipelinedStatements(pool, config).opened() as group:
            yield group


@pytest.fixture(params=[opened_pool, opened_group], ids=["pool", "group"])
def opened(request: pytest.FixtureRequest) -> Opening:
    """Open either of them on a database."""
    return request.param


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> Generator[str]:
    """A database that the tests of this module share."""
    url = postgres.create()
    yield url
    postgres.drop(url)


async def test_a_transaction_commits_what_it_did(opened: Opening, dsn: str) -> None:
    name = table(dsn)

    async def write(tx: Transaction) -> str:
        await tx.execute(text(f"insert into {name} values (1)"))
        assert await tx.fetch(text(f"select count(*) from {name}")) == b"1"
        assert sql(dsn, f"select * from {name}") == []
        return "done"

    async with opened(dsn) as db:
        assert await db.run(ACTOR, write) == "done"
    assert sql(dsn, f"select id from {name}") == [(1,)]


async def test_an_error_rolls_everything_back(opened: Opening, dsn: str) -> None:
    name, called = table(dsn), list[str]()

    async def write(tx: Transaction) -> None:
        await tx.execute(text(f"insert into {name} values (1)"))
        tx.after_commit(remember(called, "never"))
        await tx.publish("topic", "never")
        raise LookupError("mine")

    async with opened(dsn) as db:
        with pytest.raises(LookupError, match="mine"):
            await db.run(ACTOR, write)
        assert await db.fetch("select 1") == b"1"
    assert sql(dsn, f"select id from {name}") == []
    assert called == []


async def test_a_function_that_hides_a_failed_statement_gets_no_success(
    opened: Opening, dsn: str
) -> None:
    name, called = table(dsn), list[str]()

    async def write(tx: Transaction) -> None:
        await tx.execute(text(f"insert into {name} values (1)"))
        tx.after_commit(remember(called, "never"))
        with suppress(ConstraintViolation):
            await tx.execute(text(f"insert into {name} values (1)"))

    async with opened(dsn, pool_size=1) as db:
        with pytest.raises(RuntimeError, match="a statement failed"):
            await db.run(ACTOR, write)
        assert await db.fetch("select 1") == b"1"
    assert sql(dsn, f"select id from {name}") == []
    assert called == []


async def test_a_statement_that_is_stale_on_every_connection_fails_no_request(
    opened: Opening, dsn: str
) -> None:
    """As after a change of a type: each connection has it prepared, and learns of it by failing."""
    name, most, inside = table(dsn), 8, asyncio.Barrier(8)

    async def read(tx: Transaction) -> bytes | None:
        return await tx.fetch(text(f"select max(id) from {name}"))

    async def prepare(tx: Transaction) -> None:
        for _ in range(7):
            await read(tx)
        await inside.wait()

    async with opened(dsn, pool_size=most) as db:
        await db.run(ACTOR, lambda tx: tx.execute(text(f"insert into {name} values (7)")))
        await asyncio.gather(*[db.run(ACTOR, prepare) for _ in range(most)])
        sql(dsn, f"alter table {name} alter column id type text")
        assert await asyncio.wait_for(db.run(ACTOR, read), 10) == b"7"


@pytest.mark.parametrize(("size", "most", "alike"), [(1, 1, 1), (2, 1, 1), (4, 3, 2), (6, 4, 2)])
async def test_transactions_with_hooks_leave_connections_to_others(
    opened: Opening, dsn: str, size: int, most: int, alike: int
) -> None:
    counts, found = Counter[str](), list[tuple[int, int]]()

    async def hooked(subject: str, done: anyio.Event) -> None:
        async def work(tx: Transaction) -> None:
            counts[subject] += 1
            found.append((counts.total(), max(counts.values())))
            await done.wait()
            counts[subject] -= 1

        await db.run(ACTOR, work, subject=subject)

    async with opened(dsn, pool_size=size) as db, anyio.create_task_group() as tasks:
        done = anyio.Event()
        for subject in "aaaaaabcdef":
            tasks.start_soon(hooked, subject, done)
        await until(lambda: counts.total() == most)
        if most < size:
            assert await db.fetch("select 1") == b"1"
        await anyio.sleep(0.2)
        done.set()
    assert len(found) == 11
    assert max(total for total, _ in found) == most
    assert max(each for _, each in found) == alike


async def test_a_savepoint_fails_alone_and_takes_its_news_with_it(
    opened: Opening, dsn: str
) -> None:
    name, called = table(dsn), list[str]()

    async def failing(tx: Transaction) -> None:
        async with tx.savepoint():
            await tx.execute(text(f"insert into {name} values (2)"))
            tx.after_commit(remember(called, "inner"))
            await tx.execute(text(f"insert into {name} values (1)"))

    async def write(tx: Transaction) -> None:
        await tx.execute(text(f"insert into {name} values (1)"))
        with pytest.raises(ConstraintViolation):
            await failing(tx)
        async with tx.savepoint():
            await tx.execute(text(f"insert into {name} values (3)"))
            tx.after_commit(remember(called, "outer"))

    async with opened(dsn) as db:
        await db.run(ACTOR, write)
    assert sql(dsn, f"select id from {name} order by 1") == [(1,), (3,)]
    assert called == ["outer"]


async def test_a_script_holds_several_statements(opened: Opening, dsn: str) -> None:
    name = table(dsn)
    script = f"insert into {name} values (1); insert into {name} values (2); -- 100 % $1".encode()
    async with opened(dsn) as db:
        await db.run(ACTOR, lambda tx: tx.script(script))
        with pytest.raises(ConstraintViolation):
            await db.run(ACTOR, lambda tx: tx.script(script))
    assert len(sql(dsn, f"select * from {name}")) == 2


async def test_what_is_left_running_writes_nothing_once_the_transaction_was_refused(
    opened: Opening, dsn: str
) -> None:
    """`gather` leaves the others running when one of them fails."""
    name = table(dsn)

    async def write(tx: Transaction) -> None:
        async def part(number: int) -> None:
            await tx.execute(text(f"insert into {name} values ($1::int)"), number)
            if not number:
                raise LookupError
            await tx.execute(text(f"insert into {name} values ($1::int)"), -number)

        await asyncio.gather(*map(part, range(5)))

    async with opened(dsn) as db:
        with pytest.raises(LookupError):
            await db.run(ACTOR, write)
        await asyncio.sleep(0.2)
    assert sql(dsn, f"select id from {name}") == []


async def test_what_is_left_running_does_not_go_on_in_the_transaction_of_another(
    opened: Opening, dsn: str
) -> None:
    name, refused = table(dsn), list[BaseException]()
    inside, taken = asyncio.Event(), asyncio.Event()

    async def first(tx: Transaction) -> None:
        async def part() -> None:
            try:
                async with tx.savepoint():
                    inside.set()
                    await taken.wait()
                    await tx.execute(text(f"insert into {name} values (1)"))
            except BaseException as error:
                refused.append(error)
                raise

        async def fails() -> None:
            await inside.wait()
            raise LookupError

        await asyncio.gather(part(), fails())

    async def second(tx: Transaction) -> None:
        await tx.execute(text(f"insert into {name} values (2)"))
        taken.set()  # what was left running goes on now
        await asyncio.sleep(0.2)
        await tx.execute(text(f"insert into {name} values (3)"))

    async with opened(dsn, pool_size=1) as db:
        with pytest.raises(LookupError):
            await db.run(ACTOR, first)
        await db.run(ACTOR, second)
    assert sql(dsn, f"select id from {name} order by id") == [(2,), (3,)]
    assert [str(error) for error in refused] == ["the transaction has ended"]


async def test_a_transaction_that_is_in_sends_nothing_more(opened: Opening, dsn: str) -> None:
    name, late = table(dsn), list[asyncio.Task[Any]]()

    async def write(tx: Transaction) -> None:
        async def later() -> None:
            await asyncio.sleep(0.1)
            await tx.execute(text(f"insert into {name} values (1)"))

        await tx.execute("select 1")
        late.append(asyncio.get_running_loop().create_task(later()))

    async with opened(dsn) as db:
        await db.run(ACTOR, write)
        with pytest.raises(RuntimeError, match="has ended"):
            await late[0]
    assert sql(dsn, f"select id from {name}") == []


async def ends_soon(opened: Opening, dsn: str) -> None:
    """Fail while a long statement runs: it is cancelled, and the connection stays."""
    slept = list[object]()

    async def sleep(tx: Transaction) -> None:
        slept.append(await tx.fetch("select pg_sleep(20)"))

    async def fails() -> None:
        await asyncio.sleep(0.05)
        raise LookupError

    async def write(tx: Transaction) -> None:
        await asyncio.gather(sleep(tx), fails())

    async with opened(dsn, pool_size=1) as db:
        own = await db.run(ACTOR, lambda tx: tx.fetch("select pg_backend_pid()"))
        with pytest.raises(LookupError):
            await db.run(ACTOR, write)
        assert slept == [], "it was cancelled"
        assert own == await db.run(ACTOR, lambda tx: tx.fetch("select pg_backend_pid()"))


async def test_the_end_does_not_wait_for_what_no_one_wants_any_more(
    opened: Opening, dsn: str
) -> None:
    await ends_soon(opened, dsn)


async def test_a_wish_to_cancel_that_comes_before_the_statement_is_repeated(
    opened: Opening, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, asked = psycopg.AsyncConnection[Any].cancel_safe, list[Any]()

    async def too_early(self: psycopg.AsyncConnection[Any], **more: Any) -> None:
        asked.append(self)
        if len(asked) > 1:
            await ask(self, **more)

    monkeypatch.setattr(psycopg.AsyncConnection, "cancel_safe", too_early)
    await ends_soon(opened, dsn)
    assert len(asked) > 1


@pytest.mark.parametrize("undone", [False, True])
async def test_what_was_given_up_is_not_committed(
    opened: Opening, dsn: str, monkeypatch: pytest.MonkeyPatch, undone: bool
) -> None:
    """The wish to cancel comes too late: the statement has been carried out."""
    name, ask = table(dsn), psycopg.AsyncConnection[Any].cancel_safe

    async def slowly(self: psycopg.AsyncConnection[Any], **more: Any) -> None:
        await asyncio.sleep(0.3)
        await ask(self, **more)

    monkeypatch.setattr(psycopg.AsyncConnection, "cancel_safe", slowly)

    async def give_up(tx: Transaction) -> None:
        async with asyncio.timeout(0.05):
            await tx.execute(text(f"insert into {name} select 1 from pg_sleep(0.15)"))

    async def write(tx: Transaction) -> None:
        await tx.execute(text(f"insert into {name} values (2)"))
        with suppress(TimeoutError):
            if not undone:
                await give_up(tx)
            async with tx.savepoint():
                await give_up(tx)

    async with opened(dsn) as db:
        if undone:
            await db.run(ACTOR, write)
        else:
            with pytest.raises(RuntimeError, match="was cancelled"):
                await db.run(ACTOR, write)
    assert sql(dsn, f"select id from {name}") == ([(2,)] if undone else [])


async def test_a_serialization_failure_runs_the_function_again(opened: Opening, dsn: str) -> None:
    """Two transactions really read, wait for each other, and write the same row."""
    name = table(dsn)
    sql(dsn, f"insert into {name} values (1, 0)")
    tries, have_read = 0, asyncio.Barrier(2)

    async def increment(tx: Transaction) -> None:
        nonlocal tries
        tries += 1
        first_try = tries <= 2
        now = int(await tx.fetch(text(f"select n from {name}")) or 0)
        if first_try:  # both have read before either writes
            async with asyncio.timeout(20):
                await have_read.wait()
        await tx.execute(text(f"update {name} set n = $1::int"), now + 1)

    async with opened(f"{dsn} options='-c default_transaction_isolation=serializable'") as db:
        await together(lambda: db.run(ACTOR, increment), lambda: db.run(ACTOR, increment))
    assert sql(dsn, f"select n from {name}") == [(2,)]
    assert tries > 2


@pytest.mark.slow
async def test_a_deadlock_runs_the_function_again(opened: Opening, dsn: str) -> None:
    name = table(dsn)
    sql(dsn, f"insert into {name} values (1, 0), (2, 0)")
    tries, hold_one = 0, asyncio.Barrier(2)

    def both(first: int, second: int) -> Work[None]:
        async def update(tx: Transaction) -> None:
            nonlocal tries
            tries += 1
            first_try = tries <= 2
            query = text(f"update {name} set n = n + 1 where id = $1::int")
            await tx.execute(query, first)
            if first_try:  # each holds the row that the other one wants next
                async with asyncio.timeout(20):
                    await hold_one.wait()
            await tx.execute(query, second)

        return update

    async with opened(dsn, lock_timeout=10) as db:
        await together(lambda: db.run(ACTOR, both(1, 2)), lambda: db.run(ACTOR, both(2, 1)))
    assert sql(dsn, f"select n from {name}") == [(2,), (2,)]
    assert tries in (3, 4)  # 4: on shared connections both may lose patience at once


async def test_after_some_tries_a_transaction_gives_up_as_unavailable(
    opened: Opening, dsn: str
) -> None:
    tries = 0

    async def fail(tx: Transaction) -> None:
        nonlocal tries
        tries += 1
        await tx.execute(text(RAISING % "40001"))

    async with opened(dsn) as db:
        with pytest.raises(Unavailable) as caught:
            await db.run(ACTOR, fail)
    assert tries == TRIES == 4
    assert caught.value.headers["retry-after"]


async def test_other_errors_are_not_tried_again(opened: Opening, dsn: str) -> None:
    tries = 0

    async def fail(tx: Transaction) -> None:
        nonlocal tries
        tries += 1
        await tx.execute(text(RAISING % "57014"))

    async with opened(dsn) as db:
        with pytest.raises(Unavailable):
            await db.run(ACTOR, fail)
    assert tries == 1


async def test_a_transaction_waits_for_a_lock_for_as_long_as_it_says(
    opened: Opening, dsn: str
) -> None:
    name, waits = table(dsn), list[bytes | None]()

    async def write(tx: Transaction) -> None:
        await tx.execute(text(f"lock table {name} in share mode"))
        for seconds in (7.5, None):
            await tx.wait_for_locks(seconds)
            waits.append(await tx.fetch("show lock_timeout"))

    async with opened(dsn, lock_timeout=20) as db:
        with psycopg.connect(dsn) as holder:
            holder.execute(text(f"lock table {name}"))
            task = asyncio.get_running_loop().create_task(db.run(ACTOR, write))
            await until(lambda: sql(dsn, "select 1 from pg_locks where not granted"))
            await asyncio.sleep(0.3)
            holder.rollback()
        await task
    assert waits == [b"7500ms", b"20s"]


async def test_callbacks_run_after_the_commit_and_one_that_fails_harms_no_other(
    opened: Opening, dsn: str
) -> None:
    name, seen = table(dsn), list[Any]()

    async def look() -> None:
        seen.append(sql(dsn, f"select id from {name}"))

    async def fail() -> None:
        raise RuntimeError("a callback's own affair")

    async def write(tx: Transaction) -> int:
        tx.after_commit(fail)
        tx.after_commit(look)
        await tx.execute(text(f"insert into {name} values (7)"))
        assert seen == []
        return 5

    async with opened(dsn) as db:
        assert await db.run(ACTOR, write) == 5
    assert seen == [[(7,)]]


async def test_a_callback_that_hangs_is_given_up_and_the_log_has_the_traceback_of_one_that_fails(
    opened: Opening, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel.database.transactions.CALLBACK_TIMEOUT", 0.05)

    async def fail() -> None:
        raise RuntimeError("a callback's own affair")

    async def write(tx: Transaction) -> int:
        tx.after_commit(anyio.sleep_forever)
        tx.after_commit(fail)
        return 5

    with capture_logs() as logs:
        async with opened(dsn) as db:
            with anyio.fail_after(30):
                assert await db.run(ACTOR, write) == 5
    reported = [line for line in logs if line["event"] == "a callback after a commit failed"]
    assert [line["error"].split(":")[0] for line in reported] == ["TimeoutError", "RuntimeError"]
    assert "exc_info" not in reported[0]
    assert isinstance(reported[1]["exc_info"], RuntimeError)


async def test_a_caller_that_gives_up_after_the_commit_takes_no_callback_back(
    opened: Opening, dsn: str
) -> None:
    name, called, begun = table(dsn), list[str](), anyio.Event()

    async def slow() -> None:
        begun.set()
        await anyio.sleep(0.3)
        called.append("slow")

    async def write(tx: Transaction) -> None:
        await tx.execute(text(f"insert into {name} values (1)"))
        tx.after_commit(slow)

    async with opened(dsn) as db, anyio.create_task_group() as tasks:
        tasks.start_soon(db.run, ACTOR, write)
        await begun.wait()
        tasks.cancel_scope.cancel()
    assert called == ["slow"]
    assert sql(dsn, f"select id from {name}") == [(1,)]


DEFERRED = """
create function {0}_wait() returns trigger language plpgsql as $$ begin
    perform pg_sleep({1}); return null; end $$;
create constraint trigger wait after insert on {0} deferrable initially deferred
    for each row execute function {0}_wait();
"""


COMMITS = """
select 1 from pg_stat_activity
where datname = current_database() and wait_event = 'PgSleep' and query = 'commit'"""


@pytest.mark.parametrize("after", [0, 0.1, 0.2, 0.25, 0.28, 0.3, 0.32])
async def test_a_caller_that_gives_up_during_the_commit_leaves_nothing_half_done(
    opened: Opening, dsn: str, after: float
) -> None:
    name, called = table(dsn), list[str]()
    sql(dsn, DEFERRED.format(name, 0.3))

    async def write(tx: Transaction) -> None:
        await tx.execute(text(f"insert into {name} values (1)"))
        tx.after_commit(remember(called, "reported"))

    async with opened(dsn, pool_size=1) as db, anyio.create_task_group() as tasks:
        tasks.start_soon(db.run, ACTOR, write)
        # A slow look may miss it: then it is over.
        await until(lambda: called or sql(dsn, COMMITS))
        await anyio.sleep(after)
        tasks.cancel_scope.cancel()
    assert sql(dsn, f"select id from {name}") == [(1,)]
    assert called == ["reported"]


async def test_who_gives_up_during_a_commit_without_an_end_is_let_go(
    opened: Opening, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel.database.transactions.COMMIT_TIMEOUT", 0.5)
    name, called, began = table(dsn), list[str](), 0.0
    sql(dsn, DEFERRED.format(name, 30))

    async def write(tx: Transaction) -> None:
        nonlocal began
        await tx.execute(text(f"insert into {name} values (1)"))
        tx.after_commit(remember(called, "never"))
        began = anyio.current_time()

    async def give_up(scope: anyio.CancelScope) -> None:
        await until(lambda: sql(dsn, COMMITS))
        scope.cancel()

    async with opened(dsn, pool_size=1) as db, anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            tasks.start_soon(give_up, scope)
            with pytest.raises(OutcomeUnknown):
                await db.run(ACTOR, write)
        assert anyio.current_time() - began > 0.4
        assert await db.fetch("select 1") == b"1"
        tasks.cancel_scope.cancel()  # in case it was released before the commit was seen
    kill(dsn)
    assert called == []


async def test_events_are_reported_in_the_transaction_and_after_the_commit(
    opened: Opening, dsn: str
) -> None:
    reported: list[str] = []

    class Listener:
        @hookimpl
        async def event_recorded(self, tx: Transaction, event: Event) -> None:
            reported.append(f"recorded {event.operation} {await tx.fetch('select 1')!r}")
            if event.operation == "REFUSED":
                raise BadRequest("no")

        @hookimpl
        async def event_committed(self, event: Event) -> None:
            reported.append(f"committed {event.operation}")

    def event(operation: str) -> Event:
        return Event(app_id="core", entity="users", operation=operation, actor=ACTOR)

    async with opened(dsn, Listener()) as db:
        await db.run(ACTOR, lambda tx: tx.record(event("LOGIN")))
        with pytest.raises(BadRequest):
            await db.run(ACTOR, lambda tx: tx.record(event("REFUSED")))
    assert reported == ["recorded LOGIN b'1'", "committed LOGIN", "recorded REFUSED b'1'"]


class Observer:
    """Takes a moment for each event, and forever for one that is stuck."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.heard = list[str]()

    @hookimpl
    async def event_committed(self, event: Event) -> None:
        self.begun.set()
        if event.operation == "STUCK":
            await anyio.sleep_forever()
        await anyio.sleep(0.01)
        self.heard.append(event.operation)


async def report(tx: Transaction, *operations: str) -> None:
    for operation in operations:
        await tx.record(Event(app_id="core", entity="users", operation=operation, actor=ACTOR))


async def test_observers_hear_of_every_event_of_a_caller_that_gives_up(
    opened: Opening, dsn: str
) -> None:
    observer = Observer()

    async def write(tx: Transaction) -> None:
        with suppress(LookupError):
            async with tx.savepoint():
                await report(tx, "UNDONE")
                raise LookupError
        await report(tx, "FIRST", "SECOND", "THIRD")
        tx.after_commit(remember(observer.heard, "callback"))

    async with opened(dsn, observer) as db, anyio.create_task_group() as tasks:
        tasks.start_soon(db.run, ACTOR, write)
        await observer.begun.wait()
        tasks.cancel_scope.cancel()
    assert observer.heard == ["callback", "FIRST", "SECOND", "THIRD"]


async def test_an_observer_that_is_stuck_holds_its_caller_up_once(
    opened: Opening, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel.hooks.bus.OBSERVERS_SECONDS", 0.05)
    monkeypatch.setattr("kernel.database.transactions.CALLBACK_TIMEOUT", 0.05)
    observer = Observer()

    async def write(tx: Transaction) -> int:
        await report(tx, "STUCK", *["LATE"] * 8)
        return 5

    with capture_logs() as logs:
        async with opened(dsn, observer) as db:
            with anyio.fail_after(30):
                assert await db.run(ACTOR, write) == 5
    assert observer.heard == []
    [line] = [line for line in logs if line["event"] == "observers took too long"]
    assert (line["events"], line["left_out"]) == (9, 9)


async def test_a_transaction_whose_connection_breaks_is_unavailable_and_not_run_again(
    opened: Opening, dsn: str
) -> None:
    name, tries = table(dsn), 0

    async def write(tx: Transaction) -> None:
        nonlocal tries
        tries += 1
        await tx.execute(text(f"insert into {name} values (1)"))
        kill(dsn)
        await tx.execute(text(f"insert into {name} values (2)"))

    async with opened(dsn) as db:
        with pytest.raises(Unavailable) as reported:
            await db.run(ACTOR, write)
        assert tries == 1
        # It was not committed, so any caller that comes again does it once.
        assert reported.value.message == "the database is not available"
        assert reported.value.headers["retry-after"]
        assert await db.fetch(text(f"select count(*) from {name}")) == b"0"


async def test_a_connection_that_breaks_under_the_commit_leaves_the_outcome_unknown(
    opened: Opening, dsn: str
) -> None:
    name, tries = table(dsn), 0
    sql(dsn, DEFERRED.format(name, 30))

    async def write(tx: Transaction) -> None:
        nonlocal tries
        tries += 1
        await tx.execute(text(f"insert into {name} values (1)"))

    async def cut() -> None:
        await until(lambda: sql(dsn, COMMITS))
        assert kill(dsn) >= 1

    async def commit() -> None:
        with pytest.raises(OutcomeUnknown) as reported:
            await db.run(ACTOR, write)
        assert "may have been made" in reported.value.message
        assert "retry-after" not in reported.value.headers

    async with opened(dsn) as db:
        await together(cut, commit)
    assert tries == 1


# --- session settings -----------------------------------------------------------------------

TRIGGER = """
create table {0}_log (actor text, request text, extra text);
create function {0}_note() returns trigger language plpgsql as $$ begin
    insert into {0}_log values (current_setting('caudex.actor_id', true),
        current_setting('caudex.request_id', true), current_setting('tenant.id', true));
    return new; end $$;
create trigger note after insert on {0} for each row execute function {0}_note();
"""


HOSTILE = "it's '; drop table \\' $1 \u00e4"


class Tenants:
    """A plugin with a setting of its own for the transaction of each write."""

    @hookimpl
    def session_settings(self, actor: Actor) -> Mapping[str, str]:
        lists = {"search_path": "pg_catalog, public"}
        return {"tenant.id": f'of "{actor.request_id}"', "tenant.motto": HOSTILE, **lists}


async def test_settings_folded_into_a_statement_are_seen_by_a_trigger(
    opened: Opening, dsn: str
) -> None:
    name = table(dsn)
    sql(dsn, TRIGGER.format(name))
    insert = SETTINGS + f" insert into {name} select $2::int from settings returning id".encode()
    async with opened(dsn, Tenants(), pool_size=1) as db:
        for number in range(6):  # prepared from the fourth on
            assert await db.execute(insert, db.settings(ACTOR), number) == str(number).encode()
        schemas = SETTINGS + b" select current_setting('search_path') from settings"
        assert await db.execute(schemas, db.settings(ACTOR)) == b"pg_catalog, public"
        await db.execute(text(f"insert into {name} values (100)"))
        assert await db.fetch("select current_setting('caudex.actor_id', true)") in (None, b"")
    rows = sql(dsn, f"select * from {name}_log")
    assert rows[:6] == [(ACTOR.user_id, "req-1", 'of "req-1"')] * 6
    assert set(rows[6]) <= {None, ""}


async def test_a_transaction_carries_the_settings_and_leaves_none_behind(
    opened: Opening, dsn: str
) -> None:
    name = table(dsn)
    sql(dsn, TRIGGER.format(name))
    no_one = Actor(user_id=None, request_id="req-2")
    async with opened(dsn, Tenants(), pool_size=1) as db:
        await db.run(no_one, lambda tx: tx.execute(text(f"insert into {name} values (1)")))
        assert await db.fetch("select current_setting('caudex.request_id', true)") in (None, b"")
        assert await db.run(no_one, lambda tx: reported_actor(tx)) is no_one
        motto = "select current_setting('tenant.motto')"
        assert await db.run(no_one, lambda tx: tx.fetch(motto)) == HOSTILE.encode()
        schemas = "select array_length(current_schemas(false), 1)"
        assert await db.run(no_one, lambda tx: tx.fetch(schemas)) == b"2"
    assert sql(dsn, f"select * from {name}_log") == [("", "req-2", 'of "req-2"')]


def remember(reported: list[str], word: str) -> Callable[[], Awaitable[None]]:
    async def note() -> None:
        reported.append(word)

    return note


async def reported_actor(tx: Transaction) -> Actor:
    return tx.actor
