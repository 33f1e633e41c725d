"""Wait for what other threads, processes and servers do."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


def eventually(probe: Callable[[], T], seconds: float = 10, why: Any = None) -> T:
    """Wait until a probe is true and return what it gave.

    `why` explains the failure: a value, or a function that is called once it is too late.
    """
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        if time.monotonic() > deadline:
            said = why() if callable(why) else why
            raise AssertionError(f"not within {seconds:g} s; last: {found!r}; {said}")
        time.sleep(0.02)
    return found


async def until(probe: Callable[[], Awaitable[object] | object], seconds: float = 10) -> float:
    """Wait in an event loop until a probe is true and return the seconds that it took."""
    began = time.monotonic()
    while not (await found if isinstance(found := probe(), Awaitable) else found):
        assert time.monotonic() - began < seconds, f"not within {seconds:g} s; last: {found!r}"
        await anyio.sleep(0.005)
    return time.monotonic() - began
