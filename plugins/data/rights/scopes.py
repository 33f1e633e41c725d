"""Finds the rows that a caller may reach: the grant, narrowed by `record_scope` hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from kernel.public import Action, HookBus, Identity, Implementation, Target, hookspecs
from plugins.data.columns.columns import Columns
from plugins.data.filters.conditions import Tree
from plugins.data.statements.entity import USERS
from plugins.data.statements.entity_table import Table
from plugins.data.statements.expansions import Expansions
from plugins.data.statements.tables import Tables

from .linked import LinkedRows
from .permissions import Permissions
from .row_scope import RowScope, find_entities_filtered


class RowScopes:
    """Combines what a grant and the hooks allow; and follows the links that a request names."""

    def __init__(
        self,
        tables: Tables,
        bus: HookBus,
        permissions: Permissions,
        identity: Callable[[], Identity | None],
    ) -> None:
        self._tables = tables
        self._bus = bus
        self.linked = LinkedRows(permissions, identity, self.narrow)

    @property
    def are_narrowed_by_hooks(self) -> bool:
        """Whether a plugin narrows which records a caller may reach."""
        return bool(self._bus.implementations(hookspecs.record_scope))

    async def find_unnarrowed(self, target: Target) -> RowScope:
        """Return the rows of a target that creates records; no hook narrows these."""
        grant = target.grant
        table = await self._tables.find(target.app_id, target.entity, grant.hidden)
        return RowScope(table, target.actor.user_id, grant.own_only)

    async def narrow(self, target: Target, action: Action = "read") -> RowScope:
        """Return the rows of a target, without those of other entities."""
        actor = target.actor
        grant = target.grant
        table = await self._tables.find(target.app_id, target.entity, grant.hidden)
        implementations = self._bus.implementations(hookspecs.record_scope)
        if not implementations:
            return RowScope(table, actor.user_id, grant.own_only)
        scope_hooks = list[Implementation]()
        trees = list[Tree]()
        for hook in implementations:
            arguments = {"actor": actor, "entity": table.entity, "action": action}
            tree = await hook.call(arguments)
            if tree is not None:
                scope_hooks.append(hook)
                trees.append(tree)
        reached = await self._find_reached(target.app_id, table.full.columns, trees)
        return RowScope(table, actor.user_id, grant.own_only, trees, scope_hooks, reached)

    async def _find_reached(
        self, app_id: str, columns: Columns, trees: Sequence[Tree]
    ) -> dict[str, RowScope]:
        """Return all rows of the entities that trees of hooks reach by links, with all fields."""
        reached: dict[str, RowScope] = {}
        waiting = [(columns, tree) for tree in trees]
        while waiting:
            outer, outer_tree = waiting.pop()
            for name, tree in find_entities_filtered(outer, outer_tree):
                if name not in reached:
                    table = await self._find_whole_table(app_id, name)
                    reached[name] = RowScope(table, None, own_only=False)
                waiting.append((reached[name].columns, tree))
        return reached

    async def _find_whole_table(self, app_id: str, name: str) -> Table:
        if name == USERS:
            return self.linked.require_accounts()
        return await self._tables.find(app_id, name)

    async def resolve(
        self,
        target: Target,
        action: Action,
        where: Tree | None = None,
        expansions: Expansions | None = None,
    ) -> RowScope:
        """Return the rows of a target, with those of other entities that a request reaches."""
        scope = await self.narrow(target, action)
        if not (where or expansions):
            return scope
        requests = [(scope.columns, where or {}, expansions or {})]
        related = await self.linked.find_for_requests(target.actor, target.app_id, requests)
        return msgspec.structs.replace(scope, related=related) if related else scope
