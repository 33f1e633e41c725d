"""Feeds: each change of a record as an event, for callers that may read it."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import (
    APPS,
    CHANGES,
    HOOKS,
    IDENTITY,
    LIVE_QUERIES,
    WATCHES,
    LiveQueries,
    Plugin,
    Provider,
    Route,
    Services,
    hookimpl,
    provide,
)

from .config import FeedConfig
from .live import LiveQueryService
from .routes import FeedRoutes
from .streams import Streams


class FeedPlugin(Plugin):
    """Serves the feeds of an entity and of an app, and live queries."""

    name = "feed"
    requires = (HOOKS,)
    uses = (CHANGES, WATCHES)
    finds = (IDENTITY, APPS)
    Config = FeedConfig
    config: FeedConfig
    _streams: Streams | None = None

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide LIVE_QUERIES."""
        return [provide(LIVE_QUERIES, self._make_live_queries)]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes, where there are changes to follow and plugins that judge them."""
        if not _can_follow(services):
            return []
        return FeedRoutes(services, self._find_streams(services)).routes()

    def _make_live_queries(self, services: Services) -> LiveQueries:
        return LiveQueryService(services, self._find_streams(services))

    def _find_streams(self, services: Services) -> Streams:
        """Return the streams of this process: feeds and live queries have common limits."""
        if self._streams is None:
            self._streams = Streams(services, self.config)
        return self._streams


def _can_follow(services: Services) -> bool:
    """Whether plugins provide the changes, and what judges them."""
    names = (CHANGES.name, WATCHES.name)
    return all(services.provider(name) is not None for name in names)
