"""Decides what callers may do, by the roles of apps and of users in memory, for every request."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from kernel.public import (
    Actor,
    Delegation,
    Forbidden,
    Grant,
    Identity,
    InvalidatedCache,
    Needs,
    NotFound,
    Notifications,
    Permission,
    is_uuid,
)

from .grammar import APP_ID
from .models import ADMIN, CORE
from .rights import FULL, AppPermissions
from .store import RbacStore

TOPIC: Final = "rbac"

Held = Mapping[str, tuple[str, ...]]
"""The roles that a user was assigned, by app."""
Decision = tuple[str | None, str, str, str]
"""User, app, entity, action."""


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
        self._users = InvalidatedCache[str, Held](
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
        found = self._apps.get(app_id)
        return found or await self._apps.get_or_load(app_id, partial(self._read_app, app_id))

    async def held(self, user_id: str | None) -> Held:
        """Return the roles of a user, none for an unknown one. Raises Unavailable."""
        if user_id is None:
            return {}
        found = self._users.get(user_id)
        if found is None:
            # In lower case only, as notifications name users.
            if not is_uuid(user_id) or user_id != user_id.lower():
                return {}
            load = partial(self._store.held, user_id)
            found = await self._users.get_or_load(user_id, load)
        return found

    async def app_and_held(self, app_id: str, user_id: str | None) -> tuple[AppPermissions, Held]:
        """Return an app and the roles of a user, in one step where both are in memory."""
        app, held = self._apps.get(app_id), self._users.get(user_id or "")
        if app is None:
            app = await self.app(app_id)
        return app, await self.held(user_id) if held is None else held

    async def demands_factor(self, user_id: str, *, of_admins: bool) -> bool:
        """See `FactorDemands.demands_factor`. Raises Unavailable."""
        key = (user_id, of_admins)
        if (found := self._demands.get(key)) is None:
            found = await self._demands.get_or_load(key, partial(self._demanded, *key))
        return found

    async def _demanded(self, user_id: str, of_admins: bool) -> bool:
        held = await self.held(user_id)
        if of_admins and any(ADMIN in roles for roles in held.values()):
            return True
        for app_id, roles in held.items():
            with suppress(NotFound):  # the app was removed meanwhile
                if not (await self.app(app_id)).demanding.isdisjoint(roles):
                    return True
        return False

    async def _read_app(self, app_id: str) -> AppPermissions:
        row = await self._store.app(app_id) if APP_ID.fullmatch(app_id) else None
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
        if (delegation := actor.delegation) is not None:
            # On the worker's own app only the rights of its user decide.
            grant = await self.authorize(replace(actor, delegation=None), needs, path)
            if path.get("app_id", delegation.app_id) == delegation.app_id:
                return grant
            return await self._narrow(grant, delegation, needs, path)
        user_id = actor.user_id
        match needs.kind:
            case "entity":  # the most frequent first: they are tried one after the other
                asked = (user_id, path["app_id"], path["entity"], needs.key)
                found = self._cache.grants.get(asked)
                return found or await self._cache.grants.get_or_load(
                    asked, partial(self._on_entity, *asked)
                )
            case "public" | "user":
                return FULL
            case "core_admin":
                allowed = await self.is_core_admin(user_id)
                return _require(allowed, "only core admins may do this")
            case "core_permission":
                core, held = await self._cache.app_and_held(CORE, user_id)
                allowed = core.rights(held.get(CORE, ())).holds(needs.key)
                return _require(allowed, f"the permission '{needs.key}' on core is needed")
            case "app_user":
                _, held = await self._cache.app_and_held(path["app_id"], user_id)
                allowed = path["app_id"] in held or ADMIN in held.get(CORE, ())
                return _require(allowed, "a role on this app is needed")
            case "app_permission":
                app, held = await self._cache.app_and_held(path["app_id"], user_id)
                named = app.rights(held.get(path["app_id"], ())).names(needs.key)
                allowed = named or ADMIN in held.get(CORE, ())
                return _require(allowed, f"the permission '{needs.key}' is needed")
            case "app_admin":
                _, held = await self._cache.app_and_held(path["app_id"], user_id)
                allowed = ADMIN in held.get(path["app_id"], ()) or ADMIN in held.get(CORE, ())
                return _require(allowed, "only admins of the app may do this")

    async def grant(self, user_id: str | None, app_id: str, entity: str, action: str) -> Grant:
        """See `Access.grant`. No token has authenticated the user here, so the account is checked.

        A disabled one keeps its roles.
        """
        found = await self._on_entity(user_id, app_id, entity, action)
        user = await self._identity.user(user_id or "")
        if user is None or user.disabled:
            raise Forbidden("this account is closed")
        return found

    async def is_core_admin(self, user_id: str | None) -> bool:
        """See `Access.is_core_admin`."""
        return ADMIN in (await self._cache.held(user_id)).get(CORE, ())

    async def is_app_admin(self, user_id: str | None, app_id: str) -> bool:
        """See `Access.is_app_admin`."""
        held = await self._cache.held(user_id)
        if ADMIN in held.get(app_id, ()):
            return True
        return ADMIN in held.get(CORE, ()) and await self._exists(app_id)

    def demands_factor(self, user_id: str, *, of_admins: bool) -> Coroutine[Any, Any, bool]:
        """See `FactorDemands.demands_factor`."""
        return self._cache.demands_factor(user_id, of_admins=of_admins)

    async def _exists(self, app_id: str) -> bool:
        try:
            await self._cache.app(app_id)
        except NotFound:
            return False
        return True

    async def _on_entity(self, user_id: str | None, app_id: str, entity: str, action: str) -> Grant:
        """Decide about an entity. Only admins and callers with a role learn that it is unknown."""
        app, held = await self._cache.app_and_held(app_id, user_id)
        known, roles = entity in app.entities, held.get(app_id, ())
        grant = app.rights(roles).on(entity, action) if known else None
        if grant is FULL:
            return FULL
        # Before an `.own` grant is used: a narrow role must not reduce a core admin's rights.
        is_core_admin = ADMIN in held.get(CORE, ())
        if not known and (is_core_admin or roles):
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
        rights = (await self._cache.app(path["app_id"])).granted.get(delegation.app_id)
        found = None
        if rights is not None and needs.kind == "entity":
            found = rights.on(path["entity"], needs.key)
        elif rights is not None and needs.kind == "app_user" and rights.everything:
            found = grant
        if found is None:
            raise Forbidden("a worker of another app has no grant for this")
        return Grant(
            own_only=grant.own_only or found.own_only,
            hidden=grant.hidden | found.hidden,
            locked=grant.locked | found.locked,
        )


def _require(allowed: bool, refusal: str) -> Grant:
    if not allowed:
        raise Forbidden(refusal)
    return FULL


def notification(app_id: str, user_id: str = "") -> str:
    """Return the payload for a change of an app's roles, or only of one user's on it."""
    return f"{app_id} {user_id}".strip()


def _affects_user(payload: str, user_id: str, held: Held) -> bool:
    app_id, _, user = payload.partition(" ")
    return user_id == user if user else app_id in held


def _affects_decision(payload: str, decision: Decision, _grant: Grant) -> bool:
    app_id, _, user = payload.partition(" ")
    return app_id in (decision[1], CORE) and user in ("", decision[0])


def _affects_all(_payload: str, _key: object, _value: object) -> bool:
    return True
