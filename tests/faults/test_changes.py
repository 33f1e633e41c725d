"""Acknowledged writes against changes received: none lost and none twice, whatever is killed."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kernel.public import ChangesPage, CommittedChange, Unavailable
from tests.faults.feeding import read_until_ready
from tests.faults.replicas import Pair
from tests.faults.support import ROUNDS, DurablePostgres, Load, Site, User, notes, pause
from tests.faults.test_kill import kill
from tests.outside import reading
from tests.waiting import eventually

pytestmark = pytest.mark.slow


class Reader(threading.Thread):
    """Reads pages of a few changes, from the position of the page before, and forgets the rest."""

    def __init__(self, dsn: str, subject: str, position: str, seed: int) -> None:
        super().__init__(daemon=True)
        self._dsn = dsn
        self._subject = subject
        self._chance = random.Random(seed)
        self.position = position
        self.received: list[CommittedChange] = []
        self.lost: list[str] = []
        self.over = threading.Event()

    def run(self) -> None:
        asyncio.run(self._read())

    async def _read(self) -> None:
        is_complete = False
        while not (self.over.is_set() and is_complete):
            limit = self._chance.choice((1, 7, 100))
            try:
                async with reading(self._dsn) as changes:
                    page = await changes.read(self.position, [self._subject], limit)
            except Unavailable:
                await asyncio.sleep(0.05)
                continue
            if page.lost is not None:
                self.lost.append(page.lost)
            self._take(page)
            is_complete = page.complete
            if page.complete:
                await asyncio.sleep(0.01)

    def _take(self, page: ChangesPage) -> None:
        """Take a page, or a part of it, as a client does whose connection breaks within it."""
        changes = page.changes
        self.position = page.position
        if len(changes) > 1 and self._chance.random() < 0.3:
            changes = changes[: self._chance.randrange(1, len(changes))]
            self.position = changes[-1].position
        self.received += changes


def position_of_now(dsn: str) -> str:
    async def ask() -> str:
        async with reading(dsn) as changes:
            return await changes.now()

    return asyncio.run(ask())


def check(site: Site, app_id: str, received: list[CommittedChange]) -> None:
    """Compare what was received with the trail and with the records."""
    keys = Counter((change.transaction, change.record_id) for change in received)
    assert set(keys.values()) <= {1}, keys.most_common(3)
    recorded = site.sql(
        "select distinct xid::text::bigint, record_id from caudex_audit.log"
        " where table_schema = %s and table_name = 'notes'",
        app_id,
    )
    assert set(keys) == set(recorded)
    states: dict[str, Any] = {}
    for change in received:
        old = None if change.old is None else json.loads(change.old)
        assert states.get(change.record_id) == old, change
        states[change.record_id] = None if change.new is None else json.loads(change.new)
    rows = site.sql(f"select id::text, name, revision from {app_id}.notes")
    assert {(row[0], row[1], row[2]) for row in rows} == {
        (record_id, state["name"], state["revision"]) for record_id, state in states.items()
    }


def test_changes_survive_kills_of_servers_and_of_postgresql(
    site: Site, durable: DurablePostgres
) -> None:
    """Two servers, one of them killed again and again, and a PostgreSQL that crashes."""
    with site.serve() as one, ExitStack() as stack:
        user = site.user(one)
        app_id = user.install()
        position = position_of_now(site.dsn)
        readers = [Reader(site.dsn, f"{app_id}.notes", position, seed) for seed in range(2)]
        for reader in readers:
            reader.start()
        load = stack.enter_context(Load(user, app_id, writers=4))
        # The second leaves the processes of PostgreSQL alone, which end by themselves.
        signals = itertools.cycle((signal.SIGQUIT, signal.SIGKILL))
        for _ in range(2 * ROUNDS):
            with site.serve() as two:
                there = User(two.url)
                stack.callback(there.close)
                other = stack.enter_context(Load(there, app_id, writers=4))
                load.more(10)
                other.more(10)
                long = psycopg.connect(site.dsn)
                long.execute(f"insert into {app_id}.notes (name) values ('never committed')")
                load.more(10)
                pause(0, 0.3)
                kill(two)
                load.more(5)
                durable.signal(next(signals))
                long.close()
                other.over.set()
                durable.bring_back()
                load.more(20)
        load.over.set()
        pause(0.5, 0.6)
        for reader in readers:
            reader.over.set()
            reader.join(60)
            assert not reader.is_alive()
            assert reader.lost == []
            check(site, app_id, reader.received)
        eventually(lambda: one.get("/health/ready").status_code == 200, 10, "not ready")


def test_a_promoted_standby_refuses_positions_of_before(folders: Callable[[], Path]) -> None:
    """The former primary may have committed what is lost, under numbers that are given again."""
    with Pair(folders()) as pair:
        site = Site(folders(), pair.dsn)
        with site, site.serve() as server:
            user = site.user(server)
            app_id = user.install()
            subject = f"{app_id}.notes"
            before = position_of_now(pair.dsn)
            user.post(notes(app_id), json={"name": "before"}).raise_for_status()
            page = read_page(pair.dsn, before, subject)
            assert (len(page.changes), page.lost) == (1, None)

            pair.lose_primary()
            pair.promote()
            eventually(lambda: server.get("/health/ready").status_code == 200, 60, server.err)
            page = read_page(pair.dsn, before, subject)
            assert (len(page.changes), page.lost) == (0, "restored")
            user.post(notes(app_id), json={"name": "after"}).raise_for_status()
            [resync, _] = read_until_ready(user, app_id, before)
            assert resync == ("resync", {"reason": "restored"})
            later = read_page(pair.dsn, page.position, subject)
            assert (len(later.changes), later.lost) == (1, None)


def read_page(dsn: str, position: str, subject: str) -> ChangesPage:
    async def ask() -> ChangesPage:
        async with reading(dsn) as changes:
            return await changes.read(position, [subject])

    return asyncio.run(ask())
