"""The streams that are open in this process: how many there are, and how each begins and ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

from kernel.public import (
    CHANGES,
    BadRequest,
    Changes,
    ConcurrencyLimiter,
    EventStream,
    Request,
    Response,
    Services,
    headers_of,
)

from .chunks import SharedChunks
from .config import FeedConfig
from .events import write_end
from .guard import SharedGuards, StreamGuard
from .places import Place, read_place
from .subscribed import NamedWatch, Subscribed

Begin = Callable[[AsyncExitStack], Awaitable[AsyncGenerator[bytes]]]
"""Begins to write a stream; what it opens in the stack is closed with the stream."""


class Streams:
    """Opens streams, as many as the configuration allows."""

    def __init__(self, services: Services, config: FeedConfig) -> None:
        self._services = services
        self.chunks = SharedChunks()
        self._guards = SharedGuards()
        of_user = config.streams_per_user
        self._open = ConcurrencyLimiter(
            config.streams, per_key=of_user, retry_after=5,
            message=f"too many feeds are open: [plugins.feed] streams = {config.streams}",
            key_message=f"too many feeds of this user: [plugins.feed] streams_per_user = {of_user}",
        )  # fmt: skip

    @property
    def changes(self) -> Changes:
        """The provider of CHANGES."""
        return self._services.get(CHANGES)

    def subscribe(self, watches: list[NamedWatch], *, stops_at_loss: bool = False) -> Subscribed:
        """Return the subscriptions of a stream."""
        return Subscribed(watches, self.changes, self.chunks, stops_at_loss=stops_at_loss)

    async def open(self, request: Request, subscribed: Subscribed, begin: Begin) -> Response:
        """Answer with a stream. Raises Unavailable where there are too many."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._open.hold(request.actor.user_id))
            stack.enter_context(self.chunks.joined(subscribed.key))
            events = await begin(stack)
            stack.push_async_callback(events.aclose)
            watches = [item.watch for item in subscribed.subscriptions]
            guard = StreamGuard(self._services, request, watches)
            refusal = partial(self._guards.refusal, guard)
            return EventStream(events, stack.pop_all(), refusal, write_end("too slow"))
        raise AssertionError  # the stack above swallows nothing

    def read_place(self, request: Request, since: str | None) -> Place | None:
        """Read where a stream begins; an empty header does not count. Raises BadRequest."""
        name = "Last-Event-ID"
        text: str | None = headers_of(request.scope).get(b"last-event-id", b"").decode("latin-1")
        if not text:
            name = "since"
            text = since
        if text is None:
            return None
        place = read_place(text, name)
        try:
            self.changes.check(place.position)
        except BadRequest:
            raise BadRequest(f"{name} is no position of a feed") from None
        return place
