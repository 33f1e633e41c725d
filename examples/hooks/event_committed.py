"""Reports each order after its commit."""

from collections import deque
from typing import Any

from caudex import Event, Plugin, for_subjects, hookimpl


class EventCommittedPlugin(Plugin):
    """Keeps the last messages; a real one hands them to a mail server or a queue."""

    name = "event_committed"

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self.sent = deque[str](maxlen=100)

    @hookimpl
    @for_subjects("shop.orders")
    async def event_committed(self, event: Event) -> None:
        """An error here is logged; the order is committed. The reply waits for this."""
        self.sent.append(f"{event.actor.username}: {event.operation} {event.record_id}")
