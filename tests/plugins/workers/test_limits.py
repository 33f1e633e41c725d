"""Time limits of calls: one timer for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from kernel.public import HandlerFailed
from plugins.workers.replica.calls import Call, Calls


class Clock:
    """As much of an event loop as the calls use; its time passes where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers = list[tuple[float, Callable[[], None]]]()
        """The moment and the callback of each timer that is neither due nor cancelled."""
        self.started = 0

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        timer = (self.now + delay, callback)
        self.timers.append(timer)
        self.started += 1
        return Timer(lambda: self.timers.remove(timer))

    def pass_to(self, moment: float) -> None:
        """Let time pass, and call what is due."""
        self.now = moment
        due = [timer for timer in self.timers if timer[0] <= moment]
        for timer in due:
            self.timers.remove(timer)
            timer[1]()


class Timer(NamedTuple):
    cancel: Callable[[], None]


def limited_calls(clock: Clock, *limits: float) -> list[Call]:
    """Calls that no worker answers."""
    calls = Calls()
    calls._loop = clock  # type: ignore[assignment]
    made = [Call(asyncio.get_running_loop().create_future(), None, "") for _ in limits]
    for number, (call, seconds) in enumerate(zip(made, limits, strict=True)):
        calls.add(f"r{number}", call)
        calls.limit_time(call, seconds)
    return made


def error_of(call: Call) -> str:
    error = call.future.exception()
    assert isinstance(error, HandlerFailed)
    return error.message


async def test_many_calls_share_one_timer():
    clock = Clock()
    calls = limited_calls(clock, *[0.3] * 50)
    clock.pass_to(0.29)
    assert not any(call.future.done() for call in calls)
    clock.pass_to(0.3)
    assert {error_of(call) for call in calls} == {"rpc timeout (0.3s)"}
    assert (clock.started, clock.timers) == (1, [])


async def test_each_call_ends_in_its_own_time():
    clock = Clock()
    limits = 0.5, 0.1, 0.3
    calls = limited_calls(clock, *limits)
    for moment in sorted(limits):
        clock.pass_to(moment)
        ended = [seconds <= moment for seconds in limits]
        assert [call.future.done() for call in calls] == ended
    assert [error_of(call) for call in calls] == [f"rpc timeout ({s:g}s)" for s in limits]
    assert clock.timers == []


async def test_an_answered_call_and_a_job_are_not_late():
    calls = Calls()
    answered = Call(asyncio.get_running_loop().create_future(), None, "")
    job = Call(asyncio.get_running_loop().create_future(), None, "", lambda value: asyncio.sleep(0))
    calls.add("r1", answered)
    calls.add("j1", job)
    calls.limit_time(answered, 0.05)
    answered.succeed(b"1")
    await asyncio.sleep(0.2)
    assert await answered.future == b"1"
    assert not job.future.done()
    job.future.cancel()
