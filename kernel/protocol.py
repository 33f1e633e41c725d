"""uvicorn's HTTP protocol with a deadline and a cap for the head of a request, which it lacks."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
HEAD_BYTES = 64 * 1024


class GuardedProtocol(HttpToolsProtocol):
    """Closes a connection that is slow or endless with the head of its request (slowloris)."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = False

    def connection_made(self, transport: Any) -> None:
        """Start the clock: a connection that says nothing is closed too."""
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what arrives before the head is complete."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(431, "the head of the request is too large")

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._timer is None:
            self._begin_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is there; one that came in a single piece can still be too large."""
        self._end_head()
        size = sum(len(name) + len(value) + 4 for name, value in self.headers) + len(self.url)
        if size > HEAD_BYTES:
            self._refuse(431, "the head of the request is too large")
            return
        super().on_headers_complete()

    def _begin_head(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._timer = self.loop.call_later(
            HEAD_SECONDS, self._refuse, 408, "the head of the request came too slowly"
        )

    def _end_head(self) -> None:
        self._in_head = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int, message: str) -> None:
        self._end_head()
        if self.transport.is_closing():
            return
        body = b'{"error": "%s"}' % message.encode()
        self.transport.write(
            b"HTTP/1.1 %d Refused\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (status, len(body), body)
        )
        self.transport.close()
