"""GET /api/v1/requests/{id}."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import (
    ACCESS,
    ANY_USER,
    APPS,
    Actor,
    Forbidden,
    NotFound,
    Request,
    Response,
    Route,
    ServiceKey,
    Services,
    limits_of,
    reply,
)

from .models import ShownRequest
from .service import TraceService
from .shown import TreeView, VisibleApps

SERVICE = ServiceKey[TraceService]("trace_service")


class TraceRoutes:
    """The route of requests."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> Sequence[Route]:
        """Declare it. What a caller sees depends on the apps that it administers."""
        return [
            Route(
                "GET", "/api/v1/requests/{id}", self.show, ANY_USER,
                returns=ShownRequest, errors=(403, 404), narrowed=True,
            ),
        ]  # fmt: skip

    async def show(self, request: Request) -> Response:
        """Show what a request caused: changes, events, jobs, calls of workers, lines of logs.

        Core admins see all of it, admins of apps the part of their apps. What its jobs did is in
        `children`, to depth 5.
        """
        visible_apps = await self._find_visible_apps(request.actor)
        request_id = request.path("id")
        tree = await self._services.get(SERVICE).find_tree(request_id)
        shown = TreeView(tree, visible_apps).show(request_id)
        if shown is None:
            raise NotFound(f"nothing is known of request '{request_id[:200]}'")
        return reply(shown)

    async def _find_visible_apps(self, actor: Actor) -> VisibleApps:
        """Return the apps that a caller administers. Raises Forbidden where there are none."""
        access = self._services.get(ACCESS)
        limits = limits_of(actor)
        if await access.is_core_admin(actor.user_id, **limits):
            return VisibleApps(None)
        apps = await self._services.get(APPS).all()
        names = [
            app.id for app in apps if await access.is_app_admin(actor.user_id, app.id, **limits)
        ]
        if not names:
            raise Forbidden("only an admin of an app, or of core, may see what a request caused")
        return VisibleApps(frozenset(names))
