"""The kernel: the plugins that are on, wired and checked; no connection is open yet."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import msgspec
import structlog
from starlette.types import ASGIApp

from kernel.config.log import masked, set_level
from kernel.config.settings import Config
from kernel.contracts import hookspecs
from kernel.contracts import server as contract
from kernel.contracts.access import Permission
from kernel.contracts.base import Command, Context, ManifestSection, Middleware, ServiceKey
from kernel.contracts.hookspecs import NAMESPACE
from kernel.contracts.server import HOOKS
from kernel.contracts.statements import STATEMENTS, Pool
from kernel.database.connect import wait_for_database
from kernel.database.migrations import find_migrations, preview
from kernel.errors import BootError, BootErrors, remedy_of
from kernel.hooks.bus import PluggyBus
from kernel.hooks.faults import FaultFinder, parts
from kernel.hooks.mistakes import declared_at, place
from kernel.hooks.plugin import Plugin
from kernel.hooks.services import KERNEL, ServiceContainer
from kernel.loading.slow_starts import StartWatch
from kernel.web.middleware import Edge
from kernel.web.routing import RouteTable

T = TypeVar("T")
GUARDS = ("register_middleware", "session_settings", "record_scope", "record_writing",
          "event_recorded")  # fmt: skip
"""Hooks without which a request could be allowed that should not be: such a plugin is never
left out."""

log = structlog.get_logger("caudex.loader")


class Kernel:
    """The loaded plugins and what they contribute; see also `contracts.server.Registry`."""

    def __init__(self, config: Config, load: Callable[..., Kernel]) -> None:
        """`load` is for `with_plugins`."""
        self.config = config
        self._load = load
        self.fault: BootError | None = None
        """The reason why the configuration could not be read, where a command runs without it."""
        server = config.server
        self.context = Context(data_dir=config.data_dir, host=server.host, port=server.port,
                               loopback=config.loopback, config_file=config.source,
                               public=config.public, processes=server.workers)  # fmt: skip
        self.read: Callable[[], Config] | None = None
        """Reads the configuration again, where `caudex serve` may do so at SIGHUP."""
        self.bus = PluggyBus(hookspecs, server.hook_timeout)
        self.database: Pool | None = None
        """The pool, while it is open: the kernel's own provider of STATEMENTS."""
        self.services = ServiceContainer(config.services, preferred=_preferred(config))
        self.services.provide(STATEMENTS, lambda _: self.database, by=KERNEL)
        self.services.put(contract.REGISTRY, self)
        self.services.put(HOOKS, self.bus)
        self.instances: list[Plugin] = []
        self.plugins: list[contract.PluginInfo] = []
        self.table = RouteTable(self.services, self.bus)
        self.wrap_handlers = self.table.wrap_handlers
        self.permissions: list[Permission] = []
        self.migrations: list[contract.Migration] = []
        """Those of the plugins that are on, in dependency order."""
        self.manifest_sections: list[tuple[str, ManifestSection]] = []
        self.commands: list[Command] = []
        self.owners: dict[str, str] = {}
        """Owners of names: `permission 'x'`, `command 'y'`, `manifest section 'z'`."""
        self._starts = StartWatch()
        self.failing: dict[str, str] = {}
        """Plugins whose lifespan or service failed while the server runs, each with the place."""
        self.boot_seconds: dict[str, float] = {}
        """Seconds that importing, creating and starting each plugin took."""
        self.middleware: list[tuple[str, Middleware]] = [(KERNEL, self._edge)]
        """(plugin, middleware) pairs, outermost first; the first is the kernel's own."""

    @property
    def routes(self) -> Sequence[tuple[str, contract.Route]]:
        """(plugin, route) pairs."""
        return self.table.declared()

    @property
    def working(self) -> Sequence[Plugin]:
        """The plugins that are on, without those that were left out."""
        on = {info.name for info in self.plugins if info.state == "on"}
        return [plugin for plugin in self.instances if plugin.name in on]

    @property
    def tasks(self) -> Mapping[str, Sequence[contract.TaskInfo]]:
        """The background tasks of each plugin that is on, in this process."""
        return {plugin.name: plugin.tasks.info() for plugin in self.working}

    @property
    def homes(self) -> Mapping[str, str]:
        """The plugin of each module, and of each package with all its modules."""
        modules = {plugin.name: sys.modules[type(plugin).__module__] for plugin in self.instances}
        packages = {m.__package__: name for name, m in modules.items() if m.__package__}
        return packages | {module.__name__: name for name, module in modules.items()}

    def plugin_of(self, module: str) -> str:
        """See `Registry.plugin_of`."""
        return FaultFinder(self.homes).owner(module)

    def blame(self, error: BaseException, called: str = "") -> Mapping[str, str]:
        """See `Registry.blame`."""
        return self.fault_finder.blame(error, called or None)

    @property
    def database_url(self) -> str:
        """The libpq connection string for tools such as pg_dump; never a pooler's."""
        return self.config.database.direct_url or self.config.database.url

    @property
    def fault_finder(self) -> FaultFinder:
        """Find the plugin that an error is to be blamed on."""
        return FaultFinder(self.homes, self.services.chain(STATEMENTS.name))

    def _edge(self, app: ASGIApp) -> ASGIApp:
        implementations = self.bus.implementations(hookspecs.register_middleware)
        places = {each.plugin: place(each.function) for each in implementations}
        wrappers = {plugin: places[plugin] for plugin, _ in self.middleware if plugin in places}
        self.edge = Edge(app, self.config, self.fault_finder, wrappers)
        return self.edge

    @property
    def reloads(self) -> bool:
        """See `Registry.reloads`."""
        return self.read is not None

    def reread(self) -> tuple[Kernel, Kernel]:
        """See `Registry.reread`."""
        assert self.read is not None
        return self, self._load(self.read(), to_serve=True)

    def adopt(self, config: contract.Configuration) -> None:
        """See `LoadedPlugins.adopt`."""
        assert isinstance(config, Config)
        self.config = config
        self.edge.configure(config)
        set_level(config.log.level)

    def provided_early(self, key: ServiceKey[T], where: str) -> T:
        """Return a service before the start. Raises BootError where no plugin provides it."""
        if (service := self.services.build_early(key)) is not None:
            return service
        raise missing(key, where)

    def lacking(self) -> Iterator[BootError]:
        """Yield an error for each part of a server that no plugin provides."""
        provider = self.services.provider
        if not (self.config.database.url or provider(contract.DATABASE_SERVER.name)):
            remedy = "set [database] url, or enable a plugin that runs one (postgres)"
            yield BootError("database", "none is configured and no plugin runs one", remedy)
        if not provider(contract.HTTP_SERVER.name):
            yield missing(contract.HTTP_SERVER, "HTTP server")

    def database_server(self) -> contract.DatabaseServer:
        """Return the plugin that runs a database. Raises BootError without one."""
        if server := self.services.build_early(contract.DATABASE_SERVER):
            return server
        raise next(self.lacking())

    def use_database(self, url: str, port: int | None) -> None:
        """Use an embedded database."""
        self.config = self.config.replaced("database", url=url, embedded_port=port)

    def attach_database(self) -> bool:
        """See `LoadedPlugins.attach_database`."""
        if not self.config.database.url:
            server = self.database_server()
            if url := server.attach():
                self.use_database(url, server.port)
        return bool(self.config.database.url)

    async def examine_database(self) -> contract.DatabaseState:
        """See `LoadedPlugins.examine_database`."""
        config = msgspec.structs.replace(self.config.database, wait=0.0)
        version = await wait_for_database(config)
        report = await preview(config, self.migrations)
        return contract.DatabaseState(
            version=version, missing=report.applied, unknown=report.unknown
        )

    def with_plugins(self, enabled: Mapping[str, bool], *, to_serve: bool = False) -> Kernel:
        """See `Registry.with_plugins`."""
        if self.fault:
            raise self.fault
        tables = self.config.plugins
        changed = {name: {**tables.get(name, {}), "enabled": on} for name, on in enabled.items()}
        config = msgspec.structs.replace(self.config, plugins={**tables, **changed})
        return self._load(config, to_serve=to_serve)

    def may_fail(self, plugin: str) -> bool:
        """Whether the operator allows a start without the plugin."""
        table = self.config.plugins.get(plugin, {})
        return table.get("on_failure", "stop") == "degrade"

    @contextmanager
    def timing(self, plugin: str, place: str = "") -> Generator[None]:
        """Add the time of the block to the plugin's boot time; a long one is logged.

        `place` is where its code is defined.
        """
        began = perf_counter()
        try:
            with self._starts.watching(plugin, place):
                yield
        finally:
            self.boot_seconds[plugin] = self.boot_seconds.get(plugin, 0.0) + perf_counter() - began

    @contextmanager
    def starting(self, plugin: str, place: str = "") -> Generator[None]:
        """Continue without a plugin that fails to start and may be left out.

        Raises BootError where it may not, or where other plugins need it.
        """
        try:
            with self.timing(plugin, place):
                yield
        except BootError as error:
            if not self.may_fail(plugin):
                raise
            if reasons := self._needed_by(plugin):
                problem = f"cannot be left out: {'; '.join(reasons)}"
                needed = BootError(f"plugin {plugin}", problem, "fix it, or disable these too")
                raise BootErrors([error, needed]) from error
            self._leave_out(plugin, error)

    def observer(self, plugin: str, place: str) -> PluginObserver:
        """Return what hears of the contexts of a plugin, which are open while the server runs.

        `place` is where they are defined.
        """
        return PluginObserver(self, plugin, place)

    def _leave_out(self, plugin: str, error: BootError) -> None:
        """Remove what a plugin contributed; its routes stay and answer 503."""
        log.error("a plugin is left out", plugin=plugin, error=str(error))
        self.bus.drop(plugin)
        self.table.close(plugin)
        self.services.forget(plugin)
        self.manifest_sections[:] = [s for s in self.manifest_sections if s[0] != plugin]
        [at] = [at for at, info in enumerate(self.plugins) if info.name == plugin]
        left_out = {"state": "degraded", "note": masked(str(error))}
        self.plugins[at] = msgspec.structs.replace(self.plugins[at], **left_out)

    def _needed_by(self, plugin: str) -> list[str]:
        """Return the reasons why the server cannot run without a loaded plugin."""
        provider, owners = self.services.provider, {by for by, _ in self.routes}
        others = [other for other in self.instances if other.name != plugin]
        needs = [(f"{o.name} needs", key.name) for o in others for key in o.requires]
        needs += [(f"{o.name} wraps", n) for o in others for n in self.services.wrapped_by(o.name)]
        # A plugin that provides the same service does not require it, but its routes need the
        # chosen engine.
        needs += [
            (f"routes of {o.name} need", name)
            for o in others
            if o.name in owners
            for name in self.services.offered_by(o.name)
        ]
        asking = {by for by, r in self.routes if r.needs.kind not in ("public", "user")}
        needs += [(f"routes of {by} need", "access") for by in sorted(asking - {plugin})]
        reasons = [f"{user} {name!r}" for user, name in needs if provider(name) == plugin]
        cls = next((type(each) for each in self.instances if each.name == plugin), None)
        reasons += [f"it wraps {name!r}" for name in self.services.wrapped_by(plugin)]
        return reasons + [f"its hooks protect requests ({g})" for g in [guard_hooks(cls)] if g]


class PluginObserver:
    """Reports a lifespan or a service that fails while the server runs; see `hosts.Observer`."""

    def __init__(self, kernel: Kernel, plugin: str, place: str) -> None:
        self._kernel = kernel
        self._plugin = plugin
        self._place = place

    def lost(self, error: BaseException, pause: float | None) -> None:
        """Name the plugin, and end its background tasks, which its next lifespan starts again."""
        kernel, plugin = self._kernel, self._plugin
        blamed = self._blamed(error)
        first = next(parts(error))
        kernel.failing[plugin] = f"{type(first).__name__} at {blamed['where']}"
        again = {} if pause is None else {"restart_in": pause}
        log.error("a plugin failed while it runs", **blamed, **again, exc_info=error)
        for instance in kernel.instances:
            if instance.name == plugin and pause is not None:
                instance.tasks.end()

    def unclosed(self, error: BaseException) -> None:
        """Name the plugin that failed at its end; the error ends the server, which ends anyhow."""
        log.error("a plugin failed to end", **self._blamed(error), exc_info=error)

    def _blamed(self, error: BaseException) -> dict[str, str]:
        """Return the plugin, the place and the remedy; of an error of its own the place of it."""
        named = {"plugin": self._plugin, "where": self._place, "remedy": remedy_of(error)}
        return named | self._kernel.fault_finder.blame(error, self._plugin)

    def back(self) -> None:
        """Report that the plugin works again."""
        self._kernel.failing.pop(self._plugin, None)
        log.warning("a plugin works again", plugin=self._plugin)


def guard_hooks(cls: type[Plugin] | None) -> str:
    """Name the guard hooks that a class implements; none for a class that was not imported."""
    return ", ".join(
        name for name in GUARDS if hasattr(getattr(cls, name, None), f"{NAMESPACE}_impl")
    )


def _preferred(config: Config) -> Mapping[str, str]:
    """Providers that replace the kernel's by default; not behind a pooler, where each transaction
    may use another connection."""
    pooled = config.database.direct_url or not config.database.prepare
    return {} if pooled else importlib.import_module("plugins").PREFERRED


def missing(key: ServiceKey[Any], where: str) -> BootError:
    """Return the error for a part of a server that no plugin provides."""
    remedy = f"enable one that provides {key.name!r}, as `caudex plugins` shows"
    return BootError(where, "no plugin that is on provides it", remedy)


def migrations_of(plugin: Plugin) -> list[contract.Migration]:
    """Return the migrations of a plugin in order. Raises BootError."""
    source = Path(sys.modules[type(plugin).__module__].__file__ or ".")
    folder = plugin.migrations and Path(plugin.migrations)
    if folder is None and source.stem == "__init__":
        folder = source.parent / "migrations"
        return find_migrations(plugin.name, folder) if folder.is_dir() else []
    found = [] if folder is None else find_migrations(plugin.name, folder)
    if folder and not found:
        where = f"plugin {plugin.name}, {declared_at(type(plugin), 'migrations')}"
        problem = f"its folder of migrations {'is empty' if folder.is_dir() else 'is missing'}"
        raise BootError(where, f"{problem}: {folder}", "write 0001_what.sql into it")
    return found
