"""Wait for what other threads, processes and servers do.

The seconds are patience with a busy machine: no test may be about them.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

T = TypeVar("T")
PATIENCE = 30.0


def eventually(probe: Callable[[], T], seconds: float = PATIENCE, why: Any = None) -> T:
    """Wait until a probe is true and return what it gave.

    `why` explains the failure: a value, or a function that is called once it is too late.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            reason = why() if callable(why) else why
            raise AssertionError(f"not within {seconds:g} s; last: {answer!r}; {reason}")
        time.sleep(0.02)


async def until(probe: Callable[[], Awaitable[object] | object], seconds: float = PATIENCE) -> None:
    """Wait in an event loop until a probe is true."""
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s; last: {answer!r}")
        await anyio.sleep(0.005)
