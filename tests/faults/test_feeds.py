"""Acknowledged writes against events of HTTP feeds: none lost, none twice, whatever is killed."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.faults.feeding import Connects, FeedFollower, read_expected
from tests.faults.support import ROUNDS, DurablePostgres, Load, Site, User, pause
from tests.faults.test_kill import kill
from tests.kernel.processes import Served
from tests.waiting import eventually

pytestmark = pytest.mark.slow

NO_SERVER = "http://127.0.0.1:1"


@contextmanager
def following(urls: list[str], user: User, app_id: str, count: int = 3) -> Any:
    """Run followers that have read everything of before."""
    headers = {"authorization": user.headers["authorization"]}
    followers = [FeedFollower(urls, headers, app_id) for _ in range(count)]
    try:
        for follower in followers:
            follower.start()
            assert follower.is_ready.wait(30)
        yield followers
    finally:
        for follower in followers:
            follower.over.set()


def check(site: Site, app_id: str, followers: Sequence[FeedFollower]) -> None:
    """Compare what followers received with the trail, event by event of each record.

    The trail is read again each time: the last requests of a load may still be under way.
    """
    for follower in followers:
        received = follower.received
        eventually(
            lambda: received == read_expected(site.sql, app_id),  # noqa: B023
            60,
            lambda: find_difference(read_expected(site.sql, app_id), received),  # noqa: B023
        )
        assert follower.odd == []
        assert len(set(follower.ids)) == len(follower.ids)


def find_difference(expected: Any, received: Any) -> Any:
    """Return the first record whose events differ."""
    for record_id in expected.keys() | received.keys():
        if expected.get(record_id) != received.get(record_id):
            return record_id, expected.get(record_id), received.get(record_id)
    return None


def test_followers_of_two_servers_survive_kills_of_one(make_site: Callable[..., Site]) -> None:
    site = make_site()
    with site.serve() as one, ExitStack() as stack:
        user = site.user(one)
        app_id = user.install()
        urls = [one.url]
        followers = stack.enter_context(following(urls, user, app_id))
        load = stack.enter_context(Load(user, app_id, writers=3))
        for _ in range(4 * ROUNDS):
            with site.serve() as two:
                there = User(two.url)
                stack.callback(there.close)
                other = stack.enter_context(Load(there, app_id, writers=3))
                urls.append(two.url)
                urls.reverse()
                load.more(10)
                other.more(10)
                pause(0, 0.3)
                urls.remove(two.url)  # its port may soon be another server's
                kill(two)
                other.over.set()
                load.more(5)
        load.over.set()
        check(site, app_id, followers)


def test_followers_of_a_killed_server_come_back_to_the_next_one(
    make_site: Callable[..., Site],
) -> None:
    """The only server is killed again and again, with all its streams."""
    site = make_site()
    with ExitStack() as stack:
        urls = [NO_SERVER]
        load: Load | None = None
        followers: Sequence[FeedFollower] = ()
        app_id = ""
        for _ in range(4 * ROUNDS):
            with site.serve() as server:
                urls[0] = server.url
                if load is None:
                    user = site.user(server)
                    app_id = user.install()
                    followers = stack.enter_context(following(urls, user, app_id))
                    load = stack.enter_context(Load(user, app_id, writers=3))
                load.goto(server.url)
                load.more(20)
                pause(0, 0.3)
                urls[0] = NO_SERVER
                load.goto(NO_SERVER)
                kill(server)
        assert load is not None
        with site.serve() as server:
            urls[0] = server.url
            load.goto(server.url)
            load.more(5)
            load.over.set()
            check(site, app_id, followers)
            assert min(follower.streams for follower in followers) > 4 * ROUNDS


def test_feeds_go_on_over_a_postgresql_that_is_killed(
    make_site: Callable[..., Site], durable: DurablePostgres
) -> None:
    """kill -9 of the postmaster, and a crash of all its processes, under two servers."""
    site = make_site()
    with site.serve() as one, site.serve() as two, ExitStack() as stack:
        user = site.user(one)
        app_id = user.install()
        followers = stack.enter_context(following([one.url, two.url], user, app_id, 4))
        load = stack.enter_context(Load(user, app_id, writers=3))
        there = User(two.url)
        stack.callback(there.close)
        other = stack.enter_context(Load(there, app_id, writers=3))
        signals = itertools.cycle((signal.SIGKILL, signal.SIGQUIT))
        for number in itertools.islice(signals, 4 * ROUNDS):
            load.more(10)
            other.more(10)
            pause(0, 0.2)
            durable.signal(number)
            durable.bring_back()
            load.more(10)
        load.over.set()
        other.over.set()
        check(site, app_id, followers)


def test_thousands_who_come_and_go_leave_nothing(make_site: Callable[..., Site]) -> None:
    """Clients that connect, read until they have everything, and leave, as fast as they can."""
    site = make_site()
    with site.serve() as server, ExitStack() as stack:
        user = site.user(server)
        app_id = user.install()
        Connects(user, app_id).send(200)
        before = measure(server)
        followers = stack.enter_context(following([server.url], user, app_id, 1))
        load = stack.enter_context(Load(user, app_id, writers=1))
        connects = Connects(user, app_id)
        connects.send(10_000)
        load.over.set()
        check(site, app_id, followers)
        load.check(site.sql)
        assert connects.odd == []
        followers[0].over.set()
        user.post(f"/api/v1/apps/{app_id}/collections/notes", json={"name": "last"})
        followers[0].join(30)
        # Nothing is left of them: no open socket, and no memory for each.
        eventually(lambda: measure(server).files <= before.files + 5, 30, lambda: measure(server))
        assert measure(server).kilobytes < before.kilobytes + 60_000


class Measured(NamedTuple):
    """What a process holds."""

    files: int
    kilobytes: int


def measure(server: Served) -> Measured:
    """Count the open files of a server, and its memory."""
    folder = Path(f"/proc/{server.process.pid}")
    status = (folder / "status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return Measured(len(list((folder / "fd").iterdir())), int(line.split()[1]))
