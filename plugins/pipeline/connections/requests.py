"""A statement that a caller sends on a shared connection, and what may become of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

import msgspec
from psycopg.pq.abc import PGresult

from kernel.public import Query, Shares

from .prepared import Command


class SendOutcome(Enum):
    """Why a request gets no answer on its connection."""

    LOST = "the connection broke: the request may have been executed"
    CROWDED = "it would wait behind a slow request"
    BLOCKED = "it has waited for a lock, and had no effect"
    SLOW = "it has taken long, and had no effect"
    UNDONE = "another one of its transaction failed, and it had no effect"
    BEGUN = "it began a transaction, whose connection is closed"


class Step(NamedTuple):
    """A statement that runs before another one, in the same request."""

    query: bytes
    values: list[bytes | None]


class Request(msgspec.Struct, eq=False):
    """A statement and the future of its answer.

        waiting ──> gathered (writes only) ──> sent ──> settled
           └────────────── left to the pool ──────────────^

    A request that failed because of another one, or of a stale preparation, is sent again.
    """

    query: Query
    values: list[bytes | None]
    answer: asyncio.Future[PGresult | SendOutcome]
    key: str | None = None
    """With a key it may share its sync with others, which have other keys or an empty one."""
    ahead: Sequence[Step] = ()
    prepare: bool = True
    name: bytes = b""
    """The prepared statement that it is sent by, if any."""
    commands: Sequence[Command] = ()
    """What is sent before it: preparations, and what is `ahead`."""
    ends: bool = False
    """Whether a sync follows it."""
    since: int = 0
    """The tick of its group since which it waits to be sent."""
    sent_at: float = 0.0
    """When it was sent, by the clock of the event loop."""

    @property
    def size(self) -> int:
        """The bytes of its values."""
        return sum(map(len, filter(None, self.values)))

    def settle(self, outcome: PGresult | SendOutcome) -> None:
        """Set the answer, unless its caller was cancelled."""
        if not self.answer.done():
            self.answer.set_result(outcome)


class SlowShare:
    """Counts a connection for the owner of the current request, once and while that is slow."""

    __slots__ = ("_is_counted", "_owner", "_shares")

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._owner = shares.owner()
        self._is_counted = False

    def count(self) -> None:
        """Count the connection from now on."""
        if not self._is_counted:
            self._shares.count(self._owner)
            self._is_counted = True

    def discount(self) -> None:
        """Count it no more."""
        if self._is_counted:
            self._shares.discount(self._owner)
            self._is_counted = False


class OwnedRequest(Request, eq=False, kw_only=True):
    """A request that counts for its owner from the moment when it is slow, until it ends."""

    share: SlowShare

    def settle(self, outcome: PGresult | SendOutcome) -> None:
        """Set the answer, and count no more."""
        self.share.discount()
        super().settle(outcome)
