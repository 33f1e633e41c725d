"""Tables of entities, and the rows of them that a caller may access."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial, wraps
from types import CoroutineType
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import msgspec

from kernel.public import (
    Access,
    Action,
    Actor,
    Apps,
    Grant,
    HookBus,
    Idempotency,
    Identity,
    NotFound,
    PluginFailed,
    Reader,
    Reads,
    SchemaChanged,
    Statements,
    StreamReader,
    Transaction,
    Unavailable,
    Work,
    hookspecs,
    open_transaction,
)
from plugins.data.columns import links_of
from plugins.data.errors import KeysTaken
from plugins.data.row_scope import RowScope, Tree, resolve_scope
from plugins.data.statements.entity import keep
from plugins.data.store import Table

from .related import Related
from .selection import Expansions

UNKNOWN: Final = "?"
JOINED: Final = ContextVar[Transaction | None]("joined", default=None)
"""The transaction that the writes of a request take part in, where they must be one."""

MAX_MEETINGS: Final = 20
"""Attempts of an upsert whose keys others create meanwhile."""
MAX_DEPTH: Final = 16
"""Calls with `tx` within each other: a hook writes, and the hooks of that write do."""

_DEPTH: Final = ContextVar[int]("depth", default=0)
_IN: Final = (hookspecs.record_writing, hookspecs.event_recorded)
"""Hooks that take part in the transaction of a write."""

P = ParamSpec("P")
R = TypeVar("R", bound="EntityTables")
T = TypeVar("T")


@contextmanager
def joining(tx: Transaction | None) -> Generator[None]:
    """Let the statements within take part in a transaction; with None in none."""
    token = JOINED.set(tx)
    try:
        yield
    finally:
        JOINED.reset(token)


@asynccontextmanager
async def taking_part(tx: Transaction) -> AsyncGenerator[None]:
    """Let a call take part in a transaction, which goes on as before where the call fails.

    Raises PluginFailed for very many calls within each other: a hook leads to itself.
    """
    depth = _DEPTH.get() + 1
    if depth > MAX_DEPTH:
        problem = f"more than {MAX_DEPTH} calls of RECORDS are within each other"
        raise PluginFailed(problem, "end the recursion: a hook that writes is called again")
    token = _DEPTH.set(depth)
    try:
        with joining(tx):
            async with tx.savepoint():
                yield
    finally:
        _DEPTH.reset(token)


def check_reentry() -> None:
    """Raise where a write would not be part of the transaction that its caller is in.

    It could wait for what that has locked, which waits for the write.
    """
    if JOINED.get() is None and open_transaction() is not None:
        problem = "a record is written within a transaction, and not as a part of it"
        raise PluginFailed(problem, "pass tx=tx to the call, or make it after the commit")


def on_new_schema(
    method: Callable[Concatenate[R, P], CoroutineType[Any, Any, T]],
) -> Callable[Concatenate[R, P], CoroutineType[Any, Any, T]]:
    """Retry a method once when an install changed the table and the statement did nothing.

    It is not retried where the name belongs to another app by now: the caller's rights were checked
    for the previous one. For methods whose first arguments are an actor, a grant and an app id.
    """

    @wraps(method)
    async def attempt(self: R, *args: P.args, **kwargs: P.kwargs) -> T:
        app_id: Any = args[2] if len(args) > 2 else kwargs["app_id"]
        app = await self.installed(app_id)
        try:
            return await method(self, *args, **kwargs)
        except SchemaChanged:
            await self.refresh_catalog()
            if await self.app_key(app_id) != app.key:
                raise NotFound(f"app '{app_id}' not found: it is another one's name now") from None
            return await method(self, *args, **kwargs)

    return attempt


def hooked(bus: HookBus, subjects: Iterable[str]) -> str:
    """Return the first subject whose writes hooks take part in, or an empty text."""
    return next((each for each in subjects if any(bus.listeners(h, each) for h in _IN)), "")


@dataclass(frozen=True)
class Dependencies:
    """The services that the data API asks; the last three are looked up when they are needed."""

    statements: Statements
    apps: Apps
    bus: HookBus
    access: Callable[[], Access]
    identity: Callable[[], Identity | None] = lambda: None
    idempotency: Callable[[], Idempotency | None] = lambda: None


class EntityTables:
    """What reads and writes of records have in common."""

    def __init__(self, services: Dependencies) -> None:
        self._statements = services.statements
        self._prompt_reads: Reader = services.statements
        self._large: StreamReader = services.statements
        self._apps = services.apps
        self.installed = services.apps.app
        self._bus = services.bus
        self._access = services.access
        self._related = Related(services.access, services.identity, self._narrowed)
        self._trigrams: str | None = UNKNOWN
        self._tables: dict[tuple[str, str, frozenset[str]], Table] = {}

    def read_from(self, reads: Reads) -> None:
        """Send reads where a replica may answer them; those for a write stay with STATEMENTS."""
        self._prompt_reads = reads.prompt
        self._large = reads.large

    @property
    def _prompt(self) -> Reader:
        """What reads pages and records: the transaction, if one is joined."""
        return JOINED.get() or self._prompt_reads

    async def app_key(self, app_id: str) -> int:
        """Return the key of an installation of an app. Raises NotFound."""
        return (await self._apps.app(app_id)).key

    async def refresh_catalog(self) -> None:
        """Read the catalog again: a table has changed."""
        await self._apps.refresh()

    async def _table(self, app_id: str, name: str, hidden: frozenset[str] = frozenset()) -> Table:
        app = await self._apps.app(app_id)
        entity = app.entities.get(name) or await self._apps.entity(app_id, name)
        table = self._tables.get((app_id, name, hidden))
        # The catalog creates new entities with every install, and only then.
        if table is None or table.entity is not entity:
            full = await self._table(app_id, name) if hidden else None
            made = Table(entity, links_of(app, entity, hidden), hidden, full=full)
            table = keep(self._tables, (app_id, name, hidden), made, 2000)
        return table

    async def _scope(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        action: Action,
        where: Tree | None = None,
        expansions: Expansions | None = None,
    ) -> RowScope:
        """Return the rows that a caller may access, and those of other entities that it reaches."""
        scope = await self._narrowed(actor, grant, app_id, entity, action)
        if not (where or expansions or scope.trees):
            return scope
        reached = [(scope.columns, where or {}, expansions or {})]
        reached += [(scope.table.every_column, tree, {}) for tree in scope.trees]
        related = await self._related.scopes(actor, app_id, reached)
        return msgspec.structs.replace(scope, related=related) if related else scope

    async def _narrowed(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, action: Action = "read"
    ) -> RowScope:
        table = await self._table(app_id, entity, grant.hidden)
        if not self._is_scoped:
            return RowScope(table, actor.user_id, grant.own_only)
        return await resolve_scope(self._bus, actor, grant, table, action)

    @property
    def _is_scoped(self) -> bool:
        """Whether a plugin narrows which records a caller may reach."""
        return bool(self._bus.implementations(hookspecs.record_scope))

    async def _run(self, actor: Actor, work: Work[T], *tables: Table, quick: bool = True) -> T:
        """Run work that writes to tables in a transaction: the request's, or one of its own."""
        tx = JOINED.get()
        if tx is not None:
            return await meet_again(partial(_run_part, tx, work))
        check_reentry()
        subject = hooked(self._bus, (table.entity.subject for table in tables))
        run = partial(self._statements.run, actor, work, subject=subject, quick=quick)
        return await meet_again(run)


async def _run_part(tx: Transaction, work: Work[T]) -> T:
    async with tx.savepoint():
        return await work(tx)


async def meet_again(attempt: Callable[[], Awaitable[T]]) -> T:
    """Run an attempt again where it raises KeysTaken. It keeps nothing from an earlier one.

    Each time others have created a key of it, so few attempts are enough. Raises Unavailable.
    """
    for _ in range(MAX_MEETINGS):
        try:
            return await attempt()
        except KeysTaken:
            continue
    raise Unavailable("too many changes at the same moment")
