"""Database logins of apps: each worker reaches the tables of its own app, and no others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager

import anyio

from kernel.public import (
    APP_LOGINS,
    APPS,
    CALLER_SQL,
    LOGS,
    POOL,
    RECORDS,
    STATEMENTS,
    WORKERS,
    App,
    Command,
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
from .memory import SessionMemory
from .queries.service import QUERIES, CallerQueries
from .readers import store as readers_store
from .readers.commands import sql_reader_command
from .readers.service import READERS, ReadersService
from .service import SERVICE, AppLoginsService
from .session_watchdog import SESSION, SessionWatchdog

UNBOUND_FILES = (
    "temporary files of apps' logins have no bound: let a superuser run "
    "`grant set on parameter temp_file_limit to LOGIN` with the login of [database] url"
)
OPEN_TO_ALL = (
    "apps' logins may write large objects and messages into the log: let a superuser revoke "
    "execute on the functions lo_*, lowrite and pg_logical_emit_message from public"
)
UNWATCHED_MEMORY = (
    "the memory of apps' logins is not watched, as PostgreSQL is not on this machine: bound it "
    "there, as by a cgroup"
)


class AppLoginsPlugin(Plugin):
    """Provides APP_LOGINS. Without it workers get no `database_url`."""

    name = "app_logins"
    Config = AppLoginsConfig
    requires = (STATEMENTS, POOL)
    finds = (LOGS, WORKERS, APPS, RECORDS)
    config: AppLoginsConfig

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide APP_LOGINS."""
        return [
            provide(SERVICE, self._make),
            provide(APP_LOGINS, lambda services: services.get(SERVICE)),
            provide(READERS, self._make_readers),
            provide(QUERIES, self._make_queries),
            provide(CALLER_SQL, lambda services: services.get(QUERIES)),
        ]

    @hookimpl
    def register_commands(self) -> Sequence[Command]:
        """Add `caudex sql-reader`."""
        return [sql_reader_command()]

    def _make(self, services: Services) -> AppLoginsService:
        return AppLoginsService(services.get(STATEMENTS), self.config)

    def _make_readers(self, services: Services) -> ReadersService:
        return ReadersService(
            services.get(POOL), lambda: services.get(APPS), services.get(SERVICE), self.config
        )

    def _make_queries(self, services: Services) -> CallerQueries:
        return CallerQueries(
            services.get(POOL),
            lambda: services.get(APPS),
            lambda: services.find(RECORDS),
            services.get(SERVICE),
            self.config,
        )

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Watch the sessions of apps while workers may run, unless another plugin makes logins."""
        async with aclosing(services.get(QUERIES)), self._watching(services):
            yield

    @asynccontextmanager
    async def _watching(self, services: Services) -> AsyncGenerator[None]:
        service = services.get(SERVICE)
        if services.get(APP_LOGINS) is not service:
            yield
            return
        await service.drop_orphans()
        await service.shut_out_strangers()
        await service.renew_passwords()
        if await service.may() and services.find(APPS) is not None:
            await services.get(READERS).grant_again()
        watchdog = SessionWatchdog(services, service, self.config)
        # Not a task of the toolkit, which would end before the workers do.
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watchdog.run)
            await watchdog.looked.wait()
            yield
            tasks.cancel_scope.cancel()

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Warn where the database refuses logins for apps, or does not bound what they take."""
        if query(store.MAY_CREATE_ROLES) == "False":
            text = "this login may not make roles, so apps get no login of their own"
            return [Finding(name="app logins", text=text, state="warn")]
        texts: list[str] = []
        if query(store.MAY_BOUND_FILES) == "False":
            texts.append(UNBOUND_FILES)
        if query(store.OPEN_TO_ALL) == "True":
            texts.append(OPEN_TO_ALL)
        session = query(SESSION)
        if session is not None and not _is_watched(session):
            texts.append(UNWATCHED_MEMORY)
        return [Finding(name="app logins", text=text, state="warn") for text in texts]

    @hookimpl
    async def app_changing(self, tx: Transaction, app_id: str) -> None:
        """Drop the views of readers, under which no column can change its type."""
        await readers_store.drop_views(tx, app_id)

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """Let the logins of an app reach the tables that the app has now."""
        await store.renew(tx, plan.app)
        await readers_store.renew(tx, plan.app)

    @hookimpl
    async def app_removing(self, tx: Transaction, app: App) -> None:
        """Drop the logins of an app that is uninstalled."""
        await readers_store.remove_of_app(tx, app.id)
        await store.remove(tx, app.id)


def _is_watched(session: str) -> bool:
    """Whether this process can read the memory of a session, given as process id and database."""
    backend, database = session.split()
    return SessionMemory().attach(int(backend), int(database))
