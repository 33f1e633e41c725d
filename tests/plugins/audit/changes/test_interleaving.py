"""Transactions in any order, readers that begin anywhere: nothing is lost, nothing comes twice."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from random import Random
from typing import Any
from uuid import UUID

import psycopg
import pytest

from kernel.public import CHANGES, CommittedChange
from kernel.testing import Server
from tests.plugins.audit.conftest import install

SUBJECTS = ["races.runs", "races.laps"]
TABLES = ("runs", "laps")
SESSIONS = 5
RECORDS = 4
STEPS = 120


@pytest.fixture(scope="module")
def races(trail: Server) -> Server:
    install(trail, "races", "runs", "laps")
    return trail


class Sessions:
    """Several open transactions; only records that no other one has changed can be changed."""

    def __init__(self, dsn: str, chance: Random, stack: ExitStack) -> None:
        self._chance = chance
        self._connections = [
            stack.enter_context(psycopg.connect(dsn, autocommit=False)) for _ in range(SESSIONS)
        ]
        self._locked = [set[tuple[str, UUID]]() for _ in range(SESSIONS)]
        self.records = [
            (table, UUID(int=number + 1)) for table in TABLES for number in range(RECORDS)
        ]

    def step(self) -> None:
        """Let one session write, commit or roll back."""
        session = self._chance.randrange(SESSIONS)
        # The first session ends rarely: its transactions are long.
        is_end = self._chance.random() < (0.03 if session == 0 else 0.35)
        if not is_end:
            self._write(session)
        elif self._chance.random() < 0.2:
            self._end(session, "rollback")
        else:
            self._end(session, "commit")

    def end_all(self) -> None:
        for session in range(SESSIONS):
            self._end(session, "commit")

    def _write(self, session: int) -> None:
        others = set[tuple[str, UUID]]().union(
            *(locked for number, locked in enumerate(self._locked) if number != session)
        )
        free = [record for record in self.records if record not in others]
        if not free:
            return
        table, record_id = self._chance.choice(free)
        self._locked[session].add((table, record_id))
        connection = self._connections[session]
        name = f"{session}-{self._chance.randrange(10**9)}"
        update = f"update races.{table} set name = %s where id = %s"
        insert = f"insert into races.{table} (id, name) values (%s, %s) on conflict do nothing"
        delete = f"delete from races.{table} where id = %s"
        if self._chance.random() < 0.25:
            connection.execute(delete, [record_id])  # type: ignore[arg-type]
        else:
            connection.execute(insert, [record_id, name])  # type: ignore[arg-type]
            connection.execute(update, [name, record_id])  # type: ignore[arg-type]

    def _end(self, session: int, how: str) -> None:
        self._connections[session].execute(how)
        self._locked[session].clear()


class Reader:
    """Reads by positions, and forgets everything else between two reads."""

    def __init__(self, server: Server, position: str) -> None:
        self._server = server
        self._changes = server.services.get(CHANGES)
        self.position = position
        self.received: list[CommittedChange] = []

    def read(self, limit: int) -> bool:
        """Read a page; return whether there may be more."""
        page = self._server.run(self._changes.read, self.position, SUBJECTS, limit)
        assert page.lost is None
        self.received += page.changes
        self.position = page.position
        return not page.complete

    def read_all(self, limit: int) -> None:
        while self.read(limit):
            pass


def identify(change: CommittedChange) -> tuple[int, str, str]:
    return (change.transaction, change.entity, change.record_id)


def values_of(text: bytes | None) -> Any:
    return None if text is None else json.loads(text)


def find_breaks(
    changes: Sequence[CommittedChange], states: dict[tuple[str, str], Any]
) -> list[str]:
    """Return where a change was not made on the state that the one before it left."""
    breaks = []
    for change in changes:
        record = (change.entity, change.record_id)
        if states.get(record) != values_of(change.old):
            breaks.append(f"{record}: {states.get(record)} is not {change.old!r}")
        states[record] = values_of(change.new)
    return breaks


def read_states(server: Server) -> dict[tuple[str, str], Any]:
    states: dict[tuple[str, str], Any] = {}
    for table in TABLES:
        rows = server.sql(
            f"select caudex_audit.as_json_in_utc(r) - caudex_audit.hidden() from races.{table} as r"
        )
        states |= {(table, row["id"]): row for (row,) in rows}
    return states


def at_rest(states: dict[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
    return {record: state for record, state in states.items() if state is not None}


@pytest.fixture(params=range(12))
def chance(request: pytest.FixtureRequest) -> Random:
    return Random(request.param)


def test_no_change_is_lost_or_comes_twice_wherever_a_reader_begins(
    races: Server, chance: Random
) -> None:
    begin = races.run(races.services.get(CHANGES).now)
    before = read_states(races)
    reader = Reader(races, begin)
    resumed: list[tuple[str, int]] = []
    with ExitStack() as stack:
        sessions = Sessions(races.dsn, chance, stack)
        for _ in range(STEPS):
            sessions.step()
            if chance.random() < 0.3:
                reader.read(chance.choice((1, 2, 3, 1000)))
                resumed.append((reader.position, len(reader.received)))
        sessions.end_all()
    reader.read_all(chance.choice((1, 3, 1000)))
    received = reader.received

    keys = [identify(change) for change in received]
    assert len(keys) == len(set(keys))
    states = dict(before)
    assert find_breaks(received, states) == []
    assert at_rest(states) == read_states(races)
    assert_transactions_are_whole(received)

    # Each position of a page, and each within one, goes on exactly behind itself.
    within = [(change.position, number + 1) for number, change in enumerate(received)]
    for position, count in chance.sample(resumed, 8) + chance.sample(within, 8) + [(begin, 0)]:
        again = Reader(races, position)
        again.read_all(chance.choice((2, 5, 1000)))
        rest = [identify(change) for change in again.received]
        assert sorted(rest) == sorted(keys[count:])
        states = dict(before)
        assert find_breaks([*received[:count], *again.received], states) == []


def assert_transactions_are_whole(changes: Sequence[CommittedChange]) -> None:
    """Changes of one transaction come together, also where a page ends within it."""
    order = [change.transaction for change in changes]
    runs = [
        number for place, number in enumerate(order) if place == 0 or order[place - 1] != number
    ]
    assert len(runs) == len(set(runs))


# What a reader would do that waits until no older transaction is open.

HORIZON = """
select id, table_name, record_id, xid::text::bigint, old_record, new_record
from caudex_audit.log where table_schema = 'races' and xid >= %s::text::xid8
and xid < pg_snapshot_xmin(pg_current_snapshot()) order by xid, id"""


def test_a_reader_with_a_horizon_gets_the_order_wrong(races: Server) -> None:
    """The control: the checks above find it, for a schedule that this service reads rightly."""
    begin = races.run(races.services.get(CHANGES).now)
    before = read_states(races)
    [(first,)] = races.sql("select pg_snapshot_xmax(pg_current_snapshot())::text")
    record = UUID(int=99)
    other = UUID(int=98)
    insert = "insert into races.runs (id, name) values (%s, 'new')"
    update = "update races.runs set name = %s where id = %s"
    with ExitStack() as stack:
        early, long, late = (
            stack.enter_context(psycopg.connect(races.dsn, autocommit=False)) for _ in range(3)
        )
        early.execute(insert, [other])
        long.execute("insert into races.laps (name) values ('open for long')")
        late.execute(insert, [record])
        late.commit()
        early.execute(update, ["changed by the earlier number", record])
        early.commit()

        by_horizon = races.sql(HORIZON, first)
        reader = Reader(races, begin)
        reader.read_all(1000)
        assert find_breaks(reader.received, dict(before)) == []
        assert {change.record_id for change in reader.received} == {str(record), str(other)}
        # It waits for the long one, and so leaves out the insert that the update was made on.
        assert [(row[2], row[5]["name"]) for row in by_horizon] == [
            (str(other), "new"),
            (str(record), "changed by the earlier number"),
        ]
        long.rollback()


def test_a_transaction_that_was_open_for_long_comes_whole(races: Server) -> None:
    changes = races.services.get(CHANGES)
    reader = Reader(races, races.run(changes.now))
    with psycopg.connect(races.dsn) as long:
        long.execute("insert into races.laps (name) values ('first')")
        for _ in range(3):
            races.sql("insert into races.runs (name) values ('meanwhile')")
            reader.read_all(1000)
        long.execute("insert into races.laps (name) values ('second')")
        assert [change.entity for change in reader.received] == ["runs"] * 3
    reader.read_all(1000)
    assert [change.entity for change in reader.received] == ["runs"] * 3 + ["laps"] * 2
