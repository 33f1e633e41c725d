"""Frontends: the pages of apps, each at a host of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence, Set
from contextlib import asynccontextmanager
from functools import cached_property

import structlog
from anyio import to_thread
from starlette.types import ASGIApp, Receive, Scope, Send

from kernel.public import (
    ACCESS,
    APPS,
    FRONTENDS,
    HOOKS,
    NOTIFICATIONS,
    REGISTRY,
    SESSIONS,
    STATEMENTS,
    App,
    BootErrors,
    DatabaseQuery,
    Finding,
    InstallPlan,
    ManifestSection,
    Plugin,
    Provider,
    Route,
    Services,
    Transaction,
    hookimpl,
    provide,
)

from .addresses import Addresses
from .bundles.shelf import SHELF, Shelf
from .config import FrontendsConfig
from .diagnosis import PATHS, diagnose, find_server_names
from .hosts import Hosts
from .policy import KEY, SCHEMA, Policy
from .routes import FrontendsRoutes
from .service import SERVICE, FrontendsService
from .serving.directory import DIRECTORY, Directory
from .serving.door import DOOR, AppDoor
from .serving.memory import Memory
from .serving.sites import Sites
from .sign_in.readers import Readers
from .sign_in.routes import SignInRoutes
from .sign_in.servers import ServerAddress
from .sign_in.service import SIGN_IN, AppSignIn
from .sign_in.store import read_key, remove_expired
from .store import TOPIC, FrontendsStore

MB = 2**20

log = structlog.get_logger("caudex.frontends")


class FrontendsPlugin(Plugin):
    """Deploys frontends of apps, and serves them at hosts of their own."""

    name = "frontends"
    Config = FrontendsConfig
    requires = (STATEMENTS, NOTIFICATIONS, REGISTRY, APPS, ACCESS, HOOKS)
    finds = (SESSIONS,)
    config: FrontendsConfig
    _names: Set[str] = frozenset()

    @cached_property
    def _hosts(self) -> Hosts:
        return Hosts(self.config, self.context.port)

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide FRONTENDS, and what serves and deploys them."""
        return [
            provide(SHELF, self._make_shelf),
            provide(DIRECTORY, self._make_directory),
            provide(DOOR, self._make_door),
            provide(SERVICE, self._make_service),
            provide(FRONTENDS, self._make_addresses),
            provide(SIGN_IN, self._open_sign_in),
        ]

    def _make_shelf(self, services: Services) -> Shelf:
        folder = self.context.data_dir / "frontends"
        store = FrontendsStore(services.get(STATEMENTS))
        return Shelf(folder, store, self.config.disk_mb * MB)

    def _make_directory(self, services: Services) -> Directory:
        store = FrontendsStore(services.get(STATEMENTS))
        policy = Policy(self.config)
        return Directory(store, services.get(APPS), services.get(NOTIFICATIONS), policy)

    def _make_door(self, services: Services) -> AppDoor:
        memory = Memory(self.config.memory_mb * MB)
        sites = Sites(services.get(SHELF), services.get(NOTIFICATIONS), memory)
        readers = Readers(services, self._hosts)
        return AppDoor(services.get(DIRECTORY), sites, self._hosts, readers)

    def _make_service(self, services: Services) -> FrontendsService:
        policy = Policy(self.config)
        directory = services.get(DIRECTORY)
        return FrontendsService(services, services.get(SHELF), directory, self._hosts, policy)

    @asynccontextmanager
    async def _open_sign_in(self, services: Services) -> AsyncGenerator[AppSignIn]:
        statements = services.get(STATEMENTS)
        key = await read_key(statements)
        yield AppSignIn(statements, services.find(SESSIONS), key)

    @hookimpl(optionalhook=True)
    def app_host_allows_passwords(self, app_id: str) -> bool:
        """Refuse passwords at the hosts of apps where the operator wants so."""
        return self.config.own_login

    def _make_addresses(self, services: Services) -> Addresses:
        return Addresses(services.get(DIRECTORY), self._hosts, self.config.own_login)

    @hookimpl
    def register_manifest_section(self) -> ManifestSection:
        """Accept `frontend`, which says what the pages of an app may load, and who sees them."""
        return ManifestSection(KEY, SCHEMA)

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes of frontends."""
        self._server = ServerAddress(self.config.server_url, self.config.scheme, self.context)
        sign_in = SignInRoutes(services, self._hosts, self._server)
        return [*FrontendsRoutes(services, self._hosts).routes(), *sign_in.routes()]

    @hookimpl
    def app_of_host(self, host: str) -> str | None:
        """Name the app of a host."""
        return self._hosts.find_app(host)

    @hookimpl
    def plugins_loaded(self, services: Services) -> None:
        """Answer at the hosts of apps. Raises BootErrors where the server's own is one of them."""
        registry = services.get(REGISTRY)
        self._names = find_server_names(registry.config)
        self._server.names = self._names
        errors = list(self._hosts.check_server_names(self._names))
        if errors:
            raise BootErrors(errors)

        def wrap(routes: ASGIApp) -> ASGIApp:
            async def call(scope: Scope, receive: Receive, send: Send) -> None:
                await services.get(DOOR).answer(routes, scope, receive, send)

            return call

        registry.wrap_app_hosts(wrap)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Make the folder for copies of frontends, and keep it within its limit."""
        if self._hosts.serve_paths:
            log.warning(PATHS)
        shelf = services.get(SHELF)
        await to_thread.run_sync(shelf.prepare)
        store = FrontendsStore(services.get(STATEMENTS))
        services.get(DOOR).cookie.deployment = await store.read_installation()

        async def sweep() -> None:
            await to_thread.run_sync(shelf.sweep)

        self.tasks.every(3600, sweep, "sweep of copies")
        statements = services.get(STATEMENTS)
        self.tasks.every(
            600, lambda: remove_expired(statements), "delete expired codes", leader=True
        )
        yield

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """Have every server read the policy of the app again."""
        if not plan.first:
            await tx.publish(TOPIC, plan.app.id)

    @hookimpl
    async def app_removing(self, tx: Transaction, app: App) -> None:
        """Have every server forget the frontend of an app that is removed."""
        await tx.publish(TOPIC, app.id)

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Report what keeps pages of apps from those of the console."""
        return list(diagnose(self.config, self._hosts, self._names))
