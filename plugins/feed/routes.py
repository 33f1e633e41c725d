"""The feeds of an app as streams of events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

import msgspec

from kernel.public import (
    APP_USER,
    WATCHES,
    BadRequest,
    Forbidden,
    NotFound,
    Request,
    Response,
    Route,
    Services,
    Watch,
    Watched,
    entity,
    nearest,
)

from .models import FeedBody, FeedQuery, Subscription
from .places import Place
from .stream import FeedStream
from .streams import Streams
from .subscribed import NamedWatch

FEED: Final = "/api/v1/apps/{app_id}/feed"
ENTITY_FEED: Final = "/api/v1/apps/{app_id}/collections/{entity}/feed"
DOCS: Final[dict[str, Any]] = {
    "responses": {
        "200": {
            "description": "Events `enter`, `change`, `leave`, `ready`, `resync` and `end`.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    }
}


class FeedRoutes:
    """The handlers."""

    def __init__(self, services: Services, streams: Streams) -> None:
        self._services = services
        self._streams = streams

    def routes(self) -> list[Route]:
        """Every route with what it needs."""
        return [
            Route(
                "GET", ENTITY_FEED, self.follow_entity, entity("read"), query=FeedQuery,
                errors=(400, 503), openapi=DOCS, app_hosts=True,
            ),
            Route(
                "POST", FEED, self.follow, APP_USER, FeedBody, errors=(404, 503), openapi=DOCS,
                app_hosts=True, max_body=1_000_000,
            ),
        ]  # fmt: skip

    async def follow_entity(self, request: Request) -> Response:
        """Follow the records of an entity: each change of one that matches is an event.

        `Last-Event-ID`, or `since`, goes on behind an event.
        """
        parameters = request.query()
        _check_names(parameters)
        subscription = Subscription(
            entity=request.path("entity"),
            where=_read_where(parameters.get("where")),
            fields=parameters["fields"].split(",") if "fields" in parameters else None,
        )
        return await self._open(request, {None: subscription}, parameters.get("since"))

    async def follow(self, request: Request, body: FeedBody) -> Response:
        """Follow records of several entities, or the same by several conditions.

        Each event names its subscription. `Last-Event-ID`, or `since`, goes on behind an event.
        """
        body.check()
        return await self._open(request, body.subscribe, body.since)

    async def _open(
        self,
        request: Request,
        subscriptions: Mapping[str, Subscription] | Mapping[None, Subscription],
        since: str | None,
    ) -> Response:
        watches = [
            NamedWatch(name, await self._watch(request, name, subscription))
            for name, subscription in subscriptions.items()
        ]
        place = self._streams.read_place(request, since)
        subscribed = self._streams.subscribe(watches)

        async def begin(stack: AsyncExitStack) -> AsyncGenerator[bytes]:
            # An event may name the position before it, so there is one from the first event on.
            first = place or Place(await self._streams.changes.now())
            following = self._streams.changes.follow(subscribed.subjects, first.position)
            pages = await stack.enter_async_context(following)
            return FeedStream(subscribed, first).write(pages)

        return await self._streams.open(request, subscribed, begin)

    async def _watch(self, request: Request, name: str | None, subscription: Subscription) -> Watch:
        """Open the watch of a subscription. Raises what a list would, and names it."""
        watched = Watched(
            app_id=request.path("app_id"),
            entity=subscription.entity,
            where=subscription.where,
            fields=subscription.fields,
        )
        watches = self._services.get(WATCHES)
        if name is None:
            return await watches.open(request.actor, watched)
        try:
            return await watches.open(request.actor, watched)
        except (Forbidden, NotFound, BadRequest) as error:
            raise type(error)(f"subscribe.{name}: {error.message}") from error


def _check_names(parameters: Mapping[str, str]) -> None:
    for name in parameters:
        if name not in FeedQuery.__struct_fields__:
            hint = nearest(name, FeedQuery.__struct_fields__)
            raise BadRequest(f"unknown parameter {name[:80]!r}; {hint}")


def _read_where(text: str | None) -> dict[str, Any] | None:
    """Read a where-tree. Raises BadRequest."""
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise BadRequest("where: a JSON object is wanted") from None
