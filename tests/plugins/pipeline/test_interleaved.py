"""Runs thousands of good, bad, slow and abandoned statements while connections break.

Tables change meanwhile. Each result reaches its request, and tables hold what was reported.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import AsyncConnection

from kernel.contracts.statements import Transaction, Work
from kernel.database.dialect import ConnectionLost
from kernel.errors import BadRequest, ConstraintViolation, KernelError, SchemaChanged, Unavailable
from kernel.testing import Postgres
from plugins.pipeline.config import PipelineConfig
from plugins.pipeline.service import PipelinedStatements
from tests.kernel.databases import ACTOR, sql
from tests.plugins.pipeline.groups import pids, pipelined, started
from tests.waiting import until

WAVE = 150
SCHEMA = """
create table log (token text);
create table strict (id int primary key);
insert into strict values (1);
create table child (id int references strict deferrable initially deferred);
create table shape (v int, token text);
insert into shape (v) values (1);
create table moved (a int);
insert into moved values (1);
create table counter (id int primary key, n int not null default 0);
insert into counter select generate_series(1, 5);
create function complain(token text) returns text language plpgsql as
    $$ begin raise exception '%', token using errcode = '22023'; end $$;
"""
INSERT = "with s as (insert into log values ($1::text)) insert into {} values ({})"
CONFIG = PipelineConfig(reads=2, filters=2, writes=4, prepared=10)
TYPES = ("int", "text", "int8")
CANCEL_TIMEOUT = 30
"""Seconds to wait for the pool, a lock or an answer: no question is meant to meet a timeout, and a
disk that stalls for long is another test's matter."""

Answer = Any
Check = Callable[[Answer], bool]


class Question(NamedTuple):
    """A statement, how it is sent, and what may come back."""

    call: str
    query: str
    params: tuple[Any, ...]
    fits: Check
    writes: str = ""
    """The token that it leaves in a table, if it is carried out."""
    custom: bool = False
    key: str = ""


def same(wanted: Any) -> Check:
    return lambda answer: answer == wanted


def fails(kind: type[KernelError], text: str = "") -> Check:
    return lambda answer: type(answer) is kind and text in str(answer)


def questions(token: str, dice: random.Random) -> Question:
    """Choose a question; its answer is recognised by the token."""
    sure, custom = token.encode(), dice.random() < 0.3
    size, nap = dice.choice((3, 300, 30_000)), dice.choice((0.001, 0.03, 0.12))
    shape, row = dice.randrange(30), dice.randrange(1, 6)
    execute, good = dice.choice(("execute", "execute_grouped")), dice.random() < 0.8
    options: list[tuple[int, Callable[[], Question]]] = [
        (30, lambda: Question("fetch", "select $1::text", (token,), same(sure), "", custom)),
        (6, lambda: Question(  # more shapes than there are prepared statements
            "fetch", f"select $1::text -- {shape}", (token,), same(sure), "", custom)),
        (5, lambda: Question(
            "fetch_all", "select $1::text || n from generate_series(1, 50) n", (token,),
            same([sure + b"%d" % n for n in range(1, 51)]), "", custom)),
        (5, lambda: Question(
            "fetch", "select repeat($1::text, $2::int)", (token, size), same(sure * size))),
        (3, lambda: Question("fetch_all", "select $1::text where false", (token,), same([]))),
        (5, lambda: Question(
            "fetch", "select $1::text from (select pg_sleep($2::float8)) as s", (token, nap),
            same(sure), "", custom)),
        (8, lambda: Question(
            "fetch", "select complain($1::text)", (token,), fails(BadRequest, token), "", custom)),
        (4, lambda: Question(
            "fetch", f"select nothing_{token}", (), fails(SchemaChanged), "", custom)),
        (8, lambda: Question("fetch", "select v from shape limit 1", (), same(b"1"), "", custom)),
        (3, lambda: Question(
            "fetch", "select a from moved", (),
            lambda answer: answer == b"1" or type(answer) is SchemaChanged)),
        (30, lambda: Question(
            execute, "insert into log values ($1::text) returning token", (token,),
            same(sure), token)),
        (4, lambda: Question(
            "execute_grouped", "insert into shape (v, token) values ('1', $1::text) returning v",
            (token,), same(b"1"), token)),
        (20, lambda: Question(
            "execute_grouped", "with s as (insert into log values ($1::text))"
            " update counter set n = n + 1 where id = $2::int returning $1::text", (token, row),
            same(sure), token, False, str(row))),
        (4, lambda: Question(  # one of a few that arrive together fails
            "execute_grouped", "insert into log values ($1::text) returning 1 / $2::int || token",
            (token, int(good)), same(b"1" + sure) if good else fails(BadRequest),
            token if good else "")),
        (4, lambda: Question(
            "execute_all", "insert into shape (v, token) values ('1', $1::text) returning v",
            (token,), same([b"1"]), token)),
        (4, lambda: Question(
            execute, "with s as materialized (select pg_sleep($2::float8))"
            " insert into log select $1::text from s returning token", (token, nap),
            same(sure), token)),
        (5, lambda: Question(
            execute, INSERT.format("strict", 1),
            (token,), lambda a: type(a) is ConstraintViolation and a.constraint == "strict_pkey")),
        (3, lambda: Question(
            execute, INSERT.format("child", 7),
            (token,), lambda a: type(a) is ConstraintViolation and "child" in a.constraint)),
    ]  # fmt: skip
    options += [
        (weight, lambda act=act, fits=fits, kept=kept: Question(
            act.__name__, "", (token, nap), fits, token if kept else ""))
        for weight, act, fits, kept in (
            (8, two, same(sure), True),
            (3, part, same(sure), True),
            (3, script, same(sure), True),
            (3, refused, fails(BadRequest, token), False),
            (3, mistaken, fails(BadRequest, token), False),
            (3, shaped, same(b"1"), True),
            (2, orphan,
             lambda a: type(a) is ConstraintViolation and "child" in a.constraint, False),
        )
    ]  # fmt: skip
    [chosen] = dice.choices([make for _, make in options], [weight for weight, _ in options])
    return chosen()


INSERT_TOKEN = b"insert into log values ($1::text) returning token"


async def two(tx: Transaction, token: str, nap: float) -> bytes | None:
    """Write, and see it from the same transaction after a while of something else."""
    await tx.execute(INSERT_TOKEN, token)
    await asyncio.sleep(nap)
    query = b"select token from log where token = $1::text and xmin = pg_current_xact_id()::xid"
    return await tx.fetch(query, token)


async def part(tx: Transaction, token: str, nap: float) -> bytes | None:
    """Let a part fail."""
    with suppress(ConstraintViolation):
        async with tx.savepoint():
            await tx.execute(INSERT_TOKEN, token)
            await tx.execute("insert into strict values (1)")
    return await tx.execute(INSERT_TOKEN, token)


async def script(tx: Transaction, token: str, nap: float) -> bytes | None:
    """Send several statements at once."""
    await tx.script(f"insert into log values ('{token}'); select pg_sleep({nap})".encode())
    return await tx.fetch("select $1::text", token)


async def refused(tx: Transaction, token: str, nap: float) -> None:
    """Write, and take it back."""
    await tx.execute(INSERT_TOKEN, token)
    raise BadRequest(token)


async def mistaken(tx: Transaction, token: str, nap: float) -> None:
    """Write, and ask for what fails."""
    await tx.execute(INSERT_TOKEN, token)
    await tx.fetch("select complain($1::text)", token)


async def shaped(tx: Transaction, token: str, nap: float) -> bytes | None:
    """Write, and read what changes its type."""
    await tx.execute(INSERT_TOKEN, token)
    return await tx.fetch("select v from shape limit 1")


async def orphan(tx: Transaction, token: str, nap: float) -> None:
    """Write what the commit refuses."""
    await tx.execute(INSERT_TOKEN, token)
    await tx.execute("insert into child values (7)")


ACTS: dict[str, Callable[..., Any]] = {
    act.__name__: act for act in (two, part, script, refused, mistaken, shaped, orphan)
}
"""What is done in transactions, by name."""


class Play:
    """A pipelined driver, its pool, and a connection that disturbs both."""

    def __init__(self, dsn: str, driver: PipelinedStatements, harm: AsyncConnection[Any]) -> None:
        self.dsn = dsn
        self.driver = driver
        self._harm = harm
        self._tokens = itertools.count(1)
        self._cut = 2
        """How many waves ago connections were last cut."""

    async def wave(self, seed: int) -> None:
        """Ask many questions at once and judge every answer."""
        dice = random.Random(seed)
        cuts = dice.random() < 0.3
        self._cut = 0 if cuts else self._cut + 1
        asked: list[tuple[Question, asyncio.Task[Answer], bool]] = []
        trouble = started(self._trouble(dice, cuts))
        for _ in range(WAVE):
            question = questions(f"t{next(self._tokens)}x", dice)
            task, given_up = started(self._ask(question)), dice.random() < 0.15
            asked.append((question, task, given_up))
            if given_up:
                asyncio.get_running_loop().call_later(dice.random() * 0.02, task.cancel)
            if dice.random() < 0.3:
                await asyncio.sleep(dice.choice((0, 0, 0.001, 0.005)))
        answers = await asyncio.gather(*(task for _, task, _ in asked), return_exceptions=True)
        await trouble
        await until(self._is_calm)
        self._judge([(q, a, g) for (q, _, g), a in zip(asked, answers, strict=True)])

    async def _ask(self, question: Question) -> Answer:
        if act := ACTS.get(question.call):
            return await self._act(partial(act, token=question.params[0], nap=question.params[1]))
        call, more = getattr(self.driver, question.call), {}
        if question.call == "execute_grouped":
            call = partial(call, question.key)
        if question.call.startswith("fetch"):
            more = {"custom_plan": question.custom}
        try:
            return await call(question.query.encode(), *question.params, **more)
        except KernelError as error:
            return error

    async def _act(self, act: Work[Answer]) -> Answer:
        try:
            return await self.driver.run(ACTOR, act)
        except KernelError as error:
            return error

    async def _trouble(self, dice: random.Random, cuts: bool) -> None:
        for _ in range(dice.randrange(1, 4)):
            await asyncio.sleep(dice.random() * 0.03)
            kind = dice.choice(TYPES)
            await self._harm.execute(
                f"alter table shape alter column v type {kind} using v::{kind}".encode()
            )
            if cuts:
                await self._cut_some(dice)
            await self._harm.execute(b"alter table moved rename column a to b")
            await self._harm.execute(b"alter table moved rename column b to a")

    async def _cut_some(self, dice: random.Random) -> None:
        """Cut one connection of the driver, or every one there is."""
        found = [pid for name in self.driver.groups for pid in pids(self.driver, name)]
        cut = "select pg_terminate_backend(pid) from pg_stat_activity"
        if dice.random() < 0.3 or not found:
            await self._harm.execute(f"{cut} where application_name = 'caudex'".encode())
        else:
            await self._harm.execute("select pg_terminate_backend($1::int)", [dice.choice(found)])

    def _is_calm(self) -> bool:
        members = [member for driver in self.driver.groups.values() for member in driver.members]
        return len(members) == 8 and not any(member.pending or member.held for member in members)

    def _judge(self, reported: list[tuple[Question, Answer, bool]]) -> None:
        rows = Counter(token for (token,) in sql(self.dsn, "table log"))
        rows += Counter(token for (token,) in sql(self.dsn, "select token from shape"))
        for question, answer, given_up in reported:
            count = rows.pop(question.writes, 0) if question.writes else 0
            if given_up and isinstance(answer, asyncio.CancelledError):
                assert count <= 1, (question, "was written twice")
            elif self._cut < 2 and isinstance(answer, ConnectionLost | Unavailable):
                assert count <= 1, (question, "was written twice")
                assert isinstance(answer, KernelError)
            else:
                assert question.fits(answer), (question, answer)
                assert count == bool(question.writes), (question, count)
        rows.pop(None, None)
        assert not rows, f"written by no caller, or by one that was refused: {rows}"
        sql(self.dsn, "truncate log")
        sql(self.dsn, "delete from shape where token is not null")


@asynccontextmanager
async def playing(dsn: str) -> AsyncGenerator[Play]:
    """Open everything."""
    patient = dict.fromkeys(("pool_timeout", "lock_timeout", "statement_timeout"), CANCEL_TIMEOUT)
    async with (
        pipelined(dsn, CONFIG, pool_size=4, **patient) as (driver, pool),
        pool.connect() as harm,
    ):
        await harm.execute("set application_name = 'harm'")
        yield Play(dsn, driver, harm)


@pytest.fixture(scope="module")
def play(postgres: Postgres) -> Generator[Callable[[int], None]]:
    """Plays one wave, by its seed; the driver is the same for all of them."""
    dsn = postgres.create()
    sql(dsn, SCHEMA)
    with (
        start_blocking_portal("asyncio", {"use_uvloop": True}) as portal,
        portal.wrap_async_context_manager(playing(dsn)) as one,
    ):
        yield lambda seed: portal.call(one.wave, seed)
    postgres.drop(dsn)


# A quarter of what the profile says: an example is a hundred and fifty statements.
@pytest.mark.slow
@settings(
    max_examples=settings().max_examples // 4,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(seed=st.integers(min_value=0, max_value=2**32))
def test_no_answer_ever_reaches_another(play: Callable[[int], None], seed: int) -> None:
    play(seed)
