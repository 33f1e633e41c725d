"""Roles and assignments of each app in memory; what a notification names is read again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import anyio
import structlog

from kernel.public import Grant, Permission, Role, Unavailable

from .grammar import OWN, PAYLOAD, prefix
from .inheritance import expand
from .models import ADMIN, CORE, AppRow
from .store import RbacStore

TOPIC: Final = "rbac"
_ALL: Final = ""
_WHOLE: Final = ""
MAX_STALE: Final = 100
"""Stale parts that are read one by one; where more are stale, everything is read."""

log = structlog.get_logger("caudex.rbac")


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


def notification(app_id: str, user_id: str = "") -> str:
    """Return the payload for a change of an app's roles, or only of one user's on it."""
    return f"{app_id} {user_id}".strip()


class _Staleness:
    """What must be read before it is decided from: some users of an app, all of it, or all apps."""

    __slots__ = ("failures", "lock", "parts")

    def __init__(self) -> None:
        self.parts: set[str] = set()
        """Ids of users, or `_WHOLE`, that no read has begun for."""
        self.failures: int = 0
        self.lock = anyio.Lock()


class RoleCache:
    """Permissions of each app. After a notification they are stale until they are read again.

    A failed read leaves them stale, so no decision is made from data that may be wrong. Each app is
    read by itself, and only requests on that app wait: its admins decide how much there is to read.
    """

    def __init__(
        self, store: RbacStore, core_keys: Sequence[Permission], eager_timeout: float = 0.5
    ) -> None:
        self.core_keys = core_keys
        self._store = store
        self._eager_timeout = eager_timeout
        self._apps: dict[str, AppPermissions] = {}
        self._stale: dict[str, _Staleness] = {}
        """By app, or `_ALL`; every other app is as the tables have it."""
        self._invalidate(_ALL, _WHOLE)

    async def load(self, *app_ids: str) -> Mapping[str, AppPermissions]:
        """Return all apps; those of `app_ids` and `core` are current. Raises Unavailable."""
        if self._stale:
            await self._refresh_all(CORE, *app_ids)
        return self._apps

    async def on_notification(self, payload: str | None) -> None:
        """Invalidate what a notification names (None: everything), and read it again if possible.

        Every database login can send notifications: a payload of another form means everything.
        """
        known = payload if payload and PAYLOAD.fullmatch(payload) else _ALL
        app_id, _, user_id = known.partition(" ")
        self._invalidate(app_id, user_id or _WHOLE)
        # For a moment only: later notifications wait meanwhile.
        with suppress(Unavailable), anyio.move_on_after(self._eager_timeout):
            await self._refresh_all(app_id)

    def _invalidate(self, app_id: str, part: str) -> None:
        everything = self._stale.get(_ALL)
        if everything is not None and everything.parts:
            return  # a read that has not begun yet includes it
        self._stale.setdefault(app_id, _Staleness()).parts.add(part)
        if app_id == _ALL:
            # Reads in progress are discarded: they may end after the one of everything.
            self._stale = {_ALL: self._stale[_ALL]}
        elif sum(len(stale.parts) or 1 for stale in self._stale.values()) > MAX_STALE:
            self._invalidate(_ALL, _WHOLE)

    async def _refresh_all(self, *app_ids: str) -> None:
        """Read until none of these apps is stale."""
        while found := [app_id for app_id in (_ALL, *app_ids) if app_id in self._stale]:
            await self._refresh(found[0], self._stale[found[0]])

    async def _refresh(self, app_id: str, stale: _Staleness) -> None:
        """Read what is stale; callers that waited while a read failed share its failure."""
        failures = stale.failures
        async with stale.lock:
            if stale.failures != failures:
                raise Unavailable("roles cannot be read at the moment")
            while stale.parts and self._is_current(app_id, stale):
                parts, stale.parts = stale.parts, set()
                try:
                    await self._read(app_id, stale, parts)
                except BaseException as error:
                    stale.parts |= parts
                    stale.failures += isinstance(error, Unavailable)
                    raise
            if self._is_current(app_id, stale):
                del self._stale[app_id]

    def _is_current(self, app_id: str, stale: _Staleness) -> bool:
        """Whether everything has not become stale meanwhile."""
        return self._stale.get(app_id) is stale

    async def _read(self, app_id: str, stale: _Staleness, parts: set[str]) -> None:
        """Read parts of an app, or all apps; one unreadable app must not block the others."""
        if app_id == _ALL:
            rows = await self._store.apps()
            self._apps = {row.app_id: AppPermissions(row, self.core_keys) for row in rows}
            return
        try:
            await self._read_parts(app_id, stale, parts)
        except Unavailable:
            raise
        except Exception as error:
            log.error("roles cannot be read in part", exc_info=error)
            self._invalidate(_ALL, _WHOLE)

    async def _read_parts(self, app_id: str, stale: _Staleness, parts: set[str]) -> None:
        app = self._apps.get(app_id)
        if app is None or _WHOLE in parts:
            rows = await self._store.apps(app_id)
            if not self._is_current(app_id, stale):
                return
            if rows:
                self._apps[app_id] = AppPermissions(rows[0], self.core_keys)
            else:
                self._apps.pop(app_id, None)
            return
        for user_id in parts:  # harmless on an object that a read of everything has replaced
            app.put(user_id, await self._store.held(app_id, user_id))
