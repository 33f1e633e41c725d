"""Find plugins, switch them on or off, put them in order; every mistake is told at once."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import structlog

from kernel import hookspecs
from kernel.config import Config, convert
from kernel.contracts.access import Permission
from kernel.contracts.registry import PluginInfo
from kernel.contracts.statements import STATEMENTS, Statements
from kernel.errors import BootError, BootErrors, nearest
from kernel.hooks import HookBus
from kernel.migrations import Migration, find_migrations
from kernel.plugin import KERNEL_API, Command, Context, Middleware, Plugin
from kernel.routing import RouteTable
from kernel.services import Services
from kernel.web import Route

ENTRY_POINTS = "caudex.plugins"
KERNEL_SERVICES = ("statements", "news", "registry", "hooks")
OWN_KEYS = ("enabled", "on_failure", "module")
"""Keys of a plugin's table that are the loader's, not the plugin's."""

log = structlog.get_logger("caudex.loader")


class Source(msgspec.Struct, frozen=True):
    """Where a plugin comes from and how to get its module; nothing is imported before it is on."""

    name: str
    origin: str
    load: Callable[[], ModuleType | type[Plugin]]
    default_on: bool


class Kernel:
    """The plugins that are on, wired and checked; no connection is open yet."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.context = Context(
            data_dir=config.data_dir,
            host=config.server.host,
            port=config.server.port,
            loopback=config.loopback,
        )
        self.bus = HookBus(hookspecs)
        self.database: Statements | None = None
        """The pool, while it is open: the kernel's own offer of STATEMENTS."""
        self.services = Services(config.services)
        self.services.provide(STATEMENTS, lambda _: self.database, by="kernel")
        self.instances: list[Plugin] = []
        self.plugins: list[PluginInfo] = []
        self.table = RouteTable(self.services, self.bus)
        self.permissions: list[Permission] = []
        self.manifest_sections: dict[str, Mapping[str, Any]] = {}
        self.commands: list[Command] = []
        self.middleware: list[Middleware] = []
        self.watched: list[Callable[[], None]] = []
        """Called twice a second on the event loop's thread while the server runs."""

    @property
    def routes(self) -> Sequence[tuple[str, Route]]:
        """(plugin, route) pairs."""
        return self.table.declared()

    @property
    def port(self) -> int | None:
        """Port of the embedded PostgreSQL, or None where it is not embedded."""
        return self.config.database.embedded_port

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
    kernel, errors = Kernel(config), list[BootError]()
    classes: list[tuple[type[Plugin], Source]] = []
    for source in _switched_on(kernel, _sources(config), errors):
        try:
            classes.append((_plugin_class(source), source))
        except BootError as error:
            _leave_out(kernel, source, error, errors)
    for cls, source in classes:
        _instantiate(kernel, cls, source, errors)
    _offer_services(kernel, errors)
    if errors:
        raise BootErrors(errors)
    _order(kernel, errors)
    _register_hooks(kernel, errors)
    if errors:
        raise BootErrors(errors)
    _collect(kernel, errors)
    if errors:
        raise BootErrors(errors)
    return kernel


def _sources(config: Config) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for package, on in (("plugins", True), ("contrib", False)):
        for name in _folders(package):
            found[name] = Source(
                name, "built-in" if on else "contrib", _importer(package, name), on
            )
    for entry in entry_points(group=ENTRY_POINTS):
        dist = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
        found.setdefault(entry.name, Source(entry.name, dist, _entry_loader(entry), False))
    folder = config.server.plugins_dir
    dropped = sorted(Path(folder).glob("*.py")) if folder else []
    for path in [*dropped, *map(Path, config.server.plugin_files)]:
        name = path.stem.replace("-", "_")
        found[name] = Source(name, str(path), _file_loader(path), True)
    for name, table in config.plugins.items():
        if target := table.get("module"):
            found[name] = Source(name, str(target), _dotted_loader(str(target)), True)
    return found


def _folders(package: str) -> list[str]:
    module = importlib.import_module(package)
    return sorted(info.name for info in pkgutil.iter_modules(module.__path__) if info.ispkg)


def _importer(package: str, name: str) -> Callable[[], ModuleType]:
    return lambda: importlib.import_module(f"{package}.{name}")


def _entry_loader(entry: EntryPoint) -> Callable[[], ModuleType | type[Plugin]]:
    return entry.load


def _dotted_loader(target: str) -> Callable[[], ModuleType | type[Plugin]]:
    module, _, attribute = target.partition(":")

    def load_dotted() -> ModuleType | type[Plugin]:
        found = importlib.import_module(module)
        return getattr(found, attribute) if attribute else found

    return load_dotted


def _file_loader(path: Path) -> Callable[[], ModuleType]:
    def load_file() -> ModuleType:
        name = f"caudex_file_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise ImportError(f"{path} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    return load_file


def _switched_on(
    kernel: Kernel, sources: Mapping[str, Source], errors: list[BootError]
) -> Iterator[Source]:
    for name in kernel.config.plugins.keys() - sources.keys():
        where = f"[plugins.{name}]"
        errors.append(BootError(where, "there is no such plugin", nearest(name, sources)))
    for name, source in sources.items():
        table = kernel.config.plugins.get(name)
        enabled = _flag(table.get("enabled", True)) if table is not None else source.default_on
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


def _plugin_class(source: Source) -> type[Plugin]:
    """Import a plugin and find its one class. Raises BootError."""
    where = f"plugin {source.name}"
    try:
        found = source.load()
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise BootError(where, f"{source.origin} cannot be imported: {said}") from error
    if inspect.isclass(found):
        classes: list[type[Plugin]] = [found] if _is_plugin(found, found.__module__) else []
    else:
        classes = [c for c in vars(found).values() if _is_plugin(c, found.__name__)]
    if len(classes) != 1:
        found_count = f"{len(classes)} plugin classes in {source.origin}"
        raise BootError(where, found_count, "one subclass of caudex.Plugin is needed")
    cls = classes[0]
    if getattr(cls, "name", None) != source.name:
        actual = getattr(cls, "name", None)
        raise BootError(where, f"its class is called {actual!r}", f"set name = {source.name!r}")
    if cls.kernel_api != KERNEL_API:
        problem = f"wants kernel_api {cls.kernel_api}, this kernel has {KERNEL_API}"
        raise BootError(where, problem, "install a version of the plugin for this kernel")
    return cls


def _is_plugin(value: object, module: str) -> bool:
    return (
        inspect.isclass(value)
        and issubclass(value, Plugin)
        and value is not Plugin
        and value.__module__.startswith(module)
    )


def _leave_out(kernel: Kernel, source: Source, error: BootError, errors: list[BootError]) -> None:
    """Boot without a plugin that may be missed (`on_failure = "degrade"`), else refuse to."""
    table = kernel.config.plugins.get(source.name, {})
    if table.get("on_failure", "stop") != "degrade":
        errors.append(error)
        return
    log.error("a plugin is left out", plugin=source.name, error=str(error))
    kernel.plugins.append(
        PluginInfo(
            name=source.name, version="", state="degraded", origin=source.origin, note=str(error)
        )
    )


def _instantiate(
    kernel: Kernel, cls: type[Plugin], source: Source, errors: list[BootError]
) -> None:
    table = {
        key: value
        for key, value in kernel.config.plugins.get(cls.name, {}).items()
        if key not in OWN_KEYS
    }
    try:
        instance = cls(convert(table, cls.Config, f"[plugins.{cls.name}]"), kernel.context)
    except BootError as error:
        _leave_out(kernel, source, error, errors)
        return
    kernel.instances.append(instance)
    kernel.plugins.append(
        PluginInfo(
            name=cls.name,
            version=cls.version,
            state="on",
            origin=source.origin,
            provides=tuple(key.name for key in cls.provides),
            requires=tuple(key.name for key in cls.requires),
        )
    )


def _offer_services(kernel: Kernel, errors: list[BootError]) -> None:
    """Bind offers; done by hand and not by the bus, which needs the order that follows from it."""
    for plugin in kernel.instances:
        provide: Any = getattr(plugin, "provide_services", None)
        offers = provide() if provide is not None else ()
        offered = {item.key.name for item in offers}
        if declared := offered ^ {key.name for key in plugin.provides}:
            where = f"plugin {plugin.name}"
            problem = f"`provides` and provide_services disagree on {', '.join(sorted(declared))}"
            errors.append(BootError(where, problem, "name the same keys in both"))
        for item in offers:
            kernel.services.provide(item.key, item.factory, by=plugin.name)
    try:
        kernel.services.check()
    except BootErrors as found:
        errors += found.errors
        return
    for plugin in kernel.instances:
        errors += _missing(kernel, plugin)


def _missing(kernel: Kernel, plugin: Plugin) -> Iterator[BootError]:
    for key in plugin.requires:
        if key.name in KERNEL_SERVICES or kernel.services.provider(key.name):
            continue
        off = [info.name for info in kernel.plugins if info.state == "off"]
        remedy = f"switch on a plugin that does (off: {', '.join(off) or 'none'})"
        problem = f"needs the service {key.name!r}, which nobody provides"
        yield BootError(f"plugin {plugin.name}", problem, f"{remedy}, or switch {plugin.name} off")


def _order(kernel: Kernel, errors: list[BootError]) -> None:
    """Put providers before those who need them; the names break ties, so it never changes."""
    waiting = {plugin.name: plugin for plugin in kernel.instances}
    ordered: list[Plugin] = []
    while waiting:
        ready = [name for name in sorted(waiting) if not _needs_any(kernel, waiting[name], waiting)]
        if not ready:
            circle = " -> ".join(sorted(waiting))
            errors.append(BootError("services", f"plugins need each other in a circle: {circle}"))
            return
        ordered.append(waiting.pop(ready[0]))
    kernel.instances = ordered
    rank = {plugin.name: position for position, plugin in enumerate(ordered)}
    kernel.plugins.sort(key=lambda info: (rank.get(info.name, len(rank)), info.name))


def _needs_any(kernel: Kernel, plugin: Plugin, waiting: Mapping[str, Plugin]) -> bool:
    providers = {kernel.services.provider(key.name) for key in plugin.requires}
    return any(name in waiting for name in providers if name not in (None, plugin.name))


def _register_hooks(kernel: Kernel, errors: list[BootError]) -> None:
    for plugin in kernel.instances:
        if plugin.hookspecs is not None:
            kernel.bus.add_specs(plugin.hookspecs, plugin.name)
    for plugin in kernel.instances:
        try:
            kernel.bus.register(plugin, plugin.name)
        except BootError as error:
            errors.append(error)
    errors += kernel.bus.check()


def _collect(kernel: Kernel, errors: list[BootError]) -> None:
    """Ask the plugins what they contribute; two that contribute the same clash by name."""
    for name, routes in kernel.bus.collect(hookspecs.register_routes, services=kernel.services):
        for route in routes:
            place = f"{route.method} {route.path}"
            if taken := kernel.table.add(name, route):
                problem = f"the route {place} is already plugin {taken}'s"
                errors.append(BootError(f"plugin {name}", problem, "switch one of the two off"))
            elif route.needs.kind not in ("public", "user") and not kernel.services.provider(
                "access"
            ):
                problem = f"the route {place} needs the service 'access', which nobody provides"
                errors.append(BootError(f"plugin {name}", problem, "switch on plugin rbac"))
    for _, middleware in kernel.bus.collect(
        hookspecs.register_middleware, services=kernel.services
    ):
        kernel.middleware += middleware
    owners: dict[str, str] = {}
    for name, permissions in kernel.bus.collect(hookspecs.register_permissions):
        for permission in permissions:
            _claim(owners, f"permission {permission.key!r}", name, errors)
            kernel.permissions.append(permission)
    for name, commands in kernel.bus.collect(hookspecs.register_commands):
        for command in commands:
            _claim(owners, f"command {command.name!r}", name, errors)
            kernel.commands.append(command)
    for name, section in kernel.bus.collect(hookspecs.register_manifest_section):
        _claim(owners, f"manifest section {section.key!r}", name, errors)
        kernel.manifest_sections[section.key] = section.schema


def _claim(owners: dict[str, str], what: str, plugin: str, errors: list[BootError]) -> None:
    owner = owners.setdefault(what, plugin)
    if owner != plugin:
        problem = f"the {what} is already plugin {owner}'s"
        errors.append(BootError(f"plugin {plugin}", problem, "switch one of the two off"))
