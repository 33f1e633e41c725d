"""Provides WATCHES: compiles watches by the rights of their callers."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial

import msgspec

from kernel.public import Access, Actor, Apps, HookBus, Identity, Statements, Target, Watched
from plugins.data.reads.selection import read_fields
from plugins.data.rights.permissions import Permissions
from plugins.data.rights.row_scope import RowScope
from plugins.data.rights.scopes import RowScopes
from plugins.data.statements.tables import Tables

from .roles import RolePermissions, actor_of_role
from .statement import JudgeStatement, compile_statement
from .trees import check_no_relations
from .watch import Compile, Compiled, Doors, EntityWatch

_encode = msgspec.json.Encoder(order="deterministic").encode


class WatchSources(msgspec.Struct, frozen=True):
    """The services that watches ask; those behind a function are looked up at each use."""

    statements: Statements
    apps: Apps
    bus: HookBus
    tables: Tables
    access: Callable[[], Access]
    identity: Callable[[], Identity | None]


class WatchesService:
    """See `kernel.contracts.trail.watches.Watches`."""

    def __init__(self, sources: WatchSources) -> None:
        self._sources = sources
        self._permissions = Permissions(sources.access)
        self._scopes = self._make_scopes(self._permissions)

    async def open(self, actor: Actor, watched: Watched) -> EntityWatch:
        """See `Watches.open`."""
        compile_ = partial(self._compile, self._permissions, self._scopes, watched)
        return await self._open(actor, watched, compile_)

    async def open_as_role(self, role: str, watched: Watched) -> EntityWatch:
        """See `Watches.open_as_role`."""
        permissions = RolePermissions(self._sources.access, role)
        scopes = self._make_scopes(permissions)
        compile_ = partial(self._compile, permissions, scopes, watched)
        return await self._open(actor_of_role(watched.app_id, role), watched, compile_)

    async def _open(self, actor: Actor, watched: Watched, compile_: Compile) -> EntityWatch:
        compiled = await compile_(actor, None)
        doors = Doors(self._sources.apps, self._sources.statements)
        return EntityWatch(watched, actor, compiled, compile_, doors)

    def _make_scopes(self, permissions: Permissions) -> RowScopes:
        sources = self._sources
        return RowScopes(sources.tables, sources.bus, permissions, sources.identity)

    async def _compile(
        self,
        permissions: Permissions,
        scopes: RowScopes,
        watched: Watched,
        actor: Actor,
        before: Compiled | None,
    ) -> Compiled:
        """Compile a watch with the rights of now. Raises Forbidden, NotFound, BadRequest.

        Mostly nothing has changed since `before`, which is the result then.
        """
        grant = await permissions.require(actor, watched.app_id, watched.entity, "read")
        app = await self._sources.apps.app(watched.app_id)
        target = Target(actor, grant, watched.app_id, watched.entity)
        scope = await scopes.narrow(target)
        if before is not None and not scope.trees and _are_equal(scope, before.scope):
            return before
        if watched.where:
            check_no_relations(watched.entity, watched.where)
        fields = None if watched.fields is None else read_fields(watched.fields)
        statement = compile_statement(scope, watched.where, fields, former=watched.former)
        return Compiled(app, scope, statement, _key_of(app.key, scope, statement))


def _are_equal(scope: RowScope, before: RowScope) -> bool:
    """Whether two scopes without trees are the same rows; an install makes new tables."""
    same_rows = scope.own_only == before.own_only and scope.user_id == before.user_id
    return scope.table is before.table and same_rows and not before.trees


def _key_of(app_key: int, scope: RowScope, statement: JudgeStatement) -> Hashable:
    """Return what the verdicts depend on: the texts of conditions have no values in them."""
    hidden = scope.table.hidden
    return app_key, statement.query, hidden, _encode(statement.params)
