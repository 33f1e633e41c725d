"""What roles allow on an app, computed once for each set of roles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from kernel.public import Grant, Permission, Role

from .field_rules import FieldRule, add_field_keys, narrow
from .grammar import EVERY_APP, OWN, prefix
from .inheritance import expand, find_demanding
from .models import CORE, AppRow

FULL: Final = Grant()
OWN_ROWS: Final = Grant(own_only=True)


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

    def grant_on(self, entity: str, action: str) -> Grant | None:
        """Return the grant for an action on an entity, or None. `create.own` is `create`."""
        if self._everything or f"{entity}.*" in self._keys:
            return FULL
        if f"{entity}.{action}" in self._keys:
            grant = FULL
        elif f"{entity}.{action}{OWN}" in self._keys:
            grant = FULL if action == "create" else OWN_ROWS
        else:
            return None
        if entity not in self._rules:
            return grant
        return self._narrow_by_rules(entity, grant)

    def _narrow_by_rules(self, entity: str, grant: Grant) -> Grant:
        """Return a grant narrowed by the rules of fields, computed once."""
        key = (entity, grant.own_only)
        narrowed = self._grants.get(key)
        if narrowed is None:
            narrowed = narrow(grant, self._rules[entity], self.holds)
            self._grants[key] = narrowed
        return narrowed

    def holds(self, key: str) -> bool:
        """Whether a single key is held, by name or by a wildcard."""
        return self._everything or key in self._keys or f"{prefix(key)}.*" in self._keys

    def names(self, key: str) -> bool:
        """Whether a key of every app is held, by its full name or by `*`."""
        return self._everything or key in self._keys

    def list_keys(self, available: Iterable[Permission]) -> list[str]:
        """List the concrete keys that are held, in declaration order; `.own` where only that is."""
        keys: list[str] = []
        for permission in available:
            key = permission.key
            own_key = f"{key}{OWN}"
            if self.holds(key):
                keys.append(key)
            elif own_key in self._keys:
                keys.append(key if key.endswith(".create") else own_key)
        keys += [key for key in EVERY_APP if key in self._keys]
        return list(dict.fromkeys(keys))


class AppPermissions:
    """One app in memory: its entities, permission keys and roles."""

    __slots__ = (
        "_expanded", "_rights", "_rules", "demanding", "entities", "granted", "permissions",
        "roles",
    )  # fmt: skip

    def __init__(self, row: AppRow, core_keys: Sequence[Permission]) -> None:
        self.entities = frozenset(row.entities)
        self.permissions = _list_permissions(row, core_keys)
        self.roles: dict[str, Role] = {role.name: role for role in row.roles}
        self._rules = row.field_rules
        self._expanded = self.roles
        if self._rules:
            self._expanded = add_field_keys(self.roles, self._rules)
        self.demanding = find_demanding(self.roles)
        """The roles whose users need a second factor."""
        self.granted = {
            app_id: Rights(frozenset(keys), self._rules) for app_id, keys in row.grants.items()
        }
        """What workers of other apps may do here for users, by app."""
        self._rights: dict[tuple[str, ...], Rights] = {}

    def rules_of(self, entity: str) -> list[FieldRule]:
        """Return the rules of an entity's fields."""
        return [rule for rule in self._rules if rule.entity == entity]

    def rights(self, roles: tuple[str, ...]) -> Rights:
        """Return the expanded permissions of some roles, computed once for each set of roles."""
        rights = self._rights.get(roles)
        if rights is None:
            rights = Rights(expand(roles, self._expanded), self._rules)
            self._rights[roles] = rights
        return rights


def _list_permissions(row: AppRow, registered: Sequence[Permission]) -> tuple[Permission, ...]:
    """Return the keys of an app: its own ones, then those that plugins registered for apps."""
    if row.app_id == CORE:
        return tuple(permission for permission in registered if permission.on != "app")
    declared_keys = {permission.key for permission in row.permissions}
    added = [
        Permission(permission.key, permission.description)
        for permission in registered
        if permission.on == "app" and permission.key not in declared_keys
    ]
    return (*row.permissions, *added)
