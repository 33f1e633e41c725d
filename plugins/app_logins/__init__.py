"""Database logins of apps: each worker reaches the tables of its own app, and no others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio

from kernel.public import (
    APP_LOGINS,
    LOGS,
    POOL,
    STATEMENTS,
    WORKERS,
    App,
    DatabaseQuery,
    Finding,
    InstallPlan,
    Plugin,
    Provider,
    Services,
    Transaction,
    hookimpl,
    provide,
)

from . import store
from .config import AppLoginsConfig
from .service import SERVICE, AppLoginsService
from .session_watchdog import SessionWatchdog


class AppLoginsPlugin(Plugin):
    """Provides APP_LOGINS. Without it workers get no `database_url`."""

    name = "app_logins"
    Config = AppLoginsConfig
    requires = (STATEMENTS, POOL)
    finds = (LOGS, WORKERS)
    config: AppLoginsConfig

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide APP_LOGINS."""
        return [
            provide(SERVICE, self._make),
            provide(APP_LOGINS, lambda services: services.get(SERVICE)),
        ]

    def _make(self, services: Services) -> AppLoginsService:
        return AppLoginsService(services.get(STATEMENTS), self.config)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Watch the sessions of apps while workers may run, unless another plugin makes logins."""
        service = services.get(SERVICE)
        if services.get(APP_LOGINS) is not service:
            yield
            return
        await service.drop_orphans()
        watchdog = SessionWatchdog(services, service, self.config.transaction_timeout)
        # Not a task of the toolkit, which would end before the workers do.
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watchdog.run)
            await watchdog.looked.wait()
            yield
            tasks.cancel_scope.cancel()

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Warn where the database refuses logins for apps."""
        if query(store.MAY_CREATE_ROLES) != "False":
            return []
        text = "this login may not make roles, so apps get no login of their own"
        return [Finding(name="app logins", text=text, state="warn")]

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """Let the login of an app reach the tables that the app has now."""
        await store.renew(tx, plan.app)

    @hookimpl
    async def app_removing(self, tx: Transaction, app: App) -> None:
        """Drop the login of an app that is uninstalled."""
        await store.remove(tx, app.id)
