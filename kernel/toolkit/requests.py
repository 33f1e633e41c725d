"""On whose behalf code runs: a request of a client, or an operation of a worker."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final, Protocol

import anyio
import msgspec


class Opened(Protocol):
    """What a request has opened and not closed yet, such as a stream."""

    async def end(self, reason: str) -> None:
        """Close it. It does not raise."""
        ...


class RequestContext(msgspec.Struct, eq=False):
    """A request: its caller, its app, the plugin that answers it, and what it has opened.

    A user or an app that is not known is None. Statements count for both.
    """

    plugin: str = ""
    app_id: str | None = None
    user_id: str | None = None
    opened: set[Opened] = set()
    ended: bool = False

    async def end(self) -> None:
        """Close what the request has left open."""
        self.ended = True
        with anyio.CancelScope(shield=True):
            for opened in list(self.opened):
                await opened.end("the request that opened it has ended")


CURRENT_REQUEST: Final = ContextVar[RequestContext | None]("caudex_request", default=None)
"""None in background tasks, and in work of the server itself."""


@asynccontextmanager
async def on_behalf_of(
    *, user_id: str | None = None, app_id: str | None = None, plugin: str = ""
) -> AsyncGenerator[None]:
    """Count statements for a user and an app, as in a request of that user.

    At the end, what was opened inside and not closed is closed, and logged.
    """
    context = RequestContext(plugin, app_id, user_id)
    token = CURRENT_REQUEST.set(context)
    try:
        yield
    finally:
        CURRENT_REQUEST.reset(token)
        await context.end()
