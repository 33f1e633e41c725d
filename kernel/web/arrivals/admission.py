"""Where requests come from, and how many of them a process serves at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import msgspec
from starlette.types import Scope

from kernel.errors import Unavailable

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]


class AdmissionControl:
    """The bound on concurrent requests of a process, and of each client address.

    A request is admitted while its address has fewer requests under way than there are free
    places: one busy address gets half of all places, the next one half of the rest. A proxy, which
    sends requests of many clients, may use all of them. The processes of this machine, such as
    workers, count as one address, also where it is a proxy's and the request names no client.
    """

    def __init__(self, limit: int, proxies: Networks) -> None:
        self._limit = 0
        self._free = 0
        self._held: dict[str, int] = {}
        self.set_limit(limit, proxies)

    def set_limit(self, limit: int, proxies: Networks) -> None:
        """Set the number of places, also while some are taken."""
        self._free += limit - self._limit
        self._limit = limit
        self._find_origin = lru_cache(1024)(partial(_origin_of, proxies))

    def take(self, address: str) -> str:
        """Count a request and return the key for `leave`. Raises Unavailable."""
        origin = self._find_origin(address)
        held = self._held.get(origin, 0)
        is_unlimited = not origin
        if self._free <= 0 or (not is_unlimited and self._free <= held):
            where = " from this address" if self._free else ""
            raise Unavailable(f"too many requests at once{where}")
        self._free -= 1
        self._held[origin] = held + 1
        return origin

    def leave(self, origin: str) -> None:
        """Count a request that ended."""
        self._free += 1
        remaining = self._held.pop(origin) - 1
        if remaining > 0:
            self._held[origin] = remaining


class Place(msgspec.Struct, eq=False):
    """The place that a request has among those of the process."""

    admission: AdmissionControl
    origin: str | None
    """Where the request comes from; None once the place was given back."""

    def leave(self) -> None:
        """Give the place back, unless that was done."""
        if self.origin is not None:
            self.admission.leave(self.origin)
            self.origin = None


def client_address(scope: Scope, trusted: Networks) -> str:
    """Return the peer, or the rightmost hop of X-Forwarded-For that is no trusted proxy."""
    client = scope.get("client")
    peer: str = client[0] if client else ""
    if not trusted or not _is_within(_parse(peer), trusted):
        return peer
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    hops = b",".join(values).decode("latin-1").split(",")
    for hop in reversed([hop.strip() for hop in hops if hop.strip()]):
        address = _parse(hop)
        if address is None:
            return peer
        if not _is_within(address, trusted):
            return hop
    return peer


def _origin_of(proxies: Networks, text: str) -> str:
    """The address, or the /64 network that an IPv6 customer has; "" when there is no limit."""
    address = _parse(text)
    if address is not None and address.is_loopback:
        return "localhost"
    if address is None or _is_within(address, proxies):
        return ""
    prefix = 64 if address.version == 6 else 32
    return str(ip_network((int(address), prefix), strict=False))


def _is_within(address: Address | None, networks: Networks) -> bool:
    return address is not None and any(address in network for network in networks)


def _parse(text: str) -> Address | None:
    """Return None for what is no address, such as a socket in the file system."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address  # ::ffff:10.0.0.1 is 10.0.0.1
