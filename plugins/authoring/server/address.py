"""Addresses of servers, in one form."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from kernel.public import BadRequest

DEFAULT_URL: Final = "http://127.0.0.1:9100"
PORTS: Final = {"http": 80, "https": 443}


def clean_url(url: str) -> str:
    """Return the address of a server in one form. Raises BadRequest."""
    parts = urlsplit(url.strip())
    try:
        port = parts.port
    except ValueError:
        port = -1
    is_plain = not parts.username and not parts.password and not parts.query and not parts.fragment
    if parts.scheme not in PORTS or not parts.hostname or port == -1 or not is_plain:
        raise BadRequest(
            f"{url!r} is no address of a server: write http://host:port or https://host"
        )
    host = parts.hostname
    if ":" in host:
        host = f"[{host}]"
    if port is not None and port != PORTS[parts.scheme]:
        host = f"{host}:{port}"
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"


def is_exposed(url: str) -> bool:
    """Whether what is sent there can be read on its way: HTTP to another machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return True
