"""The check of a right: every question to ACCESS about an entity is asked here."""

from __future__ import annotations

from collections.abc import Callable

from kernel.public import Access, Action, Actor, Forbidden, Grant, NotFound, entity


class Permissions:
    """Asks ACCESS what an actor may do. The server itself may do everything."""

    def __init__(self, access: Callable[[], Access]) -> None:
        self._access = access

    async def require(self, actor: Actor, app_id: str, entity_name: str, action: Action) -> Grant:
        """Return the grant for an action. Raises NotFound, Forbidden."""
        if actor.is_server:
            return Grant()
        path = {"app_id": app_id, "entity": entity_name}
        return await self._access().authorize(actor, entity(action), path)

    async def find_read_grant(self, actor: Actor, app_id: str, entity_name: str) -> Grant | None:
        """Return the grant to read an entity, None where the actor may not read it."""
        try:
            return await self.require(actor, app_id, entity_name, "read")
        except (Forbidden, NotFound):
            return None
