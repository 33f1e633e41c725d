"""Committed changes of records, from any position on, and live."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Final, Literal, Protocol

import msgspec

from kernel.contracts.base import ServiceKey
from kernel.contracts.statements import Query

__all__ = ["CHANGES", "MAX_POSITION", "ChangeLoss", "Changes", "ChangesPage", "CommittedChange"]

MAX_POSITION: Final = 3_900
"""The most characters of a position, each of `[A-Za-z0-9_-]`. What a reader adds, such as the
number of a subscription behind a dot, makes it no longer than 4,000."""

ChangeLoss = Literal["too old", "restored", "another server", "trail was off", "entity changed"]
"""Why the changes since a position are not available.

- *too old*: the trail begins later, or the app was installed later.
- *restored*: the database is another copy than then, or has lost what the position has seen.
- *another server*: the position is of another database cluster.
- *trail was off*: changes were made that nothing recorded, or a table was emptied at once.
- *entity changed*: the fields of an entity are others than then.
"""


class CommittedChange(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction did to one record, from the state before it to the state after it.

    Several changes of a record in a transaction are one; nothing is left of a record that was made
    and deleted in it. `old` and `new` are the record as JSON text, as the trail has it: `old` of a
    new record and `new` of a deleted one are None. `owner_before` and `owner_after` are ids of
    users.
    `actor`, `request` and `at` (RFC 3339 text ending in Z, the begin of the transaction) are those
    of the last change. `id` is its id in the trail, `transaction` PostgreSQL's number of it.
    `position` is the one behind this change.

    `replaced` names fields of `old` or `new` that may be too large for the trail. It has
    `{"length", "sha256"}` of their text instead: see `Changes.fill`.
    """

    id: int
    app_id: str
    entity: str
    record_id: str
    operation: Literal["INSERT", "UPDATE", "DELETE"]
    old: bytes | None
    new: bytes | None
    owner_before: str | None
    owner_after: str | None
    actor: str | None
    request: str | None
    at: str
    transaction: int
    position: str
    replaced: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """`<app>.<entity>`."""
        return f"{self.app_id}.{self.entity}"

    @property
    def size(self) -> int:
        """Bytes of the record before and after the change."""
        return len(self.old or b"") + len(self.new or b"")


class ChangesPage(msgspec.Struct, frozen=True, kw_only=True):
    """Changes behind a position, in the order to follow them, and the position behind them all.

    Transactions come one after the other. No change of a record comes before the one that it was
    made on. `complete` says that nothing more was committed when the page was read. With `lost`
    there are no changes, and `position` is that of now. `reshaped` says that the page reaches back
    over a change of fields: what a reader has compiled, and its catalog, may be older.
    """

    changes: Sequence[CommittedChange]
    position: str
    complete: bool
    lost: ChangeLoss | None = None
    reshaped: bool = False


class Changes(Protocol):
    """Reads what was committed to records of apps: nothing is missed, nothing comes twice.

    A position is text that stays valid over restarts of the server and of PostgreSQL. Compare two
    of them for equality only. Subjects are `<app>.<entity>`, without patterns. A method that is
    given a position raises BadRequest for any other text.
    """

    async def now(self) -> str:
        """Return the position behind everything that is committed."""
        ...

    async def find(self, time: datetime) -> str | None:
        """Return a position before everything that was committed since a time, or None.

        It may be some minutes older. It is None where the trail does not reach back that far.
        """
        ...

    def check(self, position: str) -> None:
        """Raise BadRequest for a text that is no position; the database is not asked."""
        ...

    async def read(
        self, position: str, subjects: Collection[str], limit: int = 1000, *, reshape: bool = False
    ) -> ChangesPage:
        """Return the next changes behind a position: at most `limit` (up to 10,000), and 16 MB.

        A page without changes need not be `complete`: read on from its position.
        With `reshape` a change of fields is no loss: records of before have the fields of today.
        Those that are gone are left out, renamed ones have their present names, also those of the
        entity. New ones are null, and so are values that the present type does not take.
        """
        ...

    def follow(
        self, subjects: Collection[str], position: str | None = None, *, reshape: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[ChangesPage]]:
        """Yield pages from a position on, or from now on, and then what is committed, as it is.

        A page is `complete` where the reader has everything; the first such page may be empty.
        Then a page comes at once after each commit in this process, and within 200 ms after one
        elsewhere. Every 15 s an empty page has the position reached, unless pages with changes come
        without a break. A page with `lost` is followed by what comes behind its position. Pages are
        shared: change none. A reader that is slow costs no memory: it goes on from its own
        position. The iterator ends when the server stops. `reshape` is that of `read`; a page may
        be older than the last change of fields, so a reader whose watch ends follows again from its
        position.
        Raises: Unavailable where there are too many readers.
        """
        ...

    async def fill(self, change: CommittedChange) -> CommittedChange:
        """Return a change with those of the `replaced` values that the table still holds.

        The `replaced` of the result names those that are held nowhere.
        """
        ...

    @property
    def snapshot_expression(self) -> Query:
        """An SQL expression of type text for a statement that reads records: what it sees.

        `position_of` makes a position of its value. Changes behind that position are exactly those
        that the statement did not see.
        """
        ...

    async def position_of(self, snapshot: bytes) -> str:
        """Return the position of a value of `snapshot_expression`, soon after it was read."""
        ...


CHANGES = ServiceKey[Changes]("changes")
