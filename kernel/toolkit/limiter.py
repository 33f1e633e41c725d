"""Limits of concurrent work and of rates, for each key and in total."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass
from heapq import nlargest
from operator import itemgetter
from time import monotonic

import anyio

from kernel.errors import Throttled, Unavailable

MAX_KEYS = 10_000
"""Keys that a `RateLimiter` remembers."""


@dataclass(eq=False)
class ConcurrencyLimiter:
    """Bounds concurrent work: `total` in all, `per_key` for each user, app or address.

    Beyond that `hold` waits for its turn, in the order of arrival: at most `queue` callers of each
    key, each for `timeout` seconds. All others get Unavailable, which asks them to come back after
    `retry_after` seconds: with `key_message` where the key has its share, else with `message`. Give
    one user `per_key=(total + 1) // 2`, so that one user alone never takes all of it.
    """

    total: float = math.inf
    _: KW_ONLY
    per_key: float = math.inf
    queue: int = 0
    timeout: float = math.inf
    message: str = "too many requests at once"
    key_message: str = ""
    retry_after: int = 1

    def __post_init__(self) -> None:
        self._active = 0
        self._held = Counter[Hashable]()
        self._waiting: dict[asyncio.Event, Hashable] = {}

    @asynccontextmanager
    async def hold(self, key: Hashable = None) -> AsyncGenerator[None]:
        """Hold one place, for which the caller may have to wait. Raises Unavailable."""
        await self.acquire(key)
        try:
            yield
        finally:
            self.give_back(key)

    async def acquire(self, key: Hashable = None) -> None:
        """Take one place, for which the caller may have to wait; `give_back` returns it.

        Raises Unavailable.
        """
        if self._has_room(key) or list(self._waiting.values()).count(key) >= self.queue:
            self.take(key)  # raises where there is no room
            return
        turn = asyncio.Event()
        self._waiting[turn] = key
        try:
            with anyio.move_on_after(self.timeout):
                await turn.wait()  # `give_back` takes the place
        except BaseException:
            if turn.is_set():
                self.give_back(key)
            raise
        finally:
            self._waiting.pop(turn, None)
        if not turn.is_set():
            self.take(key)  # raises after the timeout

    @property
    def waiting(self) -> int:
        """How many callers wait for a place."""
        return len(self._waiting)

    def take(self, key: Hashable = None, amount: int = 1) -> None:
        """Take places without waiting; `give_back` returns them. Raises Unavailable."""
        if not self._has_room(key, amount):
            is_share = self._held.get(key, 0) + amount > self.per_key
            message = self.key_message if is_share and self.key_message else self.message
            raise Unavailable(message, retry_after=self.retry_after)
        self._active += amount
        self._held[key] += amount

    def has_room(self, key: Hashable = None) -> bool:
        """Whether `take` would succeed."""
        return self._has_room(key)

    def count(self, key: Hashable = None) -> None:
        """Take a place for work that runs already, also where no place is free."""
        self._active += 1
        self._held[key] += 1

    def give_back(self, key: Hashable = None, amount: int = 1) -> None:
        """Return places that `take` took, to the callers that wait."""
        self._active -= amount
        self._held[key] -= amount
        if self._held[key] <= 0:
            del self._held[key]
        for turn in list(self._waiting):
            if self._has_room(self._waiting[turn]):
                self.take(self._waiting.pop(turn))
                turn.set()

    def _has_room(self, key: Hashable, amount: int = 1) -> bool:
        room = self._active + amount <= self.total
        return room and self._held.get(key, 0) + amount <= self.per_key


@dataclass(eq=False)
class RateLimiter:
    """Bounds how often a key may do something: `rate` times a second.

    A key that was quiet may do `burst` seconds' worth at once. The last amount may be larger
    than what is left; the key waits for longer then. It counts in memory, for one process.
    """

    rate: float
    burst: float

    def __post_init__(self) -> None:
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
        if key not in self._full_at and len(self._full_at) >= MAX_KEYS:
            self._full_at = self._select_busiest()
        self._full_at[key] = max(now, self._full_at.get(key, now)) + amount / self.rate
        return True

    def check(self, key: Hashable, message: str = "too many requests") -> None:
        """Count one. Raises Throttled with the seconds to wait."""
        if not self.take(key):
            raise Throttled(message, math.ceil(self._wait(key)))

    def _select_busiest(self) -> dict[Hashable, float]:
        """Return the half that has to wait longest: a full limiter frees no key that is throttled.

        It is half, so that the cost of the choice is shared by as many new keys.
        """
        return dict(nlargest(MAX_KEYS // 2, self._full_at.items(), key=itemgetter(1)))

    def _wait(self, key: Hashable) -> float:
        """Seconds until there is room for one."""
        now = monotonic()
        return max(now, self._full_at.get(key, now)) + 1 / self.rate - now - self.burst
