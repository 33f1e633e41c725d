"""Groups of connections for statements of one kind: which request is sent on which connection."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from psycopg import AsyncConnection
from psycopg.pq.abc import PGresult

from kernel.public import Param, Query, Shares, dialect

from .connections.connection import PipelinedConnection, ReadConnection, WriteConnection
from .connections.requests import OwnedRequest, Request, SendOutcome, SlowShare
from .waiting import WaitingLine

TICK_SECONDS: Final = 0.02
"""Seconds between two checks; a read that is first at both is slow."""
MAX_WAITING: Final = 1000
MAX_WAIT: Final = 5.0
"""Statements that wait for room on a connection, and the seconds that they wait at most."""

Answer = asyncio.Future[PGresult | SendOutcome]


class GroupLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many statements a group puts on its connections, and how long they may take."""

    depth: int
    """Statements that are under way on one connection at a time."""
    shared: int = 1
    """Statements that have one sync, at most."""
    joined: float = 0.0
    """Seconds in which a statement joins those that were sent, also where another connection is
    idle: statements of one connection cost less. Behind older ones it could wait for a slow one."""
    slow_ticks: int = 1
    """Checks at which the same statement is the first one: then it is slow."""
    prepared: int = 256
    """Prepared statements of a connection."""
    timeout: float = 0.0
    """Seconds that an answer may take before its connection is closed; 0 is for ever."""


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


class Reservation:
    """A transaction that waits for a connection, or has one."""

    __slots__ = ("answer", "member", "since")

    def __init__(self, answer: asyncio.Future[None]) -> None:
        self.answer = answer
        self.member: WriteConnection | None = None
        self.since = 0

    def settle(self, _: SendOutcome | None = None) -> None:
        """End the wait, unless its caller was cancelled."""
        if not self.answer.done():
            self.answer.set_result(None)


C = TypeVar("C", bound=PipelinedConnection)
W = TypeVar("W", bound=Waiter)


class ConnectionGroup(ABC, Generic[C, W]):
    """Connections that serve statements of one kind.

    It sends what it can send at once. What would wait behind a slow statement, and everything while
    no connection is open, is left to the caller's pool.
    """

    def __init__(self, limits: GroupLimits, shares: Shares) -> None:
        """`shares` knows whom a statement belongs to."""
        self.members: list[C] = []
        self.asked = 0
        self.left = 0
        """Statements or transactions so far, and how many of them were left to the pool."""
        self.max_ticks = round(limits.timeout / TICK_SECONDS)
        """Checks after which a connection that does not answer is closed."""
        self._limits = limits
        self._shares = shares
        self._waiting = WaitingLine[W]()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._ticks = 0

    def add(self, connection: AsyncConnection[Any]) -> C:
        """Add a connection to the group."""
        member = self._make_member(connection)
        self.members.append(member)
        self._refill()
        return member

    def remove(self, member: C) -> None:
        """Remove a connection from the group and close it."""
        self.members.remove(member)
        member.close()

    @property
    def under_way(self) -> list[asyncio.Future[Any]]:
        """Futures of the answers and of the held connections."""
        answers = [waiter.answer for waiter in self._waiting]
        held = list[asyncio.Future[Any]]()
        for member in self.members:
            answers += [request.answer for request in self._requests_of(member)]
            if member.held is not None:
                held.append(member.held)
        return [*held, *(answer for answer in answers if not answer.done())]

    def close(self) -> None:
        """Stop accepting; the connections are closed by the reconnector."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._leave_waiting()

    # What a kind of connections decides.

    @abstractmethod
    def _make_member(self, connection: AsyncConnection[Any]) -> C:
        """Make a connection of the group."""

    @abstractmethod
    def _find_room(self, waiter: W) -> C | None:
        """Return the connection on which a statement or transaction can start, or None."""

    @abstractmethod
    def _start(self, member: C, waiter: W) -> None:
        """Send a statement on a connection, or hold it for a transaction."""

    def _requests_of(self, member: C) -> Sequence[Request]:
        """Return what a connection has not answered yet."""
        return list(member.pending)

    def _relieve(self, member: C) -> None:
        """Take from a connection that is stuck what waits there for the slow statement."""

    # Waiting for room.

    def _admit(self, waiter: W) -> None:
        """Start a statement or transaction, let it wait for room, or leave it to the pool."""
        self.asked += 1
        member = None if self._waiting.count else self._find_room(waiter)
        if member is not None:
            self._start(member, waiter)
        elif self._waiting.count < MAX_WAITING and self._has_prospects and not self._is_closed:
            waiter.since = self._ticks
            self._waiting.append(self._shares.owner(), waiter)
        else:
            self._leave(waiter)
        if self._timer is None:
            self._timer = self._loop.call_later(TICK_SECONDS, self._tick)

    @property
    def _has_prospects(self) -> bool:
        """Whether a connection will have room soon."""
        return any(not member.health.is_stuck for member in self.members)

    def _refill(self) -> None:
        """Start what waits while there is room."""
        while self._waiting.count:
            member = self._find_room(self._waiting.next)
            if member is None:
                return
            waiter = self._waiting.pop_next()
            if not waiter.answer.done():
                self._start(member, waiter)

    def _tick(self) -> None:
        """Find slow statements, and leave what waits behind them to the pool."""
        self._ticks += 1
        for member in list(self.members):
            member.check(self._limits.slow_ticks, self.max_ticks)
            if member.health.is_stuck and member.held is None:
                self._relieve(member)
        limit = self._ticks - round(MAX_WAIT / TICK_SECONDS)
        has_waited_long = any(waiter.since < limit for waiter in self._waiting.oldest)
        if has_waited_long or not self._has_prospects:
            self._leave_waiting()
        is_busy = self._waiting.count or not all(member.is_idle for member in self.members)
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick) if is_busy else None

    def _leave_waiting(self) -> None:
        """Leave all that waits to the pool."""
        while self._waiting.count:
            self._leave(self._waiting.pop_next())

    def _leave(self, waiter: W) -> None:
        """Leave a statement or transaction to the pool."""
        if not waiter.answer.done():
            self.left += 1
        waiter.settle(SendOutcome.CROWDED)


class ReadGroup(ConnectionGroup[ReadConnection, Request]):
    """The connections for reads, each with many of them under way."""

    def send(self, query: Query, params: Sequence[Param]) -> Answer:
        """Send a read; the future gets PostgreSQL's answer, also an error.

        The statement of a cancelled caller runs on, and its answer is dropped.
        """
        request = self._make_request(query, dialect.to_texts(params))
        self._admit(request)
        return request.answer

    def _make_request(self, query: Query, values: list[bytes | None]) -> Request:
        return Request(query, values, self._loop.create_future(), "")

    def _make_member(self, connection: AsyncConnection[Any]) -> ReadConnection:
        limits = self._limits
        return ReadConnection(connection, limits.prepared, limits.shared, self._refill)

    def _find_room(self, waiter: Request) -> ReadConnection | None:
        """Return the first connection that is idle or only just busy, else the one with the fewest
        requests that has room, or None."""
        best = None
        fewest = self._limits.depth
        now = self._loop.time()
        for member in self.members:
            pending = member.pending
            count = len(pending)
            if count >= fewest or member.health.is_stuck:
                continue
            if not count or now - pending[0].sent_at < self._limits.joined:
                return member
            best = member
            fewest = count
        return best

    def _start(self, member: ReadConnection, waiter: Request) -> None:
        member.send(waiter)

    def _relieve(self, member: ReadConnection) -> None:
        self.left += member.relieve()


class FilterGroup(ReadGroup):
    """The connections for reads that may take long: a slow one counts for its user and app."""

    def _make_request(self, query: Query, values: list[bytes | None]) -> Request:
        answer = self._loop.create_future()
        return OwnedRequest(query, values, answer, "", share=SlowShare(self._shares))

    def _relieve(self, member: ReadConnection) -> None:
        super()._relieve(member)
        first = member.pending[0] if member.pending else None
        if isinstance(first, OwnedRequest):
            first.share.count()


class WriteGroup(ConnectionGroup[WriteConnection, Request | Reservation]):
    """The connections for writes and transactions."""

    def __init__(self, limits: GroupLimits, shares: Shares) -> None:
        super().__init__(limits, shares)
        self._transactions: list[bool] = []
        """Those that hold or await a connection; true where hooks of plugins run in one."""

    def send(self, query: Query, params: Sequence[Param], key: str | None) -> Answer:
        """Send a write; see `ReadGroup.send`. With a `key` it may share a commit with others."""
        request = Request(query, dialect.to_texts(params), self._loop.create_future(), key)
        self._admit(request)
        return request.answer

    @asynccontextmanager
    async def reserve(self, is_hooked: bool = False) -> AsyncGenerator[WriteConnection | None]:
        """Reserve a connection for a transaction; None where none is available soon.

        Transactions have all connections but one, so that statements find it, and those with hooks
        of plugins (`is_hooked`) half of them, rounded up.
        """
        if not self._may_reserve(is_hooked):
            self.asked += 1
            self.left += 1
            yield None
            return
        reservation = Reservation(self._loop.create_future())
        self._admit(reservation)
        self._transactions.append(is_hooked)
        try:
            await reservation.answer
            yield reservation.member
        finally:  # also for a caller that was cancelled at that moment
            self._transactions.remove(is_hooked)
            if reservation.member is not None:
                reservation.member.release()

    def _may_reserve(self, is_hooked: bool) -> bool:
        count = len(self.members)
        if is_hooked and sum(self._transactions) >= (count + 1) // 2:
            return False
        return len(self._transactions) < max(1, count - 1)

    def _make_member(self, connection: AsyncConnection[Any]) -> WriteConnection:
        limits = self._limits
        return WriteConnection(connection, limits.prepared, limits.shared, self._refill)

    def _requests_of(self, member: WriteConnection) -> Sequence[Request]:
        return [*member.pending, *member.gathered]

    def _find_room(self, waiter: Request | Reservation) -> WriteConnection | None:
        """Return the connection whose transaction a write can join, else an idle one, or None."""
        idle = None
        for member in self.members:
            if member.gathered:
                if isinstance(waiter, Request) and member.can_gather(waiter):
                    return member
            elif idle is None and member.is_idle and not member.health.is_stuck:
                idle = member
        return idle

    def _start(self, member: WriteConnection, waiter: Request | Reservation) -> None:
        if isinstance(waiter, Request):
            member.send(waiter)
        else:
            member.hold()
            waiter.member = member
            waiter.settle()
