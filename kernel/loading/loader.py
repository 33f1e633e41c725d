"""Find plugins, switch them on or off, put them in order; every mistake is told at once."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import structlog

from kernel.config.convert import convert, current_name
from kernel.config.log import masked
from kernel.config.settings import Config
from kernel.contracts.access import Permission
from kernel.contracts.registry import REGISTRY, PluginInfo
from kernel.contracts.statements import STATEMENTS, Pool
from kernel.database.migrations import Migration, find_migrations
from kernel.errors import BootError, BootErrors, nearest
from kernel.hooks import hookspecs
from kernel.hooks.bus import HookBus, place
from kernel.hooks.plugin import Command, Context, ManifestSection, Middleware, Plugin, Provider
from kernel.hooks.services import KERNEL, Services
from kernel.hooks.timing import timed_service
from kernel.loading.contributions import collect
from kernel.loading.sources import Source, blamed, check_class, find_sources, folders, plugin_class
from kernel.web.http import Route
from kernel.web.routing import RouteTable

KERNEL_SERVICES = ("statements", "pool", "notifications", "registry", "hooks")
OWN_KEYS = ("enabled", "on_failure", "module")
"""Keys of a plugin's table that are the loader's, not the plugin's."""
ON_FAILURE = ("stop", "degrade")
GUARDS = ("register_middleware", "session_settings", "record_scope", "record_writing",
          "event_recorded")  # fmt: skip
"""Hooks without which something would be allowed that is not: no server does without them."""

log = structlog.get_logger("caudex.loader")


class Kernel:
    """The plugins that are on, wired and checked; no connection is open yet."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.context = Context(
            data_dir=config.data_dir,
            host=config.server.host,
            port=config.server.port,
            loopback=config.loopback,
            config_file=config.source,
        )
        self.timed = bool(config.server.server_timing)
        """Whether replies tell what each plugin cost."""
        self.bus = HookBus(hookspecs, timed=self.timed)
        self.database: Pool | None = None
        """The pool, while it is open: the kernel's own offer of STATEMENTS."""
        dress = {"dress": timed_service} if self.timed else {}
        self.services = Services(config.services, preferred=_preferred(config), **dress)
        self.services.provide(STATEMENTS, lambda _: self.database, by=KERNEL)
        self.services.put(REGISTRY, self)
        self.instances: list[Plugin] = []
        self.plugins: list[PluginInfo] = []
        self.table = RouteTable(self.services, self.bus, timed=self.timed)
        self.permissions: list[Permission] = []
        self.manifest_sections: list[tuple[str, ManifestSection]] = []
        self.commands: list[Command] = []
        self.owners: dict[str, str] = {}
        """Who has which name: `permission 'x'`, `command 'y'`, `manifest section 'z'`."""
        self.boot_seconds: dict[str, float] = {}
        """What each plugin took to import, make and start."""
        self.middleware: list[tuple[str, Middleware]] = []
        """(plugin, middleware) pairs, outermost first."""
        self.watched: list[Callable[[], None]] = []
        """Called twice a second on the event loop's thread while the server runs."""

    @property
    def routes(self) -> Sequence[tuple[str, Route]]:
        """(plugin, route) pairs."""
        return self.table.declared()

    @property
    def homes(self) -> Mapping[str, str]:
        """Which module, or package with all in it, is which plugin's."""
        modules = {p.name: sys.modules[type(p).__module__] for p in self.instances}
        packages = {m.__package__: name for name, m in modules.items() if m.__package__}
        return packages | {module.__name__: name for name, module in modules.items()}

    @property
    def database_url(self) -> str:
        """The libpq connection string of the database, for tools such as pg_dump; no pooler's."""
        return self.config.database.direct_url or self.config.database.url

    @property
    def port(self) -> int | None:
        """Port of the embedded PostgreSQL, or None where it is not embedded."""
        return self.config.database.embedded_port

    @contextmanager
    def timing(self, plugin: str) -> Generator[None]:
        """Count what is done for a plugin on its way to being started."""
        began = perf_counter()
        try:
            yield
        finally:
            took = self.boot_seconds.get(plugin, 0.0) + perf_counter() - began
            self.boot_seconds[plugin] = took

    @contextmanager
    def starting(self, plugin: str) -> Generator[None]:
        """Go on without a plugin that fails to start and may be missed.

        Raises BootError where that is not so: it stops the start, or others need it.
        """
        try:
            with self.timing(plugin):
                yield
        except BootError as error:
            if not _may_fail(self.config, plugin):
                raise
            if reasons := _why_not(self, plugin):
                remedy = "mend it, or switch off who needs it too"
                missed = f"cannot be left out: {'; '.join(reasons)}"
                raise BootErrors([error, BootError(f"plugin {plugin}", missed, remedy)]) from error
            self._leave_out(plugin, error)

    def _leave_out(self, plugin: str, error: BootError) -> None:
        """Take back what a plugin contributed; its routes stay, and answer 503."""
        log.error("a plugin is left out", plugin=plugin, error=str(error))
        self.bus.drop(plugin)
        self.table.close(plugin)
        self.services.forget(plugin)
        self.manifest_sections[:] = [s for s in self.manifest_sections if s[0] != plugin]
        at = next(at for at, info in enumerate(self.plugins) if info.name == plugin)
        self.plugins[at] = msgspec.structs.replace(
            self.plugins[at], state="degraded", note=masked(str(error))
        )

    def migrations(self) -> list[Migration]:
        """Every migration of the plugins that are on, in dependency order."""
        found: list[Migration] = []
        for plugin in self.instances:
            source = sys.modules[type(plugin).__module__].__file__
            folder = plugin.migrations or Path(source or ".").parent / "migrations"
            if folder.is_dir() and (plugin.migrations or Path(source or "").stem == "__init__"):
                found += find_migrations(plugin.name, folder)
        return found


def load(config: Config) -> Kernel:
    """Load everything that the configuration switches on. Raises BootErrors."""
    return _load(config, {})


def safe(config: Config) -> Config:
    """Keep what a broken plugin is repaired with, as the built-in plugins name it themselves."""
    kept: Mapping[str, Mapping[str, Any]] = importlib.import_module("plugins").SAFE
    tables = {name: {**_own(config.plugins.get(name, {})), **laid} for name, laid in kept.items()}
    tables |= {name: {"enabled": False} for name in folders("plugins") if name not in kept}
    server = msgspec.structs.replace(config.server, plugins_dir="", plugin_files=[])
    chosen = {key: by for key, by in config.services.items() if by in kept}
    return msgspec.structs.replace(config, server=server, plugins=tables, services=chosen)


def _preferred(config: Config) -> Mapping[str, str]:
    """Whom the plugins of a default deployment prefer to the kernel; nobody behind a pooler, which
    hands each transaction to another connection."""
    pooled = config.database.direct_url or not config.database.prepare
    return {} if pooled else importlib.import_module("plugins").PREFERRED


def _load(config: Config, failed: dict[str, BootError]) -> Kernel:
    """Load everything but those that have failed in what they contribute, and may."""
    kernel, errors = Kernel(config), list[BootError]()
    sources = find_sources(config, errors)
    for source in _switched_on(kernel, sources, errors):
        with kernel.timing(source.name):
            _make(kernel, source, errors, failed.get(source.name))
    _add_specs(kernel, errors)
    for plugin in list(kernel.instances):
        try:
            kernel.bus.register(plugin, plugin.name)
            _offer_services(kernel, plugin)
        except BootError as error:
            kernel.instances.remove(plugin)
            _miss(kernel, sources[plugin.name], type(plugin), error, errors)
    _raise(errors)
    kernel.plugins += [_info(kernel, plugin, sources[plugin.name]) for plugin in kernel.instances]
    _check_needs(kernel, errors)
    _raise(errors)
    _order(kernel)
    faults = collect(kernel)
    if faults and all(_may_fail(config, plugin) for plugin, _ in faults):
        return _load(config, {**failed, **dict(faults)})
    _raise([error for _, error in faults])
    return kernel


def _raise(errors: Sequence[BootError]) -> None:
    if errors:
        raise BootErrors(errors)


def _switched_on(
    kernel: Kernel, sources: Mapping[str, Source], errors: list[BootError]
) -> Iterator[Source]:
    for name in sorted(kernel.config.plugins.keys() - sources.keys()):
        where = f"[plugins.{name}]"
        near = nearest(name, sources)
        missing = "install its package, or say where it is: module = …"
        remedy = near if near.startswith("did you mean") else f"{missing}; {near}"
        errors.append(BootError(where, "there is no such plugin", remedy))
    for name, source in sources.items():
        table = kernel.config.plugins.get(name)
        enabled = source.default_on if table is None else _flag(table.get("enabled", True))
        if enabled is None:
            where = f"[plugins.{name}] enabled"
            errors.append(BootError(where, "must be true or false"))
        elif enabled:
            yield source
        else:
            info = PluginInfo(name=name, version="", state="off", origin=source.origin)
            kernel.plugins.append(info)


def _flag(value: object) -> bool | None:
    return {"true": True, "false": False, "1": True, "0": False}.get(str(value).lower())


def _make(
    kernel: Kernel, source: Source, errors: list[BootError], failed: BootError | None
) -> None:
    """Import a plugin and make its object."""
    cls: type[Plugin] | None = None
    try:
        cls = plugin_class(source)
        check_class(cls, source)
        if failed is not None:
            raise failed
        kernel.instances.append(_instance(kernel, cls))
    except BootError as error:
        _miss(kernel, source, cls, error, errors)


def _instance(kernel: Kernel, cls: type[Plugin]) -> Plugin:
    """Make a plugin's object. Raises BootError."""
    where, table = f"[plugins.{cls.name}]", kernel.config.plugins.get(cls.name, {})
    if (choice := table.get("on_failure", "stop")) not in ON_FAILURE:
        remedy = nearest(str(choice), ON_FAILURE)
        raise BootError(f"{where} on_failure", f"{choice!r} is unknown", remedy)
    variables = kernel.config.variables.get(f"plugins.{cls.name}", {})
    config = convert(_own(table), cls.Config, where, variables, OWN_KEYS)
    with blamed(f"plugin {cls.name}", "cannot be made"):
        return cls(config, kernel.context)


def _own(table: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a table that are the plugin's."""
    return {key: value for key, value in table.items() if key not in OWN_KEYS}


def _may_fail(config: Config, plugin: str) -> bool:
    return config.plugins.get(plugin, {}).get("on_failure", "stop") == "degrade"


def _miss(
    kernel: Kernel,
    source: Source,
    cls: type[Plugin] | None,
    error: BootError,
    errors: list[BootError],
) -> None:
    """Load without a plugin that may be missed (`on_failure = "degrade"`), else refuse to."""
    if not _may_fail(kernel.config, source.name):
        errors.append(error)
        return
    if guards := _guards(cls):
        remedy = "mend it, or switch it off if you can do without what it guards"
        missed = f"cannot be left out: it guards by {guards}"
        errors += [error, BootError(f"plugin {source.name}", missed, remedy)]
        return
    log.error("a plugin is left out", plugin=source.name, error=str(error))
    note, origin = masked(str(error)), source.origin
    info = PluginInfo(name=source.name, version="", state="degraded", origin=origin, note=note)
    kernel.plugins.append(info)


def _guards(cls: type[Plugin] | None) -> str:
    """Name the hooks of a class that guard; none for one that could not even be imported."""
    found = [name for name in GUARDS if hasattr(getattr(cls, name, None), "caudex_impl")]
    return ", ".join(found)


def _why_not(kernel: Kernel, plugin: str) -> list[str]:
    """Say why a server cannot do without a plugin that is loaded."""
    provider, owners = kernel.services.provider, {by for by, _ in kernel.routes}
    others = [other for other in kernel.instances if other.name != plugin]
    needs = [(f"{o.name} needs", key) for o in others for key in o.requires]
    # Who offers the same service does not require it, and its routes stand on the chosen engine.
    routing = [o for o in others if o.name in owners]
    needs += [(f"routes of {o.name} need", key) for o in routing for key in o.provides]
    reasons = [f"{who} {key.name!r}" for who, key in needs if provider(key.name) == plugin]
    if provider("access") == plugin:
        asking = {by for by, r in kernel.routes if r.needs.kind not in ("public", "user")}
        reasons += [f"routes of {by} need 'access'" for by in sorted(asking - {plugin})]
    cls = next((type(each) for each in kernel.instances if each.name == plugin), None)
    return reasons + [f"it guards by {guards}" for guards in [_guards(cls)] if guards]


def _info(kernel: Kernel, plugin: Plugin, source: Source) -> PluginInfo:
    table = kernel.config.plugins.get(plugin.name, {})
    return PluginInfo(
        name=plugin.name,
        version=plugin.version,
        state="on",
        origin=source.origin,
        provides=tuple(key.name for key in plugin.provides),
        requires=tuple(key.name for key in plugin.requires),
        uses=tuple(key.name for key in (*plugin.uses, *plugin.finds)),
        settings=type(plugin).Config.__struct_encode_fields__,
        configured=tuple(sorted({current_name(key, type(plugin).Config) for key in _own(table)})),
    )


def _add_specs(kernel: Kernel, errors: list[BootError]) -> None:
    for plugin in kernel.instances:
        try:
            if plugin.hookspecs is not None:
                with blamed(f"plugin {plugin.name}", "its hookspecs cannot be used"):
                    kernel.bus.add_specs(plugin.hookspecs, plugin.name)
        except BootError as error:
            errors.append(error)


def _offer_services(kernel: Kernel, plugin: Plugin) -> None:
    """Bind offers; done by hand and not by the bus, which needs the order that follows from it."""
    provide: Any = getattr(plugin, "provide_services", None)
    offers: list[Any] = []
    if provide is not None:
        where = f"plugin {plugin.name}"
        with blamed(where, "provide_services failed"):
            offers = list(provide() or ())
        if not all(isinstance(item, Provider) for item in offers):
            where = f"{where}, {place(provide)}"
            problem = "provide_services returned what is no offer"
            raise BootError(where, problem, "return a list of provide(KEY, factory)")
    offered, declared = [item.key.name for item in offers], [key.name for key in plugin.provides]
    if sorted(offered) != sorted(declared):
        problem = f"provide_services offers {offered}, `provides` says {declared}"
        raise BootError(f"plugin {plugin.name}", problem, "name the same keys in both, each once")
    for item in offers:
        kernel.services.provide(item.key, item.factory, by=plugin.name)


def _check_needs(kernel: Kernel, errors: list[BootError]) -> None:
    try:
        kernel.services.check()
    except BootErrors as found:
        errors += found.errors
        return
    # What is off by itself, as all of contrib, was not taken away.
    away = sorted(kernel.config.plugins.keys() - {plugin.name for plugin in kernel.instances})
    known = f" (not on: {', '.join(away)})" if away else ""
    for plugin in kernel.instances:
        for key in plugin.requires:
            if key.name in KERNEL_SERVICES or kernel.services.provider(key.name):
                continue
            problem = f"needs the service {key.name!r}, which nobody provides"
            remedy = f"switch on a plugin that does{known}, or switch {plugin.name} off"
            errors.append(BootError(f"plugin {plugin.name}", problem, remedy))


def _order(kernel: Kernel) -> None:
    """Put providers before those who need them; the names break ties, so it never changes."""
    waiting = {plugin.name: plugin for plugin in sorted(kernel.instances, key=lambda p: p.name)}
    ordered: list[Plugin] = []
    while waiting:
        ready = next((name for name in waiting if not _needs(kernel, waiting, name)), None)
        if ready is None:
            raise BootErrors([_circle(kernel, waiting)])
        ordered.append(waiting.pop(ready))
    kernel.instances = ordered
    rank = {plugin.name: position for position, plugin in enumerate(ordered)}
    kernel.plugins.sort(key=lambda info: (rank.get(info.name, len(rank)), info.name))
    kernel.bus.arrange(list(rank))


def _needs(kernel: Kernel, waiting: Mapping[str, Plugin], name: str) -> dict[str, str]:
    """Which of the waiting plugins this one needs: plugin to key."""
    keys = (*waiting[name].requires, *waiting[name].uses)
    needs = [(kernel.services.provider(key.name), key.name) for key in keys]
    return {by: key for by, key in needs if by is not None and by in waiting and by != name}


def _circle(kernel: Kernel, waiting: Mapping[str, Plugin]) -> BootError:
    """Follow the needs until one comes round; everybody who waits needs somebody."""
    name, path = next(iter(waiting)), dict[str, str]()
    while name not in path:
        needed, key = next(iter(_needs(kernel, waiting, name).items()))
        path[name] = f"{name} needs {key!r} of {needed}"
        name = needed
    steps = list(path.values())[list(path).index(name) :]
    remedy = "take one of these keys out of `requires` and ask for it in the handler"
    return BootError("services", f"plugins need each other: {', '.join(steps)}", remedy)
