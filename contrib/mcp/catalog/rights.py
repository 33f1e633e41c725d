"""Which tools are in the list of a caller. What a call may do is decided by the route behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from contrib.mcp.models import Right, Tool
from kernel.public import (
    APP_ADMIN,
    APP_USER,
    CORE_ADMIN,
    Access,
    Actor,
    App,
    Forbidden,
    Needs,
    NotFound,
    limits_of,
)

WRITING = frozenset({"create", "update", "delete"})
EVERY_RIGHT: frozenset[Right] = frozenset({"any", "app", "read", "write", "admin"})


class ToolRights:
    """Looks through the apps of a caller, from memory."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def select(
        self, actor: Actor, apps: Iterable[App], tools: Iterable[Tool]
    ) -> Sequence[Tool]:
        """Return the tools that a caller may use somewhere, in the same order."""
        rights = await self._collect(actor, apps)
        return [tool for tool in tools if tool.right in rights]

    async def _collect(self, actor: Actor, apps: Iterable[App]) -> set[Right]:
        rights: set[Right] = {"any"}
        if await self.allows(actor, CORE_ADMIN, "core"):
            rights.add("admin")
        for app in apps:
            if await self.allows(actor, APP_USER, app.id):
                rights.add("app")
            rights |= await self._rights_on_records(actor, app.id)
            if await self.allows(actor, APP_ADMIN, app.id):
                rights |= {"read", "write", "admin"}
            if rights >= EVERY_RIGHT:
                break
        return rights

    async def _rights_on_records(self, actor: Actor, app_id: str) -> set[Right]:
        rights: set[Right] = set()
        effective = await self._access.effective(actor.user_id or "", app_id, **limits_of(actor))
        for key in effective.permissions:
            actions = set(key.split("."))
            if "read" in actions:
                rights.add("read")
            if actions & WRITING:
                rights.add("write")
        return rights

    async def allows(self, actor: Actor, needs: Needs, app_id: str) -> bool:
        """Whether a caller holds something on an app."""
        try:
            await self._access.authorize(actor, needs, {"app_id": app_id})
        except (Forbidden, NotFound):
            return False
        return True
