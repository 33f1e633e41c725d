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


Waiting = list[asyncio.Future[bytes | Literal[Missing.ANSWER] | None]]
"""Callers that have asked what another one asks for."""


class SharedReader:
    """Sends the same read of one turn of the event loop once.

    Nothing is shared later: the statement is not sent before the turn ends, so it sees what was
    committed before any of its callers asked. A caller whose first asker fails or leaves asks by
    itself.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._asked = dict[Question, Waiting]()
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
        if earlier is not None:
            return await self._wait(question, earlier)
        if not self._asked:
            asyncio.get_running_loop().call_soon(self._asked.clear)
        waiting: Waiting = []
        self._asked[question] = waiting
        try:
            raw = await self._reader.fetch(query, *params, custom_plan=custom_plan, quick=quick)
        except BaseException:  # not shared: each caller adds its own frames to an error
            _settle(waiting, Missing.ANSWER)
            raise
        if waiting:
            _settle(waiting, raw)
        return raw

    async def fetch_all(
        self, query: Query, *params: Param, custom_plan: bool = False, quick: bool = True
    ) -> list[bytes]:
        """See `Reader.fetch_all`; each caller asks by itself."""
        return await self._reader.fetch_all(query, *params, custom_plan=custom_plan, quick=quick)

    async def _wait(self, question: Question, waiting: Waiting) -> bytes | None:
        """Wait for the answer of the caller that asked first."""
        answer = asyncio.get_running_loop().create_future()
        waiting.append(answer)
        raw = await answer
        if raw is not Missing.ANSWER:
            return raw
        query, params, custom_plan, quick = question
        return await self._reader.fetch(query, *params, custom_plan=custom_plan, quick=quick)


def _settle(waiting: Waiting, outcome: bytes | Literal[Missing.ANSWER] | None) -> None:
    for answer in waiting:
        if not answer.done():
            answer.set_result(outcome)
