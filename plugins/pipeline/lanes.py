"""A lane: a few connections for statements of one kind, and who is sent on which of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.errors import error_from_result
from psycopg.pq.abc import PGresult

from kernel.public import Param, Query, dialect

from .connection import FAILED, Fate, Pipe, Unit

TICK: Final = 0.02
"""Seconds between two looks at what is under way; a statement that is first at both is slow."""
MAX_WAITING: Final = 1000
MAX_WAIT: Final = 5.0
"""Statements that wait for room on a connection, and for how many seconds."""
MAX_PARAMETERS: Final = 65_535


class Turn:
    """Somebody who waits for a connection to himself."""

    __slots__ = ("answer", "since")

    def __init__(self, answer: asyncio.Future[Pipe | Fate]) -> None:
        self.answer = answer
        self.since = 0

    def settle(self, outcome: Pipe | Fate) -> None:
        """Wake up who waits; whoever gave up is left alone."""
        if not self.answer.done():
            self.answer.set_result(outcome)


class Lane:
    """Connections that serve statements of one kind, `depth` of them at a time on each.

    It carries what it can carry at once. What would wait behind a slow statement, and everything
    while no connection stands, is left to the caller, who has a pool.
    """

    def __init__(self, *, depth: int, prepared: int, patience: float) -> None:
        """With a `depth` above 1 statements may be sent twice, so they have to be reads.

        `patience` is how many seconds an answer may take before its connection is given up.
        """
        self.pipes: list[Pipe] = []
        self.asked = 0
        self.left = 0
        """How many statements or transactions came, and how many of them were left to others."""
        self._depth = depth
        self._prepared = prepared
        self._patience = round(patience / TICK)
        self._waiting: deque[Unit | Turn] = deque()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._ticks = 0

    def add(self, connection: AsyncConnection[Any]) -> Pipe:
        """Take a connection into the lane."""
        pipe = Pipe(connection, self._prepared, self._refill)
        self.pipes.append(pipe)
        self._refill()
        return pipe

    def remove(self, pipe: Pipe) -> None:
        """Take a connection out of the lane and close it."""
        self.pipes.remove(pipe)
        pipe.close()

    @property
    def under_way(self) -> list[asyncio.Future[Any]]:
        """What is still to come: answers, and connections that are given back."""
        units = [*self._waiting, *(unit for pipe in self.pipes for unit in pipe.pending)]
        held = [pipe.held for pipe in self.pipes if pipe.held is not None]
        return [*held, *(unit.answer for unit in units if not unit.answer.done())]

    def send(self, query: Query, params: Sequence[Param]) -> asyncio.Future[PGresult | Fate]:
        """Send a statement; await what PostgreSQL answers, be it an error.

        Who is cancelled meanwhile is forgotten: the statement runs on, its answer is dropped.
        """
        values = [dialect.to_text(param) for param in params]
        unit = Unit(query, values, self._loop.create_future())
        if len(values) > MAX_PARAMETERS:  # libpq refuses them half-way
            unit.settle(Fate.CROWDED)
        else:
            self._admit(unit)
        return unit.answer

    @asynccontextmanager
    async def taken(self) -> AsyncGenerator[Pipe | None]:
        """Have a connection to oneself; None when there is none to be had soon."""
        turn = Turn(self._loop.create_future())
        self._admit(turn)
        try:
            pipe = await turn.answer
            yield pipe if isinstance(pipe, Pipe) else None
        finally:  # also when it was handed over to somebody who has just given up
            if turn.answer.done() and not turn.answer.cancelled():
                pipe = turn.answer.result()
                if isinstance(pipe, Pipe):
                    pipe.give_back()

    def close(self) -> None:
        """Let nobody wait any more; the connections are closed by whoever made them."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._leave()

    def _admit(self, who: Unit | Turn) -> None:
        self.asked += 1
        pipe = None if self._waiting else self._free()
        if pipe is not None:
            _start(pipe, who)
        elif len(self._waiting) < MAX_WAITING and self._moves and not self._closed:
            who.since = self._ticks
            self._waiting.append(who)
        else:
            self._crowd(who)
        if self._timer is None:
            self._timer = self._loop.call_later(TICK, self._tick)

    @property
    def _moves(self) -> bool:
        return any(not pipe.stuck for pipe in self.pipes)

    def _free(self) -> Pipe | None:
        """Choose the connection that has least to do, and room."""
        free, least = None, self._depth
        for pipe in self.pipes:
            count = len(pipe.pending)
            if count < least and not pipe.stuck and pipe.held is None:
                if not count:
                    return pipe
                free, least = pipe, count
        return free

    def _refill(self) -> None:
        """Send what waits, as long as there is room."""
        while self._waiting and (pipe := self._free()) is not None:
            who = self._waiting.popleft()
            if not who.answer.done():
                _start(pipe, who)

    def _tick(self) -> None:
        """Look for what is slow, and let nobody wait behind it."""
        self._ticks += 1
        for pipe in list(self.pipes):
            pipe.tick(self._patience)
            if pipe.stuck and pipe.held is None:
                self.left += pipe.relieve()
        oldest = self._ticks - round(MAX_WAIT / TICK)
        if not self._moves or (self._waiting and self._waiting[0].since < oldest):
            self._leave()
        busy = self._waiting or any(pipe.pending or pipe.held for pipe in self.pipes)
        self._timer = self._loop.call_later(TICK, self._tick) if busy else None

    def _leave(self) -> None:
        """Send those who wait elsewhere."""
        while self._waiting:
            self._crowd(self._waiting.popleft())

    def _crowd(self, who: Unit | Turn) -> None:
        self.left += not who.answer.done()
        who.settle(Fate.CROWDED)


def _start(pipe: Pipe, who: Unit | Turn) -> None:
    if isinstance(who, Unit):
        pipe.send(who)
    else:
        pipe.hold()
        who.settle(pipe)


def checked(answer: PGresult | Fate) -> PGresult | None:
    """Raise PostgreSQL's error as the kernel's; None for a statement that has no answer."""
    if isinstance(answer, Fate):
        return None
    if answer.status == FAILED:
        with dialect.translated():
            raise error_from_result(answer)
    return answer
