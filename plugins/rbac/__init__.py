"""Roles and permissions: who may do what on which app."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kernel.public import (
    ACCESS,
    APPS,
    HOOKS,
    IDENTITY,
    NOTIFICATIONS,
    RECORDS,
    REGISTRY,
    STATEMENTS,
    App,
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

from .decisions import TOPIC, RoleCache, notification
from .explain import Explainer
from .installs import catch_up, install
from .models import ADMIN, CORE
from .routes import RbacRoutes
from .service import RbacService, give
from .store import RbacStore


class RbacPlugin(Plugin):
    """Provides ACCESS from roles that are stored in the database and cached in memory."""

    name = "rbac"
    requires = (STATEMENTS, NOTIFICATIONS, REGISTRY, IDENTITY, HOOKS)
    finds = (APPS, RECORDS)
    _service: RbacService | None = None
    """None where another plugin provides ACCESS: the hooks do nothing then."""

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide ACCESS."""
        return [provide(ACCESS, self._build)]

    def _build(self, services: Services) -> RbacService:
        statements = services.get(STATEMENTS)
        store = RbacStore(statements)
        role_cache = RoleCache(
            store, services.get(NOTIFICATIONS), services.get(REGISTRY).permissions
        )
        self._service = RbacService(statements, store, role_cache, services.get(IDENTITY))
        return self._service

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes of roles and permissions."""
        return RbacRoutes(
            services, lambda: self._make_explainer(services), lambda: self._service
        ).routes()

    def _make_explainer(self, services: Services) -> Explainer | None:
        if self._service is None:
            return None
        return Explainer(
            self._service,
            services.get(IDENTITY),
            services.get(HOOKS),
            services.find(RECORDS),
            services.find(APPS),
        )

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Remove roles of apps that are gone. APPS needs ACCESS, so it is looked up here."""
        apps = services.find(APPS)
        if self._service is not None and apps is not None:
            await catch_up(services.get(STATEMENTS), apps)
        yield

    @hookimpl
    async def account_created(self, tx: Transaction, user: User, first: bool) -> None:
        """Make the first account the admin of core."""
        if self._service is not None and first:
            await give(tx, CORE, ADMIN, user.id)

    @hookimpl
    async def account_closing(self, tx: Transaction, user: User, delete: bool) -> None:
        """Keep the last core admin, remove the assignments of a deleted account."""
        if self._service is not None:
            await self._service.close_account(tx, user.id, delete=delete)

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """Store the permission keys of an app, and make its installer the admin."""
        if self._service is not None:
            await install(tx, plan)

    @hookimpl
    async def app_removing(self, tx: Transaction, app: App) -> None:
        """Remove an app."""
        if self._service is not None:
            await tx.publish(TOPIC, notification(app.id))
            await self._service.cross_app.removing(tx, app.id)
