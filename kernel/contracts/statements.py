"""How the server speaks to PostgreSQL: one dialect, whoever carries the statements."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString, Protocol, TypeVar
from uuid import UUID

from kernel.contracts.services import ServiceKey

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from kernel.contracts.actor import Actor
    from kernel.contracts.events import Event

T = TypeVar("T")

Query = LiteralString | bytes
"""A statement in the one dialect: parameters are `$1`, each with an explicit cast (`$1::uuid`).

Literal text, or bytes that were compiled from `psycopg.sql` for names of a manifest."""

Scalar = str | int | float | bool | bytes | UUID | datetime | None
Param = Scalar | Sequence[str] | Sequence[int] | Sequence[float]
"""A parameter travels as text: `bytes` are taken as text as they stand (JSON that is already
encoded), a sequence becomes an array literal, a UUID or datetime its ISO form."""


class Reader(Protocol):
    """Reads: may be sent again when a connection breaks, so they must change nothing."""

    async def fetch(self, query: Query, *params: Param, custom_plan: bool = False) -> bytes | None:
        """Return the first column of the first row as PostgreSQL printed it.

        None when there is no row or the value is NULL. With `custom_plan` the statement is
        planned for these very values: for filters, where a generic plan can walk a whole table.
        Raises: KernelError as mapped from SQLSTATE (`kernel.database.dialect.translate`).
        """
        ...

    async def fetch_all(
        self, query: Query, *params: Param, custom_plan: bool = False
    ) -> list[bytes]:
        """Return the first column of every row (NULL as b'null'); for results of bounded size."""
        ...


class Writer(Protocol):
    """Writes: sent once; an outcome that cannot be known is
    `kernel.database.dialect.OutcomeUnknown`, an Unavailable
    without a Retry-After: whoever comes again could make the change twice."""

    async def execute(self, query: Query, *params: Param) -> bytes | None:
        """Run one statement and return the first column of the first row it returns, if any."""
        ...

    async def execute_all(self, query: Query, *params: Param) -> list[bytes]:
        """Run one statement and return the first column of every row it returns."""
        ...


class Session(Reader, Writer, Protocol):
    """What is sent on one connection, within one transaction."""

    async def script(self, statements: bytes) -> None:
        """Run several statements without parameters (DDL, migrations)."""
        ...

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """A part that can fail alone."""
        ...


Begin = Callable[[Mapping[str, str]], AbstractAsyncContextManager[Session]]
"""Begins a transaction with these session settings; it is committed when the context is left, and
rolled back when it is left with an error. Raises: RuntimeError when it failed unnoticed."""


class Transaction(Session, Protocol):
    """A transaction under way; it commits when the function given to `run` returns."""

    @property
    def actor(self) -> Actor:
        """On whose behalf it runs."""
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
        """Tell `event_recorded` now and `event_committed` after the commit."""
        ...

    async def publish(self, topic: str, payload: str = "") -> None:
        """Tell every server process, this one included, after the commit.

        A payload of more than 7 kB of JSON is not told: subscribers get None, anything may have
        changed.
        """
        ...

    def after_commit(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Run `callback` once the transaction is in; its failure is logged, never raised."""
        ...


class Statements(Reader, Writer, Protocol):
    """Single statements, each its own transaction, and `run` for those that belong together."""

    async def run(self, actor: Actor, fn: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `fn` in a transaction that carries the actor's session settings.

        A serialization failure or a deadlock runs `fn` anew, three times at most, and a change of
        the schema as often as there are connections: it must not keep anything from an earlier
        try. A statement that fails, or is given up at a deadline,
        ends the transaction unless it is part of a `savepoint` that ends with it.

        Raises: RuntimeError when `fn` returns although that happened, and nothing is written.
        """
        ...

    def stream(
        self, query: Query, *params: Param
    ) -> AbstractAsyncContextManager[AsyncIterator[list[bytes]]]:
        """Read a result of any size in batches of first columns, in bounded memory.

        Raises: Unavailable when too many streams are under way.
        """
        ...

    def settings(self, actor: Actor) -> bytes:
        """The actor's session settings as a JSON object, for a write that folds them into itself.

        Such a statement begins with the CTE `kernel.contracts.statements.SETTINGS`.
        """
        ...


class Pool(Statements, Protocol):
    """The kernel's own provider of STATEMENTS, for another one that stands on it."""

    @property
    def online(self) -> bool:
        """False while PostgreSQL cannot be reached: a statement would only wait."""
        ...

    @property
    def prepares(self) -> bool:
        """Whether connections may keep prepared statements (`database.prepare`)."""
        ...

    @property
    def statement_timeout(self) -> float:
        """Seconds that PostgreSQL lets a statement run; 0 for any time."""
        ...

    async def run(
        self, actor: Actor, fn: Callable[[Transaction], Awaitable[T]], begin: Begin | None = None
    ) -> T:
        """See `Statements.run`; with `begin` the transaction is carried by other connections.

        What a transaction does beside its statements is the kernel's: events, news, callbacks,
        and to run `fn` anew.
        """
        ...

    def begin(self, settings: Mapping[str, str]) -> AbstractAsyncContextManager[Session]:
        """Begin a transaction on a connection of the pool; see `Begin`."""
        ...

    def statistics(self) -> Mapping[str, int]:
        """How busy it is, by the names of `psycopg_pool.ConnectionPool.get_stats`."""
        ...

    async def connect(self) -> AsyncConnection[Any]:
        """Open a connection beside the pool's, made as they are; the caller closes it.

        Raises: psycopg.Error, OSError.
        """
        ...


SETTINGS = (
    b"with settings as materialized (select count(set_config(s.key, s.value, true)) as n"
    b" from jsonb_each_text($1::jsonb) as s)"
)
"""Applies `Statements.settings(actor)`, given as `$1`, within a single statement. What follows must
read `settings` (`from settings`), or PostgreSQL never evaluates it."""


class Notifications(Protocol):
    """What other server processes changed. A message is a hint only: the row is the truth."""

    def subscribe(self, topic: str, callback: Callable[[str | None], Awaitable[None]]) -> None:
        """Call `callback` with each payload of `topic`, or with None when some may be lost."""
        ...


class DatabaseServer(Protocol):
    """A PostgreSQL that this deployment runs itself; used when no database url is configured."""

    def start(self) -> str:
        """Start it and return a libpq connection string. Blocks; main thread only."""
        ...

    def attach(self) -> str | None:
        """Return the connection string of the one that another process of ours runs, if any."""
        ...

    def ensure_running(self) -> None:
        """Start a server that died again, with backoff; cheap when it is alive."""
        ...

    def stop(self) -> None:
        """Shut it down; connections should be closed before."""
        ...

    def program(self, name: str) -> Path:
        """A client program of the same version: `pg_dump`, `psql`. Raises BootError."""
        ...

    @property
    def port(self) -> int | None:
        """The TCP port it listens on, if any."""
        ...

    @property
    def notice(self) -> str:
        """Where the data lies and what is worth saying about it, for the start-up banner."""
        ...


SET_ASIDE_PREFIX = "caudex_before_"
"""How the names of schemas begin that a restore has put aside: while there are some, no server sets
up a database that has nothing else."""

STATEMENTS = ServiceKey[Statements]("statements")
POOL = ServiceKey[Pool]("pool")
NOTIFICATIONS = ServiceKey[Notifications]("notifications")
DATABASE_SERVER = ServiceKey[DatabaseServer]("database_server")
