"""Time limits of calls: one timer for all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from kernel.public import HandlerFailed
from plugins.workers.replica.calls import Call, Calls


async def outcome(calls: Calls, name: str, seconds: float) -> tuple[str, float]:
    """Wait for a call that no worker answers; return its error and when it came."""
    call, began = Call(asyncio.get_running_loop().create_future(), None, ""), time.monotonic()
    calls.add(name, call)
    try:
        calls.limit_time(call, seconds)
        with pytest.raises(HandlerFailed) as raised:
            await call.future
        return raised.value.message, time.monotonic() - began
    finally:
        calls.remove(name, call)


async def test_many_calls_share_one_timer(monkeypatch: pytest.MonkeyPatch):
    loop, started = asyncio.get_running_loop(), list[float]()
    call_later = loop.call_later

    def counted(delay: float, callback: Callable[..., Any], *given: Any, **more: Any) -> Any:
        started.append(delay)
        return call_later(delay, callback, *given, **more)

    monkeypatch.setattr(loop, "call_later", counted)
    calls = Calls()
    found = await asyncio.gather(*(outcome(calls, f"r{n}", 0.3) for n in range(50)))
    assert {message for message, _ in found} == {"rpc timeout (0.3s)"}
    assert all(0.29 < took < 2 for _, took in found)
    assert len(started) < 5


async def test_each_call_ends_in_its_own_time():
    calls = Calls()
    limits = 0.5, 0.1, 0.3
    found = await asyncio.gather(*(outcome(calls, f"r{n}", s) for n, s in enumerate(limits)))
    assert [message for message, _ in found] == [f"rpc timeout ({s:g}s)" for s in limits]
    assert all(s - 0.02 < took for s, (_, took) in zip(limits, found, strict=True))
    assert found[1][1] < found[2][1] < found[0][1]


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
