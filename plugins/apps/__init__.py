"""Apps: manifests, the tables they declare, and the catalog of installed apps."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import (
    ACCESS,
    APPS,
    FRONTENDS,
    HOOKS,
    IDENTITY,
    NOTIFICATIONS,
    REGISTRY,
    STATEMENTS,
    DatabaseQuery,
    Finding,
    Plugin,
    Provider,
    Route,
    Services,
    hookimpl,
    provide,
)

from .catalog import Catalog
from .config import AppsConfig
from .diagnosis import findings
from .manifest.sections import Sections
from .routes import AppsRoutes
from .service import SERVICE, AppsService, Installers


class AppsPlugin(Plugin):
    """Installs apps and provides the catalog of them."""

    name = "apps"
    Config = AppsConfig
    requires = (STATEMENTS, NOTIFICATIONS, ACCESS, HOOKS, REGISTRY, IDENTITY)
    finds = (FRONTENDS,)

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide the catalog, and the service behind the routes."""
        return [provide(APPS, self._catalog), provide(SERVICE, self._service)]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes. A broken section schema fails here, before anything starts."""
        self._compiled(services)
        return AppsRoutes(services).routes()

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Report what full-text searches lack."""
        return findings(query)

    _sections: Sections | None = None

    def _compiled(self, services: Services) -> Sections:
        """Compile the sections of manifests, once. Raises BootErrors."""
        if self._sections is None:
            self._sections = Sections(services.get(REGISTRY).manifest_sections)
        return self._sections

    def _catalog(self, services: Services) -> Catalog:
        notifications = services.get(NOTIFICATIONS)
        return Catalog(services.get(STATEMENTS), notifications, self._compiled(services))

    def _service(self, services: Services) -> AppsService:
        anyone = self.config.install == "any"
        return AppsService(
            services.get(STATEMENTS),
            Installers(services.get(APPS), services.get(ACCESS), anyone),
            services.get(IDENTITY),
            services.get(HOOKS),
            self._compiled(services),
            self.config,
        )
