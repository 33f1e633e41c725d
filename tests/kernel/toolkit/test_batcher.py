"""Items go in batches, each gets its own result, and the end of the server loses none unseen."""

import asyncio
import itertools
from collections.abc import Sequence

import anyio
import pytest

from kernel.errors import BadRequest, Unavailable
from kernel.toolkit.batcher import Batcher, BatchLimits, Retry


class Sink:
    """Takes batches; each flush waits for `go`, and raises the next of `errors`."""

    def __init__(self, *errors: Exception | None) -> None:
        self.batches: list[list[str]] = []
        self.errors = list(errors)
        self.go = anyio.Event()
        self.go.set()

    async def flush(self, items: Sequence[str]) -> Sequence[str | Exception]:
        self.batches.append(list(items))
        await self.go.wait()
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        if "bad" in items:
            raise BadRequest("bad")
        return [KeyError(item) if item.startswith("odd") else item.upper() for item in items]


async def submitted(batcher: Batcher[str, str], *items: str) -> dict[str, str | Exception]:
    found: dict[str, str | Exception] = {}

    async def submit(item: str) -> None:
        try:
            found[item] = await batcher.submit(item)
        except Exception as error:
            found[item] = error

    async with anyio.create_task_group() as tasks:
        for item in items:
            tasks.start_soon(submit, item)
    return found


def quick() -> Retry:
    return Retry(first=0.001, longest=0.01)


async def test_items_of_one_moment_are_one_batch():
    sink = Sink()
    async with Batcher(sink.flush).running() as batcher:
        assert await submitted(batcher, "a", "b", "c") == {"a": "A", "b": "B", "c": "C"}
        assert await batcher.submit("d") == "D"
    assert sink.batches == [["a", "b", "c"], ["d"]]


async def test_items_gather_while_a_flush_is_under_way():
    sink = Sink()
    async with Batcher(sink.flush).running() as batcher:
        sink.go = anyio.Event()
        for item in ("a", "b", "c"):
            batcher.add(item)
            await anyio.wait_all_tasks_blocked()
        sink.go.set()
    assert sink.batches == [["a"], ["b", "c"]]


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [
        (BatchLimits(items=2), [2, 2, 1]),
        (BatchLimits(bytes=6), [2, 2, 1]),
        (BatchLimits(bytes=1), [1, 1, 1, 1, 1]),
    ],
)
async def test_a_batch_has_bounds(limits: BatchLimits, sizes: list[int]):
    sink = Sink()
    async with Batcher(sink.flush, limits, size=len).running() as batcher:
        await submitted(batcher, "aaa", "bbb", "ccc", "ddd", "eee")
    assert [len(batch) for batch in sink.batches] == sizes


async def test_too_many_waiting_items_are_refused():
    sink = Sink()
    limits = BatchLimits(waiting=2, full="too many jobs are being enqueued")
    async with Batcher(sink.flush, limits).running() as batcher:
        batcher.add("a")
        batcher.add("b")
        with pytest.raises(Unavailable, match="too many jobs are being enqueued"):
            batcher.add("c")
        with pytest.raises(Unavailable, match="too many jobs are being enqueued"):
            await batcher.submit("c")
    assert sink.batches == [["a", "b"]]


async def test_a_bad_item_fails_alone():
    sink = Sink()
    async with Batcher(sink.flush).running() as batcher:
        found = await submitted(batcher, "a", "bad", "b")
    assert (found["a"], found["b"], str(found["bad"])) == ("A", "B", "bad")
    assert sink.batches == [["a", "bad", "b"], ["a"], ["bad"], ["b"]]


async def test_an_item_gets_its_own_error():
    async with Batcher(Sink().flush).running() as batcher:
        found = await submitted(batcher, "a", "odd", "b")
    assert (found["a"], found["b"], type(found["odd"])) == ("A", "B", KeyError)


async def test_an_error_of_the_batch_is_that_of_each_item():
    sink = Sink(Unavailable("away"))
    async with Batcher(sink.flush).running() as batcher:
        found = await submitted(batcher, "a", "b")
        assert [str(found[item]) for item in ("a", "b")] == ["away", "away"]
        assert await batcher.submit("c") == "C"
    assert sink.batches == [["a", "b"], ["c"]]


async def test_a_batch_is_sent_again_before_later_items():
    sink = Sink(Unavailable("away"), Unavailable("away"))
    async with Batcher(sink.flush, BatchLimits(items=2), retry=quick()).running() as batcher:
        assert len(await submitted(batcher, "a", "b", "c")) == 3
    assert sink.batches == [["a", "b"], ["a", "b"], ["a", "b"], ["c"]]


async def test_a_single_item_is_sent_again_behind_later_ones():
    batches = list[list[str]]()

    async def flush(items: Sequence[str]) -> Sequence[str | Exception]:
        batches.append(list(items))
        locked = len(batches) < 3
        return [Unavailable("locked") if i == "a" and locked else i.upper() for i in items]

    batcher = Batcher(flush, BatchLimits(items=2), retry=quick())
    async with batcher.running():
        assert await submitted(batcher, "a", "b", "c") == {"a": "A", "b": "B", "c": "C"}
    assert batches == [["a", "b"], ["c", "a"], ["a"]]


async def test_retries_wait_twice_as_long_each_time(monkeypatch: pytest.MonkeyPatch):
    pauses, sleep = list[float](), asyncio.sleep

    async def slept(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    sink = Sink(*[Unavailable("away")] * 4, None, Unavailable("away"))
    retry = Retry(first=1, longest=5)
    async with Batcher(sink.flush, retry=retry).running() as batcher:
        monkeypatch.setattr(asyncio, "sleep", slept)
        await batcher.submit("a")
        await batcher.submit("b")
    assert [pause for pause in pauses if pause] == [1, 2, 4, 5, 1]


async def test_flushes_under_load_are_apart_and_a_lone_one_is_at_once():
    times = list[float]()

    async def flush(items: Sequence[str]) -> None:
        times.append(anyio.current_time())

    began = anyio.current_time()
    async with Batcher[str, None](flush, linger=0.1).running() as batcher:
        await batcher.submit("a")
        await batcher.submit("b")
        await batcher.submit("c")
    assert times[0] - began < 0.09
    assert all(later - sooner > 0.09 for sooner, later in itertools.pairwise(times))


async def test_a_patient_batcher_waits_for_more():
    sink = Sink()
    async with Batcher(sink.flush, delay=0.05).running() as batcher:
        batcher.add("a")
        await anyio.sleep(0.01)
        batcher.add("b")
    assert sink.batches == [["a", "b"]]


async def test_the_end_flushes_what_waits():
    sink = Sink()
    async with Batcher(sink.flush, BatchLimits(items=1)).running() as batcher:
        for item in ("a", "b", "c"):
            batcher.add(item)
    assert sink.batches == [["a"], ["b"], ["c"]]
    with pytest.raises(Unavailable, match="the server stops"):
        await batcher.submit("d")


async def test_what_cannot_be_flushed_in_time_is_counted_and_refused():
    sink, found = Sink(), dict[str, str | Exception]()
    sink.go = anyio.Event()
    batcher = Batcher(sink.flush, BatchLimits(items=2))

    async def submit(*items: str) -> None:
        found.update(await submitted(batcher, *items))

    async with anyio.create_task_group() as tasks, batcher.running(drain=0.05):
        batcher.add("line 1")
        await anyio.wait_all_tasks_blocked()
        batcher.add("line 2")
        tasks.start_soon(submit, "waits", "waits too")
        await anyio.wait_all_tasks_blocked()
    assert sink.batches == [["line 1"]]
    assert {str(error) for error in found.values()} == {"the server stops"}
    assert (len(found), len(batcher)) == (2, 2)


async def test_a_batch_that_may_be_stored_is_not_to_be_sent_again():
    sink = Sink()
    sink.go = anyio.Event()
    batcher, found = Batcher(sink.flush), dict[str, str | Exception]()

    async def submit() -> None:
        found.update(await submitted(batcher, "a"))

    async with anyio.create_task_group() as tasks, batcher.running(drain=0.01):
        tasks.start_soon(submit)
        await anyio.wait_all_tasks_blocked()
    assert isinstance(found["a"], Unavailable)
    assert "retry-after" not in found["a"].headers


async def test_a_caller_that_is_cancelled_disturbs_no_other():
    sink = Sink()
    sink.go = anyio.Event()
    async with Batcher(sink.flush).running() as batcher:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(batcher.submit, "a")
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        sink.go.set()
        assert await batcher.submit("b") == "B"


async def test_a_lost_item_is_logged(capsys: pytest.CaptureFixture[str]):
    async with Batcher(Sink().flush).running() as batcher:
        batcher.add("odd")
    assert "an item of a batch is lost" in capsys.readouterr().out
