"""Addresses of clients: found behind trusted proxies, and bounded in their requests."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

from kernel.errors import Unavailable

Networks = Sequence[IPv4Network | IPv6Network]


class AdmissionControl:
    """The bound on concurrent requests of a process, and of each client address.

    A request is admitted while its address has fewer requests under way than there are free
    places: one busy address gets half of all places, the next one half of the rest. A proxy, which
    sends requests of many clients, may use all of them. The processes of this machine, such as
    workers, count as one address, also where it is a proxy's and the request names no client.
    """

    def __init__(self, limit: int, proxies: Networks) -> None:
        self._limit = self._free = 0
        self._held: dict[str, int] = {}
        self.bound(limit, proxies)

    def bound(self, limit: int, proxies: Networks) -> None:
        """Set the number of places, also while some are taken."""
        self._free += limit - self._limit
        self._limit = limit
        self._origin = lru_cache(1024)(partial(_origin, proxies))

    def take(self, address: str) -> str:
        """Count a request and return the key for `leave`. Raises Unavailable."""
        origin = self._origin(address)
        held = self._held.get(origin, 0)
        if self._free <= (held if origin else 0):
            where = " from this address" if self._free else ""
            raise Unavailable(f"too many requests at once{where}")
        self._free -= 1
        self._held[origin] = held + 1
        return origin

    def leave(self, origin: str) -> None:
        """Count a request that ended."""
        self._free += 1
        if (held := self._held.pop(origin) - 1) > 0:
            self._held[origin] = held


def client_address(scope: Scope, trusted: Networks) -> str:
    """Return the peer, or the rightmost hop of X-Forwarded-For that is no trusted proxy."""
    client = scope.get("client")
    peer: str = client[0] if client else ""
    if not trusted or not _within(_parsed(peer), trusted):
        return peer
    given = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    hops = b",".join(given).decode("latin-1").split(",")
    for hop in reversed([hop.strip() for hop in hops if hop.strip()]):
        address = _parsed(hop)
        if not _within(address, trusted):
            return hop if address else peer
    return peer


def _origin(proxies: Networks, text: str) -> str:
    """The address, or the /64 network that an IPv6 customer has; "" when there is no limit."""
    address = _parsed(text)
    if address is not None and address.is_loopback:
        return "localhost"
    if address is None or _within(address, proxies):
        return ""
    return str(ip_network((int(address), 64 if address.version == 6 else 32), strict=False))


def _within(address: IPv4Address | IPv6Address | None, networks: Networks) -> bool:
    return address is not None and any(address in network for network in networks)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Return None for what is no address, such as a socket in the file system."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address  # ::ffff:10.0.0.1 is 10.0.0.1
