"""Masking, intake and feed, without a server."""

import anyio
import pytest

from kernel.public import LogLine
from plugins.logs.feed import RING, Feed
from plugins.logs.intake import BATCH, MAX_MESSAGE, Intake
from plugins.logs.masking import Masks


def line(number):
    return LogLine(id=number, level="info", message=str(number), ts="t")


@pytest.mark.parametrize(
    ("value", "text", "shown"),
    [
        ("hunter22", "login with hunter22 ok", "login with [secret] ok"),
        ("a.b*c", "x a.b*c y aXbbc", "x [secret] y aXbbc"),
        ("abc", "abc abcd xabc (abc)", "[secret] abcd xabc ([secret])"),
        ("-----KEY\nline one\n-----END", "line one", "[secret]"),
        ("", "nothing", "nothing"),
        ("   ", "a   b", "a   b"),
    ],
)
def test_secret_values_are_hidden(value, text, shown):
    masks = Masks()
    masks.put("app", [value])
    assert masks.hide("app", text) == shown
    assert masks.hide("other", text) == text


def test_the_longest_value_is_hidden_first_and_new_values_replace_the_old():
    masks = Masks()
    masks.put("app", ["secret", "secret-long"])
    assert masks.hide("app", "secret-long") == "[secret]"
    masks.put("app", ["other"])
    assert masks.hide("app", "secret-long") == "secret-long"


async def test_a_flood_is_cut_and_counted():
    intake = Intake(lines_per_second=10)
    for number in range(200):
        intake.put("app", "info", str(number))
    lines = intake.take()
    assert 50 <= len(lines) <= 53
    assert lines[-1].level == "system"
    assert "lines were dropped" in lines[-1].message


async def test_one_apps_flood_leaves_room_for_another():
    intake = Intake(lines_per_second=10)
    for _ in range(200):
        intake.put("loud", "info", "x")
    intake.put("quiet", "info", "heard")
    assert [entry.message for entry in intake.take() if entry.app_id == "quiet"] == ["heard"]


async def test_what_cannot_be_stored_is_replaced_and_long_lines_are_cut():
    intake = Intake(lines_per_second=100)
    intake.put("app", "info", "a\0b\ud800")
    intake.put("app", "info", "x" * (MAX_MESSAGE + 5))
    first, second = intake.take()
    assert first.message == "a\ufffdb?"
    assert len(second.message) == MAX_MESSAGE


async def test_lines_that_could_not_be_stored_keep_their_order():
    intake = Intake(lines_per_second=10_000)
    for number in range(BATCH + 10):
        intake.put("app", "info", str(number))
    batch = intake.take()
    assert len(batch) == BATCH
    intake.put_back(batch)
    again = [*intake.take(), *intake.take()]
    assert [int(entry.message) for entry in again] == list(range(BATCH + 10))


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
