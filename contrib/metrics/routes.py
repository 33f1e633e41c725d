"""What is measured, for scrapers."""

from __future__ import annotations

from typing import Final

from kernel.public import (
    ACCESS,
    HOOKS,
    PUBLIC,
    Forbidden,
    Request,
    Response,
    Route,
    Services,
    Unauthenticated,
    find_bearer_token,
    hookspecs,
    limits_of,
    preferred_type,
)

from .service import SERVICE

PLAIN: Final = "text/plain"
OPEN_METRICS: Final = "application/openmetrics-text"
TEXT: Final = {
    "responses": {
        "200": {
            "description": "Prometheus' text format, or OpenMetrics where that is preferred",
            "content": {kind: {"schema": {"type": "string"}} for kind in (PLAIN, OPEN_METRICS)},
        }
    }
}


class MetricsRoutes:
    """The handler. The kernel's guard knows users only, so this route guards itself: the scraper's
    token, or a core admin."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        return [Route("GET", "/metrics", self.metrics, PUBLIC, errors=(401, 403), openapi=TEXT)]

    async def metrics(self, request: Request) -> Response:
        """Show what is measured, for Prometheus; with the scraper's token, or for core admins."""
        await self._check(request)
        accept = request.headers.get("accept", "")
        open_metrics = preferred_type(accept, (PLAIN, OPEN_METRICS)) == OPEN_METRICS
        body, kind = await self._services.get(SERVICE).page(open_metrics=open_metrics)
        return Response(body, headers={"content-type": kind})

    async def _check(self, request: Request) -> None:
        if self._services.get(SERVICE).opens(find_bearer_token(request)):
            return
        access = self._services.find(ACCESS)
        actor = await self._services.get(HOOKS).first(hookspecs.authenticate, request=request)
        if actor is None or access is None:
            raise Unauthenticated
        if actor.delegation is not None or not await access.is_core_admin(
            actor.user_id, **limits_of(actor)
        ):
            raise Forbidden("metrics are for the scraper and for core admins")
