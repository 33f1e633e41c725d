"""Find plugins, switch them on or off, put them in order; every mistake is told at once."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import msgspec
import structlog

from kernel import hookspecs
from kernel.config import Config, convert
from kernel.contracts.access import Permission
from kernel.contracts.apps import MANIFEST_KEYS
from kernel.contracts.registry import PluginInfo
from kernel.contracts.statements import STATEMENTS, Pool
from kernel.errors import REMEDY, BootError, BootErrors, nearest, place_of
from kernel.hooks import HookBus
from kernel.migrations import Migration, find_migrations
from kernel.plugin import (
    KERNEL_API,
    Command,
    Context,
    ManifestSection,
    Middleware,
    Offer,
    Plugin,
)
from kernel.routing import RouteTable
from kernel.services import KERNEL, Services
from kernel.timing import timed_service
from kernel.web import Route

ENTRY_POINTS = "caudex.plugins"
KERNEL_COMMANDS = ("serve", "init", "plugins", "routes", "migrate", "doctor", "config")
KERNEL_SERVICES = ("statements", "pool", "news", "registry", "hooks")
OWN_KEYS = ("enabled", "on_failure", "module")
"""Keys of a plugin's table that are the loader's, not the plugin's."""
ON_FAILURE = ("stop", "degrade")
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

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
        self.timed = bool(config.server.server_timing)
        """Whether replies tell what each plugin cost."""
        self.bus = HookBus(hookspecs, timed=self.timed)
        self.database: Pool | None = None
        """The pool, while it is open: the kernel's own offer of STATEMENTS."""
        dress = {"dress": timed_service} if self.timed else {}
        self.services = Services(config.services, **dress)
        self.services.provide(STATEMENTS, lambda _: self.database, by=KERNEL)
        self.instances: list[Plugin] = []
        self.plugins: list[PluginInfo] = []
        self.table = RouteTable(self.services, self.bus, timed=self.timed)
        self.permissions: list[Permission] = []
        self.manifest_sections: list[tuple[str, ManifestSection]] = []
        self.commands: list[Command] = []
        self.middleware: list[tuple[str, Middleware]] = []
        """(plugin, middleware) pairs, outermost first."""
        self.watched: list[Callable[[], None]] = []
        """Called twice a second on the event loop's thread while the server runs."""

    @property
    def routes(self) -> Sequence[tuple[str, Route]]:
        """(plugin, route) pairs."""
        return self.table.declared()

    @property
    def database_url(self) -> str:
        """The libpq connection string of the database, for tools such as pg_dump."""
        return self.config.database.url

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
    sources = _sources(config, errors)
    for source in _switched_on(kernel, sources, errors):
        try:
            kernel.instances.append(_instance(kernel, source))
        except BootError as error:
            _leave_out(kernel, source, error, errors)
    _add_specs(kernel, errors)
    for plugin in list(kernel.instances):
        try:
            kernel.bus.register(plugin, plugin.name)
            _offer_services(kernel, plugin)
        except BootError as error:
            kernel.instances.remove(plugin)
            _leave_out(kernel, sources[plugin.name], error, errors)
    _raise(errors)
    kernel.plugins += [_info(plugin, sources[plugin.name]) for plugin in kernel.instances]
    _check_needs(kernel, errors)
    _raise(errors)
    _order(kernel)
    _collect(kernel, errors)
    _raise(errors)
    return kernel


def _raise(errors: Sequence[BootError]) -> None:
    if errors:
        raise BootErrors(errors)


def _sources(config: Config, errors: list[BootError]) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for source in _every_source(config, errors):
        if (other := found.setdefault(source.name, source)) is not source:
            problem = f"there are two: {other.origin} and {source.origin}"
            remedy = f"rename one, or say which: [plugins.{source.name}] module"
            errors.append(BootError(f"plugin {source.name}", problem, remedy))
    return found


def _every_source(config: Config, errors: list[BootError]) -> Iterator[Source]:
    """Find plugins; what the operator names by `module` takes the place of any other."""
    named = {name: table["module"] for name, table in config.plugins.items() if "module" in table}
    for name, target in named.items():
        yield Source(name, str(target), _named_loader(target), True)
    for source in (*_built_in(), *_installed(), *_files(config, errors)):
        if source.name not in named:
            yield source


def _built_in() -> Iterator[Source]:
    for package, origin in (("plugins", "built-in"), ("contrib", "contrib")):
        for name in _folders(package):
            yield Source(name, origin, _importer(package, name), package == "plugins")


def _installed() -> Iterator[Source]:
    for entry in entry_points(group=ENTRY_POINTS):
        origin = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
        yield Source(entry.name, origin, entry.load, False)


def _files(config: Config, errors: list[BootError]) -> Iterator[Source]:
    folder = Path(config.server.plugins_dir)
    if config.server.plugins_dir and not folder.is_dir():
        errors.append(BootError("[server] plugins_dir", f"{folder} is no folder", "make it"))
    dropped = sorted(folder.glob("[!_]*.py")) if config.server.plugins_dir else []
    for path in [*dropped, *map(Path, config.server.plugin_files)]:
        yield Source(path.stem.replace("-", "_"), str(path), _file_loader(path), True)


def _folders(package: str) -> list[str]:
    module = importlib.import_module(package)
    return sorted(info.name for info in pkgutil.iter_modules(module.__path__) if info.ispkg)


def _importer(package: str, name: str) -> Callable[[], ModuleType]:
    return lambda: importlib.import_module(f"{package}.{name}")


def _named_loader(target: object) -> Callable[[], ModuleType | type[Plugin]]:
    """What `module` names: something importable, or the class itself, which tests give."""
    if inspect.isclass(target):
        return lambda: cast("type[Plugin]", target)
    module, _, attribute = str(target).partition(":")

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
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module

    return load_file


def _switched_on(
    kernel: Kernel, sources: Mapping[str, Source], errors: list[BootError]
) -> Iterator[Source]:
    for name in sorted(kernel.config.plugins.keys() - sources.keys()):
        where = f"[plugins.{name}]"
        errors.append(BootError(where, "there is no such plugin", nearest(name, sources)))
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


def _instance(kernel: Kernel, source: Source) -> Plugin:
    """Import a plugin and make its object. Raises BootError."""
    cls = _plugin_class(source)
    where, table = f"[plugins.{cls.name}]", kernel.config.plugins.get(cls.name, {})
    if (choice := table.get("on_failure", "stop")) not in ON_FAILURE:
        remedy = nearest(str(choice), ON_FAILURE)
        raise BootError(f"{where} on_failure", f"{choice!r} is unknown", remedy)
    own = {key: value for key, value in table.items() if key not in OWN_KEYS}
    config = convert(own, cls.Config, where, OWN_KEYS)
    with _blamed(f"plugin {cls.name}", "cannot be made"):
        return cls(config, kernel.context)


def _plugin_class(source: Source) -> type[Plugin]:
    """Import a plugin and find its one class. Raises BootError."""
    where = f"plugin {source.name}"
    with _blamed(where, "cannot be imported", source.origin):
        found = source.load()
    if inspect.isclass(found):
        classes: list[type[Plugin]] = [found] if _is_plugin(found, found.__module__) else []
    else:
        classes = [c for c in vars(found).values() if _is_plugin(c, found.__name__)]
    if len(classes) != 1:
        found_count = f"{len(classes)} plugin classes in {source.origin}"
        raise BootError(where, found_count, "one subclass of caudex.Plugin is needed")
    cls = classes[0]
    if (actual := getattr(cls, "name", None)) != source.name:
        raise BootError(where, f"its class is called {actual!r}", f"set name = {source.name!r}")
    if not NAME.fullmatch(cls.name):
        problem = f"{cls.name!r} is no name for a plugin"
        raise BootError(where, problem, "use lower-case letters, digits and underscores")
    if cls.kernel_api != KERNEL_API:
        problem = f"wants kernel_api {cls.kernel_api}, this kernel has {KERNEL_API}"
        raise BootError(where, problem, "install a version of the plugin for this kernel")
    return cls


@contextmanager
def _blamed(where: str, problem: str, origin: str = "") -> Generator[None]:
    """Turn whatever a plugin's own code raises into a BootError that says where it did."""
    try:
        yield
    except BootError:
        raise
    except Exception as error:
        at = place_of(error) or origin
        said = f"{type(error).__name__}: {error}"
        raise BootError(f"{where}, {at}" if at else where, f"{problem}: {said}", REMEDY) from error


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


def _info(plugin: Plugin, source: Source) -> PluginInfo:
    return PluginInfo(
        name=plugin.name,
        version=plugin.version,
        state="on",
        origin=source.origin,
        provides=tuple(key.name for key in plugin.provides),
        requires=tuple(key.name for key in plugin.requires),
    )


def _add_specs(kernel: Kernel, errors: list[BootError]) -> None:
    for plugin in kernel.instances:
        try:
            if plugin.hookspecs is not None:
                kernel.bus.add_specs(plugin.hookspecs, plugin.name)
        except BootError as error:
            errors.append(error)


def _offer_services(kernel: Kernel, plugin: Plugin) -> None:
    """Bind offers; done by hand and not by the bus, which needs the order that follows from it."""
    provide: Any = getattr(plugin, "provide_services", None)
    offers: Sequence[Offer] = ()
    if provide is not None:
        with _blamed(f"plugin {plugin.name}", "provide_services failed"):
            offers = list(provide())
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
    away = [f"{info.name} ({info.state})" for info in kernel.plugins if info.state != "on"]
    for plugin in kernel.instances:
        for key in plugin.requires:
            if key.name in KERNEL_SERVICES or kernel.services.provider(key.name):
                continue
            problem = f"needs the service {key.name!r}, which nobody provides"
            remedy = f"switch on a plugin that does (not there: {', '.join(away) or 'none'})"
            remedy += f", or switch {plugin.name} off"
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


def _collect(kernel: Kernel, errors: list[BootError]) -> None:
    """Ask the plugins what they contribute; two that contribute the same clash by name."""
    claims = _Claims(errors)
    for name, permissions in _asked(kernel, hookspecs.register_permissions, errors):
        for permission in permissions:
            if claims.grant(name, f"permission {permission.key!r}"):
                kernel.permissions.append(permission)
    for name, commands in _asked(kernel, hookspecs.register_commands, errors):
        for command in commands:
            if claims.grant(name, f"command {command.name!r}"):
                kernel.commands.append(command)
    for name, section in _asked(kernel, hookspecs.register_manifest_section, errors):
        if claims.grant(name, f"manifest section {section.key!r}"):
            kernel.manifest_sections.append((name, section))
    services = kernel.services
    for name, wraps in _asked(kernel, hookspecs.register_middleware, errors, services=services):
        kernel.middleware += [(name, wrap) for wrap in wraps]
    for name, routes in _asked(kernel, hookspecs.register_routes, errors, services=services):
        for route in routes:
            _add_route(kernel, name, route, errors)


def _asked(
    kernel: Kernel, spec: Callable[..., Any], errors: list[BootError], **arguments: object
) -> Iterator[tuple[str, Any]]:
    """Call a hook at load; one plugin's failure does not hide another's."""
    for impl in kernel.bus.implementations(spec):
        try:
            with _blamed(f"plugin {impl.plugin}", f"{spec.__name__} failed"):
                result = impl.invoke(arguments)
        except BootError as error:
            errors.append(error)
        else:
            if result is not None:
                yield impl.plugin, result


def _add_route(kernel: Kernel, name: str, route: Route, errors: list[BootError]) -> None:
    needs, place = route.needs, f"the route {route.method} {route.path}"
    permissions = {permission.key for permission in kernel.permissions}
    if taken := kernel.table.add(name, route):
        problem = f"{place} is already plugin {taken}'s"
        errors.append(BootError(f"plugin {name}", problem, "switch one of the two off"))
    elif needs.kind not in ("public", "user") and not kernel.services.provider("access"):
        problem = f"{place} needs the service 'access', which nobody provides"
        errors.append(BootError(f"plugin {name}", problem, "switch on plugin rbac"))
    elif needs.kind == "core_permission" and needs.key not in permissions:
        problem = f"{place} needs the permission {needs.key!r}, which nobody registers"
        remedy = nearest(needs.key, permissions) or "return it from register_permissions"
        errors.append(BootError(f"plugin {name}", problem, remedy))


class _Claims:
    """Who has which name; the kernel's own commands are taken from the start."""

    def __init__(self, errors: list[BootError]) -> None:
        self._errors = errors
        self._owners = {f"command {name!r}": "the kernel" for name in KERNEL_COMMANDS}
        self._owners |= {f"manifest section {key!r}": "every manifest" for key in MANIFEST_KEYS}

    def grant(self, plugin: str, what: str) -> bool:
        """Give a name to the first who asks; the next is told who has it."""
        if owner := self._owners.get(what):
            problem = f"the {what} is already {owner}'s"
            self._errors.append(BootError(f"plugin {plugin}", problem, "rename one of the two"))
            return False
        self._owners[what] = f"plugin {plugin}"
        return True
