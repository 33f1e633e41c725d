"""Roles of apps and of users in memory, and what they allow. Every request uses this cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from kernel.public import (
    Grant,
    InvalidatedCache,
    NotFound,
    Notifications,
    Permission,
    Role,
    is_uuid,
)

from .field_rules import FieldRule, narrowed, with_field_keys
from .grammar import APP_ID, EVERY_APP, OWN, prefix
from .inheritance import demanding, expand
from .models import ADMIN, CORE, AppRow
from .store import RbacStore

TOPIC: Final = "rbac"
FULL: Final = Grant()
OWN_ROWS: Final = Grant(own_only=True)

Held = Mapping[str, tuple[str, ...]]
"""The roles that a user was assigned, by app."""
Decision = tuple[str | None, str, str, str]
"""User, app, entity, action."""


class Rights:
    """The union of the permissions of a user's roles on one app."""

    __slots__ = ("_everything", "_grants", "_keys", "_rules")

    def __init__(self, keys: frozenset[str], rules: Iterable[FieldRule] = ()) -> None:
        self._keys = keys
        self._everything = "*" in keys
        self._rules: dict[str, list[FieldRule]] = {}
        for rule in rules:
            self._rules.setdefault(rule.entity, []).append(rule)
        self._grants: dict[tuple[str, bool], Grant] = {}

    @property
    def everything(self) -> bool:
        """Whether `*` is among them."""
        return self._everything

    def on(self, entity: str, action: str) -> Grant | None:
        """Return the grant for an action on an entity, or None. `create.own` is `create`."""
        if self._everything or f"{entity}.*" in self._keys:
            return FULL
        if f"{entity}.{action}" in self._keys:
            grant = FULL
        elif f"{entity}.{action}{OWN}" in self._keys:
            grant = FULL if action == "create" else OWN_ROWS
        else:
            return None
        return self._with_rules(entity, grant) if entity in self._rules else grant

    def _with_rules(self, entity: str, grant: Grant) -> Grant:
        """Return a grant narrowed by the rules of fields, computed once."""
        key = (entity, grant.own_only)
        if (found := self._grants.get(key)) is None:
            found = self._grants[key] = narrowed(grant, self._rules[entity], self.holds)
        return found

    def holds(self, key: str) -> bool:
        """Whether a single key is held, by name or by a wildcard."""
        return self._everything or key in self._keys or f"{prefix(key)}.*" in self._keys

    def names(self, key: str) -> bool:
        """Whether a key of every app is held, by its full name or by `*`."""
        return self._everything or key in self._keys

    def listed(self, available: Iterable[Permission]) -> list[str]:
        """List the concrete keys that are held, in declaration order; `.own` where only that is."""
        found: dict[str, None] = {}
        for permission in available:
            key = permission.key
            if self.holds(key):
                found[key] = None
            elif f"{key}{OWN}" in self._keys:
                found[key if key.endswith(".create") else f"{key}{OWN}"] = None
        found |= dict.fromkeys(key for key in EVERY_APP if key in self._keys)
        return list(found)


class AppPermissions:
    """One app in memory: its entities, permission keys and roles."""

    __slots__ = (
        "_expanded", "_rights", "_rules", "demanding", "entities", "granted", "permissions",
        "roles",
    )  # fmt: skip

    def __init__(self, row: AppRow, core_keys: Sequence[Permission]) -> None:
        self.entities = frozenset(row.entities)
        self.permissions = _permissions(row, core_keys)
        self.roles: dict[str, Role] = {role.name: role for role in row.roles}
        self._rules = row.field_rules
        self._expanded = with_field_keys(self.roles, self._rules) if self._rules else self.roles
        self.demanding = demanding(self.roles)
        """The roles whose users need a second factor."""
        self.granted = {
            app_id: Rights(frozenset(keys), self._rules) for app_id, keys in row.grants.items()
        }
        """What workers of other apps may do here for users, by app."""
        self._rights: dict[tuple[str, ...], Rights] = {}

    def rights(self, held: tuple[str, ...]) -> Rights:
        """Return the expanded permissions of some roles, computed once for each set of roles."""
        if (rights := self._rights.get(held)) is None:
            rights = self._rights[held] = Rights(expand(held, self._expanded), self._rules)
        return rights


def _permissions(row: AppRow, registered: Sequence[Permission]) -> tuple[Permission, ...]:
    """Return the keys of an app: its own ones, then those that plugins registered for apps."""
    if row.app_id == CORE:
        return tuple(each for each in registered if each.on != "app")
    own = {each.key: each for each in row.permissions}
    added = (each for each in registered if each.on == "app" and each.key not in own)
    return (*row.permissions, *(Permission(each.key, each.description) for each in added))


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
