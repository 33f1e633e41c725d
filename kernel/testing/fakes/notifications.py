"""A fake of NOTIFICATIONS."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

from kernel.contracts.statements import Transaction


class FakeNotifications:
    """NOTIFICATIONS in one process: `await notify(topic, payload)` calls the subscribers."""

    def __init__(self) -> None:
        self._subscribers = defaultdict[str, list[Callable[[str | None], Awaitable[None]]]](list)

    def subscribe(self, topic: str, callback: Callable[[str | None], Awaitable[None]]) -> None:
        self._subscribers[topic].append(callback)

    async def publish(
        self, tx: Transaction, messages: Sequence[tuple[str, str | None]]
    ) -> Callable[[], Awaitable[None]]:
        """See `Notifications.publish`; the messages are sent when the result is called."""

        async def deliver() -> None:
            for message in messages:
                await self.notify(*message)

        return deliver

    async def notify(self, topic: str, payload: str | None = None) -> None:
        """Call the subscribers of a topic; None means that a notification may be lost."""
        for callback in self._subscribers[topic]:
            await callback(payload)
