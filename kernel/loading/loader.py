"""Find plugins, enable them, put them in order; every error is reported at once."""

from __future__ import annotations

import importlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from typing import Any

import msgspec
import structlog

from kernel.config.convert import convert, current_name
from kernel.config.log import masked
from kernel.config.settings import Config
from kernel.contracts.base import Provider
from kernel.contracts.server import PluginInfo
from kernel.errors import BootError, nearest, raise_all
from kernel.hooks.mistakes import declared_at, place
from kernel.hooks.plugin import Plugin
from kernel.loading.contributions import collect
from kernel.loading.kernel import Kernel, guard_hooks
from kernel.loading.sources import Source, blamed, check_class, find_sources, folders, plugin_class

KERNEL_SERVICES = ("statements", "pool", "registry", "hooks")
OWN_KEYS = ("enabled", "on_failure", "module")
"""Keys of a plugin's table that are the loader's, not the plugin's."""
ON_FAILURE = ("stop", "degrade")
FLAGS = {"true": True, "false": False, "1": True, "0": False}

log = structlog.get_logger("caudex.loader")


def load(config: Config, *, to_serve: bool = False) -> Kernel:
    """Load everything that the configuration enables. Raises BootErrors, all at once.

    With `to_serve` it is also an error where a server would lack a part.
    """
    return _load(config, {}, to_serve)


def safe(config: Config) -> Config:
    """Keep only what repairing a broken plugin needs; the package `plugins` lists it."""
    kept: Mapping[str, Mapping[str, Any]] = importlib.import_module("plugins").SAFE
    tables = {name: {**_own(config.plugins.get(name, {})), **laid} for name, laid in kept.items()}
    tables |= {name: {"enabled": False} for name in folders("plugins") if name not in kept}
    chosen = {key: by for key, by in config.services.items() if by in kept}
    config = config.replaced("server", plugins_dir="", plugin_files=[])
    return msgspec.structs.replace(config, plugins=tables, services=chosen)


def _load(config: Config, failed: Mapping[str, BootError], to_serve: bool) -> Kernel:
    """Load the plugins, without those whose contributions failed and that may be left out."""
    loading = _Loading(config, failed)
    kernel, faults = loading.load(), collect(loading.kernel)
    errors = loading.errors + (list(kernel.lacking()) if to_serve else [])
    if faults and not errors and all(kernel.may_fail(each.plugin) for each in faults):
        return _load(config, {**failed, **{each.plugin: each for each in faults}}, to_serve)
    raise_all(errors + faults)
    return kernel


class _Loading:
    """One try. Each step goes on with the other plugins after an error, which is collected."""

    def __init__(self, config: Config, failed: Mapping[str, BootError]) -> None:
        """`failed` names plugins that load but are left out."""
        own = {"plugins": deepcopy(config.plugins), "variables": deepcopy(config.variables)}
        self.kernel = Kernel(msgspec.structs.replace(config, **own), load)
        self.errors = list[BootError]()
        self._sources = find_sources(config, self.errors)
        self._classes = dict[str, type[Plugin]]()
        self._failed = failed

    def load(self) -> Kernel:
        """Import the plugins, create their objects and put them in order."""
        kernel = self.kernel
        for source in list(self._enabled()):
            with self._optional(source.name):
                self._classes[source.name] = cls = plugin_class(source)
                check_class(cls, source)
                if source.name in self._failed:
                    raise self._failed[source.name]
        for cls in list(self._classes.values()):
            with self._optional(cls.name):
                kernel.instances.append(plugin := _instance(kernel, cls))
                with blamed(f"plugin {cls.name}", "its hookspecs cannot be used"):
                    if plugin.hookspecs is not None:
                        kernel.bus.add_specs(plugin.hookspecs, cls.name)
        for plugin in list(kernel.instances):
            with self._optional(plugin.name):
                kernel.bus.register(plugin, plugin.name)
                _bind_services(kernel, plugin)
        kernel.plugins += [_info(kernel, one, self._sources[one.name]) for one in kernel.instances]
        self.errors += _unmet(kernel)
        self.errors += _order(kernel)
        return kernel

    def _enabled(self) -> Iterator[Source]:
        tables, sources = self.kernel.config.plugins, self._sources
        for name in sorted(tables.keys() - sources.keys()):
            near = nearest(name, sources)
            missing = "install its package, or say where it is: module = …"
            remedy = near if near.startswith("did you mean") else f"{missing}; {near}"
            self.errors.append(BootError(f"[plugins.{name}]", "there is no such plugin", remedy))
        for name, source in sources.items():
            value = tables[name].get("enabled", True) if name in tables else source.default_on
            enabled = FLAGS.get(str(value).lower())
            if enabled is None:
                self.errors.append(BootError(f"[plugins.{name}] enabled", "must be true or false"))
            elif enabled:
                yield source
            else:
                self._not_loaded(source.name, "off")

    def _not_loaded(self, name: str, state: str, note: str = "") -> None:
        origin = self._sources[name].origin
        info = PluginInfo(name=name, version="", state=state, origin=origin, note=note)
        self.kernel.plugins.append(info)

    @contextmanager
    def _optional(self, name: str) -> Generator[None]:
        """Continue without a plugin that may be left out (`on_failure = "degrade"`)."""
        kernel = self.kernel
        try:
            with kernel.timing(name):
                yield
        except BootError as error:
            cls = self._classes.pop(name, None)
            kernel.instances[:] = [plugin for plugin in kernel.instances if plugin.name != name]
            if not kernel.may_fail(name):
                self.errors += error.errors
                self._not_loaded(name, "failed")
            elif guards := guard_hooks(cls):
                remedy = "fix it, or disable it if this deployment does not need that protection"
                problem = f"cannot be left out: its hooks protect requests ({guards})"
                self.errors += [error, BootError(f"plugin {name}", problem, remedy)]
            else:
                log.error("a plugin is left out", plugin=name, error=str(error))
                self._not_loaded(name, "degraded", masked(str(error)))


def _instance(kernel: Kernel, cls: type[Plugin]) -> Plugin:
    """Create a plugin's object. Raises BootError."""
    where, table = f"[plugins.{cls.name}]", kernel.config.plugins.get(cls.name, {})
    if (choice := table.get("on_failure", "stop")) not in ON_FAILURE:
        remedy = nearest(str(choice), ON_FAILURE)
        raise BootError(f"{where} on_failure", f"{choice!r} is unknown", remedy)
    variables = kernel.config.variables.get(f"plugins.{cls.name}", {})
    config = convert(_own(table), cls.Config, where, variables, OWN_KEYS)
    with blamed(f"plugin {cls.name}", "cannot be created"):
        return cls(config, kernel.context)


def _own(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a table that are the plugin's."""
    return {key: value for key, value in table.items() if key not in OWN_KEYS}


def _info(kernel: Kernel, plugin: Plugin, source: Source) -> PluginInfo:
    own = _own(kernel.config.plugins.get(plugin.name, {}))
    variables = kernel.config.variables.get(f"plugins.{plugin.name}", {})
    return PluginInfo(
        name=plugin.name,
        version=plugin.version,
        state="on",
        origin=source.origin,
        provides=tuple(kernel.services.offered_by(plugin.name)),
        wraps=tuple(kernel.services.wrapped_by(plugin.name)),
        requires=tuple(key.name for key in plugin.requires),
        uses=tuple(key.name for key in (*plugin.uses, *plugin.finds)),
        settings=type(plugin).Config.__struct_encode_fields__,
        configured=tuple(sorted({current_name(key, type(plugin).Config) for key in own})),
        sources={key: variables.get(key, kernel.config.source) for key in own},
    )


def _bind_services(kernel: Kernel, plugin: Plugin) -> None:
    """Bind the plugin's providers; without the bus, whose order follows from them."""
    hook: Any = getattr(plugin, "provide_services", None)
    if hook is None:
        return
    with blamed(f"plugin {plugin.name}", "provide_services failed"):
        providers = list[Any](hook() or ())
    if not all(isinstance(item, Provider) for item in providers):
        where = f"plugin {plugin.name}, {place(hook)}"
        problem = "provide_services did not return providers"
        raise BootError(where, problem, "return a list of provide(KEY, factory)")
    for item in providers:
        if not callable(item.factory):
            where = f"plugin {plugin.name}, {place(hook)}"
            problem = f"the factory of the service {item.key.name!r} is no function"
            raise BootError(where, problem, "return provide(KEY, factory)")
        bind = kernel.services.wrap if item.over else kernel.services.provide
        bind(item.key, item.factory, by=plugin.name)


def _unmet(kernel: Kernel) -> list[BootError]:
    """Return the services that no plugin provides, or that the operator has to choose."""
    errors = kernel.services.check()
    # What a plugin of Caudex lacks may come from one that failed: it is not reported.
    lost = any(info.state == "failed" for info in kernel.plugins)
    own = {info.name for info in kernel.plugins if info.origin in ("built-in", "contrib")}
    # Plugins that are off by default, as all of contrib, are not named.
    off = sorted(kernel.config.plugins.keys() - {plugin.name for plugin in kernel.instances})
    known = f" (not on: {', '.join(off)})" if off else ""
    chosen = {error.where.removeprefix("[services] ") for error in errors}
    for plugin in kernel.instances:
        remedy = f"enable a plugin that does{known}, or disable {plugin.name}"
        needed = {*(key.name for key in plugin.requires), *kernel.services.wrapped_by(plugin.name)}
        foreign = plugin.name not in own
        where = f", {declared_at(type(plugin), 'requires')}" if foreign else ""
        for name in needed - {*KERNEL_SERVICES, *chosen}:
            if (foreign or not lost) and not kernel.services.provider(name):
                problem = f"needs the service {name!r}, which no plugin provides"
                errors.append(BootError(f"plugin {plugin.name}{where}", problem, remedy))
    return errors


def _order(kernel: Kernel) -> list[BootError]:
    """Put providers before the plugins that need them; names break ties, so it never changes."""
    errors, ordered = list[BootError](), list[Plugin]()
    waiting = {plugin.name: plugin for plugin in sorted(kernel.instances, key=lambda p: p.name)}
    while waiting:
        ready = next((name for name in waiting if not _needs(kernel, waiting, name)), None)
        if ready is None:
            errors.append(_circle(kernel, waiting))
            ordered += waiting.values()
            break
        ordered.append(waiting.pop(ready))
    kernel.instances = ordered
    rank = {plugin.name: position for position, plugin in enumerate(ordered)}
    kernel.plugins.sort(key=lambda info: (rank.get(info.name, len(rank)), info.name))
    kernel.bus.arrange(list(rank))
    return errors


def _needs(kernel: Kernel, waiting: Mapping[str, Plugin], name: str) -> dict[str, str]:
    """Map the waiting plugins that this one needs to the service."""
    keys = [key.name for key in (*waiting[name].requires, *waiting[name].uses)]
    keys += kernel.services.wrapped_by(name)
    found = dict[str, str]()
    for key in keys:
        with suppress(BootError):  # `_unmet` reports a wrong choice
            chain = kernel.services.chain(key, before=name)
            found |= {by: key for by in chain if by in waiting and by != name}
    return found


def _circle(kernel: Kernel, waiting: Mapping[str, Plugin]) -> BootError:
    """Follow the needs until a plugin repeats; every waiting plugin needs another one."""
    name, path = next(iter(waiting)), dict[str, str]()
    while name not in path:
        needed, key = next(iter(_needs(kernel, waiting, name).items()))
        path[name] = f"{name} needs {key!r} of {needed}"
        name = needed
    steps = list(path.values())[list(path).index(name) :]
    remedy = "remove one of these keys from `requires` and ask for it in the handler"
    return BootError("services", f"plugins need each other: {', '.join(steps)}", remedy)
