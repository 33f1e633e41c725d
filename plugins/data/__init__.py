"""Records: the tables of an app as collections over HTTP, and as RECORDS for other plugins."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import (
    ACCESS,
    APPS,
    FILES,
    HOOKS,
    IDEMPOTENCY,
    IDENTITY,
    READS,
    RECORDS,
    STATEMENTS,
    Plugin,
    Provider,
    Route,
    Services,
    hookimpl,
    provide,
)

from .assembly import Dependencies, build_records
from .many_routes import ManyRoutes
from .routes import RecordRoutes
from .service import RecordsService


class DataPlugin(Plugin):
    """Serves RECORDS and the routes under `/api/v1/apps/{app_id}/collections`."""

    name = "data"
    requires = (STATEMENTS, APPS, HOOKS)
    uses = (READS,)
    finds = (ACCESS, IDENTITY, IDEMPOTENCY, FILES)

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide RECORDS."""
        return [provide(RECORDS, _build)]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the collections."""
        return [*RecordRoutes(services).routes(), *ManyRoutes(services).routes()]


def _build(services: Services) -> RecordsService:
    return build_records(
        Dependencies(
            services.get(STATEMENTS),
            services.get(APPS),
            services.get(HOOKS),
            access=lambda: services.get(ACCESS),
            identity=lambda: services.find(IDENTITY),
            idempotency=lambda: services.find(IDEMPOTENCY),
            reads=services.find(READS),
            files=lambda: services.find(FILES),
        )
    )
