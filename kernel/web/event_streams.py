"""Server-sent events (WHATWG HTML, 9.2), for as long as the caller reads them and may do so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

import anyio
from anyio.abc import TaskGroup
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["EventStream"]

BLOCKED: Final = 30.0
"""Seconds that a write may take."""


class EventStream(Response):
    """Sends what an iterator yields until it ends, `refusal` returns, the client leaves, or a write
    takes too long.

    What `refusal` returns is sent last. `source` is what the iterator reads from; it is closed with
    the stream.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        source: AsyncExitStack,
        refusal: Callable[[], Awaitable[bytes]],
    ) -> None:
        super().__init__(media_type="text/event-stream")
        del self.headers["content-length"]
        self.headers["cache-control"] = "no-store"
        self._chunks = chunks
        self._source = source
        self._refusal = refusal
        self._last = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream; for HEAD, only its headers."""
        async with self._source:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
                return
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
                await self._send_all(send, tasks)
                tasks.cancel_scope.cancel()

    async def _send_all(self, send: Send, tasks: TaskGroup) -> None:
        with anyio.CancelScope() as sending:
            tasks.start_soon(self._until_refused, sending)
            async for chunk in self._chunks:
                with anyio.move_on_after(BLOCKED) as limit:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if limit.cancelled_caught:
                    return
        with anyio.move_on_after(BLOCKED):
            await send({"type": "http.response.body", "body": self._last})

    async def _until_refused(self, scope: anyio.CancelScope) -> None:
        self._last = await self._refusal()
        scope.cancel()


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
