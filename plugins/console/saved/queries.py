"""Saved views as queries: what the page of a table asks the server for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from kernel.public import (
    ACCESS,
    APPS,
    STATEMENTS,
    Access,
    Actor,
    BadRequest,
    Entity,
    NotFound,
    SavedView,
    Services,
    entity,
    is_uuid,
)
from plugins.console import store
from plugins.console.models import StoredView

from .callers import identify
from .states import read_order, read_text

MAX_FIELDS: Final = 12
"""Fields of texts that the box above a table looks into, as in `web/screens/data/filter.js`."""


class ViewQueries:
    """Finds the views that users saved, and provides SAVED_VIEWS."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def find(self, actor: Actor, app_id: str, view_id: str) -> SavedView:
        """See `SavedViews.find`."""
        access = self._services.get(ACCESS)
        view = None
        if is_uuid(view_id):
            view = await store.find_view(self._services.get(STATEMENTS), view_id)
        if view is None or view.app_id != app_id or view.entity is None:
            raise NotFound(f"view '{view_id[:64]}' not found")
        if not await _may_see(access, actor, view):
            raise NotFound(f"view '{view_id[:64]}' not found")
        path = {"app_id": app_id, "entity": view.entity}
        grant = await access.authorize(actor, entity("read"), path)
        described = await self._services.get(APPS).entity(app_id, view.entity)
        query = write_query(described.hide(grant.hidden), view.state)
        return SavedView(id=view.id, app_id=app_id, entity=view.entity, name=view.name, query=query)


async def _may_see(access: Access, actor: Actor, view: StoredView) -> bool:
    caller = await identify(access, actor, view.app_id)
    return caller.may_see(view)


def write_query(shown: Entity, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the query of a view, as `buildQuery` in `web/screens/data/list.js` makes it.

    Columns that the caller may not read are left out. Raises BadRequest for a state of another
    shape.
    """
    where = _read_where(state.get("where"))
    text = read_text(state, "q").strip()
    terms = read_order(state)
    query: dict[str, Any] = {}
    if text and shown.search is not None:
        query["search"] = text
    elif text:
        where = _join(where, _write_quick_where(shown, text))
    if where is not None:
        query["where"] = where
    is_by_rank = "search" in query and not terms
    if not is_by_rank:
        first, *others = terms or [("created_at", read_text(state, "order") or "desc")]
        query["orderBy"] = first[0]
        query["order"] = first[1]
        if others:
            query["thenBy"] = [{name: order} for name, order in others]
    names = {"id", "created_at", "updated_at", *(field.name for field in shown.fields)}
    columns = [name for name in read_text(state, "columns").split(",") if name in names]
    if columns:
        query["fields"] = columns
    return query


def _read_where(value: object) -> dict[str, Any] | None:
    if value in (None, ""):
        return None
    tree = value
    if isinstance(value, str):
        try:
            tree = msgspec.json.decode(value)
        except msgspec.MsgspecError:
            raise BadRequest("view: its filter is no JSON") from None
    if not isinstance(tree, dict):
        raise BadRequest("view: its filter is no object")
    return cast("dict[str, Any]", tree)


def _write_quick_where(shown: Entity, text: str) -> dict[str, Any] | None:
    """Require that one of the texts holds some words."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    pattern = {"$ilike": f"%{escaped}%"}
    names = [field.name for field in shown.fields if field.type == "text" and not field.enum_values]
    if not names:
        return None
    return {"$or": [{name: pattern} for name in names[:MAX_FIELDS]]}


def _join(left: dict[str, Any] | None, right: dict[str, Any] | None) -> dict[str, Any] | None:
    if left is not None and right is not None:
        return {"$and": [left, right]}
    return left if right is None else right
