"""Masking, intake and feed, without a server."""

from collections import deque

import anyio
import pytest

from kernel.public import LogLine
from kernel.toolkit import limiter
from plugins.logs import masking
from plugins.logs.feed import RING, RING_SIZE, STOPS, Feed
from plugins.logs.intake import BATCH, MAX_MESSAGE, MAX_QUEUED, Intake
from plugins.logs.masking import KEEP, Masks
from plugins.logs.models import LINE_COST, weight
from plugins.logs.routes import _events
from plugins.logs.sse import event

PLENTY = 1_000_000_000
"""Bytes in a second."""


def line(number, message=""):
    return LogLine(id=number, level="info", message=message or str(number), ts="t")


def put(intake, app_id, level, message):
    if intake.admits(app_id):
        intake.put(app_id, level, message)


@pytest.fixture
def clock(monkeypatch):
    """Seconds that have passed for the masks, in a list of one."""
    now = [1000.0]
    monkeypatch.setattr(masking.time, "monotonic", lambda: now[0])
    return now


def test_the_values_of_an_app_are_hidden_in_its_lines():
    masks = Masks()
    masks.put("app", ["hunter22"])
    assert masks.hide("app", "login with hunter22 ok") == "login with [secret] ok"
    assert masks.hide("other", "login with hunter22 ok") == "login with hunter22 ok"
    masks.put("app", [" "])
    masks.put("blank", ["", " "])
    assert masks.hide("blank", "a b") == "a b"


def test_a_replaced_value_stays_hidden_while_the_old_worker_may_have_it(clock):
    masks = Masks()
    masks.put("app", ["old-value", "other"])
    masks.put("app", ["new-value", "other"])
    clock[0] += KEEP - 1
    masks.put("app", ["newest-value", "other"])
    for value in ("old-value", "new-value", "newest-value", "other"):
        assert masks.hide("app", value) == "[secret]"
    clock[0] += 2
    masks.put("app", ["newest-value", "other"])
    assert masks.hide("app", "old-value") == "old-value"
    assert masks.hide("app", "new-value") == "[secret]"


def test_a_value_that_comes_back_is_no_replaced_one(clock):
    masks = Masks()
    for values in (["first"], ["second"], ["first"]):
        masks.put("app", values)
    clock[0] += KEEP + 1
    masks.put("app", ["first"])
    assert (masks.hide("app", "first"), masks.hide("app", "second")) == ("[secret]", "second")


def test_only_so_many_replaced_values_stay_hidden(clock, monkeypatch):
    monkeypatch.setattr(masking, "MAX_REPLACED", 5)
    masks = Masks()
    for number in range(7):
        masks.put("app", [f"value-{number}"])
    shown = [masks.hide("app", f"value-{number}") for number in range(7)]
    assert shown == ["value-0", *["[secret]"] * 6]


def test_the_values_of_an_app_that_is_gone_go_a_while_later(clock):
    masks = Masks()
    for app in ("there", "gone"):
        masks.put(app, ["a-secret"])
    masks.keep_only({"there"})
    clock[0] += KEEP - 1
    masks.keep_only({"there"})
    assert masks.hide("gone", "a-secret") == "[secret]"
    clock[0] += 2
    masks.keep_only({"there"})
    assert masks.hide("gone", "a-secret") == "a-secret"
    assert masks.hide("there", "a-secret") == "[secret]"


def test_the_values_of_an_app_that_came_back_stay(clock):
    masks = Masks()
    masks.put("app", ["a-secret"])
    masks.keep_only(set())
    clock[0] += KEEP - 1
    masks.put("app", ["a-secret"])
    clock[0] += 2
    masks.keep_only(set())
    assert masks.hide("app", "a-secret") == "[secret]"


async def test_a_flood_is_cut_and_counted(monkeypatch):
    monkeypatch.setattr(limiter, "monotonic", lambda: 1000.0)
    intake = Intake(10, PLENTY)
    for number in range(200):
        put(intake, "app", "info", str(number))
    lines = intake.take()
    assert len(lines) == 51
    assert lines[-1].level == "system"
    assert "lines were dropped" in lines[-1].message


async def test_one_apps_flood_leaves_room_for_another():
    intake = Intake(10, PLENTY)
    for _ in range(200):
        put(intake, "loud", "info", "x")
    put(intake, "quiet", "info", "heard")
    assert [entry.message for entry in intake.take() if entry.app_id == "quiet"] == ["heard"]


LARGE = "x" * MAX_MESSAGE


def until_refused(intake, app_id):
    """Put large lines until one is not taken any more; returns how many were."""
    before = len(intake)
    for count in range(1000):
        put(intake, app_id, "info", LARGE)
        if len(intake) == before + count:
            return count
    raise AssertionError("never refused")


async def test_large_lines_of_one_app_leave_room_for_another():
    intake = Intake(2000, PLENTY)
    assert until_refused(intake, "loud") >= 4
    put(intake, "quiet", "info", "heard")
    lines = []
    while batch := intake.take():
        lines += batch
    assert [entry.message for entry in lines if entry.app_id == "quiet"] == ["heard"]


async def test_large_lines_of_many_apps_leave_room_for_another():
    intake = Intake(2000, PLENTY)
    for number in range(40):
        until_refused(intake, f"loud{number}")
    assert intake._size <= MAX_QUEUED
    put(intake, "quiet", "info", "heard")
    assert intake._lines[-1].message == "heard"


async def test_an_app_that_was_refused_is_taken_again_when_its_lines_are_stored():
    intake = Intake(2000, PLENTY)
    first = until_refused(intake, "loud")
    while intake.take():
        pass
    assert not intake._held
    assert until_refused(intake, "loud") == first


async def test_an_app_that_came_back_has_the_room_that_its_former_lines_took():
    intake = Intake(2000, PLENTY)
    put(intake, "other", "info", "kept")
    first = until_refused(intake, "loud")
    intake.drop("loud")
    assert intake._held == {"other": intake._size}
    assert until_refused(intake, "loud") == first
    while intake.take():
        pass
    assert not intake._held


async def test_a_flood_of_bytes_is_cut_and_counted():
    intake = Intake(2000, 10_000)
    assert until_refused(intake, "loud") == 1
    assert [entry.level for entry in intake.take()] == ["info", "system"]
    assert until_refused(intake, "loud") == 0, "the queue is empty, and yet it wrote too much"
    assert until_refused(intake, "other") == 1


async def test_what_cannot_be_stored_is_replaced_and_long_lines_are_cut():
    intake = Intake(100, PLENTY)
    put(intake, "app", "info", "a\0b\ud800")
    put(intake, "app", "info", "x" * (MAX_MESSAGE + 5))
    first, second = intake.take()
    assert first.message == "a\ufffdb?"
    assert len(second.message) == MAX_MESSAGE


async def test_a_long_line_is_measured_in_bytes_and_not_cut_within_a_character():
    intake = Intake(100, PLENTY)
    put(intake, "app", "info", "x" + "\U0001f511" * MAX_MESSAGE)
    [entry] = intake.take()
    assert entry.message == "x" + "\U0001f511" * ((MAX_MESSAGE - 1) // 4)


async def test_lines_without_a_character_are_not_kept_without_end():
    intake = Intake(10_000_000, PLENTY)
    many = MAX_QUEUED // LINE_COST
    for _ in range(many):
        put(intake, "app", "info", "")
    kept = len(intake)
    assert kept < many
    batches = [intake.take()]
    assert batches[0]
    intake.put_back(batches.pop())  # the database is away
    put(intake, "app", "info", "")
    assert len(intake) <= kept + 2, "what was put back counts as before"
    while lines := intake.take():
        batches.append(lines)
    [lost] = [entry for lines in batches for entry in lines if entry.level == "system"]
    assert int(lost.message.split()[0]) == many + 1 - kept
    assert intake._size == 0


async def test_dropped_lines_are_reported_once():
    intake = Intake(1, PLENTY)
    for _ in range(8):
        put(intake, "app", "info", "x")
    assert "3 lines were dropped: too many at once" in [entry.message for entry in intake.take()]
    assert (intake.take(), intake._dropped) == ([], {})


async def test_lines_that_could_not_be_stored_keep_their_order():
    intake = Intake(10_000, PLENTY)
    for number in range(BATCH + 10):
        put(intake, "app", "info", str(number))
    batch = intake.take()
    assert len(batch) == BATCH
    intake.put_back(batch)
    again = [*intake.take(), *intake.take()]
    assert [int(entry.message) for entry in again] == list(range(BATCH + 10))


async def test_what_an_app_said_that_went_meanwhile_is_not_put_back():
    intake = Intake(2000, PLENTY)
    for app in ("went", "stays"):
        put(intake, app, "info", "x")
    batch = intake.take()
    intake.drop("went")
    intake.put_back(batch)  # the database was away
    batch = intake.take()
    assert [entry.app_id for entry in batch] == ["stays"]
    put(intake, "went", "info", "of the next of its name")
    intake.put_back(batch)
    assert [entry.app_id for entry in intake.take()] == ["stays", "went"]
    assert not intake._held


async def test_a_slow_reader_is_told_once_how_much_it_missed():
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
