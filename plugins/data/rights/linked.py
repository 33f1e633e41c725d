"""The rows that a caller may read of the entities that a request reaches by links."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from itertools import chain, starmap

from kernel.public import Actor, Directory, Entity, Field, Identity, Target, Unavailable, supports
from plugins.data.columns.columns import Columns
from plugins.data.filters.conditions import Tree
from plugins.data.statements.entity import USERS
from plugins.data.statements.entity_table import Table
from plugins.data.statements.expansions import Expansions, find_entities_expanded

from .permissions import Permissions
from .row_scope import RowScope, find_entities_filtered

Narrow = Callable[[Target], Awaitable[RowScope]]
"""Combines a grant on an entity with the scopes of hooks, for reads."""

LinkRequest = tuple[Columns, Tree, Expansions]
"""Columns of an entity, and what a request says about the records that are linked to it."""

Step = tuple[str, Tree, Expansions]
"""An entity that a request reaches, and what the request says about that one's links."""


class LinkedRows:
    """Finds the rows of the entities that a request reaches, each entity once for a request."""

    def __init__(
        self, permissions: Permissions, identity: Callable[[], Identity | None], narrow: Narrow
    ) -> None:
        self._permissions = permissions
        self._identity = identity
        self._narrow = narrow
        self._users: Table | None = None

    async def find_for_requests(
        self, actor: Actor, app_id: str, requests: Iterable[LinkRequest]
    ) -> dict[str, RowScope]:
        """Return the rows that the caller may read, by entity; an entity without any is absent."""
        steps = chain.from_iterable(starmap(_steps_of, requests))
        return await self._follow(actor, app_id, steps)

    async def find_readable(
        self, actor: Actor, app_id: str, entities: Iterable[str]
    ) -> dict[str, RowScope]:
        """Return the rows of entities that the caller may read; one without any is absent."""
        return await self._follow(actor, app_id, [(name, {}, {}) for name in entities])

    async def _follow(
        self, actor: Actor, app_id: str, steps: Iterable[Step]
    ) -> dict[str, RowScope]:
        scopes: dict[str, RowScope | None] = {}
        waiting = [*steps]
        while waiting:
            name, tree, expansions = waiting.pop()
            if name not in scopes:
                scopes[name] = await self._find_scope(actor, app_id, name)
            scope = scopes[name]
            if scope is not None and (tree or expansions):
                waiting += _steps_of(scope.columns, tree, expansions)
        return {name: scope for name, scope in scopes.items() if scope is not None}

    async def _find_scope(self, actor: Actor, app_id: str, name: str) -> RowScope | None:
        if name == USERS:
            return await self._find_accounts(actor)
        grant = await self._permissions.find_read_grant(actor, app_id, name)
        if grant is None:
            return None
        return await self._narrow(Target(actor, grant, app_id, name))

    @property
    def accounts(self) -> bytes | None:
        """The name in SQL of the table that links to accounts refer to."""
        identity = self._identity()
        return None if identity is None else self._users_table(identity).name

    def require_accounts(self) -> Table:
        """Return the table of accounts. Raises Unavailable where no plugin has accounts."""
        identity = self._identity()
        if identity is None:
            raise Unavailable("there are no accounts: no plugin provides them")
        return self._users_table(identity)

    async def _find_accounts(self, actor: Actor) -> RowScope | None:
        """Return the accounts that the caller may list, with what others may know of them."""
        identity = self._identity()
        if identity is None:
            return None
        visible_ids = await _visible_ids(identity, actor)
        return RowScope(self._users_table(identity), None, own_only=False, ids=visible_ids)

    def _users_table(self, identity: Identity) -> Table:
        if self._users is None:
            schema, table = identity.relation()
            fields = tuple(
                Field(name=name, type="text", sql_type="text")
                for name in ("username", "display_name")
            )
            accounts = Entity(
                app_id=schema,
                name=table,
                id_type="uuid",
                id_declared=False,
                fields=fields,
                unique=(("username",),),
            )
            self._users = Table(accounts, has_times=False)
        return self._users


async def _visible_ids(identity: object, actor: Actor) -> tuple[str, ...] | None:
    """Return the accounts that a caller may see; None for every account."""
    if not supports(identity, Directory):
        return None
    ids = await identity.visible(actor)
    return None if ids is None else tuple(ids)


def _steps_of(columns: Columns, tree: Tree, expansions: Expansions) -> list[Step]:
    steps: list[Step] = []
    if tree:
        steps += [
            (name, inner_tree, {}) for name, inner_tree in find_entities_filtered(columns, tree)
        ]
    if expansions:
        steps += find_entities_expanded(columns, expansions)
    return steps
