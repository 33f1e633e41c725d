"""What a slow or failing hook costs: its own calls, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from kernel.contracts import Event, hookspecs, server_actor
from kernel.contracts.hookspecs import hookimpl
from kernel.errors import ConstraintViolation, Forbidden, HookFailed, HookTimeout
from kernel.hooks import breaker
from kernel.hooks.bus import PluggyBus

EVENT = Event(app_id="crm", entity="contacts", operation="INSERT", actor=server_actor())


class Scripted:
    """A plugin whose hooks run what the test sets."""

    act: Callable[[], Awaitable[Any]]

    @hookimpl
    async def authenticate(self) -> Any:
        return await self.act()

    @hookimpl
    async def record_writing(self) -> Any:
        return await self.act()

    @hookimpl
    async def event_committed(self) -> Any:
        return await self.act()


def bus_for(act: Callable[[], Awaitable[Any]], limit: float = 0.05) -> PluggyBus:
    plugin = Scripted()
    plugin.act = act
    bus = PluggyBus(hookspecs, limit)
    bus.register(plugin, "scripted")
    bus.arrange(["scripted"])
    return bus


async def write(bus: PluggyBus) -> None:
    tx: Any = None
    change: Any = EVENT
    await bus.emit(hookspecs.record_writing, tx=tx, change=change)


async def commit(bus: PluggyBus) -> None:
    await bus.notify(hookspecs.event_committed, event=EVENT)


def test_a_guard_that_sleeps_is_503_and_named_with_its_line() -> None:
    async def act() -> None:
        await anyio.sleep(60)

    bus = bus_for(act)
    with capture_logs() as logs, pytest.raises(HookTimeout, match=r"more than 0\.05 seconds"):
        anyio.run(write, bus)
    [line] = logs
    assert (line["event"], line["plugin"], line["hook"]) == (
        "a hook took too long", "scripted", "record_writing",
    )  # fmt: skip
    assert line["at"] == f"{__file__}:{act.__code__.co_firstlineno + 1}"
    assert HookTimeout.status == 503


def test_a_guard_that_catches_its_cancellation_has_failed_all_the_same() -> None:
    async def act() -> None:
        try:
            await anyio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(0)

    with pytest.raises(HookTimeout):
        anyio.run(write, bus_for(act))


def test_a_guard_with_a_task_group_is_ended_with_its_tasks() -> None:
    ended = list[str]()

    async def part() -> None:
        try:
            await anyio.sleep(10)
        finally:
            ended.append("part")

    async def act() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(part)
            tasks.start_soon(part)

    async def both() -> None:
        with pytest.raises(HookTimeout):
            await write(bus_for(act))
        await anyio.sleep(0.01)  # the task is not cancelled any more

    anyio.run(both)
    assert ended == ["part", "part"]


def test_a_caller_that_goes_away_cancels_the_guard() -> None:
    async def act() -> None:
        await anyio.sleep(10)

    async def both() -> bool:
        with anyio.move_on_after(0.02) as scope:
            await write(bus_for(act, limit=5))
        return scope.cancelled_caught

    assert anyio.run(both)


def test_a_guard_that_does_not_wait_costs_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act() -> None: ...

    async def timers() -> list[float]:
        asked = list[float]()
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "call_later", lambda seconds, *_: asked.append(seconds))
        await write(bus_for(act))
        return asked

    assert anyio.run(timers) == []


def test_results_pass_through_waits() -> None:
    async def act() -> Any:
        await asyncio.sleep(0)
        with anyio.fail_after(60):
            await anyio.sleep(0.001)
        return server_actor()

    bus: Any = bus_for(act, limit=5)  # a busy machine pauses for longer than 0.05 s
    assert anyio.run(lambda: bus.first(hookspecs.authenticate, request=None)) == server_actor()


@pytest.mark.parametrize("wrong", ["text", {"user_id": "1"}, True])
def test_a_result_of_the_wrong_type_is_named(wrong: object) -> None:
    async def act() -> Any:
        return wrong

    bus: Any = bus_for(act)
    kind = type(wrong).__name__
    with pytest.raises(HookFailed, match=f"authenticate returned {kind}, not Actor") as caught:
        anyio.run(lambda: bus.first(hookspecs.authenticate, request=None))
    assert getattr(caught.value, "raised_by", "") == "scripted"


def test_a_statement_that_fails_in_a_hook_does_not_blame_the_client() -> None:
    class UniqueViolation(Exception):
        sqlstate = "23505"

    async def act() -> None:
        named = {"sqlstate": "23505", "table": "t", "column": "", "constraint": "c"}
        raise ConstraintViolation("taken", **named) from UniqueViolation()

    with pytest.raises(HookFailed, match="a statement failed: taken") as caught:
        anyio.run(write, bus_for(act))
    [note] = caught.value.__notes__
    assert note.startswith(f"plugin scripted, hook record_writing, {__file__}:")


def test_a_refusal_is_the_hooks_own() -> None:
    async def act() -> None:
        raise Forbidden("not here")

    with pytest.raises(Forbidden, match="not here"):
        anyio.run(write, bus_for(act))


def test_the_line_and_the_traceback_of_an_observer_that_fails_are_logged() -> None:
    async def act() -> None:
        raise RuntimeError("no")

    with capture_logs() as logs:
        anyio.run(commit, bus_for(act))
    [line] = logs
    assert (line["plugin"], line["error"]) == ("scripted", "RuntimeError: no")
    assert line["at"] == f"{__file__}:{act.__code__.co_firstlineno + 1}"
    assert line["exc_info"].__traceback__ is not None


def test_an_observer_that_keeps_failing_is_skipped_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, called = [1000.0], list[float]()
    monkeypatch.setattr(breaker, "monotonic", lambda: now[0])

    async def act() -> None:
        called.append(now[0])
        if now[0] < 1100:
            raise RuntimeError("no")

    bus = bus_for(act)
    [observer] = bus.implementations(hookspecs.event_committed)
    with capture_logs() as logs:
        for _ in range(9):
            anyio.run(commit, bus)
    assert len(called) == breaker.TOLERATED
    assert observer.is_open
    assert [line["event"] for line in logs][-1:] == ["an observer failed"]
    [skipped] = [line for line in logs if line["event"] == "an observer is skipped"]
    assert (skipped["plugin"], skipped["hook"]) == ("scripted", "event_committed")
    now[0] += 60  # half open: one call, which fails
    for _ in range(3):
        anyio.run(commit, bus)
    assert len(called) == breaker.TOLERATED + 1
    now[0] += 400
    with capture_logs() as logs:
        for _ in range(3):
            anyio.run(commit, bus)
    assert len(called) == breaker.TOLERATED + 4
    assert not observer.is_open
    assert [line["event"] for line in logs] == ["an observer works again"]


async def test_the_observers_of_a_commit_have_one_time_in_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kernel.hooks.bus.OBSERVERS_SECONDS", 0.2)
    begun = list[None]()

    async def act() -> None:
        begun.append(None)
        await anyio.sleep(0.02)

    bus = bus_for(act, limit=0.1)
    with capture_logs() as logs:
        await bus.notify_committed([EVENT] * 1000)
    assert 1 <= len(begun) < 1000
    [line] = [line for line in logs if line["event"] == "observers took too long"]
    assert (line["events"], line["left_out"]) == (1000, 1000 - len(begun) + 1)


def test_an_observer_that_hangs_is_skipped_too() -> None:
    slept = list[object]()

    async def act() -> None:
        slept.append(await anyio.sleep(10))

    bus = bus_for(act, limit=0.01)
    for _ in range(50):
        anyio.run(commit, bus)
    assert slept == []
    assert bus.implementations(hookspecs.event_committed)[0].statistics.errors == breaker.TOLERATED
