"""Statements and transactions: one dialect for all drivers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import LiteralString, Protocol, TypeVar
from uuid import UUID

from kernel.contracts.base import Actor, Event, ServiceKey

__all__ = [
    "READS", "SET_ASIDE_PREFIX", "STATEMENTS", "Param", "Query", "Reader", "Reads", "Scalar",
    "Statements", "StreamReader", "Transaction", "Work", "Writer",
]  # fmt: skip

T = TypeVar("T")

Query = LiteralString | bytes
"""A statement in the one dialect: parameters are `$1`, each with an explicit cast (`$1::uuid`).

Literal text, or bytes that were compiled from `psycopg.sql` for names of a manifest."""

Scalar = str | int | float | bool | bytes | UUID | datetime | None
"""A parameter that is no array."""
Param = Scalar | Sequence[str] | Sequence[int] | Sequence[float]
"""A parameter travels as text: `bytes` are used as text unchanged (JSON that is already
encoded), a sequence becomes an array literal, a UUID or datetime its ISO form."""


class Reader(Protocol):
    """Reads: may be sent again when a connection breaks, so they must change nothing."""

    async def fetch(
        self, query: Query, *params: Param, custom_plan: bool = False, quick: bool = True
    ) -> bytes | None:
        """Return the first column of the first row as PostgreSQL printed it.

        None when there is no row or the value is NULL. With `custom_plan` the statement is
        planned for these values: for filters, where a generic plan can walk a whole table. Such a
        statement may take long, and so may one that is not `quick`, as it reads many rows. Both
        use other connections than quick reads, and count for their user and app.
        Raises KernelError by SQLSTATE: ConstraintViolation, BadRequest for a wrong value,
        SchemaChanged, StatementFailed for a wrong literal statement, ConnectionLost, Unavailable.
        """
        ...

    async def fetch_all(
        self, query: Query, *params: Param, custom_plan: bool = False, quick: bool = True
    ) -> list[bytes]:
        """Return the first column of every row (NULL as b'null'); for results of bounded size."""
        ...


class StreamReader(Reader, Protocol):
    """Reads of bounded size, and streams."""

    def stream(
        self, query: Query, *params: Param
    ) -> AbstractAsyncContextManager[AsyncIterator[list[bytes]]]:
        """See `Statements.stream`."""
        ...


class Reads(Protocol):
    """Sends reads of a request to the primary, or to a replica where that is allowed.

    Never for what decides about access (tokens, roles) or for the catalog: use STATEMENTS there.
    """

    @property
    def prompt(self) -> Reader:
        """For pages and single records: the primary, unless the request accepts old data."""
        ...

    @property
    def large(self) -> StreamReader:
        """For complete lists, exports, aggregates and searches of the trail."""
        ...


class Writer(Protocol):
    """Writes: sent once, or again where they had no effect. They must not commit within themselves.

    Raises OutcomeUnknown where the change may have been made, beside what reads raise. It is an
    Unavailable without a Retry-After: a retry could make the change twice."""

    async def execute(self, query: Query, *params: Param) -> bytes | None:
        """Run one statement and return the first column of the first row it returns, if any."""
        ...

    async def execute_all(self, query: Query, *params: Param) -> list[bytes]:
        """Run one statement and return the first column of every row it returns."""
        ...


class Transaction(Reader, Writer, Protocol):
    """An open transaction on one connection; it commits when the function passed to `run`
    returns."""

    @property
    def actor(self) -> Actor:
        """The actor that it runs for."""
        ...

    async def script(self, statements: bytes) -> None:
        """Run several statements without parameters (DDL, migrations)."""
        ...

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """Begin a part that can fail alone."""
        ...

    async def wait_for_locks(self, seconds: float | None = None) -> None:
        """Wait for a lock for so many seconds from here on; None is `database.lock_timeout`.

        On a connection that others need soon a transaction waits a tenth of a second. Then it is
        repeated on another one, which it may keep.
        """
        ...

    async def lock(self, *names: str, skip: bool = False) -> bool:
        """Lock names until the end of the transaction: one transaction at a time holds a name.

        A name is `<plugin>.<what>`. What follows a colon in it, the id of an app or of a user, is
        hashed into one of 256 locks. Several names are locked in one order, so that two callers
        cannot block each other. Waits for as long as `database.lock_timeout`; with `skip` it does
        not wait.

        Returns: True; with `skip`, False when another transaction holds one of the names.
        Raises: Unavailable after the timeout.
        """
        ...

    async def record(self, event: Event) -> None:
        """Call `event_recorded` now and `event_committed` after the commit."""
        ...

    async def publish(self, topic: str, payload: str = "") -> None:
        """Notify every server process, this one included, after the commit.

        Instead of a payload of more than 7 kB of JSON, subscribers get None: anything may have
        changed.
        """
        ...

    def after_commit(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Run `callback` after the commit; its failure is logged, never raised."""
        ...


Work = Callable[[Transaction], Awaitable[T]]
"""A unit of work: a function to run in a transaction, such as by `Statements.run`."""


class Statements(StreamReader, Writer, Protocol):
    """Single statements, and `run` for those that belong together.

    Each is its own transaction, but for those of `execute_grouped`.
    """

    async def execute_grouped(self, key: str, query: Query, *params: Param) -> bytes | None:
        """Run one statement as `execute` does, perhaps in a transaction with others of its text.

        Statements that arrive together share the work of a commit. Where one of them fails, none
        has had an effect. The others are sent again alone, so no caller gets the failure of
        another. The one that failed is too, unless it took as long as `statement_timeout`.

        Use it for inserts, with the key "", and for updates of the row that `key` names. A group
        has at most one update of a row, and its updates run in the order of their keys, so two
        groups cannot block each other. Each statement must apply all settings of its actor itself:
        settings of an earlier statement, or of its triggers, last until the transaction ends.
        """
        ...

    async def run(self, actor: Actor, fn: Work[T], *, subject: str = "", quick: bool = True) -> T:
        """Run `fn` in a transaction that carries the actor's session settings.

        A `subject` (`crm.contacts`) says that hooks of plugins run in it. At most two
        thirds of `pool_size` run at a time, and half of these, rounded up, for one subject. Others
        wait for a turn, and raise Unavailable after `database.pool_timeout`. A transaction that is
        not `quick` may take a second or more: it leaves the connections of quick ones alone.

        After a serialization failure or a deadlock `fn` runs again, up to three times, and after a
        change of the schema once for each connection. It also runs again where it has waited for a
        lock for a tenth of a second, on a connection where it may wait longer. It must keep
        nothing from an earlier attempt. A statement that fails or is cancelled ends the
        transaction, unless it is in a `savepoint` that ends with it.

        Raises: RuntimeError when `fn` returns in spite of that; nothing is written.
        """
        ...

    def stream(
        self, query: Query, *params: Param
    ) -> AbstractAsyncContextManager[AsyncIterator[list[bytes]]]:
        """Read a result of any size in batches of first columns, in bounded memory.

        It is closed with the request that opens it, at the latest.
        Raises: Unavailable when too many streams are open.
        """
        ...

    def settings(self, actor: Actor) -> bytes:
        """Return the actor's session settings as JSON, for a write that applies them itself.

        Such a statement begins with the CTE `kernel.contracts.statements.SETTINGS`, or has
        `SETTINGS_AS_CONDITION` where it is about one row.
        """
        ...


SET_ASIDE_PREFIX = "caudex_before_"
"""Prefix of schemas that a restore has set aside. While there are some, no server sets up a
database that has nothing else."""

STATEMENTS = ServiceKey[Statements]("statements")
READS = ServiceKey[Reads]("reads")
