"""Documents of the API in OpenAPI 3.1, one for the server and one for each app, and a page."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import (
    ACCESS,
    APPS,
    REGISTRY,
    Plugin,
    Provider,
    Route,
    Services,
    hookimpl,
    provide,
)

from .config import OpenapiConfig
from .routes import OpenapiRoutes
from .service import DOCUMENTS, DocumentService


class OpenapiPlugin(Plugin):
    """Describes the routes of every plugin."""

    name = "openapi"
    requires = (APPS, ACCESS, REGISTRY)
    Config = OpenapiConfig
    config: OpenapiConfig

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        return [provide(DOCUMENTS, DocumentService)]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        return OpenapiRoutes(services, self.config).routes()
