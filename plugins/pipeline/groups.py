"""Groups of connections for statements of one kind: which request is sent on which connection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from operator import attrgetter
from typing import Any, Final, Protocol

import psycopg
from psycopg import AsyncConnection
from psycopg.pq.abc import PGresult

from kernel.public import Param, Query, Shares, dialect

from .connection import PipelinedConnection, Request, SendOutcome

TICK_SECONDS: Final = 0.02
"""Seconds between two checks; a read that is first at both is slow."""
GROUPED: Final = 8
GROUPED_BYTES: Final = 64_000
"""The most writes of one transaction, and the most bytes of their values. All wait where one takes
long."""
MAX_WAITING: Final = 1000
MAX_WAIT: Final = 5.0
"""Statements that wait for room on a connection, and the seconds that they wait at most."""


class Reservation:
    """A transaction that waits for a connection, or has one."""

    __slots__ = ("answer", "member", "since")

    def __init__(self, answer: asyncio.Future[None]) -> None:
        self.answer = answer
        self.member: PipelinedConnection | None = None
        self.since = 0

    def settle(self, _: SendOutcome | None = None) -> None:
        """End the wait, unless its caller was cancelled."""
        if not self.answer.done():
            self.answer.set_result(None)


class Waiter(Protocol):
    """A statement or a transaction that waits for a connection."""

    @property
    def answer(self) -> asyncio.Future[Any]:
        """Done when it waits no more."""
        ...

    since: int

    def settle(self, outcome: SendOutcome, /) -> None:
        """End the wait."""
        ...


class ConnectionGroup:
    """Connections that serve statements of one kind, `depth` of them at a time on each.

    It sends what it can send at once. What would wait behind a slow statement, and everything while
    no connection is open, is left to the caller's pool.
    """

    _SLOW = 1
    """Checks at which the same statement is the first one: then it is slow."""
    _CONNECTION = PipelinedConnection

    shares: Shares | None = None
    """Where slow statements are counted; None where no statement should be slow."""

    def __init__(
        self, prepared: int, timeout: float, *, depth: int, shared: int = 1, joined: float = 0.0
    ) -> None:
        """Up to `shared` statements have one sync, see `PipelinedConnection`.
        `timeout` is the time in seconds that an answer may take before its connection is closed.
        A statement joins those that were sent within `joined` seconds, also where another
        connection is idle: statements of one connection cost less. Behind older ones it could wait
        for a slow one.
        """
        self.members: list[PipelinedConnection] = []
        self.asked = 0
        self.left = 0
        """Statements or transactions so far, and how many of them were left to the pool."""
        self._depth = depth
        self._shared = shared
        self._joined = joined
        self._prepared = prepared
        self._timeout = round(timeout / TICK_SECONDS)
        self._waiting: deque[Waiter] = deque()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._ticks = 0

    def add(self, connection: AsyncConnection[Any]) -> PipelinedConnection:
        """Add a connection to the group."""
        member = self._CONNECTION(connection, self._prepared, self._refill, self._shared)
        self.members.append(member)
        self._refill()
        return member

    def remove(self, member: PipelinedConnection) -> None:
        """Remove a connection from the group and close it."""
        self.members.remove(member)
        member.close()

    @property
    def under_way(self) -> list[asyncio.Future[Any]]:
        """Futures of the answers and of the held connections."""
        requests = [
            *self._waiting,
            *(each for member in self.members for each in (*member.pending, *member.gathered)),
        ]
        held = [member.held for member in self.members if member.held is not None]
        return [*held, *(request.answer for request in requests if not request.answer.done())]

    def send(
        self, query: Query, params: Sequence[Param], key: str | None = ""
    ) -> asyncio.Future[PGresult | SendOutcome]:
        """Send a statement; the future gets PostgreSQL's answer, also an error.

        The statement of a cancelled caller runs on, and its answer is dropped.
        """
        values, answer = dialect.to_texts(params), self._loop.create_future()
        request = Request(query, values, answer, key=key)
        if self.shares is not None:
            request.owner = self.shares.owner()
        self._admit(request)
        return request.answer

    def close(self) -> None:
        """Stop accepting; the connections are closed by the reconnector."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._leave()

    def _admit(self, waiter: Waiter) -> None:
        self.asked += 1
        member = None if self._waiting else self._free(waiter)
        if member is not None:
            self._start(member, waiter)
        elif len(self._waiting) < MAX_WAITING and self._accepts and not self._closed:
            waiter.since = self._ticks
            self._waiting.append(waiter)
        else:
            self._crowd(waiter)
        if self._timer is None:
            self._timer = self._loop.call_later(TICK_SECONDS, self._tick)

    @property
    def _accepts(self) -> bool:
        return any(not member.stuck for member in self.members)

    def _start(self, member: PipelinedConnection, waiter: Any) -> None:
        member.send(waiter)

    def _free(self, waiter: Waiter) -> PipelinedConnection | None:
        """Return the first connection that is idle or only just busy, else the one with the fewest
        requests that has room, or None."""
        free, least, now = None, self._depth, self._loop.time()
        for member in self.members:
            pending = member.pending
            count = len(pending)
            if count < least and not member.stuck and member.held is None:
                if not count or now - pending[0].sent < self._joined:
                    return member
                free, least = member, count
        return free

    def _refill(self) -> None:
        """Send waiting requests while there is room."""
        while self._waiting and (member := self._free(self._waiting[0])) is not None:
            waiter = self._waiting.popleft()
            if not waiter.answer.done():
                self._start(member, waiter)

    def _tick(self) -> None:
        """Find slow statements, and leave what waits behind them to the pool."""
        self._ticks += 1
        for member in list(self.members):
            member.tick(self._SLOW, self._timeout)
            if member.stuck and member.held is None:
                self.left += member.relieve()
                self._count(member)
        oldest = self._ticks - round(MAX_WAIT / TICK_SECONDS)
        if not self._accepts or (self._waiting and self._waiting[0].since < oldest):
            self._leave()
        busy = self._waiting or not all(member.idle for member in self.members)
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick) if busy else None

    def _count(self, member: PipelinedConnection) -> None:
        """Count the slow statement of a connection for its user and app, until it ends."""
        first = member.pending[0] if member.pending else None
        if self.shares is not None and first is not None and first.release is None:
            first.release = self.shares.discount
            self.shares.count(first.owner)

    def _leave(self) -> None:
        """Leave all waiting requests to the pool."""
        while self._waiting:
            self._crowd(self._waiting.popleft())

    def _crowd(self, waiter: Waiter) -> None:
        self.left += not waiter.answer.done()
        waiter.settle(SendOutcome.CROWDED)


class WriteConnection(PipelinedConnection):
    """A connection that carries a write, writes that share a commit, or a transaction at a time."""

    WRITES = True

    def takes(self, write: Request) -> bool:
        """Whether a write may join those that are gathered: others of its text, of other rows."""
        gathered = self.gathered
        return (
            0 < len(gathered) < self._shared
            and write.key is not None
            and gathered[0].query == write.query
            and sum(each.size for each in gathered) + write.size <= GROUPED_BYTES
            and (not write.key or all(each.key != write.key for each in gathered))
        )

    def send(self, request: Request) -> None:
        """Send a write, or gather it until the event loop's next turn."""
        if request.key is None:
            super().send(request)
        else:
            self.gathered.append(request)
            self._flush_soon()

    def _flush(self) -> None:
        if self.gathered:
            # In one order everywhere: two groups would wait for each other's rows in another.
            gathered, self.gathered = sorted(self.gathered, key=attrgetter("key")), []
            for request in gathered:
                super().send(request)
        super()._flush()

    def close(self, reason: psycopg.Error | None = None) -> None:
        """End the connection; what was not sent goes to the pool."""
        for request in self.gathered:
            request.settle(SendOutcome.CROWDED)
        self.gathered = []
        super().close(reason)


class WriteGroup(ConnectionGroup):
    """The connections for writes and transactions."""

    _SLOW = 5
    """After fewer checks, a busy disk would send others to the pool, where they cost more."""
    _CONNECTION = WriteConnection

    def __init__(self, prepared: int, timeout: float) -> None:
        super().__init__(prepared, timeout, depth=1, shared=GROUPED)
        self._transactions: list[bool] = []
        """Those that hold or await a connection; true where hooks of plugins run in one."""

    @asynccontextmanager
    async def reserved(self, hooked: bool = False) -> AsyncGenerator[PipelinedConnection | None]:
        """Reserve a connection for a transaction; None where none is available soon.

        Transactions have all connections but one, so that statements find it, and those with hooks
        of plugins (`hooked`) half of them, rounded up.
        """
        most = max(1, len(self.members) - 1)
        crowded = hooked and sum(self._transactions) >= (len(self.members) + 1) // 2
        if crowded or len(self._transactions) >= most:
            self.asked += 1
            self.left += 1
            yield None
            return
        reservation = Reservation(self._loop.create_future())
        self._admit(reservation)
        self._transactions.append(hooked)
        try:
            await reservation.answer
            yield reservation.member
        finally:  # also for a caller that was cancelled at that moment
            self._transactions.remove(hooked)
            if reservation.member is not None:
                reservation.member.release()

    def _free(self, waiter: Waiter) -> PipelinedConnection | None:
        """Return the connection whose transaction a write can join, else an idle one, or None."""
        idle, write = None, waiter if isinstance(waiter, Request) else None
        for member in self.members:
            if write and isinstance(member, WriteConnection) and member.takes(write):
                return member
            if idle is None and member.idle and not member.stuck:
                idle = member
        return idle

    def _start(self, member: PipelinedConnection, waiter: Request | Reservation) -> None:
        if isinstance(waiter, Request):
            member.send(waiter)
        else:
            member.hold()
            waiter.member = member
            waiter.settle()
