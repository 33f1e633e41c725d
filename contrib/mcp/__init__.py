"""A door for agents: the Model Context Protocol over HTTP, with tools of constant text."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import (
    ACCESS,
    APPS,
    AUDIT,
    HOOKS,
    REGISTRY,
    ROUTES,
    ManifestSection,
    Plugin,
    Provider,
    Route,
    Services,
    hookimpl,
    provide,
)

from .catalog import actions
from .config import McpConfig
from .routes import McpRoutes
from .service import SERVICE, McpService


class McpPlugin(Plugin):
    """Lets agents use the routes of this server as tools."""

    name = "mcp"
    requires = (ROUTES, ACCESS, APPS, HOOKS, REGISTRY)
    finds = (AUDIT,)
    Config = McpConfig
    config: McpConfig

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide what answers messages."""
        return [provide(SERVICE, lambda services: McpService(self.config, services))]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the route of agents."""
        return McpRoutes(services, self.config).routes()

    @hookimpl
    def register_manifest_section(self) -> ManifestSection:
        """Let manifests declare which methods of a worker agents may call."""
        return ManifestSection(actions.KEY, actions.SCHEMA)
