"""How the one reader of a process keeps step with its followers."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import anyio
import anyio.to_thread
import psycopg
import pytest

from kernel.public import CHANGES, Changes, ChangesPage, Unavailable
from kernel.testing import Server
from plugins.audit.changes import kept, moments, tailer
from plugins.audit.changes.followers import Follower, Followers
from plugins.audit.changes.kept import KeptBatches
from plugins.audit.changes.positions import read_position
from tests.plugins.audit.changes.test_follow import names_of
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
        batches.add(number, _Batch(changes=("a", "b"), position=number))  # type: ignore[arg-type]
    assert batches.first == 5
    numbers = [batches.find(number) for number in range(5, 11)]
    assert [None if item is None else item.number for item in numbers] == [7, 7, 7, 9, 9, None]
    batches.add(11, _Batch(changes="too many at once", position=11))  # type: ignore[arg-type]
    assert batches.first == 10
    newest = batches.find(10)
    assert newest is not None
    assert newest.number == 11
    batches.forget(12)
    assert (batches.first, batches.find(0)) == (12, None)


class _Batch:
    def __init__(self, **members: Any) -> None:
        self.__dict__.update(members)


def test_who_joins_during_a_look_misses_nothing(
    line: Server, changes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def follow() -> list[str]:
        looks = anyio.Event()
        may_read = anyio.Event()
        received: list[str] = []

        async def look(*_: Any) -> str:
            looks.set()
            await may_read.wait()
            return "changes"

        async def take(*subjects: str) -> None:
            async with changes.follow(subjects) as iterator:
                async for page in iterator:
                    received.extend(names_of(page.changes))

        monkeypatch.setattr(changes.reader, "look", look)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take, "line.others")
            await looks.wait()
            tasks.start_soon(take, *SUBJECTS)
            await until(lambda: has_waiting_follower(changes, 2))
            await insert(line, "during the look")
            may_read.set()
            await until(lambda: received)
            tasks.cancel_scope.cancel()
        return received

    assert line.run(follow) == ["during the look"]


def test_a_look_says_whether_a_reading_would_find_something(line: Server, changes: Any) -> None:
    async def look(position: str) -> str:
        return await changes.reader.look(read_position(position), SUBJECTS)

    with psycopg.connect(line.dsn) as late:
        late.execute("insert into line.items (name) values ('open for long')")
        line.sql("insert into line.items (name) values ('seen')")
        position = line.run(changes.now)
        assert line.run(look, position) != "changes"
        line.sql("insert into line.others (name) values ('without followers')")
        assert line.run(look, position) == "others"
        assert line.run(changes.read, position, SUBJECTS).changes == ()
        late.commit()
        assert line.run(look, position) == "changes"
        page = line.run(changes.read, position, SUBJECTS)
        assert names_of(page.changes) == ["open for long"]
        assert line.run(look, page.position) != "changes"
    line.sql("insert into line.items (name) values ('new')")
    assert line.run(look, page.position) == "changes"


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
