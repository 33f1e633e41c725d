"""What a change says: states before and after, owners, and values too large for the trail."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from kernel.public import CHANGES, Changes, CommittedChange
from kernel.testing import Server
from tests.plugins.audit.conftest import install

SUBJECTS = ["shelf.books"]
ANN = "00000000-0000-4000-8000-0000000000a1"
BEN = "00000000-0000-4000-8000-0000000000b2"
BOOK = "00000000-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def shelf(trail: Server) -> Server:
    install(trail, "shelf", "books")
    return trail


@pytest.fixture(scope="module")
def changes(shelf: Server) -> Changes:
    return shelf.services.get(CHANGES)


class Follower:
    """Reads what each statement of a test did."""

    def __init__(self, shelf: Server, changes: Changes) -> None:
        self._shelf = shelf
        self._changes = changes
        self.position = shelf.run(changes.now)

    def do(self, *statements: str) -> list[CommittedChange]:
        self._shelf.sql("begin; " + "; ".join(statements) + "; commit")
        page = self._shelf.run(self._changes.read, self.position, SUBJECTS)
        self.position = page.position
        return list(page.changes)


@pytest.fixture
def follower(shelf: Server, changes: Changes) -> Follower:
    shelf.sql("delete from shelf.books")
    return Follower(shelf, changes)


def insert(name: str = "one", owner: str | None = ANN) -> str:
    by = f"'{owner}'" if owner else "null"
    return f"insert into shelf.books (id, name, _owner) values ('{BOOK}', '{name}', {by})"


def test_an_insert_an_update_and_a_delete(follower: Follower) -> None:
    [created] = follower.do(insert())
    assert (created.operation, created.old) == ("INSERT", None)
    assert json.loads(created.new or b"")["name"] == "one"
    assert (created.owner_before, created.owner_after) == (None, ANN)
    assert (created.subject, created.record_id) == ("shelf.books", BOOK)
    assert datetime.fromisoformat(created.at) > datetime.now(UTC) - timedelta(minutes=5)

    [changed] = follower.do("update shelf.books set name = 'two'")
    assert changed.operation == "UPDATE"
    assert changed.old == created.new
    assert (changed.owner_before, changed.owner_after) == (ANN, ANN)

    [deleted] = follower.do("delete from shelf.books")
    assert (deleted.operation, deleted.old, deleted.new) == ("DELETE", changed.new, None)
    assert (deleted.owner_before, deleted.owner_after) == (ANN, None)


def test_a_record_that_changes_its_owner(follower: Follower) -> None:
    follower.do(insert(owner=None))
    owners = [
        (change.owner_before, change.owner_after)
        for owner in (f"'{ANN}'", f"'{BEN}'", "null")
        for change in follower.do(f"update shelf.books set _owner = {owner}, name = name || '.'")
    ]
    assert owners == [(None, ANN), (ANN, BEN), (BEN, None)]


def test_a_hand_over_alone_is_a_change(follower: Follower) -> None:
    follower.do(insert())
    [change] = follower.do(f"update shelf.books set _owner = '{BEN}'")
    assert (change.owner_before, change.owner_after) == (ANN, BEN)


def test_several_changes_in_one_transaction_are_one(follower: Follower) -> None:
    [change] = follower.do(insert(), "update shelf.books set name = 'two'")
    assert change.operation == "INSERT"
    assert json.loads(change.new or b"")["name"] == "two"
    [change] = follower.do(
        "update shelf.books set name = 'three'", "delete from shelf.books", insert("four", BEN)
    )
    assert change.operation == "UPDATE"
    assert json.loads(change.old or b"")["name"] == "two"
    assert json.loads(change.new or b"")["name"] == "four"
    assert (change.owner_before, change.owner_after) == (ANN, BEN)


def test_what_leaves_nothing_behind_is_no_change(follower: Follower) -> None:
    assert follower.do(insert(), "delete from shelf.books") == []
    follower.do(insert())
    assert follower.do("update shelf.books set name = name") == []
    back = "update shelf.books set name = 'one'"
    assert follower.do("update shelf.books set name = 'two'", back) == []


def test_many_rows_of_one_statement_come_in_pages(shelf: Server, changes: Changes) -> None:
    position = shelf.run(changes.now)
    shelf.sql("insert into shelf.books (name) select n::text from generate_series(1, 250) as n")
    names: list[str] = []
    is_complete = False
    while not is_complete:
        page = shelf.run(changes.read, position, SUBJECTS, 100)
        names += [json.loads(change.new or b"")["name"] for change in page.changes]
        position = page.position
        is_complete = page.complete
    assert names == [str(number) for number in range(1, 251)]


def test_a_page_ends_before_its_changes_are_too_large(shelf: Server, changes: Changes) -> None:
    position = shelf.run(changes.now)
    shelf.sql(
        "insert into shelf.books (name) select string_agg(md5((n * 100000 + m)::text), '')"
        " from generate_series(1, 25) as n, generate_series(1, 28000) as m group by n"
    )
    sizes: list[int] = []
    is_complete = False
    while not is_complete:
        page = shelf.run(changes.read, position, SUBJECTS, 1000)
        sizes.append(sum(len(change.new or b"") for change in page.changes))
        position = page.position
        is_complete = page.complete
    assert max(sizes) <= 16_000_000
    assert sum(sizes) > 25 * 28_000 * 32


def test_a_value_that_is_too_large_is_taken_from_the_table(
    follower: Follower, shelf: Server, changes: Changes
) -> None:
    large = "x" * 1_500_000
    insert_large = f"insert into shelf.books (id, name) values ('{BOOK}', repeat('x', 1500000))"
    [change] = follower.do(insert_large)
    assert change.replaced == ("name",)
    digest = {"length": len(large), "sha256": hashlib.sha256(large.encode()).hexdigest()}
    assert json.loads(change.new or b"")["name"] == digest

    filled = shelf.run(changes.fill, change)
    assert filled.replaced == ()
    assert json.loads(filled.new or b"")["name"] == large

    shelf.sql("update shelf.books set tags = '{other}'")
    assert shelf.run(changes.fill, change).replaced == ()
    shelf.sql("update shelf.books set name = 'short'")
    gone = shelf.run(changes.fill, change)
    assert gone.replaced == ("name",)
    assert json.loads(gone.new or b"")["name"] == digest


def test_a_field_that_looks_like_a_digest_stays(
    follower: Follower, shelf: Server, changes: Changes
) -> None:
    data = {"length": 3, "sha256": "abc"}
    statement = f"insert into shelf.books (id, data) values ('{BOOK}', '{json.dumps(data)}')"
    [change] = follower.do(statement)
    filled = shelf.run(changes.fill, change)
    assert json.loads(filled.new or b"")["data"] == data


def test_the_snapshot_of_a_statement_is_a_position(shelf: Server, changes: Changes) -> None:
    expression = str(changes.snapshot_expression)
    [(count, seen)] = shelf.sql(f"select (select count(*) from shelf.books), {expression}")
    shelf.sql("insert into shelf.books (name) values ('after')")
    position = shelf.run(changes.position_of, seen.encode())
    page = shelf.run(changes.read, position, SUBJECTS)
    assert [json.loads(change.new or b"")["name"] for change in page.changes] == ["after"]
    assert shelf.sql("select count(*) from shelf.books") == [(count + 1,)]


def test_a_position_is_found_for_a_time(shelf: Server, changes: Changes) -> None:
    assert shelf.run(changes.find, datetime(2001, 1, 1, tzinfo=UTC)) is None
    audit = next(plugin for plugin in shelf.kernel.instances if plugin.name == "audit")
    shelf.sql("insert into shelf.books (name) values ('before the mark')")
    shelf.sql("update caudex_audit.marks set at = at - interval '2 minutes'")
    shelf.run(audit._changes.mark)
    [(time,)] = shelf.sql("select clock_timestamp()")
    shelf.sql("insert into shelf.books (name) values ('after the time')")
    position = shelf.run(changes.find, time)
    assert position is not None
    page = shelf.run(changes.read, position, SUBJECTS)
    assert [json.loads(change.new or b"")["name"] for change in page.changes] == ["after the time"]


def test_actor_and_request_are_those_of_the_last_change(follower: Follower) -> None:
    caller = (
        f"select set_config('caudex.actor_id', '{BEN}', true),"
        " set_config('caudex.request_id', 'r-1', true)"
    )
    [change] = follower.do(insert(), caller, "update shelf.books set name = 'two'")
    assert (change.actor, change.request) == (BEN, "r-1")
    assert UUID(change.actor or "") == UUID(BEN)
