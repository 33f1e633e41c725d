"""Records: the tables of an app over HTTP, and as RECORDS and WATCHES for other plugins."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import (
    ACCESS,
    APPS,
    CHANGES,
    FILES,
    HOOKS,
    IDEMPOTENCY,
    IDENTITY,
    LIVE_QUERIES,
    READS,
    RECORDS,
    STATEMENTS,
    WATCHES,
    Plugin,
    Provider,
    Route,
    Services,
    hookimpl,
    provide,
)

from .assembly import Dependencies, build_records, build_watches
from .many_routes import ManyRoutes
from .routes import RecordRoutes


class DataPlugin(Plugin):
    """Serves RECORDS, WATCHES and the routes under `/api/v1/apps/{app_id}/collections`."""

    name = "data"
    requires = (STATEMENTS, APPS, HOOKS)
    uses = (READS,)
    finds = (ACCESS, IDENTITY, IDEMPOTENCY, FILES, CHANGES, LIVE_QUERIES)

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide RECORDS and WATCHES."""
        return [
            provide(RECORDS, lambda services: build_records(_dependencies(services))),
            provide(WATCHES, lambda services: build_watches(_dependencies(services))),
        ]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the collections."""
        return [*RecordRoutes(services).routes(), *ManyRoutes(services).routes()]


def _dependencies(services: Services) -> Dependencies:
    return Dependencies(
        services.get(STATEMENTS),
        services.get(APPS),
        services.get(HOOKS),
        access=lambda: services.get(ACCESS),
        identity=lambda: services.find(IDENTITY),
        idempotency=lambda: services.find(IDEMPOTENCY),
        reads=services.find(READS),
        files=lambda: services.find(FILES),
    )
