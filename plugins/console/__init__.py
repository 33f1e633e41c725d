"""The console: a browser's view of the server, its apps and their records."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kernel.public import (
    ACCESS,
    APPS,
    HOOKS,
    REGISTRY,
    SAVED_VIEWS,
    SESSIONS,
    STATEMENTS,
    InstallPlan,
    ManifestSection,
    Plugin,
    Provider,
    Route,
    SavedViews,
    Services,
    Transaction,
    User,
    hookimpl,
    provide,
)

from . import hookspecs, store
from .config import ConsoleConfig
from .pages import collect
from .routes import ConsoleRoutes
from .saved.declared import catch_up, check, check_roles, declare
from .saved.keeper import ViewKeeper
from .saved.queries import ViewQueries
from .saved.renames import follow
from .sections import pages as page_section
from .sections.views import describe_sections
from .service import Preferences


class ConsolePlugin(Plugin):
    """Serves the console at `/console/`. Its pages use the REST API with the caller's rights."""

    name = "console"
    requires = (STATEMENTS, REGISTRY, HOOKS)
    uses = (ACCESS,)
    finds = (SESSIONS, APPS)
    hookspecs = hookspecs
    Config = ConsoleConfig
    config: ConsoleConfig

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide SAVED_VIEWS, for links to exports; without users and apps there are none."""
        return [provide(SAVED_VIEWS, _build_views)]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the files and the routes of the console."""
        fill = {"name": self.config.name, "colour": self.config.colour, "safe": ""}
        if self.config.safe:
            fill["safe"] = "yes"
        self._services = services
        self._routes = ConsoleRoutes(services, fill, is_lean=not self.config.sources)
        return self._routes.routes()

    @hookimpl
    def register_manifest_section(self) -> Sequence[ManifestSection]:
        """Let manifests declare views, dashboards, and pages for the RPCs of their worker."""
        pages = ManifestSection(page_section.KEY, page_section.SCHEMA)
        return [pages, *describe_sections()]

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Collect the pages of plugins, and read the id of this deployment."""
        statements = services.get(STATEMENTS)
        instance = await store.read_instance(statements)
        self._routes.instance = instance.strip('"')
        self._routes.preferences = Preferences(statements)
        self._routes.views = ViewKeeper(services, statements)
        apps = services.find(APPS)
        if apps is not None:
            await catch_up(statements, apps)
        self._routes.pages = collect(services)
        host = self.context.host
        if ":" in host:
            host = f"[{host}]"
        self.context.notices.append(f"Console: http://{host}:{self.context.port}/console/")
        yield

    @hookimpl
    async def app_planning(self, plan: InstallPlan) -> None:
        """Refuse views and dashboards that name what the manifest or the app does not have."""
        check(plan)
        access = self._services.find(ACCESS)
        if access is not None:
            await check_roles(access, self._services.get(STATEMENTS), plan)

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """Rename tables and fields in what users saved, and store what the manifest declares."""
        if plan.renamed:
            await follow(tx, plan)
        await declare(tx, plan)

    @hookimpl
    async def account_closing(self, tx: Transaction, user: User, delete: bool) -> None:
        """Delete the settings and views of a deleted account."""
        if delete:
            await store.forget_user(tx, user.id)


def _build_views(services: Services) -> SavedViews:
    return ViewQueries(services)
