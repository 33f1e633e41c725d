"""Roles and assignments of each app in memory; what a notification names is read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import anyio
import structlog

from kernel.public import Permission, Unavailable

from .grammar import PAYLOAD
from .models import CORE
from .rights import AppPermissions
from .store import RbacStore

TOPIC: Final = "rbac"
_ALL: Final = ""
_WHOLE: Final = ""
MAX_STALE: Final = 100
"""Stale parts that are read one by one; where more are stale, everything is read."""

log = structlog.get_logger("caudex.rbac")


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
