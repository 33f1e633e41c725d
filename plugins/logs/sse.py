"""Server-sent events (WHATWG HTML, 9.2), for as long as the caller reads them and may do so."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

import anyio
from anyio.abc import TaskGroup
from starlette.types import Receive, Scope, Send

from kernel.public import (
    ACCESS,
    HOOKS,
    LOGS_READ,
    KernelError,
    Request,
    Response,
    Services,
    Unavailable,
    hookspecs,
)

BLOCKED: Final = 30.0
"""Seconds that a write may take."""


class EventStream(Response):
    """Sends what an iterator yields until it ends, `refusal` returns, the client leaves, or a write
    takes too long.

    `source` is what the iterator reads from; it is closed with the stream.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        source: AsyncExitStack,
        refusal: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(media_type="text/event-stream")
        del self.headers["content-length"]
        self._chunks = chunks
        self._source = source
        self._refusal = refusal

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
            await send({"type": "http.response.body", "body": b""})

    async def _until_refused(self, scope: anyio.CancelScope) -> None:
        await self._refusal()
        scope.cancel()


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


class Guard:
    """Asks again and again what was asked before the stream began."""

    def __init__(self, services: Services, request: Request) -> None:
        self._services = services
        self._request = request

    async def refusal(self, every: float = 0.5, unchecked: float = 30.0) -> None:
        """Wait until the caller may not read any more.

        It is asked all `every` seconds, from memory, which notifications of changes have corrected
        by then, or by a read of the account. While the database is not available, the stream goes
        on for `unchecked` seconds.
        """
        checked_at = time.monotonic()
        while time.monotonic() - checked_at < unchecked:
            await anyio.sleep(every)
            try:
                if not await self._may_read():
                    return
            except Unavailable:
                continue
            checked_at = time.monotonic()

    async def _may_read(self) -> bool:
        """Whether the token has not ended and the role is still held. Raises Unavailable."""
        hooks = self._services.get(HOOKS)
        access = self._services.get(ACCESS)
        try:
            actor = await hooks.first(hookspecs.authenticate, request=self._request)
            if actor is None:
                return False
            await access.authorize(actor, LOGS_READ, self._request.scope["path_params"])
        except Unavailable:
            raise
        except KernelError:
            return False
        return True
