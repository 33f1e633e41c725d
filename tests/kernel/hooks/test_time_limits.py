"""Whom a time limit blames: no hook that waits while other code blocks the event loop."""

import asyncio
import time

import pytest

from kernel.errors import HookTimeout
from kernel.hooks.limits import LET_PASS, run_limited


async def test_code_that_blocks_the_loop_takes_no_time_of_a_hook_that_waits() -> None:
    begun, released = asyncio.Event(), asyncio.Event()

    async def hook() -> str:
        begun.set()
        await released.wait()
        return "done"

    task = asyncio.create_task(limited_hook(hook, 0.5))  # noqa: TID251
    await begun.wait()
    time.sleep(0.8)  # noqa: ASYNC251
    released.set()
    assert await task == "done"


async def limited_hook(hook: object, seconds: float) -> object:
    work = hook()  # type: ignore[operator]
    return await run_limited(work, work.send(None), seconds)


async def test_a_hook_that_goes_on_after_its_cancellation_is_abandoned() -> None:
    async def hook() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(60)

    with pytest.raises(HookTimeout) as caught:
        await limited_hook(hook, 0.1)
    assert caught.value.remedy == LET_PASS
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
