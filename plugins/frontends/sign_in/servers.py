"""Where the server's own pages are, for a browser that is on the host of an app."""

from __future__ import annotations

import re
from collections.abc import Collection

from kernel.public import Context, NotFound, Request

PORT = re.compile(r":[0-9]+$")
REMEDY = "set [plugins.frontends] server_url to the address of the server, as https://example.com"


class ServerAddress:
    """Finds the address of the server's own host in the configuration, never in a request."""

    def __init__(self, configured: str, scheme: str, context: Context) -> None:
        self._configured = configured.rstrip("/")
        self._scheme = scheme
        self._context = context
        self.names: Collection[str] = ()
        """The names of the server that are configured."""

    def locate(self, request: Request) -> str:
        """Return the origin of the server's sign-in page. Raises NotFound where it is not known.

        On this machine it is the address that the server prints at its start.
        """
        if self._configured:
            return self._configured
        host = request.headers.get("host", "").lower()
        port = PORT.search(host)
        name = PORT.sub("", host).removesuffix(".")
        if name.endswith(".localhost"):
            address = "localhost"
            if self._context.loopback:
                address = self._context.host
            if ":" in address:
                address = f"[{address}]"
            return f"http://{address}{port[0] if port else ''}"
        if len(self.names) != 1:
            raise NotFound(f"the sign-in page has no known address: {REMEDY}")
        [own_name] = self.names
        return f"{self._scheme}://{own_name}"
