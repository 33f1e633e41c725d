"""Bounds: what runs at once, for each key and in all, and how often a key may do something."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncGenerator, Hashable, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from time import monotonic

import anyio

from kernel.errors import Throttled, Unavailable

Networks = Sequence[IPv4Network | IPv6Network]


class ConcurrencyLimiter:
    """Bounds what is under way at once: `total` in all, `per_key` for each user, app or address.

    Beyond that `hold` waits for its turn, in the order of arrival: at most `queue` callers of each
    key, each for `timeout` seconds. All others get Unavailable with `message`. Give one user
    `per_key=(total + 1) // 2`, so that one user alone never takes all of it.
    """

    def __init__(
        self,
        total: float = math.inf,
        *,
        per_key: float = math.inf,
        queue: int = 0,
        timeout: float = math.inf,
        message: str = "too many requests at once",
        retry_after: int = 1,
    ) -> None:
        self._total = total
        self._per_key = per_key
        self._queue = queue
        self._timeout = timeout
        self._refusal = (message, retry_after)
        self._active = 0
        self._held = Counter[Hashable]()
        self._waiting: list[tuple[Hashable, anyio.Event]] = []

    @asynccontextmanager
    async def hold(self, key: Hashable = None) -> AsyncGenerator[None]:
        """Hold one place, for which the caller may have to wait. Raises Unavailable."""
        if self._has_room(key):
            self.take(key)
        else:
            await self._wait(key)
        try:
            yield
        finally:
            self.give_back(key)

    def take(self, key: Hashable = None, amount: int = 1) -> None:
        """Take places without waiting; `give_back` returns them. Raises Unavailable."""
        if not self._has_room(key, amount):
            raise self._refused()
        self._active += amount
        self._held[key] += amount

    def give_back(self, key: Hashable = None, amount: int = 1) -> None:
        """Return places that `take` took, to the callers that wait."""
        self._active -= amount
        self._held[key] -= amount
        if self._held[key] <= 0:
            del self._held[key]
        for waiting in list(self._waiting):
            if self._has_room(waiting[0]):
                self.take(waiting[0])
                self._waiting.remove(waiting)
                waiting[1].set()

    def _has_room(self, key: Hashable, amount: int = 1) -> bool:
        room = self._active + amount <= self._total
        return room and self._held.get(key, 0) + amount <= self._per_key

    async def _wait(self, key: Hashable) -> None:
        if sum(waiting == key for waiting, _ in self._waiting) >= self._queue:
            raise self._refused()
        self._waiting.append(waiting := (key, anyio.Event()))
        taken = waiting[1]
        try:
            with anyio.move_on_after(self._timeout):
                await taken.wait()
        except BaseException:
            if taken.is_set():
                self.give_back(key)
            raise
        finally:
            if not taken.is_set():
                self._waiting.remove(waiting)
        if not taken.is_set():
            raise self._refused()

    def _refused(self) -> Unavailable:
        message, retry_after = self._refusal
        return Unavailable(message, retry_after=retry_after)


class RateLimiter:
    """Bounds how often a key may do something: `rate` times a second.

    A key that was quiet may do `burst` seconds' worth at once. The last amount may be larger
    than what is left; the key waits for longer then. It counts in memory, for one process.
    """

    def __init__(self, rate: float, burst: float, *, size: int = 10_000) -> None:
        self._rate = rate
        self._burst = burst
        self._size = size
        self._full_at: dict[Hashable, float] = {}
        """When each key may use its whole burst again (GCRA, ITU-T I.371)."""

    def allows(self, key: Hashable) -> bool:
        """Whether `take` would be true."""
        return self._wait(key) <= 1e-9  # sums of fractions are not exact

    def take(self, key: Hashable, amount: float = 1.0) -> bool:
        """Count an amount and return true, or return false for a key that used up its burst."""
        if not self.allows(key):
            return False
        now = monotonic()
        if key not in self._full_at and len(self._full_at) >= self._size:
            busy = {key: at for key, at in self._full_at.items() if at > now}
            self._full_at = busy if len(busy) < self._size else {}
        self._full_at[key] = max(now, self._full_at.get(key, now)) + amount / self._rate
        return True

    def check(self, key: Hashable, message: str = "too many requests") -> None:
        """Count one. Raises Throttled with the seconds to wait."""
        if not self.take(key):
            raise Throttled(message, math.ceil(self._wait(key)))

    def _wait(self, key: Hashable) -> float:
        """Seconds until there is room for one."""
        now = monotonic()
        return max(now, self._full_at.get(key, now)) + 1 / self._rate - now - self._burst


class AdmissionControl:
    """The bound on concurrent requests of a process, and of each client address.

    A request is admitted while its address has fewer requests under way than there are free
    places: one busy address gets half of all places, two get a third each. A proxy and the machine
    itself, which send requests of many clients, may use all of them.
    """

    def __init__(self, limit: int, proxies: Networks) -> None:
        self._limit = limit
        self._active = 0
        self._held = dict[str, int]()
        self._proxies = proxies
        self._origin = lru_cache(1024)(self._look_up)

    def take(self, address: str) -> str:
        """Count a request and return the key for `leave`. Raises Unavailable."""
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
        """Count a request that ended."""
        self._active -= 1
        left = self._held[origin] - 1
        if left:
            self._held[origin] = left
        else:
            del self._held[origin]

    def _look_up(self, address: str) -> str:
        """The address, or the /64 network that an IPv6 customer has; "" when there is no limit."""
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
