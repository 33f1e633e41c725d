"""What a set of permission keys allows on one app. Every request passes here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from kernel.public import Grant, Permission, Role

from .grammar import OWN, prefix
from .inheritance import expand
from .models import ADMIN, CORE, AppRow

FULL: Final = Grant()
OWN_ROWS: Final = Grant(own_only=True)


class Rights:
    """The united permissions of a user's roles."""

    __slots__ = ("_everything", "_keys")

    def __init__(self, keys: frozenset[str]) -> None:
        self._keys = keys
        self._everything = "*" in keys

    @property
    def everything(self) -> bool:
        """Whether `*` is among them."""
        return self._everything

    def on(self, entity: str, action: str) -> Grant | None:
        """Return the grant for an action on an entity, or None. `create.own` is `create`."""
        if self._everything or f"{entity}.{action}" in self._keys or f"{entity}.*" in self._keys:
            return FULL
        if f"{entity}.{action}{OWN}" in self._keys:
            return FULL if action == "create" else OWN_ROWS
        return None

    def holds(self, key: str) -> bool:
        """Whether a single key is held, by name or by a wildcard."""
        return self._everything or key in self._keys or f"{prefix(key)}.*" in self._keys

    def listed(self, available: Iterable[Permission]) -> list[str]:
        """List the concrete keys that are held, in declaration order; `.own` where only that is."""
        found: dict[str, None] = {}
        for permission in available:
            key = permission.key
            if self.holds(key):
                found[key] = None
            elif f"{key}{OWN}" in self._keys:
                found[key if key.endswith(".create") else f"{key}{OWN}"] = None
        return list(found)


NOTHING: Final = Rights(frozenset())


class AppPermissions:
    """One app in memory: its entities, keys and roles, and which user holds which role."""

    __slots__ = ("_held", "_rights", "entities", "permissions", "roles")

    def __init__(self, row: AppRow, core_keys: Sequence[Permission]) -> None:
        self.entities = frozenset(row.entities)
        self.permissions = tuple(core_keys if row.app_id == CORE else row.permissions)
        self.roles: dict[str, Role] = {role.name: role for role in row.roles}
        self._held = {user: tuple(roles) for user, roles in row.held.items()}
        self._rights: dict[tuple[str, ...], Rights] = {}

    def held(self, user_id: str | None) -> tuple[str, ...]:
        """Return the names of the roles that a user was assigned."""
        return self._held.get(user_id, ()) if user_id else ()

    def put(self, user_id: str, roles: Sequence[str]) -> None:
        """Replace what one user was assigned."""
        if roles:
            self._held[user_id] = tuple(roles)
        else:
            self._held.pop(user_id, None)

    def is_admin(self, user_id: str | None) -> bool:
        """Whether a user was assigned the role `admin` itself."""
        return ADMIN in self.held(user_id)

    def rights(self, user_id: str | None) -> Rights:
        """Return the expanded permissions of a user, computed once for each set of roles."""
        held = self.held(user_id)
        if not held:
            return NOTHING
        rights = self._rights.get(held)
        if rights is None:
            rights = self._rights[held] = Rights(expand(held, self.roles))
        return rights
