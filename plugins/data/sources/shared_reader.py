"""Reads that several callers ask for at the same moment, such as a list that many screens show."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Literal

from kernel.public import Param, Query, Reader

Question = tuple[Query, tuple[Param, ...], bool, bool]
"""A statement, its parameters, and how it is planned and sent."""


class Missing(Enum):
    """What callers get that waited for another one, where that one has failed or was cancelled."""

    ANSWER = "ask again"


Outcome = bytes | Literal[Missing.ANSWER] | None


class Asking:
    """A question that is under way, and the callers that wait for the answer of the first one."""

    __slots__ = ("_waiting", "has_ended")

    def __init__(self) -> None:
        self.has_ended = False
        """Whether no caller can join any more: the first one may fail before the turn ends."""
        self._waiting = list[asyncio.Future[Outcome]]()

    def join(self) -> asyncio.Future[Outcome]:
        """Return the future of the answer."""
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        return answer

    def end(self, outcome: Outcome) -> None:
        """Give the answer to those who wait, unless they were cancelled."""
        self.has_ended = True
        for answer in self._waiting:
            if not answer.done():
                answer.set_result(outcome)


class SharedReader:
    """Sends the same read of one turn of the event loop once.

    Nothing is shared later: the statement is not sent before the turn ends, so it sees what was
    committed before any of its callers asked. A caller whose first asker fails or leaves asks by
    itself.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._asked = dict[Question, Asking]()
        """The questions of this turn."""

    async def fetch(
        self, query: Query, *params: Param, custom_plan: bool = False, quick: bool = True
    ) -> bytes | None:
        """See `Reader.fetch`."""
        question = (query, params, custom_plan, quick)
        try:
            earlier = self._asked.get(question)
        except TypeError:  # an array is no part of a key
            return await self._reader.fetch(query, *params, custom_plan=custom_plan, quick=quick)
        if earlier is not None and not earlier.has_ended:
            return await self._wait(question, earlier)
        if not self._asked:
            asyncio.get_running_loop().call_soon(self._asked.clear)
        asking = Asking()
        self._asked[question] = asking
        try:
            raw = await self._reader.fetch(query, *params, custom_plan=custom_plan, quick=quick)
        except BaseException:  # not shared: each caller adds its own frames to an error
            asking.end(Missing.ANSWER)
            raise
        asking.end(raw)
        return raw

    async def fetch_all(
        self, query: Query, *params: Param, custom_plan: bool = False, quick: bool = True
    ) -> list[bytes]:
        """See `Reader.fetch_all`; each caller asks by itself."""
        return await self._reader.fetch_all(query, *params, custom_plan=custom_plan, quick=quick)

    async def _wait(self, question: Question, asking: Asking) -> bytes | None:
        """Wait for the answer of the caller that asked first."""
        raw = await asking.join()
        if raw is not Missing.ANSWER:
            return raw
        query, params, custom_plan, quick = question
        return await self._reader.fetch(query, *params, custom_plan=custom_plan, quick=quick)
