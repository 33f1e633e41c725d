"""Intake and feed, without a server."""

from collections import deque

import anyio

from kernel.public import LogLine, Retry, Unavailable
from kernel.toolkit import limiter
from plugins.logs.feed import RING, RING_SIZE, STOPS, Feed
from plugins.logs.intake import LINE_COST, MAX_MESSAGE, MAX_QUEUED, Intake, weight
from plugins.logs.routes import _events
from plugins.logs.sse import event

PLENTY = 1_000_000_000
"""Bytes in a second."""


def line(number, message=""):
    return LogLine(id=number, level="info", message=message or str(number), ts="t")


def put(intake, app_id, level, message):
    if intake.admits(app_id):
        intake.put(app_id, level, message)


class Sink:
    """What an intake stores; raises each of `errors` first, then calls `meanwhile`."""

    def __init__(self, lines_per_second=2000, bytes_per_second=PLENTY):
        self.intake = Intake(self.store, lines_per_second, bytes_per_second)
        self.intake.batcher.delay = 0.0
        self.intake.batcher.retry = Retry(first=0.001, longest=0.001)
        self.batches = []
        self.errors = []
        self.meanwhile = lambda: None

    async def store(self, lines):
        self.meanwhile()
        if self.errors:
            raise self.errors.pop()
        self.batches.append(list(lines()))

    async def take(self):
        """Everything that waits, as lines."""
        self.batches = []
        async with self.intake.batcher.running():
            pass
        return [entry for batch in self.batches for entry in batch]


def size_of(intake):
    return intake._size, {app_id: app.size for app_id, app in intake._apps.items()}


async def test_a_flood_is_cut_and_counted(monkeypatch):
    monkeypatch.setattr(limiter, "monotonic", lambda: 1000.0)
    sink = Sink(10)
    for number in range(200):
        put(sink.intake, "app", "info", str(number))
    lines = await sink.take()
    assert len(lines) == 51
    assert lines[-1].level == "system"
    assert lines[-1].message == "150 lines were dropped: too many at once"


async def test_one_apps_flood_leaves_room_for_another():
    sink = Sink(10)
    for _ in range(200):
        put(sink.intake, "loud", "info", "x")
    put(sink.intake, "quiet", "info", "heard")
    assert [each.message for each in await sink.take() if each.app_id == "quiet"] == ["heard"]


LARGE = "x" * MAX_MESSAGE


def until_refused(intake, app_id):
    """Put large lines until one is not taken any more; returns how many were."""
    for count in range(1000):
        before = intake._apps[app_id].dropped if app_id in intake._apps else 0
        put(intake, app_id, "info", LARGE)
        if intake._apps[app_id].dropped > before:
            return count
    raise AssertionError("never refused")


async def test_large_lines_of_one_app_leave_room_for_another():
    sink = Sink()
    assert until_refused(sink.intake, "loud") >= 4
    put(sink.intake, "quiet", "info", "heard")
    assert [each.message for each in await sink.take() if each.app_id == "quiet"] == ["heard"]


async def test_large_lines_of_many_apps_leave_room_for_another():
    sink = Sink()
    for number in range(40):
        until_refused(sink.intake, f"loud{number}")
    assert sink.intake._size <= MAX_QUEUED
    put(sink.intake, "quiet", "info", "heard")
    assert (await sink.take())[-1].message == "heard"


async def test_an_app_that_was_refused_is_taken_again_when_its_lines_are_stored():
    sink = Sink()
    first = until_refused(sink.intake, "loud")
    await sink.take()
    assert size_of(sink.intake) == (0, {})
    assert until_refused(sink.intake, "loud") == first


async def test_an_app_that_came_back_has_the_room_that_its_former_lines_took():
    sink = Sink()
    put(sink.intake, "other", "info", "kept")
    only = size_of(sink.intake)
    first = until_refused(sink.intake, "loud")
    sink.intake.drop("loud")
    assert size_of(sink.intake) == only
    assert until_refused(sink.intake, "loud") == first
    await sink.take()
    assert size_of(sink.intake) == (0, {})


async def test_a_flood_of_bytes_is_cut_and_counted():
    sink = Sink(2000, 10_000)
    assert until_refused(sink.intake, "loud") == 1
    assert [entry.level for entry in await sink.take()] == ["info", "system"]
    assert until_refused(sink.intake, "loud") == 0, "nothing waits, and yet it wrote too much"
    assert [entry.level for entry in await sink.take()] == ["system"]
    assert until_refused(sink.intake, "other") == 1


async def test_what_cannot_be_stored_is_replaced_and_long_lines_are_cut():
    sink = Sink(100)
    put(sink.intake, "app", "info", "a\0b\ud800")
    put(sink.intake, "app", "info", "x" * (MAX_MESSAGE + 5))
    first, second = await sink.take()
    assert first.message == "a\ufffdb?"
    assert len(second.message) == MAX_MESSAGE


async def test_a_long_line_is_measured_in_bytes_and_not_cut_within_a_character():
    sink = Sink(100)
    put(sink.intake, "app", "info", "x" + "\U0001f511" * MAX_MESSAGE)
    [entry] = await sink.take()
    assert entry.message == "x" + "\U0001f511" * ((MAX_MESSAGE - 1) // 4)


async def test_lines_without_a_character_are_not_kept_without_end():
    sink = Sink(10_000_000)
    many = MAX_QUEUED // LINE_COST
    for _ in range(many):
        put(sink.intake, "app", "info", "")
    kept = len(sink.intake.batcher) - 1
    assert kept < many
    sink.errors = [Unavailable("away")]
    lines = await sink.take()
    assert len(lines) == kept + 1
    [lost] = [entry for entry in lines if entry.level == "system"]
    assert int(lost.message.split()[0]) == many - kept
    assert size_of(sink.intake) == (0, {})


async def test_dropped_lines_are_reported_once():
    sink = Sink(1)
    for _ in range(8):
        put(sink.intake, "app", "info", "x")
    said = [entry.message for entry in await sink.take()]
    assert said == [*["x"] * 5, "3 lines were dropped: too many at once"]
    assert (await sink.take(), sink.intake._apps) == ([], {})


async def test_lines_that_are_dropped_while_others_are_stored_are_reported_later():
    sink = Sink(1)
    for _ in range(7):
        put(sink.intake, "app", "info", "x")

    def more():
        sink.meanwhile = lambda: None
        put(sink.intake, "app", "info", "more")

    sink.meanwhile = more
    sink.errors = [Unavailable("away")]
    lines = await sink.take()
    said = [entry.message.split()[0] for entry in lines if entry.level == "system"]
    assert (len(lines), said) == (7, ["2", "1"])


async def test_lines_that_could_not_be_stored_keep_their_order():
    sink = Sink(10_000)
    for number in range(510):
        put(sink.intake, "app", "info", str(number))
    sink.errors = [Unavailable("away")]
    assert [int(entry.message) for entry in await sink.take()] == list(range(510))
    assert [len(batch) for batch in sink.batches] == [500, 10]


async def test_what_an_app_said_that_went_meanwhile_is_not_stored():
    sink = Sink()
    for app in ("went", "stays"):
        put(sink.intake, app, "info", "x")

    def go():
        sink.meanwhile = lambda: None
        sink.intake.drop("went")
        put(sink.intake, "went", "info", "of the next of its name")

    sink.meanwhile = go
    sink.errors = [Unavailable("away")]
    assert [(entry.app_id, entry.message) for entry in await sink.take()] == [
        ("stays", "x"), ("went", "of the next of its name"),
    ]  # fmt: skip
    assert size_of(sink.intake) == (0, {})


async def test_a_slow_reader_is_reported_once_how_much_it_missed():
    feed = Feed(0)
    reading = feed.read(0)
    feed.add([line(1)])
    first = await anext(reading)
    assert first is not None
    assert first.id == 1
    feed.add([line(number) for number in range(2, RING + 302)])
    missed = await anext(reading)
    assert missed is not None
    assert (missed.level, missed.id) == ("system", 0)
    assert missed.message == "300 lines were missed"
    following = await anext(reading)
    assert following is not None
    assert following.id == 302
    await reading.aclose()


def test_the_ring_stays_bounded_though_a_line_is_heavier_once_it_was_encoded():
    feed = Feed(0)
    for number in range(1, 61):
        feed.add([line(number, "\u00e9" * 500_000)])
        event(feed._ring[-1])
    assert len(feed._ring) < 10
    assert 0 < feed._size <= RING_SIZE


async def test_the_ring_is_bounded_by_what_its_lines_weigh():
    feed = Feed(0)
    large = [line(number, "x" * 1_000_000) for number in range(1, 31)]
    for entry in large:
        feed.add([entry])
    assert sum(map(weight, feed._ring)) <= RING_SIZE
    assert feed._size == sum(map(weight, feed._ring))
    reading = feed.read(0)
    missed, following = await anext(reading), await anext(reading)
    await reading.aclose()
    assert missed.message == f"{following.id - 1} lines were missed"
    assert 5 < 31 - following.id < 11
    feed.add([line(31, "x" * (RING_SIZE + 1))])
    assert [entry.id for entry in feed._ring] == [31], "the newest is always there"


async def test_the_last_line_of_a_feed_says_that_the_server_stops():
    feed = Feed(0)
    feed.add([line(1)])
    feed.close()
    got = [entry async for entry in feed.read(0)]
    assert [(entry.id, entry.message) for entry in got] == [(1, "1"), (0, STOPS)]
    assert got[-1].level == "system"


async def test_old_lines_are_kept_no_longer_than_until_they_are_sent():
    async def live():
        yield line(3)

    old = deque([line(1), line(2)])
    events = [(chunk, len(old)) async for chunk in _events(old, live())]
    assert [left for _, left in events] == [2, 1, 0, 0]
    assert [b"id: %d\n" % number in events[number][0] for number in (1, 2, 3)] == [True] * 3


async def test_readers_wake_up_when_something_comes():
    feed = Feed(0)

    async def read(got):
        async for entry in feed.read(0):
            got.append(entry.id)

    both = [], []
    async with anyio.create_task_group() as tasks:
        for got in both:
            tasks.start_soon(read, got)
        await anyio.sleep(0.01)
        feed.add([line(1), line(2)])
        await anyio.sleep(0.01)
        feed.add([line(3)])
        await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()
    assert both == ([1, 2, 3], [1, 2, 3])
