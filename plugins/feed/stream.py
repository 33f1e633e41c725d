"""One stream: what was missed, `ready`, what comes, and a heartbeat in between."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from kernel.public import ChangesPage

from .events import RETRY, write_end, write_heartbeat, write_ready, write_resync
from .places import Place
from .subscribed import Subscribed, ValueLost

HEARTBEAT: Final = 14.0
"""Seconds without an event after which the position is sent."""
JUST_SENT: Final = 1.0
"""Seconds after an event in which an empty page sends no position; the next one comes in 14."""
STOPS: Final = "the server stops"


class Pulse:
    """Says when everything was sent, and where the stream is while nothing is sent."""

    def __init__(self) -> None:
        self.is_ready = False
        self._sent_at = time.monotonic()

    def note_sent(self) -> None:
        """Note that the client got a position."""
        self._sent_at = time.monotonic()

    def write(
        self, page: ChangesPage, *, has_events: bool = False, place: Place | None = None
    ) -> bytes:
        """Return what follows the events of a page, with a place or the position of the page."""
        if has_events:
            self.note_sent()
        if page.complete and not self.is_ready:
            self.is_ready = True
            self.note_sent()
            return write_ready(page.position)
        seconds = HEARTBEAT if page.changes else JUST_SENT
        return self.write_heartbeat(place or Place(page.position), seconds)

    def write_heartbeat(self, place: Place, seconds: float = HEARTBEAT) -> bytes:
        """Return a place where so many seconds have passed without an event, else nothing."""
        if time.monotonic() - self._sent_at < seconds:
            return b""
        self.note_sent()
        return write_heartbeat(str(place))


class FeedStream:
    """Writes the events of a feed.

    Where changes are lost, the stream says so and goes on; with `stops_at_loss` it ends, and
    `has_lost` is true.
    """

    def __init__(
        self, subscribed: Subscribed, place: Place, *, stops_at_loss: bool = False
    ) -> None:
        self._subscribed = subscribed
        self._place = place
        self._stops_at_loss = stops_at_loss
        self._pulse = Pulse()
        self.has_lost = False

    async def write(self, pages: AsyncIterator[ChangesPage]) -> AsyncGenerator[bytes]:
        """Yield pieces of the stream until the server stops, or an entity is another one."""
        if not self._stops_at_loss:
            yield RETRY
        async for page in pages:
            if page.lost == "entity changed" and self._pulse.is_ready:
                yield write_end("entity changed")
                return
            if page.lost is not None and self._stops_at_loss:
                self.has_lost = True
                return
            if page.lost is not None:
                self._place = Place(page.position)
                self._pulse.is_ready = True
                self._pulse.note_sent()
                yield write_resync(page.lost, page.position)
                continue
            try:
                async for piece in self._write_page(page):
                    yield piece
            except ValueLost:
                self.has_lost = True
                return
        yield write_end(STOPS)

    async def _write_page(self, page: ChangesPage) -> AsyncGenerator[bytes]:
        for part in self._subscribed.cut(page):
            async for events in self._subscribed.write_events(part, self._place):
                if events:
                    self._pulse.note_sent()
                    yield events
            self._place = Place(part[-1].position)
            words = self._pulse.write_heartbeat(self._place)
            if words:
                yield words
        if page.changes or page.complete or not self._place.sent:
            self._place = Place(page.position)
        words = self._pulse.write(page, place=self._place)
        if words:
            yield words
