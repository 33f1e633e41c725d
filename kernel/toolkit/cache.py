"""A cache whose entries a notification removes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import KW_ONLY, dataclass
from time import monotonic
from typing import Any, Generic, TypeVar, cast

from kernel.contracts.statements import Notifications

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(eq=False)
class InvalidatedCache(Generic[K, V]):
    """Keeps values until a notification about them, for `ttl` seconds at most.

    `ttl` is a number, or a function of the value. `affects(payload, key, value)` says whether a
    payload of `topic` concerns an entry; without it the payload is the key. The payload None
    concerns every entry. When `size` entries are kept, the oldest one makes room.

    A value that was being loaded when a notification arrived is returned and not kept: it may be
    older than the change. Calls that need the same key at the same time share one load, and
    its error.
    """

    # A plain dictionary: a hit in one of cachetools takes four times as long, a scan ten times.

    notifications: Notifications
    topic: str
    _: KW_ONLY
    size: int
    ttl: float | Callable[[V], float] = math.inf
    affects: Callable[[str, K, V], bool] | None = None

    def __post_init__(self) -> None:
        self._entries: dict[K, V] = {}
        self._until: dict[K, float] = {}
        if self.ttl == math.inf:  # a hit takes a third of the time
            self.get = self._entries.get  # pyright: ignore[reportAttributeAccessIssue]
        self._loads: dict[K, asyncio.Future[V]] = {}
        self.notifications.subscribe(self.topic, self.invalidate)

    def get(self, key: K) -> V | None:
        """Return the cached value of `key`, or None."""
        value = self._entries.get(key)
        return value if value is not None and self._until[key] > monotonic() else None

    async def get_or_load(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        """Return the cached value of `key`, or the result of `load`. Raises its errors."""
        while True:
            value = self.get(key)
            if value is not None:
                return value
            under_way = self._loads.get(key)
            if under_way is None:
                return await self._load(key, load)
            await asyncio.wait([under_way])
            if under_way.cancelled():
                continue
            try:
                return under_way.result()
            finally:
                del under_way  # see `errors.forget_frames`

    async def invalidate(self, payload: str | None = None) -> None:
        """Remove the entries that a payload concerns, as a notification does."""
        self._loads = {}
        if payload is None:
            self._entries.clear()
            self._until.clear()
        elif self.affects is None:
            self._remove(cast("Any", payload))
        else:
            for key, value in list(self._entries.items()):
                if self.affects(payload, key, value):
                    self._remove(key)

    async def _load(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        under_way = asyncio.Future[V]()
        self._loads[key] = under_way
        try:
            value = await load()
            if self._loads.get(key) is under_way:
                self._keep(key, value)
            under_way.set_result(value)
            return value
        except Exception as error:
            under_way.set_exception(error)
            under_way.exception()  # asyncio reports one that no other call has read
            raise
        finally:
            under_way.cancel()  # where this call was cancelled: another one loads
            if self._loads.get(key) is under_way:
                del self._loads[key]
            del under_way  # see `errors.forget_frames`

    def _keep(self, key: K, value: V) -> None:
        self._entries.pop(key, None)
        if len(self._entries) >= self.size:
            self._remove(next(iter(self._entries)))
        ttl = self.ttl(value) if callable(self.ttl) else self.ttl
        self._entries[key] = value
        self._until[key] = monotonic() + ttl

    def _remove(self, key: K) -> None:
        self._entries.pop(key, None)
        self._until.pop(key, None)
