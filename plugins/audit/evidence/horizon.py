"""Up to which id no row can follow any more."""

from __future__ import annotations

from typing import Final, NamedTuple

import anyio

from kernel.public import Statements

from . import store

LOOKS: Final = 10
PAUSE: Final = 0.1


class _Candidate(NamedTuple):
    """An id, and the transactions that had written when it was the last one."""

    last_id: int
    writers: frozenset[bytes]


class Horizon:
    """Finds the id up to which the trail is complete.

    A transaction takes its ids after it has locked the trail, as each insert does, and keeps the
    lock to its end. So no row with an id up to one that was the last can follow, once those
    transactions have ended that held the lock just afterwards. The numbers of transactions would
    say the same, but they begin again in a database that a backup is restored into. Transactions
    that only read would hold them up as well.
    """

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._candidate: _Candidate | None = None

    async def find(self) -> int | None:
        """Return that id; None while a transaction that began before it has not ended.

        The next call waits for the same transactions, so those that begin meanwhile do not hold it
        up for ever.
        """
        candidate = self._candidate
        if candidate is None:
            last_id = await store.read_last_id(self._statements)  # first: see above
            writers = await store.read_writers(self._statements)
            candidate = _Candidate(last_id, frozenset(writers))
        for _ in range(LOOKS):
            if not candidate.writers:
                self._candidate = None
                return candidate.last_id
            self._candidate = candidate
            await anyio.sleep(PAUSE)
            active = await store.read_writers(self._statements)
            candidate = _Candidate(candidate.last_id, candidate.writers & active)
        self._candidate = candidate
        return None
