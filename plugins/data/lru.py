"""A cache that has a bound."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Bounded(Generic[V]):
    """Keeps the `size` values that were used last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Hashable, V] = OrderedDict()

    def get(self, key: Hashable) -> V | None:
        """Return a value that is kept."""
        if (value := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
        return value

    def put(self, key: Hashable, value: V) -> V:
        """Keep a value; the one that was not used for longest may go."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return value

    def made(self, key: Hashable, make: Callable[[], V]) -> V:
        """Return what is kept, or make it."""
        return found if (found := self.get(key)) is not None else self.put(key, make())
