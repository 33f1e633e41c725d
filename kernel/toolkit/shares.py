"""What many want at once: places for requests, and what one address or one user has of a pool."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Sequence
from contextlib import contextmanager
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from kernel.errors import Unavailable

MAX_MET = 1024
"""Addresses whose network is remembered."""

Networks = Sequence[IPv4Network | IPv6Network]


class FairShare:
    """What each user has of a pool: half of it at most, so that nobody alone takes all of it.

    The pool has a bound of its own; this one refuses with `message` in the same way.
    """

    def __init__(self, size: int, message: str, *, retry_after: int = 1) -> None:
        self._most = (size + 1) // 2
        self._message = message
        self._retry_after = retry_after
        self._held = dict[Hashable, int]()

    def take(self, user: Hashable, amount: int = 1) -> None:
        """Count so much more for a user, who gives it back. Raises Unavailable."""
        held = self._held.get(user, 0) + amount
        if held > self._most:
            raise Unavailable(self._message, retry_after=self._retry_after)
        self._held[user] = held

    def give_back(self, user: Hashable, amount: int = 1) -> None:
        """Count less again."""
        left = self._held.get(user, 0) - amount
        if left > 0:
            self._held[user] = left
        else:
            self._held.pop(user, None)

    @contextmanager
    def held(self, user: Hashable) -> Generator[None]:
        """Hold one place. Raises Unavailable."""
        self.take(user)
        try:
            yield
        finally:
            self.give_back(user)


class AdmissionControl:
    """Requests that are served at once. One address gets a place while it has fewer of them than
    are free: half of all where it is alone, a third beside another one that does so.

    Who hands on for many has all of them: a proxy, and what runs on this machine.
    """

    def __init__(self, limit: int, proxies: Networks) -> None:
        self._limit = limit
        self._active = 0
        self._held = dict[str, int]()
        self._proxies = proxies
        self._origin = lru_cache(MAX_MET)(self._look_up)

    def take(self, address: str) -> str:
        """Return what to `leave` by. Raises Unavailable; every request comes this way."""
        origin = self._origin(address)
        mine = self._held.get(origin, 0)
        if self._active >= self._limit:
            raise Unavailable("too many requests at once")
        if origin and mine >= self._limit - self._active:
            raise Unavailable("too many requests at once from this address")
        self._active += 1
        self._held[origin] = mine + 1
        return origin

    def leave(self, origin: str) -> None:
        """Give a place back."""
        self._active -= 1
        left = self._held[origin] - 1
        if left:
            self._held[origin] = left
        else:
            del self._held[origin]

    def _look_up(self, address: str) -> str:
        """The address, or the /64 that an IPv6 customer has; nothing for who has no share."""
        try:
            parsed = ip_address(address)
        except ValueError:  # a socket in the file system
            return ""
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed  # ::ffff:10.0.0.1 is 10.0.0.1
        if parsed.is_loopback or any(parsed in network for network in self._proxies):
            return ""
        if isinstance(parsed, IPv6Address):
            return str(ip_network((int(parsed), 64), strict=False))
        return str(parsed)
