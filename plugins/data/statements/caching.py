"""Caches of what is made once for each shape of a request."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def keep(cache: dict[K, V], key: K, value: V, size: int) -> V:
    """Add a value to a cache; when it has `size` values, the oldest one makes room."""
    cache.pop(key, None)
    if len(cache) >= size:
        del cache[next(iter(cache))]
    cache[key] = value
    return value
