"""Views of tables that users saved: who has them, and the query that they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from kernel.contracts.base import Actor, ServiceKey

__all__ = ["SAVED_VIEWS", "SavedView", "SavedViews"]


class SavedView(msgspec.Struct, frozen=True, kw_only=True):
    """A view of a table; `query` has members of the body of POST …/{entity}/query."""

    id: str
    app_id: str
    entity: str
    name: str
    query: Mapping[str, Any]


class SavedViews(Protocol):
    """The views that users saved."""

    async def find(self, actor: Actor, app_id: str, view_id: str) -> SavedView:
        """Return a view of an app that the caller saved, or that is for a role of the caller.

        Its query is what the caller may ask for now. Raises NotFound.
        """
        ...


SAVED_VIEWS = ServiceKey[SavedViews]("saved_views")
"""Views of tables that users saved."""
