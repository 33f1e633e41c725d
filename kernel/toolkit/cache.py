"""A cache whose entries a notification removes."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Hashable
from time import monotonic
from typing import Any, Generic, TypeVar, cast

import anyio

from kernel.contracts.statements import Notifications

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class InvalidatedCache(Generic[K, V]):
    """Keeps values until a notification about them, for `ttl` seconds at most.

    `ttl` is a number, or a function of the value. `affects(payload, key, value)` says whether a
    payload of `topic` concerns an entry; without it the payload is the key. The payload None
    concerns every entry. When `size` entries are kept, the oldest one makes room.

    A value that was being loaded when a notification arrived is returned and not kept: it may be
    older than the change. Calls that need the same key at the same time share one load, its error
    too.
    """

    # A plain dictionary: a hit in one of cachetools takes four times as long, a scan ten times.

    def __init__(
        self,
        notifications: Notifications,
        topic: str,
        *,
        size: int,
        ttl: float | Callable[[V], float] = math.inf,
        affects: Callable[[str, K, V], bool] | None = None,
    ) -> None:
        self._size = size
        self._ttl = ttl
        self._affects = affects
        self._entries: dict[K, tuple[float, V]] = {}
        self._loads: dict[K, _Load[V]] = {}
        notifications.subscribe(topic, self.on_notification)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """Return the value that is kept for `key`."""
        entry = self._entries.get(key)
        return entry[1] if entry is not None and entry[0] > monotonic() else None

    async def get_or_load(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        """Return the value that is kept for `key`, or the result of `load`. Raises what it does."""
        while (value := self.get(key)) is None:
            if (under_way := self._loads.get(key)) is None:
                return await self._load(key, load)
            await under_way.done.wait()
            if under_way.error is not None:
                raise under_way.error
            if under_way.values:
                return under_way.values[0]
        return value

    def invalidate(self, payload: str | None = None) -> None:
        """Remove the entries that a payload concerns."""
        self._loads = {}
        if payload is None:
            self._entries.clear()
        elif self._affects is None:
            self._entries.pop(cast("Any", payload), None)
        else:
            affects, entries = self._affects, self._entries.items()
            for key in [key for key, (_, value) in entries if affects(payload, key, value)]:
                del self._entries[key]

    async def on_notification(self, payload: str | None) -> None:
        """Remove the entries that a notification concerns."""
        self.invalidate(payload)

    async def _load(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        under_way = self._loads[key] = _Load[V]()
        try:
            value = await load()
            under_way.values.append(value)
            if self._loads.get(key) is under_way:
                self._keep(key, value)
            return value
        except Exception as error:
            under_way.error = error
            raise
        finally:
            if self._loads.get(key) is under_way:
                del self._loads[key]
            under_way.done.set()

    def _keep(self, key: K, value: V) -> None:
        ttl = self._ttl(value) if callable(self._ttl) else self._ttl
        self._entries.pop(key, None)
        if len(self._entries) >= self._size:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (monotonic() + ttl, value)


class _Load(Generic[V]):
    """A load under way; without a value and an error it was cancelled."""

    __slots__ = ("done", "error", "values")

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.error: Exception | None = None
        self.values: list[V] = []
