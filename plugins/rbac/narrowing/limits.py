"""What limits of a caller leave of the rights on one app: see `kernel.contracts.base.Limits`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from kernel.public import Grant, Limits, Needs, Permission
from plugins.rbac.field_rules import FieldRule, narrow
from plugins.rbac.grammar import EVERY_APP, OWN
from plugins.rbac.models import CORE
from plugins.rbac.rights import FULL, OWN_ROWS, Rights

LIMITED: Final = "the API key does not allow this"
EVERYTHING: Final = "*"
WORDS: Final = ("rpc", "jobs")
"""What permissions name beside keys: calls of the app's worker, and its jobs."""


class LimitedRights:
    """What limits allow on one app, to a user that holds everything."""

    def __init__(self, limits: Limits, app_id: str) -> None:
        self._is_core_named = limits.apps is not None and CORE in limits.apps
        self._is_listed = limits.apps is None or app_id in limits.apps
        self._names: frozenset[str] | None = None
        if limits.permissions is not None:
            pairs = [permission.partition(":") for permission in limits.permissions]
            self._names = frozenset(name for app, _, name in pairs if app == app_id)
        self._is_narrow = limits.narrow

    @property
    def any(self) -> bool:
        """Whether something is allowed."""
        return self._is_listed and self._names != frozenset()

    @property
    def everything(self) -> bool:
        """Whether nothing is taken away."""
        return self._is_listed and (self._names is None or EVERYTHING in self._names)

    @property
    def reaches_core_whole(self) -> bool:
        """Whether every route without an app is allowed, for the rights on `core`."""
        return not self._is_narrow or (self._is_core_named and self.everything)

    def allows(self, needs: Needs) -> bool:
        """Whether a route of this app is allowed, as far as limits decide."""
        match needs.kind:
            case "app_admin":
                return self.everything
            case "app_permission":
                return self.everything or self._has(needs.key)
            case "app_user":
                return self.everything or (self._has(needs.key) if needs.key else self.any)
            case "user":
                return self.everything if needs.key else self.any
            case _:
                return self.any

    def allows_on_core(self, needs: Needs) -> bool:
        """Whether what needs rights on `core` is allowed; these are the limits on `core`."""
        if not self._is_core_named:
            return False
        if needs.kind == "core_permission":
            return self.everything or self._has(needs.key)
        return self.everything

    def grant_on(self, entity: str, action: str, rules: Sequence[FieldRule]) -> Grant | None:
        """Return the grant for an action on an entity, or None. `rules` are of its fields."""
        if self.everything:
            return FULL
        if self._matches(f"{entity}.{action}"):
            grant = FULL
        elif self._matches(f"{entity}.{action}", OWN):
            grant = FULL if action == "create" else OWN_ROWS
        else:
            return None
        if not rules:
            return grant
        is_own = grant.own_only
        return narrow(grant, rules, lambda key: self._holds_field(key, is_own=is_own))

    def list_keys(self, keys: Iterable[str]) -> list[str]:
        """Return the part of a user's keys that is left; `.own` where only that is."""
        left: list[str] = []
        for key in keys:
            bare = key.removesuffix(OWN)
            if self.everything or self._matches(bare):
                left.append(key)
            elif self._matches(bare, OWN):
                left.append(bare if bare.endswith(".create") else f"{bare}{OWN}")
        return left

    def _holds_field(self, key: str, *, is_own: bool) -> bool:
        """Whether the key of a field is allowed; `.own` allows it where rows are the own ones."""
        return self._matches(key) or (is_own and self._matches(key, OWN))

    def _matches(self, key: str, suffix: str = "") -> bool:
        if not self._is_listed:
            return False
        if self._names is None:
            return not suffix
        return not self._names.isdisjoint(f"{pattern}{suffix}" for pattern in patterns(key))

    def _has(self, name: str) -> bool:
        return self._is_listed and (self._names is None or name in self._names)


@lru_cache(4096)
def limited_rights(limits: Limits, app_id: str) -> LimitedRights:
    """Return what limits allow on an app, computed once."""
    return LimitedRights(limits, app_id)


def patterns(key: str) -> list[str]:
    """Return a key, and the names with `*` that cover it."""
    entity, dot, rest = key.partition(".")
    if not dot or key in EVERY_APP or ":" in key:
        return [key]
    return [key, f"{entity}.*", f"*.{rest}", "*.*"]


def holds_under(
    name: str, rights: Rights, permissions: Sequence[Permission], entities: Iterable[str]
) -> bool:
    """Whether rights hold something that a name of `Limits.permissions` covers."""
    if name == EVERYTHING or name in WORDS:
        return True
    if name in EVERY_APP:
        return rights.names(name)
    has_suffix = name.endswith(OWN)
    bare = name.removesuffix(OWN)
    fields = tuple(f"{entity}." for entity in entities)
    for permission in permissions:
        key = permission.key
        if bare not in patterns(key) or (has_suffix and not key.startswith(fields)):
            continue
        if rights.holds(key) or rights.names(f"{key}{OWN}"):
            return True
    return False
