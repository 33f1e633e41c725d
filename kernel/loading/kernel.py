"""The kernel: the plugins that are on, wired and checked; no connection is open yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from starlette.types import ASGIApp

from kernel.config.log import set_level
from kernel.config.settings import Config
from kernel.contracts import hookspecs
from kernel.contracts import server as contract
from kernel.contracts.access import Permission
from kernel.contracts.base import Command, Context, ManifestSection, Middleware, ServiceKey
from kernel.contracts.server import HOOKS
from kernel.contracts.statements import POOL, STATEMENTS
from kernel.database.connection_options import wait_for_database
from kernel.database.migrations import preview
from kernel.errors import BootError
from kernel.errors.source_lines import source_line
from kernel.hooks.bus import PluggyBus
from kernel.hooks.fault_finder import FaultFinder
from kernel.hooks.plugin import Plugin
from kernel.hooks.services import KERNEL, ServiceContainer
from kernel.loading.bundles import preferred_providers
from kernel.loading.contributions import Contributions
from kernel.loading.plugin_set import PluginSet
from kernel.loading.reloader import Load, Reloader
from kernel.loading.slow_starts import StartWatch
from kernel.web.arrivals.doors import Doors
from kernel.web.arrivals.traffic import TrafficCounter
from kernel.web.edge import Edge
from kernel.web.inner_calls import InnerCalls
from kernel.web.routing import RouteTable

T = TypeVar("T")


class Kernel:
    """A loaded server, which is what `contracts.server.Registry` and `LoadedPlugins` describe.

    It holds the parts. Each part is in a module of its own.
    """

    edge: Edge
    """Set while the application is built."""

    def __init__(self, config: Config, load: Load) -> None:
        self.config = config
        self.context = _make_context(config)
        self.bus = PluggyBus(hookspecs, config.server.hook_timeout)
        self.services = ServiceContainer(config.services, preferred=_choose_preferred(config))
        self.services.provide(STATEMENTS, lambda services: services.get(POOL), by=KERNEL)
        self.services.put(contract.REGISTRY, self)
        self.services.put(HOOKS, self.bus)
        self.table = RouteTable(self.services, self.bus)
        self.services.put(contract.ROUTES, InnerCalls(self.table))
        self.traffic = TrafficCounter()
        self.services.put(contract.TRAFFIC, self.traffic)
        self.plugin_set = PluginSet()
        self.contributions = Contributions()
        self.contributions.middleware.append((KERNEL, self._wrap_in_edge))
        self.starts = StartWatch()
        self.reloader = Reloader(load)

    @property
    def plugins(self) -> list[contract.PluginInfo]:
        """See `Registry.plugins`."""
        return self.plugin_set.infos

    @property
    def instances(self) -> list[Plugin]:
        """See `LoadedPlugins.instances`."""
        return self.plugin_set.instances

    @property
    def failing(self) -> Mapping[str, str]:
        """See `Registry.failing`."""
        return self.plugin_set.failing

    @property
    def tasks(self) -> Mapping[str, Sequence[contract.TaskInfo]]:
        """See `Registry.tasks`."""
        return self.plugin_set.tasks

    @property
    def boot_seconds(self) -> Mapping[str, float]:
        """See `Registry.boot_seconds`."""
        return self.starts.seconds

    @property
    def routes(self) -> Sequence[tuple[str, contract.Route]]:
        """See `Registry.routes`."""
        return self.table.declared()

    @property
    def permissions(self) -> Sequence[Permission]:
        """See `Registry.permissions`."""
        return self.contributions.permissions

    @property
    def commands(self) -> Sequence[Command]:
        """The commands of the plugins."""
        return self.contributions.commands

    @property
    def manifest_sections(self) -> Sequence[tuple[str, ManifestSection]]:
        """See `Registry.manifest_sections`."""
        return self.contributions.manifest_sections

    @property
    def middleware(self) -> list[tuple[str, Middleware]]:
        """See `Registry.middleware`."""
        return self.contributions.middleware

    @property
    def migrations(self) -> Sequence[contract.Migration]:
        """See `LoadedPlugins.migrations`."""
        return self.contributions.migrations

    @property
    def owners(self) -> Mapping[str, str]:
        """See `LoadedPlugins.owners`."""
        return self.contributions.owners

    def wrap_handlers(self, wrap: Callable[[str, contract.Handler], contract.Handler]) -> None:
        """See `Registry.wrap_handlers`."""
        self.table.wrap_handlers(wrap)

    def wrap_app_hosts(self, wrap: Middleware) -> None:
        """See `Registry.wrap_app_hosts`."""
        self.table.wrap_app_hosts(wrap)

    @property
    def fault_finder(self) -> FaultFinder:
        """Find the plugin that an error is to be blamed on."""
        carriers = self.services.chain(STATEMENTS.name)
        return FaultFinder(self.plugin_set.homes, carriers)

    def plugin_of(self, module: str) -> str:
        """See `Registry.plugin_of`."""
        return FaultFinder(self.plugin_set.homes).owner(module)

    def blame(self, error: BaseException, called: str = "") -> Mapping[str, str]:
        """See `Registry.blame`."""
        return self.fault_finder.blame(error, called or None)

    @property
    def reloads(self) -> bool:
        """See `Registry.reloads`."""
        return self.reloader.read is not None

    def reread(self) -> tuple[Kernel, contract.LoadedPlugins]:
        """See `Registry.reread`."""
        return self, self.reloader.reload()

    def with_plugins(
        self, enabled: Mapping[str, bool], *, to_serve: bool = False
    ) -> contract.LoadedPlugins:
        """See `Registry.with_plugins`."""
        return self.reloader.load_with(self.config, enabled, to_serve=to_serve)

    def adopt(self, config: contract.Configuration) -> None:
        """See `LoadedPlugins.adopt`."""
        assert isinstance(config, Config)
        self.config = config
        self.edge.configure(config)
        set_level(config.log.level)

    def build_needed(self, key: ServiceKey[T], where: str) -> T:
        """Return a service before the start. Raises BootError where no plugin provides it."""
        service = self.services.build_early(key)
        if service is None:
            raise _missing_part(key, where)
        return service

    def find_lacking(self) -> Iterator[BootError]:
        """Yield an error for each part of a server that no plugin provides."""
        provider = self.services.provider
        if not (self.config.database.url or provider(contract.DATABASE_SERVER.name)):
            remedy = "set [database] url, or enable a plugin that runs one (postgres)"
            yield BootError("database", "none is configured and no plugin runs one", remedy)
        if not provider(contract.HTTP_SERVER.name):
            yield _missing_part(contract.HTTP_SERVER, "HTTP server")

    @property
    def database_url(self) -> str:
        """The libpq connection string for tools such as pg_dump; never a pooler's."""
        return self.config.database.direct_url or self.config.database.url

    def database_server(self) -> contract.DatabaseServer:
        """Return the plugin that runs a database. Raises BootError without one."""
        server = self.services.build_early(contract.DATABASE_SERVER)
        if server is None:
            raise next(self.find_lacking())
        return server

    def use_database(self, url: str, port: int | None) -> None:
        """Use an embedded database."""
        self.config = self.config.replaced("database", url=url, embedded_port=port)

    def attach_database(self) -> bool:
        """See `LoadedPlugins.attach_database`."""
        if self.config.database.url:
            return True
        server = self.database_server()
        url = server.attach()
        if not url:
            return False
        self.use_database(url, server.port)
        return True

    async def examine_database(self) -> contract.DatabaseState:
        """See `LoadedPlugins.examine_database`."""
        config = msgspec.structs.replace(self.config.database, wait=0.0)
        version = await wait_for_database(config)
        report = await preview(config, self.migrations)
        return contract.DatabaseState(
            version=version, missing=report.applied, unknown=report.unknown
        )

    def _wrap_in_edge(self, app: ASGIApp) -> ASGIApp:
        """Wrap the application in the edge, which knows the middleware within it."""
        implementations = self.bus.implementations(hookspecs.register_middleware)
        places = {impl.plugin: source_line(impl.function) for impl in implementations}
        wrappers = {plugin: places[plugin] for plugin, _ in self.middleware if plugin in places}
        self.edge = Edge(
            app, self.config, self.fault_finder, wrappers, Doors(self.bus), self.traffic
        )
        return self.edge


def _make_context(config: Config) -> Context:
    server = config.server
    return Context(
        data_dir=config.data_dir,
        host=server.host,
        port=server.port,
        loopback=config.loopback,
        config_file=config.source,
        public=config.public,
        processes=config.process_count,
    )


def _choose_preferred(config: Config) -> Mapping[str, str]:
    """Providers that replace the kernel's by default; not behind a pooler, where each transaction
    may use another connection."""
    is_pooled = config.database.direct_url or not config.database.prepare
    return {} if is_pooled else preferred_providers()


def _missing_part(key: ServiceKey[Any], where: str) -> BootError:
    """Return the error for a part of a server that no plugin provides."""
    remedy = f"enable one that provides {key.name!r}, as `caudex plugins` shows"
    return BootError(where, "no plugin that is on provides it", remedy)
