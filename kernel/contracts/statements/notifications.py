"""Messages between server processes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from kernel.contracts.base import ServiceKey
from kernel.contracts.statements.statements import Transaction, Writer

__all__ = ["NOTIFICATIONS", "Notifications"]


class Notifications(Protocol):
    """Messages about changes by other server processes. They are hints: the row is the truth."""

    def subscribe(self, topic: str, callback: Callable[[str | None], Awaitable[None]]) -> None:
        """Call `callback` with each payload of `topic`, or with None when some may be lost."""
        ...

    async def publish(
        self, tx: Transaction, messages: Sequence[tuple[str, str | None]]
    ) -> Callable[[], Awaitable[None]]:
        """Publish (topic, payload) pairs with the commit of `tx`, as its last statements.

        Returns: a function that notifies the subscribers of this process, called after the commit.
        """
        ...

    async def announce(self, writer: Writer, topic: str, payload: str | None) -> None:
        """Publish one message by a statement of its own, sent by `writer`, and no transaction.

        It does not wait for the disk: a crash of the database may lose it. The subscribers of this
        process are notified before it returns. A `payload` has at most 7,000 bytes.
        """
        ...


NOTIFICATIONS = ServiceKey[Notifications]("notifications")
