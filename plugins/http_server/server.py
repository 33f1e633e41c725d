"""uvicorn as the kernel's HTTP_SERVER."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from socket import socket

import anyio
import uvicorn
from starlette.types import ASGIApp

from .connections import CONNECTIONS
from .memory import MEMORY
from .protocol import GuardedProtocol


class UvicornServer:
    """See `kernel.contracts.server.HttpServer`."""

    async def serve(
        self,
        app: ASGIApp,
        sockets: Sequence[socket],
        started: Callable[[], object],
        *,
        drain: float,
    ) -> None:
        """Serve until `stop`; a cancelled server closes its listeners too."""
        config = uvicorn.Config(
            app, interface="asgi3", http=GuardedProtocol, ws="none", lifespan="off",
            log_config=None, access_log=False, server_header=False, proxy_headers=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=drain,  # type: ignore[arg-type]  # whole seconds by its type only
        )  # fmt: skip
        self._server = _Server(config, started)
        MEMORY.settle()
        CONNECTIONS.settle()
        try:
            await self._server.serve(list(sockets))
        finally:
            for server in getattr(self._server, "servers", ()):
                server.close()

    def stop(self) -> None:
        """Let uvicorn end by itself, then drain."""
        self._server.should_exit = True
        self._server.stopped.set()


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handling, which raises the signals again at the end."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], object]) -> None:
        super().__init__(config)
        self.stopped = anyio.Event()
        self._announce = announce

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Do nothing: the kernel handles signals."""
        yield

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Accept connections, then announce it."""
        await super().startup(sockets)
        self._announce()
        MEMORY.use_huge_pages()

    async def main_loop(self) -> None:
        """Renew the date of replies each second; uvicorn itself wakes up ten times for it."""
        while not await self.on_tick(0):
            with anyio.move_on_after(1.0):
                await self.stopped.wait()
