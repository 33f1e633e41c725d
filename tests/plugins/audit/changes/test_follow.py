"""Followers get what is committed as it is, each behind its own position, with nothing twice."""

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random

import anyio
import psycopg
import pytest

from kernel.public import CHANGES, POOL, Changes, CommittedChange
from kernel.testing import Server
from plugins.audit.changes.batches import Batch
from plugins.audit.changes.following import kept, tailer
from plugins.audit.changes.following.kept import KeptBatch, View
from plugins.audit.changes.moments import Moment
from plugins.audit.changes.positions import Position
from plugins.audit.changes.reshaping import Loss
from tests.plugins.audit.conftest import install

SUBJECTS = ["queue.items"]
OTHERS = ["queue.others"]


@pytest.fixture(scope="module")
def queue(trail: Server) -> Server:
    install(trail, "queue", "items", "others")
    return trail


@pytest.fixture(scope="module")
def changes(queue: Server) -> Changes:
    return queue.services.get(CHANGES)


async def collect(
    changes: Changes,
    position: str | None,
    is_enough: Callable[[Sequence[CommittedChange]], bool],
    begin: Callable[[], None] = lambda: None,
    subjects: Sequence[str] = SUBJECTS,
) -> list[CommittedChange]:
    """Follow until enough has come; `begin` is called once there is nothing more to read."""
    received: list[CommittedChange] = []
    has_begun = False
    with anyio.fail_after(30):
        async with changes.follow(subjects, position) as pages:
            async for page in pages:
                assert page.lost is None
                received += page.changes
                if page.complete and not has_begun:
                    has_begun = True
                    begin()
                if has_begun and is_enough(received):
                    return received
    raise AssertionError("the iterator ended")


def names_of(changes: Sequence[CommittedChange]) -> list[str]:
    return [json.loads(change.new or b"")["name"] for change in changes]


def test_a_follower_from_now_on_gets_what_comes(queue: Server, changes: Changes) -> None:
    def write() -> None:
        with psycopg.connect(queue.dsn, autocommit=True) as connection:
            connection.execute("insert into queue.others (name) values ('of another')")
            connection.execute("insert into queue.items (name) values ('one'), ('two')")

    def begin() -> None:
        threading.Thread(target=write).start()

    received = queue.run(collect, changes, None, lambda all_: len(all_) >= 2, begin)
    assert names_of(received) == ["one", "two"]


async def read_all(changes: Changes, position: str) -> list[CommittedChange]:
    """Read what is behind a position: first the rest of its batch, then what came later."""
    received: list[CommittedChange] = []
    is_complete = False
    while not is_complete:
        page = await changes.read(position, SUBJECTS)
        received += page.changes
        position = page.position
        is_complete = page.complete
    return received


def test_each_position_of_a_live_change_goes_on_behind_it(queue: Server, changes: Changes) -> None:
    def begin() -> None:
        threading.Thread(target=write).start()

    def write() -> None:
        queue.sql("insert into queue.items (name) select n::text from generate_series(1, 9) as n")
        queue.sql("insert into queue.items (name) values ('10')")

    received = queue.run(collect, changes, None, lambda all_: len(all_) >= 10, begin)
    assert names_of(received) == [str(number) for number in range(1, 11)]
    for count, change in enumerate(received, start=1):
        rest = queue.run(read_all, changes, change.position)
        assert names_of(rest) == names_of(received[count:])


@pytest.mark.parametrize(
    ("bound", "seed"), [("MAX_KEPT", 0), ("MAX_KEPT", 1), ("MAX_KEPT", 2), ("MAX_KEPT_BYTES", 3)]
)
def test_followers_that_join_at_any_time_miss_nothing(
    queue: Server, changes: Changes, bound: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under writes of several sessions, with batches that are kept for short."""
    monkeypatch.setattr(kept, bound, 3)
    chance = Random(seed)
    begin = queue.run(changes.now)
    ended = threading.Event()

    def write(session: int) -> None:
        own_chance = Random(seed * 100 + session)
        with psycopg.connect(queue.dsn, autocommit=True) as connection:
            for number in range(40):
                with connection.transaction():
                    for part in range(own_chance.randint(1, 4)):
                        table = own_chance.choice(("items", "others"))
                        connection.execute(
                            f"insert into queue.{table} (name) values (%s)",
                            [f"{session}.{number}.{part}"],
                        )
                    ended.wait(own_chance.random() * 0.01)

    def is_last(all_: Sequence[CommittedChange]) -> bool:
        return any(name == "the last" for name in names_of(all_[-1:]))

    async def follow_all() -> list[list[CommittedChange]]:
        results: list[list[CommittedChange]] = []

        async def follow(delay: float, subjects: Sequence[str]) -> None:
            await anyio.sleep(delay)
            results.append(await collect(changes, begin, is_last, subjects=subjects))

        async with anyio.create_task_group() as tasks:
            for _ in range(12):
                subjects = chance.choice((SUBJECTS, [*SUBJECTS, *OTHERS]))
                tasks.start_soon(follow, chance.random() * 0.5, subjects)
        return results

    writers = [threading.Thread(target=write, args=(session,)) for session in range(3)]
    for writer in writers:
        writer.start()

    def finish() -> None:
        for writer in writers:
            writer.join()
        queue.sql("insert into queue.items (name) values ('the last')")

    finisher = threading.Thread(target=finish)
    finisher.start()
    results = queue.run(follow_all)
    finisher.join()

    expected = {
        entity: sorted(
            name
            for (name,) in queue.sql(
                "select new_record ->> 'name' from caudex_audit.log"
                " where table_schema = 'queue' and table_name = %s and id > %s",
                entity,
                _last_id(begin),
            )
        )
        for entity in ("items", "others")
    }
    for received in results:
        for entity in {change.entity for change in received}:
            names = sorted(names_of([c for c in received if c.entity == entity]))
            assert names == expected[entity]


def _last_id(position: str) -> int:
    from plugins.audit.changes.positions import read_position

    return read_position(position).begin.last_id


def test_without_changes_the_newest_position_comes(
    queue: Server, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailer, "HEARTBEAT", 0.2)

    async def read_two() -> list[str]:
        positions: list[str] = []
        with anyio.fail_after(30):
            async with changes.follow(SUBJECTS) as pages:
                async for page in pages:
                    assert page.changes == ()
                    positions.append(page.position)
                    if len(positions) == 1:
                        queue_writes.set()
                    if len(positions) == 4:
                        return positions
        raise AssertionError("the iterator ended")

    queue_writes = threading.Event()

    def write() -> None:
        queue_writes.wait(30)
        queue.sql("insert into queue.others (name) values ('of another')")

    writer = threading.Thread(target=write)
    writer.start()
    positions = queue.run(read_two)
    writer.join()
    assert positions[-1] != positions[0]
    page = queue.run(changes.read, positions[-1], OTHERS)
    assert page.changes == ()


def test_only_so_many_may_follow(
    queue: Server, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailer, "MAX_FOLLOWERS", 1)

    async def follow_twice() -> str:
        async with changes.follow(SUBJECTS):
            try:
                await _enter(changes.follow(SUBJECTS))
            except Exception as error:
                return str(error)
        return ""

    assert "too many" in queue.run(follow_twice)


async def _enter(context: AbstractAsyncContextManager[object]) -> None:
    async with context:
        pass


def test_nothing_is_read_without_followers(queue: Server) -> None:
    audit = next(plugin for plugin in queue.kernel.instances if plugin.name == "audit")
    reader = audit._changes.tailer
    assert reader._position is None or not reader._followers


def test_a_write_of_this_process_is_read_at_once(
    queue: Server, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the news of the pool it would come with the next look, in a quarter of an hour."""
    monkeypatch.setattr(tailer, "TICK", 900.0)
    statements = queue.services.get(POOL)

    async def follow() -> list[str]:
        received: list[CommittedChange] = []
        async with anyio.create_task_group() as tasks:
            with anyio.fail_after(30):
                async with changes.follow(SUBJECTS) as pages:
                    async for page in pages:
                        received += page.changes
                        if len(received) == 1:  # the next look is soon again for other tests
                            monkeypatch.undo()
                        if len(received) == 2:
                            return names_of(received)
                        insert = "insert into queue.items (name) values ('at once')"
                        tasks.start_soon(statements.execute, insert)
        raise AssertionError("the iterator ended")

    assert queue.run(follow) == ["at once", "at once"]


def test_a_follower_that_knows_of_a_change_of_fields_gets_what_came_after_it() -> None:
    """A batch that began before the change, and ends behind what the follower has read."""
    batch = Batch(
        begin=position_at(10, 50),
        subjects=frozenset(SUBJECTS),
        changes=(change_at(12, 55), change_at(25, 110)),
        position=position_at(30, 120),
        complete=True,
        gaps={},
        reshaped={SUBJECTS[0]: Loss("entity changed", 15, 60)},
        transaction_ends={12: 55, 25: 110},
    )
    follower = View(frozenset(SUBJECTS), position_at(20, 100))
    assert not follower.is_reshaped_by(batch)
    page = follower.read(KeptBatch(1, batch))
    assert page is not None
    assert ([change.id for change in page.changes], page.lost) == ([110], None)
    earlier = View(frozenset(SUBJECTS), position_at(10, 50))
    assert earlier.is_reshaped_by(batch)
    page = earlier.read(KeptBatch(1, batch))
    assert page is not None
    assert (list(page.changes), page.lost) == ([], "entity changed")


def position_at(xmax: int, last_id: int) -> Position:
    moment = Moment(xmax=xmax, last_id=last_id, open={}, late=last_id)
    return Position(server=b"x" * 5, branch=b"y" * 5, begin=moment)


def change_at(transaction: int, row_id: int, new: bytes = b"{}") -> CommittedChange:
    return CommittedChange(
        id=row_id, app_id="queue", entity="items", record_id="r", operation="INSERT", old=None,
        new=new, owner_before=None, owner_after=None, actor=None, request=None, at="",
        transaction=transaction, position="x",
    )  # fmt: skip
