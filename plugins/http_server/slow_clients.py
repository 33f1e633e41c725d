"""What is known of a slow client: how its body arrives, how it reads a reply, how long it pauses.

`GuardedProtocol` asks these objects. Each bounds one thing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final, Protocol

from uvicorn.protocols.http.flow_control import FlowControl

BODY_FLOOR = 10_000
"""Bytes a second of a body after the time for its beginning. Faster bytes count in advance, for
three times as long at most, so that a stalled body is refused by then."""
FEW_WAITING = 100
"""Pipelined requests that may wait while more is read, so that the end of the client is noticed.
Only a flood brings twenty times as many in one read: then the connection is closed."""
TAKEN_SECONDS = 60.0
"""A client must read a reply at a quarter of the rate of bodies in this time. It is not shorter,
because a slow reader frees the system's large buffers in leaps."""
MAX_UNTAKEN = 500_000_000
"""Bytes of replies that this process keeps for slow clients."""


class ClientConnection(Protocol):
    """What these objects need of a connection."""

    loop: asyncio.AbstractEventLoop
    timeout_keep_alive: int
    transport: Any

    @property
    def is_idle(self) -> bool:
        """Whether all requests are answered, and nothing of another one has arrived."""
        ...


class BoundedFlow(FlowControl):
    """uvicorn's, which also stops reading while many pipelined requests wait."""

    def __init__(self, transport: asyncio.Transport, waiting: deque[Any]) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Read on, but not while many wait: all bodies but the last one are there."""
        if len(self._waiting) < FEW_WAITING:
            super().resume_reading()


class UntakenReplies:
    """Bounds the unread replies of all connections together; the oldest connection is aborted."""

    def __init__(self) -> None:
        self._sizes: dict[ClientConnection, int] = {}
        self._total = 0

    def add(self, connection: ClientConnection, size: int) -> None:
        """Count what waits for a client, and abort others where all together wait for too much."""
        self.remove(connection)
        self._sizes[connection] = size
        self._total += size
        while self._total > MAX_UNTAKEN and len(self._sizes) > 1:
            oldest = next(iter(self._sizes))
            self.remove(oldest)
            oldest.transport.abort()

    def remove(self, connection: ClientConnection) -> None:
        """Count it no more: the client has read it, or is gone."""
        self._total -= self._sizes.pop(connection, 0)


UNTAKEN: Final = UntakenReplies()


class BodyArrival:
    """How the body of a request arrives in pieces."""

    def __init__(self) -> None:
        self.due = 0.0
        """When the next piece has to arrive, by the clock of the event loop."""
        self.arrived = 0
        """Bytes of pieces, until the reply is sent."""
        self.framing = 0
        """Bytes since the parser has found a part of the body among them."""
        self.is_fed = False
        """Whether the last piece had a part of the body."""
        self.unread = 0
        """Bytes that arrived after the reply."""

    def begin(self) -> None:
        """Expect the body of the next request."""
        self.framing = 0
        self.is_fed = True
        self.unread = 0

    def count(self, size: int) -> None:
        """Count a piece that was parsed."""
        self.arrived += size
        if self.is_fed:
            self.framing = 0
        else:
            self.framing += size
        self.is_fed = False


class ReplyTaking:
    """Watches whether a client reads a reply that waits in the buffer of its connection."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Expect that the client reads some of what waits."""
        size = self._transport.get_write_buffer_size()
        self._timer = self._loop.call_later(TAKEN_SECONDS, self._check, size)

    def end(self) -> None:
        """Expect nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self, earlier_size: int) -> None:
        taken_bytes = earlier_size - self._transport.get_write_buffer_size()
        if taken_bytes >= min(earlier_size, TAKEN_SECONDS * BODY_FLOOR / 4):
            self.begin()
        else:
            self._transport.abort()


class IdlePause:
    """Closes a connection that is idle for long; one timer serves all pauses between requests."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._loop = connection.loop
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Note that the client has all replies, or still sends the body of a refused request."""
        self._since = self._loop.time()
        if self._timer is None:
            seconds = self._connection.timeout_keep_alive
            self._timer = self._loop.call_later(seconds, self._check)

    def end(self) -> None:
        """Stop the timer: the connection is lost."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        self._timer = None
        if not self._connection.is_idle:  # a busy one has other timers
            return
        idle_until = self._since + self._connection.timeout_keep_alive
        seconds_left = idle_until - self._loop.time()
        if seconds_left > 0:
            self._timer = self._loop.call_later(seconds_left, self._check)
        else:
            self._connection.transport.close()
