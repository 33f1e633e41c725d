"""What roles allow on an app, computed once for each set of roles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from kernel.public import Grant, Permission, Role

from .field_rules import FieldRule, narrowed, with_field_keys
from .grammar import EVERY_APP, OWN, prefix
from .inheritance import demanding, expand
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
