"""Asks a server that runs, over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from kernel.public import KernelError, Registry

TOKEN: Final = "set CAUDEX_TOKEN to the access token of a core admin"
LOCAL: Final = {"Host": "localhost"}
"""The one name that a server answers to on its own machine, whatever it listens on."""
LARGEST: Final = 10_000_000
"""Bytes of a reply: any program may listen there."""


def running_plugins(registry: Registry, url: str, token: str) -> list[dict[str, Any]]:
    """Return the plugins as a server reports them. Raises KernelError with the remedy."""
    address = url or local_address(registry)
    headers = {"Authorization": f"Bearer {token.strip()}"}
    if not url:
        headers |= LOCAL
    try:
        status, body = _get(address, "/api/v1/plugins", headers)
        problem = f"it answers {status}"
        if status == 200:
            return [dict(plugin) for plugin in msgspec.json.decode(body)["plugins"]]
    except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
        problem = f"it does not list its plugins: {error}"
    raise KernelError(f"{address}: {problem}; name a running server by --url, and {TOKEN}")


def is_running(registry: Registry) -> bool:
    """Whether a Caudex server answers on the configured address."""
    with suppress(OSError, HTTPException, ValueError):
        _, body = _get(local_address(registry), "/health", LOCAL)
        return b'"ok"' in body
    return False


def local_address(registry: Registry) -> str:
    """Return where the configured server is reached from its own machine."""
    server = registry.config.server
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)
    if ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{server.port}"


def _get(url: str, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Status and body. Raises OSError, HTTPException, ValueError; no redirect is followed."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write http://host:port or https://host")
    connection_type = HTTPConnection
    if parts.scheme == "https":
        connection_type = HTTPSConnection
    with closing(connection_type(parts.hostname, parts.port, timeout=5)) as connection:
        connection.request("GET", parts.path.rstrip("/") + path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(LARGEST)
