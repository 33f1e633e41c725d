"""Keeps views of tables, and dashboards: of a user, for a role, or declared by a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from kernel.public import (
    ACCESS,
    APPS,
    Actor,
    BadRequest,
    Entity,
    Forbidden,
    NotFound,
    Services,
    Statements,
    Transaction,
    entity,
    is_uuid,
)
from plugins.console import store
from plugins.console.models import NewView, StoredView, View, ViewContent

from .callers import Caller, identify
from .checks import check_selection, check_tile
from .errors import ViewChanged
from .shapes import Dashboard
from .states import read_layout, read_selection

MAX_VIEWS: Final = 1000
"""Views that a user saved."""
MAX_STATE: Final = 48_000
"""Bytes of JSON of a state."""
NEEDS_MATCH: Final = (
    "If-Match: is needed, with the ETag of GET …/views/{id}, so that no change of others is lost"
)


class VisibleView(NamedTuple):
    """A view with the caller that may see it."""

    stored: StoredView
    caller: Caller

    def describe(self) -> View:
        """Return the view as this caller sees it."""
        view = self.stored
        return View(
            id=view.id,
            app=view.app_id,
            entity=view.entity,
            name=view.name,
            role=view.role,
            own=view.owner_id == self.caller.user_id,
            editable=self.caller.may_change(view),
            declared=view.owner_id is None,
            version=view.version,
            state=view.state,
        )


class ViewKeeper:
    """Lists, saves, changes and deletes views."""

    def __init__(self, services: Services, statements: Statements) -> None:
        self._services = services
        self._statements = statements

    async def list_views(self, actor: Actor, app_id: str, entity_name: str | None) -> list[View]:
        """Return the views of a table that the caller may see; without one, those of the app."""
        caller = await self._identify(actor, app_id)
        views = await store.read_views(
            self._statements, app_id, entity_name, caller.user_id, caller.roles, caller.is_admin
        )
        return [VisibleView(view, caller).describe() for view in views]

    async def read(self, actor: Actor, view_id: str) -> View:
        """Return a view. Raises NotFound."""
        visible = await self._find(actor, view_id)
        return visible.describe()

    async def save(self, actor: Actor, view: NewView) -> str:
        """Save a view and return its id. Raises BadRequest, Forbidden, NotFound."""
        if self._services.find(ACCESS) is not None:
            # NotFound for an unknown app
            await self._services.get(ACCESS).effective(actor.user_id or "", view.app)
        caller = await self._identify(actor, view.app)
        self._check_size_and_role(caller, view)
        if view.entity is None and not (caller.is_admin or caller.roles):
            raise Forbidden(f"no role on the app '{view.app}'")
        await self._check_state(actor, view.app, view.entity, view.state)

        async def work(tx: Transaction) -> str | None:
            return await store.save_view(tx, caller.user_id, view, MAX_VIEWS)

        view_id = await self._statements.run(actor, work)
        if view_id is None:
            raise BadRequest(f"a user has at most {MAX_VIEWS} views")
        return view_id

    async def change(
        self, actor: Actor, view_id: str, content: ViewContent, if_match: str | None
    ) -> View:
        """Change a view unless another change was faster.

        Raises BadRequest, Forbidden, NotFound, and ViewChanged with the present view.
        """
        visible = await self._find_changeable(actor, view_id)
        stored = visible.stored
        if if_match is None:
            raise BadRequest(NEEDS_MATCH)
        tags = [tag.strip() for tag in if_match.split(",")]
        if "*" not in tags and stored.etag not in tags:
            raise ViewChanged(visible.describe())
        self._check_size_and_role(visible.caller, content)
        await self._check_state(actor, stored.app_id, stored.entity, content.state)

        async def work(tx: Transaction) -> StoredView | None:
            return await store.change_view(tx, view_id, stored.version, content)

        changed = await self._statements.run(actor, work)
        if changed is None:
            present = await self._find(actor, view_id)
            raise ViewChanged(present.describe())
        return VisibleView(changed, visible.caller).describe()

    async def delete(self, actor: Actor, view_id: str) -> None:
        """Delete a view. Raises BadRequest, Forbidden, NotFound."""
        await self._find_changeable(actor, view_id)
        was_there = await self._statements.run(actor, lambda tx: store.delete_view(tx, view_id))
        if not was_there:
            raise _not_found(view_id)

    async def _identify(self, actor: Actor, app_id: str) -> Caller:
        return await identify(self._services.find(ACCESS), actor, app_id)

    async def _find(self, actor: Actor, view_id: str) -> VisibleView:
        """Return a view that the caller may see. Raises NotFound."""
        stored = None
        if is_uuid(view_id):
            stored = await store.find_view(self._statements, view_id)
        if stored is None:
            raise _not_found(view_id)
        caller = await self._identify(actor, stored.app_id)
        if not caller.may_see(stored):
            raise _not_found(view_id)
        return VisibleView(stored, caller)

    async def _find_changeable(self, actor: Actor, view_id: str) -> VisibleView:
        """Return a view that the caller may change. Raises BadRequest, Forbidden, NotFound."""
        visible = await self._find(actor, view_id)
        stored = visible.stored
        if stored.owner_id is None:
            raise BadRequest(f"the manifest declares the view '{stored.name}': change it there")
        if not visible.caller.may_change(stored):
            raise Forbidden("only its owner and admins of the app may change a view")
        return visible

    @staticmethod
    def _check_size_and_role(caller: Caller, content: ViewContent) -> None:
        if len(msgspec.json.encode(content.state)) > MAX_STATE:
            raise BadRequest(f"state: a value has at most {MAX_STATE} bytes of JSON")
        if content.role is not None and not caller.is_admin:
            raise Forbidden("only admins of the app may save a view for a role")

    async def _check_state(
        self, actor: Actor, app_id: str, entity_name: str | None, state: Mapping[str, Any]
    ) -> None:
        """Check what a view shows before it is stored. Raises BadRequest, Forbidden, NotFound."""
        if entity_name is None:
            await self._check_dashboard(actor, app_id, state)
        else:
            await self._check_layout(actor, app_id, entity_name, state)

    async def _check_layout(
        self, actor: Actor, app_id: str, entity_name: str, state: Mapping[str, Any]
    ) -> None:
        """Check a layout against the fields that the caller may read."""
        layout = read_layout(state)
        if layout == "table":
            return
        shown = await self._find_entity(actor, app_id, entity_name)
        for member, sentence in check_selection(shown, layout, read_selection(state)):
            raise BadRequest(f"state.{member}: {sentence}")

    async def _check_dashboard(self, actor: Actor, app_id: str, state: Mapping[str, Any]) -> None:
        try:
            dashboard = msgspec.convert(state, Dashboard)
        except msgspec.ValidationError as error:
            raise BadRequest(f"state: {error}") from None
        if set(state) != {"tiles"}:
            raise BadRequest("state: that of a dashboard has tiles, and nothing else")
        app = await self._services.get(APPS).app(app_id)
        names = {tile.entity for tile in dashboard.tiles if tile.entity in app.entities}
        entities = {
            name: await self._find_entity(actor, app_id, name) for name in names if name is not None
        }
        for index, tile in enumerate(dashboard.tiles):
            for member, sentence in check_tile(entities, tile):
                raise BadRequest(f"state.tiles[{index}].{member}: {sentence}")

    async def _find_entity(self, actor: Actor, app_id: str, name: str) -> Entity:
        """Return an entity with the fields that the caller may read. Raises Forbidden, NotFound."""
        path = {"app_id": app_id, "entity": name}
        grant = await self._services.get(ACCESS).authorize(actor, entity("read"), path)
        described = await self._services.get(APPS).entity(app_id, name)
        return described.hide(grant.hidden)


def _not_found(view_id: str) -> NotFound:
    return NotFound(f"view '{view_id[:64]}' not found")
