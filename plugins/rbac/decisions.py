"""Decides what callers may do, by the roles of apps and of users in memory, for every request."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from kernel.public import (
    Action,
    Actor,
    Delegation,
    Forbidden,
    Grant,
    Identity,
    InvalidatedCache,
    Limits,
    Needs,
    NotFound,
    Notifications,
    Permission,
    is_uuid,
)

from .grammar import APP_ID
from .models import ADMIN, CORE
from .narrowing.limits import LIMITED, limited_rights
from .rights import FULL, AppPermissions
from .store import RbacStore

TOPIC: Final = "rbac"

HeldRoles = Mapping[str, tuple[str, ...]]
"""The roles that a user was assigned, by app."""
Decision = tuple[str | None, str, str, str, Limits | None]
"""User, app, entity, action, and the limits of the caller where they narrow."""


class RoleCache:
    """Apps and the roles of users, kept until a notification about them.

    A notification names an app, or an app and the user whose roles on it changed.
    """

    def __init__(
        self, store: RbacStore, notifications: Notifications, core_keys: Sequence[Permission]
    ) -> None:
        self.core_keys = core_keys
        self._store = store
        self._apps = InvalidatedCache[str, AppPermissions](
            notifications, TOPIC, size=10_000, affects=lambda payload, app_id, _: payload == app_id
        )
        self._users = InvalidatedCache[str, HeldRoles](
            notifications, TOPIC, size=20_000, affects=_affects_user
        )
        # Every change of roles may change which ones demand a factor.
        self._demands = InvalidatedCache[tuple[str, bool], bool](
            notifications, TOPIC, size=20_000, affects=_affects_all
        )
        # The last to subscribe: by then the others have dropped what a new decision reads.
        self.grants = InvalidatedCache[Decision, Grant](
            notifications, TOPIC, size=20_000, affects=_affects_decision
        )
        """What users may do with the records of entities."""

    async def app(self, app_id: str) -> AppPermissions:
        """Return an app. Raises NotFound, Unavailable."""
        app = self._apps.get(app_id)
        if app is not None:
            return app
        return await self._apps.get_or_load(app_id, partial(self._read_app, app_id))

    async def held_roles(self, user_id: str | None) -> HeldRoles:
        """Return the roles of a user, none for an unknown one. Raises Unavailable."""
        if user_id is None:
            return {}
        held_roles = self._users.get(user_id)
        if held_roles is not None:
            return held_roles
        # In lower case only, as notifications name users.
        if not is_uuid(user_id) or user_id != user_id.lower():
            return {}
        return await self._users.get_or_load(user_id, partial(self._store.held_roles, user_id))

    async def app_and_roles(
        self, app_id: str, user_id: str | None
    ) -> tuple[AppPermissions, HeldRoles]:
        """Return an app and the roles of a user, in one step where both are in memory."""
        app = self._apps.get(app_id)
        held_roles = self._users.get(user_id or "")
        if app is None:
            app = await self.app(app_id)
        if held_roles is None:
            held_roles = await self.held_roles(user_id)
        return app, held_roles

    async def demands_factor(self, user_id: str, *, of_admins: bool) -> bool:
        """See `FactorDemands.demands_factor`. Raises Unavailable."""
        key = (user_id, of_admins)
        is_demanded = self._demands.get(key)
        if is_demanded is not None:
            return is_demanded
        return await self._demands.get_or_load(key, partial(self._find_demand, *key))

    async def _find_demand(self, user_id: str, of_admins: bool) -> bool:
        held_roles = await self.held_roles(user_id)
        if of_admins and any(ADMIN in roles for roles in held_roles.values()):
            return True
        for app_id, roles in held_roles.items():
            with suppress(NotFound):  # the app was removed meanwhile
                app = await self.app(app_id)
                if not app.demanding.isdisjoint(roles):
                    return True
        return False

    async def _read_app(self, app_id: str) -> AppPermissions:
        row = None
        if APP_ID.fullmatch(app_id):
            row = await self._store.app(app_id)
        if row is None:
            raise NotFound(f"app '{app_id}' not found")
        return AppPermissions(row, self.core_keys)


class Decisions:
    """Decides what callers may do. It reads the database only for what is not in memory."""

    def __init__(self, role_cache: RoleCache, identity: Identity) -> None:
        self._cache = role_cache
        self._identity = identity

    @property
    def cache(self) -> RoleCache:
        """Roles and permissions in memory."""
        return self._cache

    async def authorize(self, actor: Actor, needs: Needs, path: Mapping[str, str]) -> Grant:
        """See `Access.authorize`."""
        delegation = actor.delegation
        if delegation is not None:
            # On the worker's own app only the rights of its user decide.
            grant = await self.authorize(replace(actor, delegation=None), needs, path)
            if path.get("app_id", delegation.app_id) == delegation.app_id:
                return grant
            return await self._narrow(grant, delegation, needs, path)
        user_id = actor.user_id
        limits = actor.limits
        if limits is not None:
            if not limits.narrow:
                limits = None
            elif needs.kind != "entity":
                await self._check_limits(limits, needs, path)
        match needs.kind:
            case "entity":  # the most frequent first: they are tried one after the other
                decision = (user_id, path["app_id"], path["entity"], needs.key, limits)
                grant = self._cache.grants.get(decision)
                if grant is not None:
                    return grant
                decide = partial(self._decide_on_entity, *decision)
                return await self._cache.grants.get_or_load(decision, decide)
            case "public" | "user":
                return FULL
            case "core_admin":
                allowed = await self.is_core_admin(user_id)
                return _require(allowed, "only core admins may do this")
            case "core_permission":
                core, roles = await self._cache.app_and_roles(CORE, user_id)
                allowed = core.rights(roles.get(CORE, ())).holds(needs.key)
                return _require(allowed, f"the permission '{needs.key}' on core is needed")
            case "app_user":
                _, roles = await self._cache.app_and_roles(path["app_id"], user_id)
                allowed = path["app_id"] in roles or ADMIN in roles.get(CORE, ())
                return _require(allowed, "a role on this app is needed")
            case "app_permission":
                app, roles = await self._cache.app_and_roles(path["app_id"], user_id)
                rights = app.rights(roles.get(path["app_id"], ()))
                allowed = rights.names(needs.key) or ADMIN in roles.get(CORE, ())
                return _require(allowed, f"the permission '{needs.key}' is needed")
            case "app_admin":
                _, roles = await self._cache.app_and_roles(path["app_id"], user_id)
                allowed = ADMIN in roles.get(path["app_id"], ()) or ADMIN in roles.get(CORE, ())
                return _require(allowed, "only admins of the app may do this")

    async def grant(
        self,
        user_id: str | None,
        app_id: str,
        entity: str,
        action: str,
        limits: Limits | None = None,
    ) -> Grant:
        """See `Access.grant`. No token has authenticated the user here, so the account is checked.

        A disabled one keeps its roles.
        """
        grant = await self._decide_on_entity(user_id, app_id, entity, action, limits)
        user = await self._identity.user(user_id or "")
        if user is None or user.disabled:
            raise Forbidden("this account is closed")
        return grant

    async def grant_of_role(
        self, app_id: str, role: str, entity: str, action: Action
    ) -> Grant | None:
        """See `RoleGrants.grant_of_role`."""
        app = await self._cache.app(app_id)
        if role not in app.roles:
            raise NotFound(f"role '{role[:64]}' not found in app '{app_id}'")
        if entity not in app.entities:
            raise NotFound(f"entity '{entity}' not found in app '{app_id}'")
        return app.rights((role,)).grant_on(entity, action)

    async def is_core_admin(self, user_id: str | None, limits: Limits | None = None) -> bool:
        """See `Access.is_core_admin`."""
        if limits is not None and not limited_rights(limits, CORE).reaches_core_whole:
            return False
        roles = await self._cache.held_roles(user_id)
        return ADMIN in roles.get(CORE, ())

    async def is_app_admin(
        self, user_id: str | None, app_id: str, limits: Limits | None = None
    ) -> bool:
        """See `Access.is_app_admin`."""
        if limits is not None and not limited_rights(limits, app_id).everything:
            return False
        roles = await self._cache.held_roles(user_id)
        if ADMIN in roles.get(app_id, ()):
            return True
        return ADMIN in roles.get(CORE, ()) and await self._exists(app_id)

    def demands_factor(self, user_id: str, *, of_admins: bool) -> Coroutine[Any, Any, bool]:
        """See `FactorDemands.demands_factor`."""
        return self._cache.demands_factor(user_id, of_admins=of_admins)

    async def _exists(self, app_id: str) -> bool:
        try:
            await self._cache.app(app_id)
        except NotFound:
            return False
        return True

    async def _check_limits(self, limits: Limits, needs: Needs, path: Mapping[str, str]) -> None:
        """Refuse what limits take away, whatever the user holds. Raises Forbidden."""
        app_id = path.get("app_id")
        if needs.kind in ("core_admin", "core_permission") or app_id is None:
            core = limited_rights(limits, CORE)
            if not core.allows_on_core(needs):
                raise Forbidden(LIMITED)
        if app_id is not None and not limited_rights(limits, app_id).allows(needs):
            raise Forbidden(LIMITED)

    async def _decide_on_entity(
        self,
        user_id: str | None,
        app_id: str,
        entity: str,
        action: str,
        limits: Limits | None = None,
    ) -> Grant:
        """Decide about an entity, for a user or for a part of the user's rights."""
        if limits is None or not limits.narrow:
            return await self._decide_for_user(user_id, app_id, entity, action)
        rights = limited_rights(limits, app_id)
        if not rights.any:
            raise Forbidden(LIMITED)
        grant = await self._decide_for_user(user_id, app_id, entity, action)
        app = await self._cache.app(app_id)
        limited = rights.grant_on(entity, action, app.rules_of(entity))
        if limited is None:
            raise Forbidden(LIMITED)
        return _combine(grant, limited)

    async def _decide_for_user(
        self, user_id: str | None, app_id: str, entity: str, action: str
    ) -> Grant:
        """Decide about an entity. Only admins and callers with a role learn that it is unknown."""
        app, held_roles = await self._cache.app_and_roles(app_id, user_id)
        roles = held_roles.get(app_id, ())
        is_known = entity in app.entities
        grant = None
        if is_known:
            grant = app.rights(roles).grant_on(entity, action)
        if grant is FULL:
            return FULL
        # Before an `.own` grant is used: a narrow role must not reduce a core admin's rights.
        is_core_admin = ADMIN in held_roles.get(CORE, ())
        if not is_known and (is_core_admin or roles):
            raise NotFound(f"entity '{entity}' not found in app '{app_id}'")
        if grant is not None and not is_core_admin:
            return grant
        return _require(is_core_admin, f"the permission '{entity}.{action}' is needed")

    async def _narrow(
        self, grant: Grant, delegation: Delegation, needs: Needs, path: Mapping[str, str]
    ) -> Grant:
        """Return the part of a user's grant that workers of another app have. Raises Forbidden.

        Routes that need just a role, such as `rpc`, need the key `*`: the worker that answers acts
        with all rights of the user on its app.
        """
        app = await self._cache.app(path["app_id"])
        rights = app.granted.get(delegation.app_id)
        worker_grant = None
        if rights is not None and needs.kind == "entity":
            worker_grant = rights.grant_on(path["entity"], needs.key)
        elif rights is not None and needs.kind == "app_user" and rights.everything:
            worker_grant = grant
        if worker_grant is None:
            raise Forbidden("a worker of another app has no grant for this")
        return _combine(grant, worker_grant)


def _combine(grant: Grant, limited: Grant) -> Grant:
    """Return what both grants allow."""
    return Grant(
        own_only=grant.own_only or limited.own_only,
        hidden=grant.hidden | limited.hidden,
        locked=grant.locked | limited.locked,
    )


def _require(allowed: bool, refusal: str) -> Grant:
    if not allowed:
        raise Forbidden(refusal)
    return FULL


def notification(app_id: str, user_id: str = "") -> str:
    """Return the payload for a change of an app's roles, or only of one user's on it."""
    return f"{app_id} {user_id}".strip()


def _affects_user(payload: str, user_id: str, held_roles: HeldRoles) -> bool:
    app_id, _, changed_user = payload.partition(" ")
    if changed_user:
        return user_id == changed_user
    return app_id in held_roles


def _affects_decision(payload: str, decision: Decision, _grant: Grant) -> bool:
    app_id, _, user = payload.partition(" ")
    return app_id in (decision[1], CORE) and user in ("", decision[0])


def _affects_all(_payload: str, _key: object, _value: object) -> bool:
    return True
