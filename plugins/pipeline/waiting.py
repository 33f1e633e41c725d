"""What waits for room on a connection: the owners of statements take turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class WaitingLine(Generic[T]):
    """A line of several owners, so that many statements of one of them do not hold up another's.

    The owners take turns. What one owner waits for keeps its order.
    """

    def __init__(self) -> None:
        self._queues: dict[Hashable, deque[T]] = {}
        """By owner; the first one has the next turn."""
        self.count = 0
        """How many items wait: an attribute, as each statement asks."""

    def __iter__(self) -> Iterator[T]:
        for queue in self._queues.values():
            yield from queue

    def append(self, owner: Hashable, item: T) -> None:
        """Add an item behind the others of its owner."""
        queue = self._queues.get(owner)
        if queue is None:
            queue = deque[T]()
            self._queues[owner] = queue
        queue.append(item)
        self.count += 1

    @property
    def next(self) -> T:
        """The item whose turn it is; there must be one."""
        queue = next(iter(self._queues.values()))
        return queue[0]

    @property
    def oldest(self) -> list[T]:
        """The first item of each owner."""
        return [queue[0] for queue in self._queues.values()]

    def pop_next(self) -> T:
        """Remove and return the item whose turn it is; its owner is last from then on."""
        owner = next(iter(self._queues))
        queue = self._queues.pop(owner)
        item = queue.popleft()
        if queue:
            self._queues[owner] = queue
        self.count -= 1
        return item
