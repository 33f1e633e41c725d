"""uvicorn's HTTP protocol with what it lacks: deadlines and caps for what a client sends."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
HEAD_BYTES = 64 * 1024
HELD_BYTES = 4096
BODY_SECONDS = 30.0
BODY_FLOOR = 10_000
"""A body that takes longer than 30 s must come at 10 kB/s or more."""
MAX_UNREAD = 64_000_000
"""Bytes of a body that are thrown away after the reply, so that its sender gets to read it."""

_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


class OneWrite:
    """A transport that holds a small piece back until the next one, or the loop's next turn.

    So the head and the body of a reply leave in one system call.
    """

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write a piece, or hold it back."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.writelines((held, data))
        elif len(data) <= HELD_BYTES:
            self._held = data
            self._loop.call_soon(self._release)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Close the connection once all is written."""
        self._release()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._transport.is_closing()

    def _release(self) -> None:
        held, self._held = self._held, b""
        if held:
            self._transport.write(held)


class GuardedProtocol(HttpToolsProtocol):
    """Closes a connection that is slow or endless with the head of its request (slowloris), slow
    with a body, or goes on sending one that was refused."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = False
    _in_body = False
    _body_bytes = 0
    _body_began = 0.0
    _unread = 0

    def connection_made(self, transport: Any) -> None:
        """Start the clock: a connection that says nothing is closed too."""
        super().connection_made(OneWrite(transport, self.loop))  # type: ignore[arg-type]
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what arrives of a head that began earlier, and of a body."""
        if not self._in_body and (b"pgrade:" in data or b"PGRADE:" in data):
            data = _without_upgrade(data)
        in_head = self._in_head
        super().data_received(data)
        if self._in_head and in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse_head(431, "the head of the request is too large")
        elif self._in_body:
            self._count_body(len(data))

    def on_message_begin(self) -> None:
        """A request begins."""
        if not self._in_head:
            self._begin_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is there; one that came in a single piece can still be too large."""
        self._stop_clock()
        size = sum(len(name) + len(value) + 4 for name, value in self.headers) + len(self.url)
        if size > HEAD_BYTES:
            self._refuse_head(431, "the head of the request is too large")
            return
        self._in_body, self._body_bytes, self._unread = True, 0, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is there."""
        self._stop_clock()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._stop_clock()
        self._answer(400, "this is not a valid HTTP request")
        self.transport.close()

    def _begin_head(self) -> None:
        self._stop_clock()
        self._in_head = True
        self._head_bytes = 0
        self._timer = self.loop.call_later(
            HEAD_SECONDS, self._refuse_head, 408, "the head of the request came too slowly"
        )

    def _stop_clock(self) -> None:
        self._in_head = self._in_body = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _count_body(self, size: int) -> None:
        """Time a body that does not come in one piece, and read only so much of a refused one."""
        self._body_bytes += size
        if self._timer is None:
            self._body_began = self.loop.time()
            self._timer = self.loop.call_later(BODY_SECONDS, self._check_body)
        if self._idle():
            self._unread += size
            if self._unread > MAX_UNREAD:
                self.transport.close()

    def _check_body(self) -> None:
        self._timer = None
        took = self.loop.time() - self._body_began
        if self.flow.read_paused:  # the server reads slowly, not the client sends so
            self._body_bytes = 0
            self._count_body(0)
        elif self._body_bytes >= took * BODY_FLOOR:
            self._timer = self.loop.call_later(1.0, self._check_body)
        elif not self.transport.is_closing():
            if not self.cycle.response_started:
                self._answer(400, "the request body comes too slowly")
            self.transport.close()

    def _refuse_head(self, status: int, message: str) -> None:
        self._stop_clock()
        if self.transport.is_closing():
            return
        if self._idle():
            self._answer(status, message)
        self.transport.close()

    def _idle(self) -> bool:
        """Whether no reply is owed to an earlier request."""
        cycle: Any = self.cycle
        return cycle is None or cycle.response_complete

    def _answer(self, status: int, message: str) -> None:
        body = b'{"error": "%s"}' % message.encode()
        self.transport.write(
            b"HTTP/1.1 %d Refused\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (status, len(body), body)
        )


def _without_upgrade(data: bytes) -> bytes:
    """Hide the wish for another protocol, which a server may ignore (RFC 9110, 7.8).

    The parser would take what follows the head for that protocol: clients that ask for h2c with
    every request (Java's) would lose their bodies.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-grade:", head) + end + rest
