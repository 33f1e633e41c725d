"""Server-sent events (WHATWG HTML, 9.2), for as long as the caller reads them and may do so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from time import monotonic
from typing import Final

import anyio
from anyio.abc import TaskGroup
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kernel.web.scope import leave_place

__all__ = ["EventStream"]

BLOCKED: Final = 30.0
"""Seconds that a write may take."""


class EventStream(Response):
    """Sends what an iterator yields until it ends, `refusal` returns, the client leaves, or a write
    takes too long.

    What `refusal` returns is sent last, or `too_slow` where a write takes too long: that reaches a
    client that reads on within the same time again. `source` is what the iterator reads from; it is
    closed with the stream. A stream takes no place of `[server] max_requests`: who makes it bounds
    how many there are.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        source: AsyncExitStack,
        refusal: Callable[[], Awaitable[bytes]],
        too_slow: bytes = b"",
    ) -> None:
        super().__init__(media_type="text/event-stream")
        del self.headers["content-length"]
        self.headers["cache-control"] = "no-store"
        self._chunks = chunks
        self._source = source
        self._refusal = refusal
        self._too_slow = too_slow
        self._last = b""
        self._write_began: float | None = None
        self._alarm: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream; for HEAD, only its headers."""
        async with self._source:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
                return
            leave_place(scope)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
                await self._send_all(send, tasks)
                tasks.cancel_scope.cancel()

    async def _send_all(self, send: Send, tasks: TaskGroup) -> None:
        with anyio.CancelScope() as sending:
            tasks.start_soon(self._cancel_when_refused, sending)
            with anyio.CancelScope() as writing:
                self._watch(writing)
                try:
                    async for chunk in self._chunks:
                        self._write_began = monotonic()
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                        self._write_began = None
                finally:
                    self._stop_watching()
            if writing.cancelled_caught:
                self._last = self._too_slow
        with anyio.move_on_after(BLOCKED):
            await send({"type": "http.response.body", "body": self._last})

    def _watch(self, writing: anyio.CancelScope) -> None:
        """End the writes where one takes too long. A deadline for each would cost as much as it."""
        seconds = 0.0
        if self._write_began is not None:
            seconds = monotonic() - self._write_began
        if seconds >= BLOCKED:
            writing.cancel()
            return
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(BLOCKED - seconds, self._watch, writing)

    def _stop_watching(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    async def _cancel_when_refused(self, scope: anyio.CancelScope) -> None:
        self._last = await self._refusal()
        scope.cancel()


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
