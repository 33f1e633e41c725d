"""uvicorn as the server of HTTP, with deadlines and limits for clients."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import HTTP_SERVER, Plugin, Provider, hookimpl, provide

from .server import UvicornServer


class HttpServerPlugin(Plugin):
    """Provides the HTTP server of `caudex serve`."""

    name = "http_server"

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide uvicorn; nothing starts before the kernel serves."""
        return [provide(HTTP_SERVER, lambda _: UvicornServer())]
