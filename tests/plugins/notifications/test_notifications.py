"""Notifications between server processes: fast when it is heard, never lost for long when it is
not."""

import gc
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import psycopg
import pytest

from kernel.contracts.statements import Transaction
from kernel.database.dialect import Connection, translate
from kernel.database.pool import Database
from kernel.errors import BadRequest, BootError, Unavailable
from plugins.notifications import service as news
from plugins.notifications.service import POLL_INTERVAL, Notifier
from plugins.postgres import EmbeddedServer, PostgresConfig
from tests.kernel.databases import ACTOR, kill, listening, sql
from tests.waiting import until

Heard = list[str | None]


@pytest.fixture
def unpolled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is heard counts: a poll in between may say first that anything has changed."""
    monkeypatch.setattr(news, "POLL_INTERVAL", 60.0)


class Process:
    """What one server process has of the database: a listener and a pool."""

    def __init__(self, notifier: Notifier, db: Database) -> None:
        self.notifier = notifier
        self.db = db

    def listen(self, topic: str = "roles") -> Heard:
        """Subscribe to a topic and return what is heard, as it comes."""
        heard: Heard = []

        async def hear(payload: str | None) -> None:
            heard.append(payload)

        self.notifier.subscribe(topic, hear)
        return heard

    async def publish(self, *payloads: str, topic: str = "roles") -> None:
        """Publish in one transaction."""

        async def send(tx: Transaction) -> None:
            for payload in payloads:
                await tx.publish(topic, payload)

        await self.db.run(ACTOR, send)


@asynccontextmanager
async def process(dsn: str, **settings: Any) -> AsyncGenerator[Process]:
    """Be one of the server processes of a database."""
    async with listening(dsn, **settings) as (db, notifier):
        yield Process(notifier, db)


@pytest.mark.usefixtures("unpolled")
async def test_what_one_process_publishes_the_other_hears_without_a_poll(database: str) -> None:
    async with process(database) as one, process(database) as two:
        heard, other = two.listen(), two.listen("apps")
        for payload in ("alice", "", 'Zoë "quoted" \\ \''):
            await one.publish(payload)
            await until(lambda p=payload: heard[-1:] == [p], 30)
        assert other == []


@pytest.mark.slow
async def test_the_own_process_hears_before_the_transaction_returns_and_once(database: str) -> None:
    async with process(database) as one:
        heard = one.listen()
        await one.publish("a")
        assert heard == ["a"]
        await one.publish("b", "b", "c")
        assert heard == ["a", "b", "c"]
        await anyio.sleep(2.5 * POLL_INTERVAL)
        assert heard == ["a", "b", "c"]


async def test_an_announcement_is_heard_here_at_once_and_by_others(database: str) -> None:
    async with process(database) as one, process(database) as two:
        mine, theirs = one.listen(), two.listen()
        await one.notifier.announce(one.db, "roles", "a")
        assert mine == ["a"]
        await one.publish("b")
        await until(lambda: theirs == ["a", "b"], 30)
        assert mine == ["a", "b"]


@pytest.mark.usefixtures("unpolled")
@pytest.mark.parametrize("payload", ["x" * 20_000, "\x01" * 3000, "é" * 5000])
async def test_a_payload_too_long_to_send_means_that_anything_may_have_changed(
    database: str, payload: str
) -> None:
    async with process(database) as one, process(database) as two:
        mine, theirs = one.listen(), two.listen()
        await one.publish("a" * 4000, payload)
        await until(lambda: theirs == mine == ["a" * 4000, None])


@pytest.mark.slow
async def test_nothing_is_heard_of_a_transaction_that_failed(database: str) -> None:
    async def fail(tx: Transaction) -> None:
        await tx.publish("roles", "never")
        raise LookupError

    async with process(database) as one, process(database) as two:
        mine, theirs = one.listen(), two.listen()
        with pytest.raises(LookupError):
            await one.db.run(ACTOR, fail)
        await anyio.sleep(1.5 * POLL_INTERVAL)
        assert mine == theirs == []


async def test_a_gap_means_that_anything_may_have_changed(database: str) -> None:
    async with process(database) as one:
        heard = one.listen()
        await one.notifier.deliver("roles", "first", 1)
        await one.notifier.deliver("roles", "third", 3)
        await one.notifier.deliver("roles", "second, late", 2)
        await one.notifier.deliver("roles", "fourth", 4)
        assert heard == ["first", None, "second, late", "fourth"]


@pytest.mark.usefixtures("unpolled")
async def test_a_forged_notification_hides_no_real_one(database: str) -> None:
    """A worker's login may NOTIFY too, with the revision that comes next."""
    async with process(database) as one, process(database) as two:
        heard = one.listen()
        await two.publish("first")
        await until(lambda: heard == ["first"])
        forged = "select pg_notify(name, json_build_object('topic', 'roles', 'revision', 2,"
        forged += " 'payload', 'forged', 'source', 'x')::text) from caudex_kernel.channel"
        sql(database, forged)
        await until(lambda: heard == ["first", "forged"])
        await two.publish("second")
        await until(lambda: heard == ["first", "forged", "second"])


@pytest.mark.slow
async def test_topics_that_no_one_here_wants_are_not_remembered(database: str) -> None:
    """A worker's login may NOTIFY too, with topics of its own making."""
    async with process(database) as one:
        heard = one.listen()
        forged = "select pg_notify(name, json_build_object('topic', 'made up ' || n,"
        forged += " 'revision', 1, 'payload', null, 'source', 'x')::text)"
        sql(database, f"{forged} from generate_series(1, 500) as n, caudex_kernel.channel")
        await one.publish("a")
        await until(lambda: heard == ["a"])
        await anyio.sleep(1.5 * POLL_INTERVAL)
        assert not [topic for topic in one.notifier._seen if topic.startswith("made up")]


async def test_a_first_message_that_is_not_the_first_is_a_gap(database: str) -> None:
    async with process(database) as one:
        heard = one.listen()
        await one.notifier.deliver("roles", "second", 2)
        assert heard == [None]


@pytest.mark.slow
async def test_a_lost_notification_is_caught_by_the_poll(database: str) -> None:
    async with process(database) as one:
        heard = one.listen()
        sql(database, "insert into caudex_kernel.revisions values ('roles', 1)")
        await until(lambda: heard == [None])
        sql(database, "update caudex_kernel.revisions set revision = revision + 5")
        await until(lambda: heard == [None, None])
        await one.publish("heard again")
        assert heard == [None, None, "heard again"]


@pytest.mark.slow
async def test_a_listener_whose_peer_says_nothing_any_more_is_replaced(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a proxy that acknowledges for a server that is gone."""
    async with process(database) as one:
        heard = one.listen()
        find = (
            "select pid from pg_stat_activity"
            " where application_name = 'caudex notifications' and datname = current_database()"
        )
        [(pid,)] = sql(database, find)
        async with process(database) as two:
            monkeypatch.setattr(one.notifier, "_answer_timeout", 1.0)
            os.kill(pid, signal.SIGSTOP)
            try:
                await two.publish("x")
                await until(lambda: heard != [])
            finally:
                os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
async def test_a_database_restored_to_an_older_state_is_noticed(database: str) -> None:
    async with process(database) as one:
        heard = one.listen()
        for payload in ("1", "2", "3"):
            await one.publish(payload)
        # A poll between a commit and its news may have said that anything has changed.
        assert [payload for payload in heard if payload is not None] == ["1", "2", "3"]
        heard.clear()
        sql(database, "update caudex_kernel.revisions set revision = 1")
        await until(lambda: heard == [None])


@pytest.mark.usefixtures("unpolled")
async def test_a_foreign_login_neither_receives_nor_sends_notifications(database: str) -> None:
    sql(database, "drop role if exists caudex_test_listener")
    sql(database, "create role caudex_test_listener")
    async with process(database) as one, process(database) as two:
        heard = two.listen()
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("set role caudex_test_listener")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("table caudex_kernel.channel")
            connection.execute("listen caudex")
            forged = {"topic": "roles", "revision": 1, "payload": "forged", "source": "x"}
            connection.execute(
                "select pg_notify('caudex', %s)", [msgspec.json.encode(forged).decode()]
            )
            await one.publish("real")
            await until(lambda: heard == ["real"])
            reported = [each.payload for each in connection.notifies(timeout=0.1)]
            assert [msgspec.json.decode(text)["payload"] for text in reported] == ["forged"]
    sql(database, "drop role caudex_test_listener")


async def test_a_full_queue_of_notifications_is_no_fault_of_the_caller(database: str) -> None:
    raised = "do $$begin raise sqlstate '54000' using message = 'too many {}'; end$$"
    for what, kind in (("notifications in the NOTIFY queue", Unavailable), ("x", BadRequest)):
        with pytest.raises(psycopg.Error) as caught:
            sql(database, raised.format(what))
        assert type(translate(caught.value)) is kind


async def test_a_forged_notification_hides_nothing(database: str) -> None:
    """The name of the channel is no secret that all depends on."""
    async with process(database) as one, process(database) as two:
        heard = two.listen()
        await one.publish("real")
        await until(lambda: "real" in heard)
        seen = len(heard)
        forged = {"topic": "roles", "revision": 10**12, "payload": "forged", "source": "x"}
        sql(
            database,
            "select pg_notify(name, %s) from caudex_kernel.channel",
            msgspec.json.encode(forged).decode(),
        )
        await until(lambda: None in heard[seen:])
        seen = len(heard)
        await one.publish("revoked")
        await until(lambda: None in heard[seen:] or "revoked" in heard[seen:])


@pytest.mark.usefixtures("unpolled")
@pytest.mark.parametrize("junk", ["", "hello", "[1, 2]", '{"topic": 1}', "[" * 5000, "é" * 1000])
async def test_a_notification_that_is_not_ours_is_passed_over(database: str, junk: str) -> None:
    async with process(database) as one, process(database) as two:
        heard = two.listen()
        sql(database, "select pg_notify(name, %s) from caudex_kernel.channel", junk)
        await one.publish("after")
        await until(lambda: heard[-1:] == ["after"])


async def test_a_flood_of_notifications_does_not_starve_the_poll(database: str) -> None:
    async with process(database) as one:
        heard = one.listen()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flood, one.db)
            await anyio.sleep(0.3)
            sql(database, "insert into caudex_kernel.revisions values ('roles', 1)")
            await until(lambda: heard == [None])
            tasks.cancel_scope.cancel()


async def flood(db: Database) -> None:
    """Send junk as fast as it goes."""
    while True:
        await db.execute(
            "select count(pg_notify(name, g::text))"
            " from generate_series(1, 50) g, caudex_kernel.channel"
        )


@pytest.mark.slow
async def test_a_subscriber_that_fails_is_notified_again_and_does_not_keep_others_from_hearing(
    database: str,
) -> None:
    reported: Heard = []

    async def fail_once(payload: str | None) -> None:
        reported.append(payload)
        if len(reported) == 1:
            raise RuntimeError("the cache could not be loaded")

    async with process(database) as one:
        one.notifier.subscribe("roles", fail_once)
        heard = one.listen()
        await one.publish("a")
        assert (reported, heard) == (["a"], ["a"])
        await until(lambda: reported == ["a", None])
        await anyio.sleep(1.5 * POLL_INTERVAL)
        assert reported == ["a", None]


@pytest.mark.slow
async def test_a_cut_listener_reconnects_and_reports_that_anything_may_have_changed(
    database: str,
) -> None:
    async with process(database) as one:
        roles, apps = one.listen(), one.listen("apps")
        assert kill(database, "caudex notifications") == 1
        await until(lambda: roles == apps == [None])
        assert one.db.online
        sql(database, "insert into caudex_kernel.revisions values ('apps', 1)")
        await until(lambda: apps == [None, None])


async def test_a_listener_that_is_cut_again_while_it_reconnects_does_not_count_as_away(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(database) as one:
        heard, connect, cuts = one.listen(), one.db.connect, list[int]()

        @asynccontextmanager
        async def cut_once(*, direct: bool) -> AsyncGenerator[Connection]:
            async with connect(direct=direct) as connection:
                if not cuts:
                    cuts.append(connection.info.backend_pid)
                    sql(database, "select pg_terminate_backend(%s)", cuts[0])
                yield connection

        monkeypatch.setattr(one.db, "connect", cut_once)
        kill(database, "caudex notifications")
        await until(lambda: bool(heard))
        assert cuts
        assert one.db.online


async def test_requests_go_on_while_the_listener_reconnects(database: str) -> None:
    async with process(database) as one:
        await one.db.fetch("select 1")
        kill(database, "caudex notifications")
        for _ in range(50):
            assert await one.db.fetch("select 1") == b"1"
            await anyio.sleep(0.005)


async def test_a_listener_that_cannot_connect_stops_the_boot_in_one_line(database: str) -> None:
    with pytest.raises(BootError) as caught:
        async with process(database, direct_url=database + " port=1"):
            pass
    assert str(caught.value).startswith("database: ")
    assert "database.direct_url" in str(caught.value)
    assert "\n" not in str(caught.value)


# --- the whole server stops -----------------------------------------------------------------


@pytest.fixture
def own() -> Generator[EmbeddedServer]:
    """A PostgreSQL that a test may stop, and that keeps what was committed."""
    folder = Path(tempfile.mkdtemp(prefix="caudex-own-"))
    folder.chmod(0o755)
    server = EmbeddedServer(folder, PostgresConfig(port=0))
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def revive(own: EmbeddedServer) -> None:
    """Start a server that died again, as a serving process would."""
    with anyio.fail_after(60):
        while own.watch() != "PostgreSQL is back":
            await anyio.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_while_postgres_is_away_requests_fail_at_once_and_soon_work_again(
    own: EmbeddedServer, how: signal.Signals
) -> None:
    async with process(own.dsn(), pool_size=4) as one:
        heard = one.listen()
        assert await one.db.fetch("select 1") == b"1"
        assert own.pid is not None
        os.kill(own.pid, how)
        await until(lambda: not one.db.online)
        assert heard == [None]

        started = time.monotonic()
        for call in (one.db.fetch, one.db.execute):
            with pytest.raises(Unavailable):
                await call("select 1")
        with pytest.raises(Unavailable):
            await one.db.run(ACTOR, lambda tx: tx.fetch("select 1"))
        with pytest.raises(Unavailable):
            async with one.db.stream("select 1"):
                pass
        assert time.monotonic() - started < 3

        await anyio.sleep(4)  # long enough for the pool to lose patience
        await revive(own)
        back = time.monotonic()
        await until(lambda: one.db.online)
        assert await one.db.fetch("select 'back'") == b"back"
        assert await one.db.execute("select 'back'") == b"back"
        assert time.monotonic() - back < 5
        assert heard == [None, None]


@pytest.mark.slow
async def test_a_restart_between_two_requests_is_not_noticed_by_reads(own: EmbeddedServer) -> None:
    async with process(own.dsn(), pool_size=4) as one:
        for _ in range(2):
            assert await one.db.fetch("select 1") == b"1"
            assert own.pid
            os.kill(own.pid, signal.SIGQUIT)
            await anyio.sleep(0.2)
            await revive(own)
            await until(lambda: one.db.online)
            assert await one.db.fetch("select 1") == b"1"


async def test_a_desk_that_is_closed_while_a_subscriber_is_at_work_leaves_no_connection_open(
    database: str,
) -> None:
    begun = anyio.Event()

    async def hear(_: str | None) -> None:
        begun.set()
        await anyio.sleep(30)

    async with process(database) as one:
        async with process(database) as two:
            two.notifier.subscribe("roles", hear)
            await one.publish("x")
            with anyio.fail_after(60):
                await begun.wait()
        gc.collect()  # psycopg warns of a connection that is dropped open, and a warning fails
        listeners = (
            "select 1 from pg_stat_activity"
            " where application_name = 'caudex notifications' and datname = current_database()"
        )
        await until(lambda: len(sql(database, listeners)) == 1)
