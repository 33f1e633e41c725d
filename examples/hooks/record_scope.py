"""Shows each clerk the orders of their own region."""

from collections.abc import Mapping
from typing import Any

from caudex import Action, Actor, Entity, Plugin, hookimpl

REGIONS = ("east", "west")


class RecordScopePlugin(Plugin):
    """The username begins with the region: `east_ada`."""

    name = "record_scope"

    @hookimpl
    async def record_scope(
        self, actor: Actor, entity: Entity, action: Action
    ) -> Mapping[str, Any] | None:
        """A where-tree: the records that are read, changed and deleted; creates are not asked."""
        if entity.subject != "shop.orders":
            return None
        region = actor.username.partition("_")[0]
        return {"region": region} if region in REGIONS else None
