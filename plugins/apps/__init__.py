"""Apps: manifests, the tables they ask for, and the catalog of what is installed."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import (
    ACCESS,
    APPS,
    HOOKS,
    IDENTITY,
    NOTIFICATIONS,
    REGISTRY,
    STATEMENTS,
    Plugin,
    Provider,
    Route,
    Services,
    hookimpl,
    provide,
)

from .catalog import Catalog
from .config import AppsConfig
from .routes import AppsRoutes
from .sections import Sections
from .service import SERVICE, TOPIC, AppsService


class AppsPlugin(Plugin):
    """Installs apps and tells everybody which there are."""

    name = "apps"
    Config = AppsConfig
    requires = (STATEMENTS, NOTIFICATIONS, ACCESS, HOOKS, REGISTRY, IDENTITY)

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide the catalog, and the service behind the routes."""
        return [provide(APPS, self._catalog), provide(SERVICE, self._service)]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Serve apps; a section of manifests that is broken is found before anything starts."""
        self._known(services)
        return AppsRoutes(services).routes()

    _sections: Sections | None = None

    def _known(self, services: Services) -> Sections:
        """The sections of manifests, compiled for the first who asks. Raises BootErrors."""
        if self._sections is None:
            self._sections = Sections(services.get(REGISTRY).manifest_sections)
        return self._sections

    def _catalog(self, services: Services) -> Catalog:
        catalog = Catalog(services.get(STATEMENTS), self._known(services))
        services.get(NOTIFICATIONS).subscribe(TOPIC, catalog.forget)
        return catalog

    def _service(self, services: Services) -> AppsService:
        return AppsService(
            services.get(STATEMENTS),
            services.get(APPS),
            services.get(ACCESS),
            services.get(IDENTITY),
            services.get(HOOKS),
            self._known(services),
            self.config,
        )
