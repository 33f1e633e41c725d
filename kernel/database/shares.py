"""How many connections of the pool the work of a user, and that of an app, may hold."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import Final

import anyio

from kernel.database.dialect import Crowded
from kernel.toolkit.limiter import ConcurrencyLimiter
from kernel.toolkit.requests import CURRENT_REQUEST

MAX_WAITING: Final = 1000
ANONYMOUS: Final = "anonymous"
"""The user of requests without one, such as logins."""
BUSY: Final = "too many requests that take long are under way"


class ConnectionUse(Enum):
    """What a connection is used for."""

    QUICK_READ = auto()
    """A read of few rows; it counts for its user alone."""
    SHARED = auto()
    """What may take long, and so is in every share: other reads, writes, transactions."""
    STREAM = auto()
    """A result that is read for as long as its reader likes."""


Owner = tuple[str | None, str | None]
"""The user and the app that work counts for; it counts for neither without one."""
Place = tuple[ConcurrencyLimiter, str | None]
"""A limiter, and the key that a place of it is taken for."""


class Shares:
    """Bounds the connections of a pool that work which may take long holds at the same time.

    Such work has all connections but one: quick reads find that one. An app has all but one of
    those, and a user half of them. So each of these leaves something to others of its kind. Of the
    work of the server itself only streams are bounded: what renews a lease must not wait.
    """

    def __init__(self, size: int, seconds: float) -> None:
        """`size` is that of the pool; work waits for its turn for so many seconds."""
        slow = max(1, size - 1)
        self._all = ConcurrencyLimiter(slow, queue=MAX_WAITING, message=BUSY)
        self._apps = ConcurrencyLimiter(
            per_key=max(1, slow - 1), queue=MAX_WAITING, message=f"{BUSY} in this app"
        )
        self._users = ConcurrencyLimiter(
            per_key=max(1, slow // 2), queue=MAX_WAITING, message=f"{BUSY} for this user"
        )
        self._seconds = seconds

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return sum(limiter.waiting for limiter in (self._users, self._apps, self._all))

    @asynccontextmanager
    async def hold(self, use: ConnectionUse) -> AsyncGenerator[None]:
        """Hold a place of the request's user, and of its app and of all unless it is a quick read.

        Raises Crowded.
        """
        places = self._choose_places(self.owner(), use)
        held_places = await self._acquire(places)
        try:
            yield
        finally:
            _give_back(held_places)

    def owner(self) -> Owner | None:
        """See `kernel.contracts.statements.Shares`; None for the server itself."""
        request = CURRENT_REQUEST.get()
        if request is None:
            return None
        if request.user_id is None and request.app_id is None:
            return ANONYMOUS, None
        return request.user_id, request.app_id

    def are_used_up(self, owner: Owner | None) -> bool:
        """See `kernel.contracts.statements.Shares`; work in an app's own name has no user."""
        return owner is not None and owner[0] is not None and not self._users.has_room(owner[0])

    def count(self, owner: Owner | None) -> None:
        """See `kernel.contracts.statements.Shares`."""
        for limiter, key in self._list_owned_places(owner):
            limiter.count(key)

    def discount(self, owner: Owner | None) -> None:
        """See `kernel.contracts.statements.Shares`."""
        _give_back(self._list_owned_places(owner))

    def _choose_places(self, owner: Owner | None, use: ConnectionUse) -> list[Place]:
        """Return what to take, in the order in which it is taken.

        User first, then app, then all: who waits for an own share holds none of the others'. A
        quick read is not kept out by what others of its app have under way.
        """
        if owner is None:
            return [(self._all, None)] if use is ConnectionUse.STREAM else []
        if use is ConnectionUse.QUICK_READ:
            return self._list_places_of_user(owner)
        return [*self._list_owned_places(owner), (self._all, None)]

    def _list_owned_places(self, owner: Owner | None) -> list[Place]:
        """Return the places that belong to a user and an app."""
        if owner is None:
            return []
        places = self._list_places_of_user(owner)
        _, app_id = owner
        if app_id is not None:
            places.append((self._apps, app_id))
        return places

    def _list_places_of_user(self, owner: Owner) -> list[Place]:
        user_id, _ = owner
        return [] if user_id is None else [(self._users, user_id)]

    async def _acquire(self, places: Sequence[Place]) -> list[Place]:
        held_places = list[Place]()
        message = BUSY
        try:
            with anyio.move_on_after(self._seconds):
                for limiter, key in places:
                    message = limiter.message
                    await limiter.acquire(key)
                    held_places.append((limiter, key))
                return held_places
        except BaseException:
            _give_back(held_places)
            raise
        _give_back(held_places)
        raise Crowded(message, retry_after=5)


def _give_back(places: Sequence[Place]) -> None:
    for limiter, key in places:
        limiter.give_back(key)
