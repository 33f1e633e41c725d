"""Webhooks over HTTP."""

from __future__ import annotations

from typing import Final

import msgspec

from kernel.public import (
    APP_ADMIN,
    BadRequest,
    Message,
    Request,
    Response,
    Route,
    Services,
    one_of,
    read_limit,
    reply,
)

from .models import (
    STATES,
    CreatedHook,
    DeliveryQuery,
    HookChanges,
    NewHook,
    Replay,
    Replayed,
    Secret,
    ShownDelivery,
    ShownHook,
    Tested,
)
from .service import SERVICE, WebhooksService

OF_APP: Final = "/api/v1/apps/{app_id}/webhooks"
ONE: Final = f"{OF_APP}/{{id}}"
DELIVERIES: Final = f"{ONE}/deliveries"
RETRY: Final = f"{DELIVERIES}/{{delivery}}/retry"
PARAMETERS: Final = frozenset(DeliveryQuery.__struct_fields__)
MAX_BODY: Final = 1_000_000


class WebhookRoutes:
    """The handlers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """Declare them; all are for admins of the app."""
        admin = APP_ADMIN
        return [
            Route("GET", OF_APP, self.list, admin, returns=list[ShownHook]),
            Route(
                "POST", OF_APP, self.create, admin, NewHook,
                max_body=MAX_BODY, returns=CreatedHook, status=201,
            ),
            Route("GET", ONE, self.get, admin, returns=ShownHook),
            Route(
                "PATCH", ONE, self.change, admin, HookChanges,
                max_body=MAX_BODY, returns=ShownHook,
            ),
            Route("DELETE", ONE, self.delete, admin, returns=Message),
            Route("POST", f"{ONE}/test", self.test, admin, returns=Tested),
            Route("POST", f"{ONE}/rotate", self.rotate, admin, returns=Secret),
            Route(
                "POST", f"{ONE}/replay", self.replay, admin, Replay,
                returns=Replayed, status=202,
            ),
            Route(
                "GET", DELIVERIES, self.deliveries, admin,
                returns=list[ShownDelivery], query=DeliveryQuery,
            ),
            Route("POST", RETRY, self.retry, admin, returns=ShownDelivery),
        ]  # fmt: skip

    async def list(self, request: Request) -> Response:
        """List the webhooks of an app by name; secrets are never shown."""
        return reply(await self._webhooks.list(request.path("app_id")))

    async def create(self, request: Request, body: NewHook) -> Response:
        """Make a webhook. Only this reply shows its secret."""
        app_id = request.path("app_id")
        return reply(await self._webhooks.create(request.actor, app_id, body), 201)

    async def get(self, request: Request) -> Response:
        """Show a webhook."""
        return reply(await self._webhooks.get(request.path("app_id"), request.path("id")))

    async def change(self, request: Request, body: HookChanges) -> Response:
        """Change a webhook; `{"enabled": true}` revives one that the server has disabled."""
        app_id = request.path("app_id")
        hook_id = request.path("id")
        return reply(await self._webhooks.change(request.actor, app_id, hook_id, body))

    async def delete(self, request: Request) -> Response:
        """Delete a webhook with its deliveries."""
        await self._webhooks.delete(request.actor, request.path("app_id"), request.path("id"))
        return reply(Message("webhook deleted"))

    async def test(self, request: Request) -> Response:
        """Send `{"type": "test"}`, and show how the receiver answers."""
        return reply(await self._webhooks.test(request.path("app_id"), request.path("id")))

    async def rotate(self, request: Request) -> Response:
        """Make a new secret. The former one signs beside it for 24 hours."""
        app_id = request.path("app_id")
        return reply(await self._webhooks.rotate(request.actor, app_id, request.path("id")))

    async def replay(self, request: Request, body: Replay) -> Response:
        """Send the events since a position or a time once more, with the same ids."""
        app_id = request.path("app_id")
        hook_id = request.path("id")
        queued = await self._webhooks.replay(request.actor, app_id, hook_id, body.since)
        return reply(Replayed(queued), 202)

    async def deliveries(self, request: Request) -> Response:
        """List deliveries, the newest change first."""
        query = _read_query(request.query())
        app_id = request.path("app_id")
        return reply(await self._webhooks.deliveries(app_id, request.path("id"), query))

    async def retry(self, request: Request) -> Response:
        """Send a delivery now; one that was delivered or has failed begins again."""
        app_id = request.path("app_id")
        hook_id = request.path("id")
        delivery_id = request.path("delivery")
        return reply(await self._webhooks.retry(request.actor, app_id, hook_id, delivery_id))

    @property
    def _webhooks(self) -> WebhooksService:
        return self._services.get(SERVICE)


def _read_query(query: dict[str, str]) -> DeliveryQuery:
    unknown = query.keys() - PARAMETERS
    if unknown:
        raise BadRequest(f"unknown parameter {min(unknown)!r}")
    if "state" in query:
        one_of("state", query["state"], STATES)
    values = {**query, "limit": read_limit(query.get("limit"), 100)}
    return msgspec.convert(values, DeliveryQuery)
