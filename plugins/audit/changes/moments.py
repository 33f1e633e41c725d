"""What was visible in the trail at a moment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from kernel.public import Unavailable

STANDBY: Final = "standby"
MAX_OPEN: Final = 300
"""Transactions that may be open at a moment: a position has them all, and a bound."""
_SEEN: Final = re.compile(r"(\S+) (\d+):(\d+):([\d,]*) (\d+)")


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of PostgreSQL, and the greatest id of the trail that was visible in it.

    A row is visible in it if its transaction has a number below `xmax` and was not `open`, and its
    own id is at most `last_id`. The last says nothing new of a row that was there then. But after a
    crash PostgreSQL can give a number again that was used for nothing that lasts.

    What has an id up to `last_id` and is not visible is of a transaction that was open, or of a
    later number: a snapshot does not say which of those were begun. To find such rows by their ids,
    `open` has a floor for each transaction, and `late` is the floor of the later numbers: ids of
    their rows are greater. A floor that is not known is 0.

    `own` is the number of a transaction that began in this very moment, or 0. Numbers above it are
    of transactions that began afterwards, so all their ids are above `last_id`. With it the floors
    of following moments are high.
    """

    xmax: int
    last_id: int
    open: Mapping[int, int]
    late: int
    own: int = 0

    @property
    def lowest(self) -> int:
        """Rows that are not visible have greater ids than this, as far as the floors are known."""
        floors = [floor for floor in self.open.values() if floor]
        return min([self.last_id, self.late or self.last_id, *floors])

    @property
    def snapshot(self) -> str:
        """The snapshot as PostgreSQL writes it."""
        xmin = min(self.open, default=self.xmax)
        numbers = ",".join(map(str, sorted(self.open)))
        return f"{xmin}:{self.xmax}:{numbers}"

    def sees(self, transaction: int, row_id: int) -> bool:
        """Whether a row was visible."""
        is_ended = transaction < self.xmax and transaction not in self.open
        return is_ended and row_id <= self.last_id

    def includes(self, other: Moment) -> bool:
        """Whether all that was visible at another moment was visible at this one."""
        if self.xmax < other.xmax or self.last_id < other.last_id:
            return False
        return all(number >= other.xmax or number in other.open for number in self.open)

    def lead_to(self, later: Snapshot) -> Moment:
        """Return the moment of a later snapshot, with floors that follow from this one."""
        floors = {number: self._find_floor(number) for number in later.open}
        return Moment(
            xmax=later.xmax,
            last_id=later.last_id,
            open=floors,
            late=self._find_floor(later.xmax),
            own=later.own,
        )

    def _find_floor(self, number: int) -> int:
        """Return the floor of a transaction, or of all that have its number or a greater one."""
        if self.own and number > self.own:
            return self.last_id
        return self.open.get(number, self.late)


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What `caudex_audit.seen()` returned: a moment whose floors are not known yet."""

    branch: str
    xmax: int
    open: tuple[int, ...]
    last_id: int
    own: int = 0

    @property
    def server(self) -> str:
        """The database cluster, the first part of the branch."""
        return self.branch.partition("-")[0]


def read_snapshot(text: str, own: int = 0) -> Snapshot:
    """Read what `caudex_audit.seen()` returned. Raises Unavailable where it is of no use now."""
    match = _SEEN.fullmatch(text)
    if match is None:
        raise ValueError(f"not a snapshot: {text[:200]!r}")
    branch, _, xmax, numbers, last_id = match.groups()
    if branch == STANDBY:
        raise Unavailable("the database is a standby")
    transactions = tuple(int(number) for number in numbers.split(",") if number)
    if len(transactions) > MAX_OPEN:
        raise Unavailable(f"more than {MAX_OPEN} transactions are open")
    return Snapshot(branch=branch, xmax=int(xmax), open=transactions, last_id=int(last_id), own=own)
