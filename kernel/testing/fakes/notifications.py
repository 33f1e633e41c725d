"""A fake of NOTIFICATIONS."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable


class FakeNotifications:
    """NOTIFICATIONS in one process: `await notify(topic, payload)` calls the subscribers."""

    def __init__(self) -> None:
        self._subscribers = defaultdict[str, list[Callable[[str | None], Awaitable[None]]]](list)

    def subscribe(self, topic: str, callback: Callable[[str | None], Awaitable[None]]) -> None:
        """See `Notifications.subscribe`."""
        self._subscribers[topic].append(callback)

    async def notify(self, topic: str, payload: str | None = None) -> None:
        """Call the subscribers of a topic; None means that a notification may be lost."""
        for callback in self._subscribers[topic]:
            await callback(payload)
