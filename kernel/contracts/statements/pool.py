"""What another driver uses of the kernel's pool: its connections, its transactions, its counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from kernel.contracts.base import Actor, ServiceKey
from kernel.contracts.statements.statements import Param, Query, Statements, Work

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.pq.abc import PGresult

__all__ = ["POOL", "Begin", "Held", "HeldConnection", "Pool", "Shares"]

T = TypeVar("T")


class HeldConnection(Protocol):
    """A connection that one transaction holds; it runs one statement at a time."""

    @property
    def status(self) -> int:
        """A `psycopg.pq.TransactionStatus`: IDLE where no transaction has begun, UNKNOWN where the
        connection is lost."""
        ...

    async def run(
        self, query: Query, params: Sequence[Param] = (), *, prepare: bool = False
    ) -> PGresult | None:
        """Run one statement.

        If the caller is cancelled, the statement has ended or the connection is closed.
        Raises: KernelError.
        """
        ...

    @property
    def patient(self) -> bool:
        """Whether a statement may wait for a lock for as long as it likes."""
        ...

    async def script(self, statements: bytes) -> None:
        """Run several statements without parameters."""
        ...

    async def interrupt(self) -> None:
        """Ask PostgreSQL to cancel the active statement; one that has not begun continues."""
        ...


Begin = Callable[[Mapping[str, str]], AbstractAsyncContextManager[HeldConnection]]
"""Provides a connection on which a transaction begins with these session settings, at the latest
with its first statement. A connection whose transaction is still open afterwards is reset."""


class Shares(Protocol):
    """Counts the connections that slow work holds, for each user and app.

    The pool asks it by itself. A provider with connections of its own counts its slow work here
    too. An owner is the user and the app that the work of a request counts for. Requests of one
    user to one app have equal owners. An owner can be the key of a mapping.
    """

    def owner(self) -> Any:
        """Return the owner of the current request."""
        ...

    def are_used_up(self, owner: Any, /) -> bool:
        """Whether the user holds all that one may hold. Then the pool makes the next one wait."""
        ...

    def count(self, owner: Any, /) -> None:
        """Count a connection that is held already."""
        ...

    def discount(self, owner: Any, /) -> None:
        """Count it no more."""
        ...


class Held(msgspec.Struct, frozen=True):
    """What holds connections: a `stream`, a `transaction`, or a single `statement` of the pool.

    `count` is how many of this kind there are.
    """

    kind: str
    count: int
    """How many connections they hold."""
    seconds: float
    """How long the oldest of them has done so."""


class Pool(Statements, Protocol):
    """The kernel's own provider of STATEMENTS, for other providers that use it."""

    @property
    def online(self) -> bool:
        """False while PostgreSQL cannot be reached: requests fail at once instead of waiting. The
        provider of NOTIFICATIONS sets it."""
        ...

    @online.setter
    def online(self, value: bool) -> None: ...

    def go_offline(self) -> None:
        """Set `online` to False and end waiting calls: PostgreSQL, if frozen, keeps them open."""
        ...

    @property
    def shares(self) -> Shares:
        """What users and apps hold of the connections."""
        ...

    def on_away(self, callback: Callable[[], None], /) -> None:
        """Call `callback` in `go_offline`."""
        ...

    def note_write(self) -> None:
        """Call the callbacks of `on_write`. The pool does so itself after what it has written."""
        ...

    def on_write(self, callback: Callable[[], None], /) -> None:
        """Call `callback` after each write or transaction of this process that may have committed.

        It must be quick: it is on the way of every write.
        """
        ...

    @property
    def replica(self) -> Pool | None:
        """The pool of a standby, where `database.replica_url` names one. It refuses writes."""
        ...

    @property
    def prepares(self) -> bool:
        """Whether connections may keep prepared statements (`database.prepare`)."""
        ...

    @property
    def answer_timeout(self) -> float | None:
        """Seconds in which a statement has to be answered: more than it may run; None: no limit."""
        ...

    async def read(
        self, query: Query, params: Sequence[Param], custom_plan: bool = False, quick: bool = True
    ) -> PGresult | None:
        """Return the whole result of `Reader.fetch`."""
        ...

    async def write(self, query: Query, params: Sequence[Param]) -> PGresult | None:
        """Return the whole result of `Writer.execute`."""
        ...

    async def run(
        self,
        actor: Actor,
        fn: Work[T],
        begin: Begin | None = None,
        *,
        subject: str = "",
        quick: bool = True,
    ) -> T:
        """See `Statements.run`; with `begin` the transaction runs on other connections.

        The kernel still records events, sends notifications, runs callbacks and retries `fn`.
        """
        ...

    def begin(self, settings: Mapping[str, str]) -> AbstractAsyncContextManager[HeldConnection]:
        """Begin a transaction on a connection of the pool; see `Begin`."""
        ...

    def statistics(self) -> Mapping[str, int]:
        """Return numbers of the pool; one that a provider does not count is absent.

        Now: `pool_size` and `pool_available` connections, and `requests_waiting` for one or for
        the share of their user or app. Since the start: `requests_num`, of these
        `requests_queued`, their `requests_wait_ms`, `requests_errors` (waited in vain), and
        `connections_lost`. Others may be there.
        """
        ...

    def held(self) -> Sequence[Held]:
        """Return what holds connections of this process, of whatever group they are."""
        ...

    def connect(
        self, *, direct: bool = False, login: tuple[str, str] | None = None
    ) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """Open a connection outside of the pool, with the same options, for the context.

        With `direct` it goes past a transaction pooler, where `database.direct_url` is set. `login`
        is another login than that of the server: a role and its password.

        Raises: psycopg.Error, OSError.
        """
        ...


POOL = ServiceKey[Pool]("pool")
