"""What a caller must hold to undo changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kernel.public import (
    Access,
    Action,
    Actor,
    App,
    Forbidden,
    Grant,
    RecordedChange,
    entity,
    limits_of,
)

from .models import NEEDED, TouchedRecord

Grants = Mapping[tuple[str, Action], Grant]
"""What a caller may do, by entity and action."""


class UndoRights:
    """Asks ACCESS before anything is written."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def check_author(self, actor: Actor, app_id: str, user_id: str | None) -> None:
        """Raise Forbidden where changes of another user are meant, unless by an admin."""
        if user_id is not None and user_id == actor.user_id:
            return
        is_admin = await self._access.is_app_admin(actor.user_id, app_id, **limits_of(actor))
        if not is_admin:
            raise Forbidden("only an admin of the app may undo what another user did")

    async def check_authors(
        self, actor: Actor, app_id: str, changes: Sequence[RecordedChange]
    ) -> None:
        """Raise Forbidden where one of the changes is another user's, unless for an admin."""
        for user_id in {change.actor_id for change in changes}:
            await self.check_author(actor, app_id, user_id)

    async def find_grants(self, actor: Actor, app: App, records: Sequence[TouchedRecord]) -> Grants:
        """Return the grants for the inverse of each change, and to read. Raises Forbidden."""
        needed: dict[tuple[str, Action], None] = {}
        for record in records:
            if record.inverse is None or record.entity not in app.entities:
                continue
            needed[record.entity, NEEDED[record.inverse]] = None
            needed[record.entity, "read"] = None
        grants: dict[tuple[str, Action], Grant] = {}
        for name, action in needed:
            path = {"app_id": app.id, "entity": name}
            grants[name, action] = await self._access.authorize(actor, entity(action), path)
        return grants
