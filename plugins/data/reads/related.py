"""The rows that a caller may read of the entities that a request reaches by links."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from itertools import chain, starmap

from kernel.public import (
    Access,
    Actor,
    Directory,
    Entity,
    Field,
    Forbidden,
    Grant,
    Identity,
    NotFound,
    entity,
    supports,
)
from plugins.data.columns import Columns
from plugins.data.row_scope import RowScope, Tree, entities_in
from plugins.data.statements.entity import USERS
from plugins.data.store import Table

from .selection import Expansions, entities_of

READ = entity("read")
Resolve = Callable[[Actor, Grant, str, str], Awaitable[RowScope]]
"""Combines a grant on an entity of an app with the scopes of hooks."""

Reached = tuple[Columns, Tree, Expansions]
"""Columns of an entity, and what a request says about the records that are linked to it."""


class Related:
    """Resolves the entities that a request reaches, each once for a request."""

    def __init__(
        self,
        access: Callable[[], Access],
        identity: Callable[[], Identity | None],
        resolve: Resolve,
    ) -> None:
        self._access = access
        self._identity = identity
        self._resolve = resolve
        self._users: Table | None = None

    async def scopes(
        self, actor: Actor, app_id: str, reached: Iterable[Reached]
    ) -> dict[str, RowScope]:
        """Return the rows that the caller may read, by entity; an entity without any is absent."""
        return await self._resolved(actor, app_id, chain.from_iterable(starmap(_steps, reached)))

    async def readable(
        self, actor: Actor, app_id: str, entities: Iterable[str]
    ) -> dict[str, RowScope]:
        """Return the rows of entities that the caller may read, and what their scopes reach."""
        return await self._resolved(actor, app_id, [(name, {}, {}) for name in entities])

    async def _resolved(
        self, actor: Actor, app_id: str, steps: Iterable[tuple[str, Tree, Expansions]]
    ) -> dict[str, RowScope]:
        found: dict[str, RowScope | None] = {}
        todo = [*steps]
        while todo:
            name, tree, inner = todo.pop()
            if name not in found:
                found[name] = scope = await self._readable(actor, app_id, name)
                if scope is not None:
                    for own_tree in scope.trees:
                        todo += _steps(scope.table.every_column, own_tree, {})
            if (tree or inner) and (scope := found[name]) is not None:
                todo += _steps(scope.columns, tree, inner)
        return {name: scope for name, scope in found.items() if scope is not None}

    async def _readable(self, actor: Actor, app_id: str, name: str) -> RowScope | None:
        if name == USERS:
            return await self._accounts(actor)
        grant = Grant()  # of a worker that acts on behalf of no user
        if actor.user_id is not None:
            path = {"app_id": app_id, "entity": name}
            try:
                grant = await self._access().authorize(actor, READ, path)
            except (Forbidden, NotFound):
                return None
        return await self._resolve(actor, grant, app_id, name)

    @property
    def accounts(self) -> bytes | None:
        """The name in SQL of the table that links to accounts refer to."""
        identity = self._identity()
        return None if identity is None else self._table_of(identity).name

    async def _accounts(self, actor: Actor) -> RowScope | None:
        """Return the accounts that the caller may list, with what others may know of them."""
        identity = self._identity()
        if identity is None:
            return None
        ids = await _visible(identity, actor)
        return RowScope(self._table_of(identity), None, own_only=False, ids=ids)

    def _table_of(self, identity: Identity) -> Table:
        if self._users is None:
            schema, table = identity.relation()
            fields = tuple(
                Field(name=name, type="text", sql_type="text")
                for name in ("username", "display_name")
            )
            accounts = Entity(
                app_id=schema, name=table, id_type="uuid", id_declared=False, fields=fields
            )
            self._users = Table(accounts, stamped=False)
        return self._users


async def _visible(identity: object, actor: Actor) -> tuple[str, ...] | None:
    """Return the accounts that a caller may see; None for every account."""
    visible = await identity.visible(actor) if supports(identity, Directory) else None
    return None if visible is None else tuple(visible)


def _steps(columns: Columns, tree: Tree, inner: Expansions) -> list[tuple[str, Tree, Expansions]]:
    found: list[tuple[str, Tree, Expansions]] = []
    if tree:
        found += [(name, reached, {}) for name, reached in entities_in(columns, tree)]
    if inner:
        found += entities_of(columns, inner)
    return found
