"""Health and status of the server."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import HOOKS, REGISTRY, STATEMENTS, Plugin, Route, Services, hookimpl

from .routes import SystemRoutes
from .service import SystemService


class SystemPlugin(Plugin):
    """Tells load balancers and people how the server is; works with every other plugin off."""

    name = "system"
    requires = (STATEMENTS, REGISTRY, HOOKS)

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare health and status."""
        return SystemRoutes(SystemService(services)).routes()
