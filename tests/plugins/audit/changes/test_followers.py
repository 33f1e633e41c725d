"""How the one reader of a process keeps step with its followers."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import psycopg
import pytest

from kernel.public import CHANGES, Changes, ChangesPage, Unavailable
from kernel.testing import Server
from plugins.audit.changes import moments
from plugins.audit.changes.batches import ReadPage
from plugins.audit.changes.following import kept, tailer
from plugins.audit.changes.following.followers import Follower, Followers
from plugins.audit.changes.following.kept import KeptBatches
from plugins.audit.changes.positions import Position, read_position, write_position
from tests.plugins.audit.changes.test_follow import change_at, names_of
from tests.plugins.audit.conftest import install
from tests.waiting import until

FOREVER = 900.0
SUBJECTS = ["line.items"]


@pytest.fixture(scope="module")
def line(trail: Server) -> Server:
    install(trail, "line", "items", "others")
    return trail


@pytest.fixture(scope="module")
def changes(line: Server) -> Changes:
    return line.services.get(CHANGES)


async def insert(server: Server, name: str) -> None:
    """Write a record elsewhere, in a transaction of its own."""
    await anyio.to_thread.run_sync(server.sql, "insert into line.items (name) values (%s)", name)


def has_waiting_follower(changes: Any, count: int = 1) -> bool:
    """Whether so many followers have read all there is."""
    followers = changes.tailer._followers._all
    return len([item for item in followers if item._turn is not None]) == count


def test_what_comes_while_followers_are_busy_comes_in_one_page(
    line: Server, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailer, "TAKEN", FOREVER)

    async def follow() -> list[list[str]]:
        pages: list[list[str]] = []
        is_free = anyio.Event()

        async def take() -> None:
            async with changes.follow(SUBJECTS) as iterator:
                async for page in iterator:
                    if page.changes:
                        pages.append(names_of(page.changes))
                        await is_free.wait()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take)
            await until(lambda: has_waiting_follower(changes))
            await insert(line, "0")
            await until(lambda: pages)
            for name in "12345":
                await insert(line, name)
            is_free.set()
            await until(lambda: len(pages) > 1)
            tasks.cancel_scope.cancel()
        return pages

    assert line.run(follow) == [["0"], ["1", "2", "3", "4", "5"]]


def test_followers_of_the_same_subjects_share_their_pages(line: Server, changes: Changes) -> None:
    async def follow() -> list[ChangesPage]:
        received: list[ChangesPage] = []

        async def take() -> None:
            async with changes.follow(SUBJECTS) as iterator:
                async for page in iterator:
                    received.extend([page] if page.changes else [])

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(take)
            for name in ("rebased perhaps", "in step"):
                await until(lambda: has_waiting_follower(changes, 3))
                received.clear()
                await insert(line, name)
                await until(lambda: len(received) == 3)
            tasks.cancel_scope.cancel()
        return received

    first, *others = line.run(follow)
    assert names_of(first.changes) == ["in step"]
    assert all(page is first for page in others)


async def test_a_change_without_followers_wakes_no_other() -> None:
    followers = Followers()
    follower = Follower(["app.items"], followers)
    followers.add(follower)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower.wait, anyio.current_time() + FOREVER)
        await anyio.wait_all_tasks_blocked()
        followers.wake(["app.others", "other.items"])
        await followers.wait_until_taken(FOREVER)  # nothing was woken
        assert follower.wake(), "it still waits"


async def test_who_does_not_take_is_waited_for_once() -> None:
    followers = Followers()
    slow = Follower(["app.items"], followers)
    quick = Follower(["app.items"], followers)
    for follower in (slow, quick):
        followers.add(follower)
    taken: list[str] = []

    async def take() -> None:
        while True:
            await quick.wait(anyio.current_time() + FOREVER)
            taken.append("quick")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        tasks.start_soon(slow.wait, anyio.current_time() + FOREVER)
        await anyio.wait_all_tasks_blocked()
        followers.wake(["app.items"])
        await followers.wait_until_taken(0.01)  # the slow one is away now
        followers.wake(["app.items"])
        await followers.wait_until_taken(FOREVER)
        tasks.cancel_scope.cancel()
    assert taken == ["quick", "quick"]


async def test_who_leaves_is_not_waited_for() -> None:
    followers = Followers()
    follower = Follower(["app.items"], followers)
    followers.add(follower)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower.wait, anyio.current_time() + FOREVER)
        await anyio.wait_all_tasks_blocked()
        followers.wake(["app.items"])
        tasks.start_soon(followers.wait_until_taken, FOREVER)
        await anyio.wait_all_tasks_blocked()
        followers.remove(follower)
    assert followers.subjects == frozenset()
    assert not followers


def test_batches_are_kept_up_to_a_number_of_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MAX_KEPT", 5)
    monkeypatch.setattr(kept, "write_position", str)
    batches = KeptBatches()
    for number in (3, 4, 7, 9):
        batches.add(number, make_batch(number, 2))
    assert batches.first == 5
    numbers = [batches.find(number) for number in range(5, 11)]
    assert [None if item is None else item.number for item in numbers] == [7, 7, 7, 9, 9, None]
    batches.add(11, make_batch(11, 6))
    assert batches.first == 10
    newest = batches.find(10)
    assert newest is not None
    assert newest.number == 11
    batches.forget(12)
    assert (batches.first, batches.find(0)) == (12, None)


def test_batches_are_kept_up_to_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "write_position", str)
    batches = KeptBatches()
    for number in range(100):
        batches.add(number, make_batch(number, 1, b"x" * 1_000_000))
    assert 0 < count_bytes(batches, 100) <= 32_000_000
    batches.add(100, make_batch(100, 40, b"x" * 1_000_000))
    assert batches.first == 100
    assert count_bytes(batches, 101) == 40_000_000, "the newest is kept, however large"
    batches.forget(101)
    batches.add(101, make_batch(101, 1))
    assert batches.find(101) is not None


def count_bytes(batches: KeptBatches, end: int) -> int:
    """Add up the records of the batches that are kept, one for each number before the end."""
    found = [batches.find(number) for number in range(batches.first, end)]
    all_changes = [change for item in found if item is not None for change in item.batch.changes]
    return sum(len(change.new or b"") for change in all_changes)


def make_batch(number: int, count: int, new: bytes = b"{}") -> Any:
    changes = tuple(change_at(number, row_id, new) for row_id in range(count))
    return _Batch(changes=changes, position=number)


class _Batch:
    def __init__(self, **members: Any) -> None:
        self.__dict__.update(members)


def test_changes_put_off_no_heartbeat(
    line: Server, changes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader may have no use for them, and sends nothing for longer than it should."""
    monkeypatch.setattr(tailer, "HEARTBEAT", FOREVER)

    async def follow() -> list[float]:
        times: list[float] = []

        async def take() -> None:
            async with changes.follow(SUBJECTS) as iterator:
                async for page in iterator:
                    received.extend(page.changes)

        received: list[Any] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take)
            for number in range(3):
                await until(lambda: has_waiting_follower(changes))
                [follower] = changes.tailer._followers._all
                times.append(follower.until)
                await insert(line, str(number))
                await until(lambda count=number + 1: len(received) == count)
            tasks.cancel_scope.cancel()
        return times

    first, *others = line.run(follow)
    assert others == [first, first]


def test_who_catches_up_for_long_hears_how_far(
    line: Server, changes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailer, "HEARTBEAT", 0.0)
    read_page = changes.reader.read_page
    position = line.run(changes.now)
    line.sql("insert into line.items (name) values ('behind them')")

    async def follow() -> list[tuple[list[str], bool]]:
        empty_pages = 2

        async def read(*question: Any, **options: Any) -> Any:
            nonlocal empty_pages
            if empty_pages == 0:
                return await read_page(*question, **options)
            empty_pages -= 1
            page = ChangesPage(changes=(), position=position, complete=False)
            return ReadPage(page, read_position(position))

        monkeypatch.setattr(changes.reader, "read_page", read)
        received: list[tuple[list[str], bool]] = []
        async with changes.follow(SUBJECTS, position) as iterator:
            async for page in iterator:
                received.append((names_of(page.changes), page.complete))
                if page.changes:
                    break
        return received

    assert line.run(follow) == [([], False), ([], False), (["behind them"], True)]


def test_who_joins_during_a_look_misses_nothing(
    line: Server, changes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look was asked without the one that joins, and steps over what is for that one."""

    async def follow() -> list[str]:
        looks = anyio.Event()
        may_look = anyio.Event()
        received: list[str] = []
        pass_others = changes.reader.pass_others

        async def look(*question: Any) -> Any:
            looks.set()
            await may_look.wait()
            return await pass_others(*question)

        async def take(*subjects: str) -> None:
            async with changes.follow(subjects) as iterator:
                async for page in iterator:
                    if page.complete and subjects == tuple(SUBJECTS):
                        joined.set()
                    received.extend(names_of(page.changes))

        joined = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take, "line.others")
            await until(lambda: has_waiting_follower(changes))
            monkeypatch.setattr(changes.reader, "pass_others", look)
            await anyio.to_thread.run_sync(line.sql, "select pg_current_xact_id()")
            await looks.wait()
            tasks.start_soon(take, *SUBJECTS)
            await joined.wait()
            await insert(line, "during the look")
            may_look.set()
            await until(lambda: received)
            tasks.cancel_scope.cancel()
        return received

    assert line.run(follow) == ["during the look"]


def test_a_look_passes_what_a_reading_would_not_find(line: Server, changes: Any) -> None:
    async def pass_others(position: str) -> Position | None:
        return await changes.reader.pass_others(read_position(position), SUBJECTS)

    with psycopg.connect(line.dsn) as late:
        late.execute("insert into line.items (name) values ('open for long')")
        line.sql("insert into line.items (name) values ('seen')")
        position = line.run(changes.now)
        assert line.run(pass_others, position) is not None
        line.sql("insert into line.others (name) values ('without followers')")
        passed = line.run(pass_others, position)
        assert passed is not None
        assert line.run(changes.read, position, SUBJECTS).changes == ()
        late.commit()
        assert line.run(pass_others, position) is None
        behind = write_position(passed)
        assert line.run(pass_others, behind) is None
        page = line.run(changes.read, behind, SUBJECTS)
        assert names_of(page.changes) == ["open for long"]
        assert line.run(pass_others, page.position) is not None
    line.sql("insert into line.items (name) values ('new')")
    assert line.run(pass_others, page.position) is None


def test_a_look_sees_that_nothing_has_ended(line: Server, changes: Any) -> None:
    async def is_newest(position: str) -> bool:
        return await changes.reader.is_newest(read_position(position))

    position = line.run(changes.now)
    line.sql("insert into line.others (name) values ('without followers')")
    assert not line.run(is_newest, position)
    page = line.run(changes.read, position, SUBJECTS)
    assert read_position(page.position).end is None


def test_a_look_passes_no_loss(line: Server, changes: Any) -> None:
    """Each is read by the statement that says why it is lost."""

    async def pass_others(position: Position, subject: str = SUBJECTS[0]) -> Position | None:
        return await changes.reader.pass_others(position, [subject])

    now = read_position(line.run(changes.now))
    other_branch = msgspec.structs.replace(now, branch=b"other")
    assert line.run(pass_others, other_branch) is None
    later = msgspec.structs.replace(now.begin, last_id=now.begin.last_id + 1000)
    assert line.run(pass_others, msgspec.structs.replace(now, begin=later)) is None

    line.sql("truncate line.items")
    assert line.run(pass_others, now) is None
    now = read_position(line.run(changes.now))
    install(line, "young", "items")
    assert line.run(pass_others, now) is not None, "it has no follower"
    assert line.run(pass_others, now, "young.items") is None


def test_looks_under_load_do_not_go_back_over_what_they_passed(line: Server, changes: Any) -> None:
    """The floor of later rows rises with them: each look takes a number where it is far behind."""

    async def pass_others(position: Position) -> Position | None:
        return await changes.reader.pass_others(position, SUBJECTS)

    position = read_position(line.run(changes.now))
    with psycopg.connect(line.dsn) as late:
        late.execute("select pg_current_xact_id()")
        for _ in range(4):
            line.sql("insert into line.others (name) select 'x' from generate_series(1, 300)")
            passed = line.run(pass_others, position)
            assert passed is not None
            position = passed
    begin = position.begin
    assert begin.last_id - begin.late <= 600


def test_readers_wait_while_too_many_transactions_are_open(
    line: Server, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot that leaves some of them out would bring a change before the one it is made on.

    So nothing is read until then; writers do not notice, and nothing is lost or comes twice.
    """
    position = line.run(changes.now)
    monkeypatch.setattr(moments, "MAX_OPEN", 3)
    monkeypatch.setattr(tailer, "RETRY", 0.01)

    async def follow() -> tuple[list[str], list[str]]:
        early: list[str] = []
        received: list[str] = []

        async def take() -> None:
            async with changes.follow(SUBJECTS, position) as iterator:
                async for page in iterator:
                    received.extend(names_of(page.changes))

        async with anyio.create_task_group() as tasks:
            with ExitStack() as opened:
                for number in range(4):
                    connection = opened.enter_context(psycopg.connect(line.dsn))
                    connection.execute("insert into line.items (name) values (%s)", [str(number)])
                await insert(line, "committed meanwhile")
                with pytest.raises(Unavailable, match="more than 3 transactions are open"):
                    await changes.now()
                tasks.start_soon(take)
                await anyio.sleep(0.1)
                early.extend(received)
            await until(lambda: len(received) == 5)  # they have ended: closing commits
            await insert(line, "the last")
            await until(lambda: len(received) > 5)
            tasks.cancel_scope.cancel()
        return early, received

    early, received = line.run(follow)
    assert early == []
    assert sorted(received[:5]) == ["0", "1", "2", "3", "committed meanwhile"]
    assert received[5:] == ["the last"]
