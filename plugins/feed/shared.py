"""What one stream makes for all that need it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class Shared(Generic[T]):
    """A value that several tasks ask for, and one of them makes."""

    __slots__ = ("_making", "value")

    def __init__(self) -> None:
        self.value: T | None = None
        self._making: anyio.Event | None = None

    async def get(self, make: Callable[[], Awaitable[T]]) -> T:
        """Return the value; make it, unless another task does.

        Where that task is cancelled, or `make` raises, the next one that waits makes it.
        """
        while self.value is None:
            if self._making is not None:
                await self._making.wait()
                continue
            making = anyio.Event()
            self._making = making
            try:
                self.value = await make()
            finally:
                self._making = None
                making.set()
        return self.value
