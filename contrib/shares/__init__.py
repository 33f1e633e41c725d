"""Public shares: addresses that show a record or a list without an account."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import (
    ACCESS,
    APPS,
    FRONTENDS,
    IDENTITY,
    RECORDS,
    SAVED_VIEWS,
    STATEMENTS,
    WORKERS,
    InstallPlan,
    ManifestSection,
    Permission,
    Plugin,
    Provider,
    Route,
    Services,
    Transaction,
    User,
    hookimpl,
    provide,
)

from . import section, store
from .config import SharesConfig
from .contents import SharedRecords
from .methods import PublicMethods
from .renames import follow
from .routes import SharesRoutes
from .service import PERMISSION, SHARES, ShareParts, Shares


class SharesPlugin(Plugin):
    """Makes public shares, and shows what is behind one."""

    name = "shares"
    Config = SharesConfig
    config: SharesConfig
    requires = (STATEMENTS, APPS, ACCESS, IDENTITY, RECORDS)
    finds = (SAVED_VIEWS, WORKERS, FRONTENDS)

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide what is behind the routes."""
        return [provide(SHARES, self._build)]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes."""
        return SharesRoutes(services, self.config).routes()

    @hookimpl
    def register_permissions(self) -> Sequence[Permission]:
        """Declare the right to make shares, which roles of each app can hold."""
        description = "Share records by links that need no account"
        return [Permission(PERMISSION, description, on="app")]

    @hookimpl
    def register_manifest_section(self) -> ManifestSection:
        """Declare the section, and find the problems that its schema cannot express."""
        return ManifestSection(section.KEY, section.SCHEMA, section.problems)

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """Follow names of tables and fields that change."""
        if plan.renamed:
            await follow(tx, plan)

    @hookimpl
    async def account_closing(self, tx: Transaction, user: User, delete: bool) -> None:
        """Delete the shares of a deleted account."""
        if delete:
            await store.forget_user(tx, user.id)

    def _build(self, services: Services) -> Shares:
        access = services.get(ACCESS)
        identity = services.get(IDENTITY)
        parts = ShareParts(
            statements=services.get(STATEMENTS),
            access=access,
            identity=identity,
            records=SharedRecords(services.get(RECORDS), access),
            methods=PublicMethods(
                services.get(APPS), access, identity, lambda: services.find(WORKERS)
            ),
            find_views=lambda: services.find(SAVED_VIEWS),
        )
        return Shares(parts, self.config)
