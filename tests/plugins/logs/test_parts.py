"""Intake and feed, without a server."""

from collections import deque

import anyio

from kernel.public import LogLine, Retry, Unavailable
from kernel.toolkit import limiter
from plugins.logs import events
from plugins.logs.events import BATCH_SIZE, batches
from plugins.logs.feed import RING, RING_SIZE, STOPS, Feed
from plugins.logs.intake import LINE_COST, MAX_MESSAGE, MAX_QUEUED, Intake, weight
from plugins.logs.routes import _events

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


async def ids(reading):
    """The ids of the next batch."""
    batch = await anext(reading)
    return [entry.id for entry in batch.lines]


async def test_a_slow_reader_is_reported_once_how_much_it_missed():
    feed = Feed(0)
    reading = feed.read(feed.end)
    feed.add([line(1)])
    assert await ids(reading) == [1]
    for number in range(2, RING + 302):
        feed.add([line(number)])
    missed = await anext(reading)
    [said] = missed.lines
    assert (said.level, said.id) == ("system", 0)
    assert said.message == "300 lines were missed"
    assert await ids(reading) == [302]
    await reading.aclose()


async def test_what_was_missed_is_counted_in_lines_whatever_batches_they_came_in():
    feed = Feed(0)
    reading = feed.read(feed.end)
    number = 1
    for size in (1, 7, 400, 350, 3, 500, 20, 300, 1, 90):
        feed.add([line(each, "x" * 300) for each in range(number, number + size)])
        number += size
    missed = await anext(reading)
    count = int(missed.lines[0].message.split()[0])
    seen = []
    while not seen or seen[-1] < number - 1:
        seen += await ids(reading)
    await reading.aclose()
    assert seen == [*range(count + 1, number)]
    assert RING <= len(seen) < RING + BATCH_SIZE // 300


def test_the_ring_stays_bounded_with_what_its_lines_are_encoded_as():
    feed = Feed(0)
    for number in range(1, 61):
        feed.add([line(number, "\u00e9" * 500_000)])
    assert len(feed._ring) < 10
    held = [kept.batch for kept in feed._ring]
    size = sum(sum(map(weight, batch.lines)) + len(batch.events) for batch in held)
    assert feed._size == size <= RING_SIZE
    feed.add([line(61, "\x01" * 1_000_000)])  # six bytes each, as JSON
    assert feed._size <= RING_SIZE


async def test_the_ring_is_bounded_by_what_its_lines_weigh():
    feed = Feed(0)
    begin = feed.end
    large = [line(number, "x" * 1_000_000) for number in range(1, 31)]
    for entry in large:
        feed.add([entry])
    reading = feed.read(begin)
    missed = await anext(reading)
    [first] = await ids(reading)
    await reading.aclose()
    assert missed.lines[0].message == f"{first - 1} lines were missed"
    assert 2 < 31 - first < 6
    feed.add([line(31, "x" * (RING_SIZE + 1))])
    assert [kept.batch.lines[0].id for kept in feed._ring] == [31], "the newest is always there"


async def test_the_last_line_of_a_feed_says_that_the_server_stops():
    feed = Feed(0)
    begin = feed.end
    feed.add([line(1)])
    feed.close()
    got = [entry async for batch in feed.read(begin) for entry in batch.lines]
    assert [(entry.id, entry.message) for entry in got] == [(1, "1"), (0, STOPS)]
    assert got[-1].level == "system"


async def test_old_lines_are_kept_no_longer_than_until_they_are_sent():
    async def live():
        for batch in batches([line(5)]):
            yield batch

    old = deque([line(1), line(2, "x" * BATCH_SIZE), line(3, "x" * BATCH_SIZE), line(4)])
    chunks = [(chunk, len(old)) async for chunk in _events(old, live())]
    assert [left for _, left in chunks] == [4, 2, 1, 0, 0]
    numbers = [[n for n in range(1, 6) if b"id: %d\n" % n in chunk] for chunk, _ in chunks]
    assert numbers == [[], [1, 2], [3], [4], [5]]


async def test_readers_wake_up_when_something_comes():
    feed = Feed(0)

    async def read(got):
        async for batch in feed.read(feed.end):
            got.extend(entry.id for entry in batch.lines)

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


async def test_a_line_is_encoded_once_and_sent_with_its_batch_however_many_read(monkeypatch):
    encoded = []
    encode = events.event
    monkeypatch.setattr(events, "event", lambda each: encoded.append(each.id) or encode(each))
    feed = Feed(0)
    received = [[] for _ in range(40)]

    async def read(chunks):
        async for chunk in _events(deque(), feed.read(feed.end)):
            chunks.append(chunk)

    async with anyio.create_task_group() as tasks:
        for chunks in received:
            tasks.start_soon(read, chunks)
        await anyio.wait_all_tasks_blocked()
        feed.add([line(number) for number in range(1, 401)])
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert encoded == [*range(1, 401)]
    [_, first], *others = received
    assert first.count(b"id: ") == 400
    assert all(chunks[1] is first for chunks in others)


def test_batches_hold_what_a_slow_client_takes_in_half_a_minute():
    lines = [line(number, "x" * 1000) for number in range(200)]
    lines.insert(100, line(1000, "x" * 1_000_000))
    parts = list(batches(lines))
    assert [entry for batch in parts for entry in batch.lines] == lines
    for batch in parts:
        assert batch.events == b"".join(map(events.event, batch.lines))
        assert len(batch.events) - len(events.event(batch.lines[-1])) < BATCH_SIZE
    assert list(batches([])) == []
