"""Links to exports: addresses that show a table, or a part of it, as a file."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kernel.public import (
    ACCESS,
    APPS,
    IDENTITY,
    RECORDS,
    SAVED_VIEWS,
    STATEMENTS,
    InstallPlan,
    Plugin,
    Provider,
    Route,
    Services,
    Transaction,
    User,
    hookimpl,
    provide,
)

from . import store
from .config import ExportsConfig
from .contents import ExportContents
from .renames import follow
from .routes import ExportsRoutes
from .service import EXPORTS, ExportLinks
from .signing import LinkSigner


class ExportsPlugin(Plugin):
    """Makes links to exports, and answers who opens one."""

    name = "exports"
    Config = ExportsConfig
    config: ExportsConfig
    requires = (STATEMENTS, APPS, ACCESS, IDENTITY, RECORDS)
    finds = (SAVED_VIEWS,)

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide what is behind the routes."""
        return [provide(EXPORTS, _build_links)]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes."""
        return ExportsRoutes(services, self.config).routes()

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """Follow names of tables and fields that change."""
        if plan.renamed:
            await follow(tx, plan)

    @hookimpl
    async def account_closing(self, tx: Transaction, user: User, delete: bool) -> None:
        """Delete the links of a deleted account."""
        if delete:
            await store.forget_user(tx, user.id)


@asynccontextmanager
async def _build_links(services: Services) -> AsyncGenerator[ExportLinks]:
    statements = services.get(STATEMENTS)
    access = services.get(ACCESS)
    signer = LinkSigner(await store.read_key(statements), services.get(IDENTITY))
    contents = ExportContents(services.get(RECORDS), access)

    yield ExportLinks(statements, access, signer, contents, lambda: services.find(SAVED_VIEWS))
