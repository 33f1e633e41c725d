"""Single records that several callers ask for at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from kernel.public import Param, Query, Reader

from .shared_reader import Missing

MAX_GATHERED: Final = 16
"""The most records of one statement."""
MIN_BUSY: Final = 6
"""The fewest records of a busy turn. To wait for the end of a turn costs what fewer would save."""
Parameters = tuple[Param, ...]
NO_RECORD: Final = b"null"
"""What a statement of several records answers in place of one that is not there."""


class RecordStatements(msgspec.Struct, frozen=True, eq=False):
    """How records are read by their ids: a statement for one, and one for several.

    The last parameter of `one` is the id, that of `several` an array of ids; its rows are in their
    order. Before it are those that narrow the records that are read, such as the owner.
    """

    one: Query
    several: Query

    async def fetch_one(
        self, reader: Reader, narrowed_by: Parameters, record_id: str
    ) -> bytes | None:
        """Read one record, None where it does not exist."""
        return await reader.fetch(self.one, *narrowed_by, record_id)

    async def fetch_several(
        self, reader: Reader, narrowed_by: Parameters, record_ids: list[str]
    ) -> list[bytes | None]:
        """Read several records, in the order of their ids."""
        rows = await reader.fetch_all(self.several, *narrowed_by, record_ids)
        return [None if row == NO_RECORD else row for row in rows]


Key = tuple[RecordStatements, Parameters]
"""What records of one statement have in common: the statements, and what narrows it."""


class RecordSource(Protocol):
    """Reads single records."""

    async def fetch(
        self, statements: RecordStatements, narrowed_by: Parameters, record_id: str
    ) -> bytes | None:
        """Read one record, None where it does not exist."""
        ...


class LoneRecords:
    """Reads each record by a statement of its own: in a transaction, or from a replica."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def fetch(
        self, statements: RecordStatements, narrowed_by: Parameters, record_id: str
    ) -> bytes | None:
        """See `RecordSource.fetch`."""
        return await statements.fetch_one(self._reader, narrowed_by, record_id)


class GatheredRecords:
    """Reads the records that callers ask for in one turn of the event loop by one statement.

    It does so while turns are busy, so a caller that is alone never waits. The statement is sent
    after each of its callers has asked, so each sees what was committed before. A caller whose
    statement fails asks by itself.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._gatherings = dict[Key, _Gathering]()
        """What is sent in the next turn."""
        self._asked = 0
        """The records of this turn."""
        self._is_busy = False
        """Whether the last turn that brought records brought many."""

    async def fetch(
        self, statements: RecordStatements, narrowed_by: Parameters, record_id: str
    ) -> bytes | None:
        """See `RecordSource.fetch`."""
        self._asked += 1
        if self._asked == 1:
            asyncio.get_running_loop().call_soon(self._end_turn)
        if not self._is_busy:
            return await statements.fetch_one(self._reader, narrowed_by, record_id)
        key = (statements, narrowed_by)
        gathering = self._gatherings.get(key)
        if gathering is None or len(gathering.record_ids) == MAX_GATHERED:
            gathering = _Gathering(record_id)
            self._gatherings[key] = gathering
            return await self._send(key, gathering)
        record = await gathering.join(record_id)
        if record is Missing.ANSWER:
            return await statements.fetch_one(self._reader, narrowed_by, record_id)
        return record

    async def _send(self, key: Key, gathering: _Gathering) -> bytes | None:
        """Read what was gathered when the turn has ended. Return the record of the first caller."""
        statements, narrowed_by = key
        try:
            await self._wait_for_others(key, gathering)
            record_ids = gathering.record_ids
            if len(record_ids) == 1:
                return await statements.fetch_one(self._reader, narrowed_by, record_ids[0])
            first, *others = await statements.fetch_several(self._reader, narrowed_by, record_ids)
        except BaseException:  # not shared: each caller adds its own frames to an error
            gathering.give_up()
            raise
        gathering.settle(others)
        return first

    async def _wait_for_others(self, key: Key, gathering: _Gathering) -> None:
        """Wait until the turn has ended. No caller joins afterwards, also where this one leaves."""
        try:
            await asyncio.sleep(0)
        finally:
            if self._gatherings.get(key) is gathering:
                del self._gatherings[key]

    def _end_turn(self) -> None:
        self._is_busy = self._asked >= MIN_BUSY
        self._asked = 0


class _Gathering:
    """Records that one statement reads, and the callers that wait for those after the first."""

    __slots__ = ("_answers", "record_ids")

    def __init__(self, record_id: str) -> None:
        self.record_ids = [record_id]
        self._answers = list[asyncio.Future[bytes | Missing | None]]()

    def join(self, record_id: str) -> asyncio.Future[bytes | Missing | None]:
        """Add a record. Return the future of its answer."""
        answer = asyncio.get_running_loop().create_future()
        self.record_ids.append(record_id)
        self._answers.append(answer)
        return answer

    def settle(self, records: Iterable[bytes | Missing | None]) -> None:
        """Give the records to those who wait, unless they were cancelled."""
        for answer, record in zip(self._answers, records, strict=True):
            if not answer.done():
                answer.set_result(record)

    def give_up(self) -> None:
        """Let each of them ask by itself."""
        self.settle([Missing.ANSWER] * len(self._answers))
