"""Find plugins, enable them, put them in order; every error is reported at once."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import structlog

from kernel.config.convert import convert, current_name
from kernel.config.log import mask
from kernel.config.settings import Config
from kernel.contracts.base import Provider
from kernel.contracts.server import PluginInfo
from kernel.errors import BootError, nearest, raise_all
from kernel.errors.source_lines import source_line
from kernel.hooks.plugin import Plugin
from kernel.loading.bundles import plugins_by_default, safe_settings
from kernel.loading.collecting import collect
from kernel.loading.degrading import may_fail, protecting_hooks
from kernel.loading.kernel import Kernel
from kernel.loading.ordering import arrange, find_unmet
from kernel.loading.sources import Source, blamed, check_class, find_sources, plugin_class

OWN_KEYS: Final = ("enabled", "on_failure", "module")
"""Keys of a plugin's table that are the loader's, not the plugin's."""
ON_FAILURE: Final = ("stop", "degrade")
FLAGS: Final = {"true": True, "false": False, "1": True, "0": False}

log = structlog.get_logger("caudex.loader")


def load(config: Config, *, to_serve: bool = False) -> Kernel:
    """Load everything that the configuration enables. Raises BootErrors, all at once.

    With `to_serve` it is also an error where a server would lack a part.
    """
    return _load_without(config, {}, to_serve)


def safe(config: Config) -> Config:
    """Keep only what repairing a broken plugin needs; the packages of plugins list it."""
    tables: dict[str, dict[str, Any]] = {}
    for name, settings in safe_settings().items():
        tables[name] = {**_settings_of(config.plugins.get(name, {})), **settings}
    providers = {key: plugin for key, plugin in config.services.items() if plugin in tables}
    for name in plugins_by_default():
        tables.setdefault(name, {"enabled": False})
    config = config.replaced("server", plugins_dir="", plugin_files=[])
    return msgspec.structs.replace(config, plugins=tables, services=providers)


def _load_without(config: Config, failed: Mapping[str, BootError], to_serve: bool) -> Kernel:
    """Load the plugins, without those whose contributions failed and that may be left out."""
    loading = _Loading(config, failed)
    kernel = loading.load()
    faults = collect(kernel)
    errors = list(loading.errors)
    if to_serve:
        errors += kernel.find_lacking()
    if faults and not errors and all(may_fail(config, fault.plugin) for fault in faults):
        failed = {**failed, **{fault.plugin: fault for fault in faults}}
        return _load_without(config, failed, to_serve)
    raise_all(errors + faults)
    return kernel


class _Loading:
    """One try. Each step goes on with the other plugins after an error, which is collected."""

    def __init__(self, config: Config, failed: Mapping[str, BootError]) -> None:
        """`failed` names plugins that load but are left out."""
        self.kernel = Kernel(config, load)
        self.errors = list[BootError]()
        self._sources = find_sources(config, self.errors)
        self._classes = dict[str, type[Plugin]]()
        self._failed = failed

    def load(self) -> Kernel:
        """Import the plugins, create their objects and put them in order."""
        kernel = self.kernel
        for source in list(self._enabled()):
            with self._optional(source.name):
                self._import(source)
        for cls in list(self._classes.values()):
            with self._optional(cls.name):
                self._create(cls)
        for plugin in list(kernel.instances):
            with self._optional(plugin.name):
                kernel.bus.register(plugin, plugin.name)
                _bind_services(kernel, plugin)
        for plugin in kernel.instances:
            kernel.plugins.append(_describe(kernel, plugin, self._sources[plugin.name]))
        self.errors += find_unmet(kernel)
        self.errors += arrange(kernel)
        return kernel

    def _enabled(self) -> Iterator[Source]:
        """Yield the plugins to load, and report names and flags that are wrong."""
        tables = self.kernel.config.plugins
        for name in sorted(tables.keys() - self._sources.keys()):
            remedy = nearest(name, self._sources)
            if not remedy.startswith("did you mean"):
                remedy = f"install its package, or say where it is: module = …; {remedy}"
            self.errors.append(BootError(f"[plugins.{name}]", "there is no such plugin", remedy))
        for name, source in self._sources.items():
            value = source.default_on
            if name in tables:
                value = tables[name].get("enabled", True)
            is_enabled = FLAGS.get(str(value).lower())
            if is_enabled is None:
                self.errors.append(BootError(f"[plugins.{name}] enabled", "must be true or false"))
            elif is_enabled:
                yield source
            else:
                self._note_state(source.name, "off")

    def _import(self, source: Source) -> None:
        """Import the class of a plugin. Raises BootError."""
        cls = plugin_class(source)
        self._classes[source.name] = cls
        check_class(cls, source)
        if source.name in self._failed:
            raise self._failed[source.name]

    def _create(self, cls: type[Plugin]) -> None:
        """Create the object of a plugin, and add the hooks that it declares. Raises BootError."""
        plugin = _make_plugin(self.kernel, cls)
        self.kernel.instances.append(plugin)
        with blamed(f"plugin {cls.name}", "its hookspecs cannot be used"):
            if plugin.hookspecs is not None:
                self.kernel.bus.add_specs(plugin.hookspecs, cls.name)

    def _note_state(self, name: str, state: str, note: str = "") -> None:
        """Add a plugin that is not on."""
        origin = self._sources[name].origin
        info = PluginInfo(name=name, version="", state=state, origin=origin, note=note)
        self.kernel.plugins.append(info)

    @contextmanager
    def _optional(self, name: str) -> Generator[None]:
        """Continue without a plugin that may be left out (`on_failure = "degrade"`)."""
        kernel = self.kernel
        try:
            with kernel.starts.timing(name):
                yield
        except BootError as error:
            cls = self._classes.pop(name, None)
            kernel.plugin_set.remove(name)
            guards = protecting_hooks(cls)
            if not may_fail(kernel.config, name):
                self.errors += error.errors
                self._note_state(name, "failed")
            elif guards:
                remedy = "fix it, or disable it if this deployment does not need that protection"
                problem = f"cannot be left out: its hooks protect requests ({guards})"
                self.errors += [error, BootError(f"plugin {name}", problem, remedy)]
            else:
                log.error("a plugin is left out", plugin=name, error=str(error))
                self._note_state(name, "degraded", mask(str(error)))


def _make_plugin(kernel: Kernel, cls: type[Plugin]) -> Plugin:
    """Create a plugin's object. Raises BootError."""
    where = f"[plugins.{cls.name}]"
    table = kernel.config.plugins.get(cls.name, {})
    choice = table.get("on_failure", "stop")
    if choice not in ON_FAILURE:
        remedy = nearest(str(choice), ON_FAILURE)
        raise BootError(f"{where} on_failure", f"{choice!r} is unknown", remedy)
    variables = kernel.config.variables.get(f"plugins.{cls.name}", {})
    config = convert(_settings_of(table), cls.Config, where, variables, OWN_KEYS)
    with blamed(f"plugin {cls.name}", "cannot be created"):
        return cls(config, kernel.context)


def _settings_of(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a table that are the plugin's."""
    return {key: value for key, value in table.items() if key not in OWN_KEYS}


def _describe(kernel: Kernel, plugin: Plugin, source: Source) -> PluginInfo:
    """Describe a plugin that is on."""
    config_type = type(plugin).Config
    settings = _settings_of(kernel.config.plugins.get(plugin.name, {}))
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
        settings=config_type.__struct_encode_fields__,
        configured=tuple(sorted({current_name(key, config_type) for key in settings})),
        sources={key: variables.get(key, kernel.config.source) for key in settings},
    )


def _bind_services(kernel: Kernel, plugin: Plugin) -> None:
    """Bind the plugin's providers; without the bus, whose order follows from them."""
    hook: Any = getattr(plugin, "provide_services", None)
    if hook is None:
        return
    where = f"plugin {plugin.name}, {source_line(hook)}"
    with blamed(f"plugin {plugin.name}", "provide_services failed"):
        providers = list[Any](hook() or ())
    if not all(isinstance(provider, Provider) for provider in providers):
        problem = "provide_services did not return providers"
        raise BootError(where, problem, "return a list of provide(KEY, factory)")
    for provider in providers:
        if not callable(provider.factory):
            problem = f"the factory of the service {provider.key.name!r} is no function"
            raise BootError(where, problem, "return provide(KEY, factory)")
        bind = kernel.services.wrap if provider.over else kernel.services.provide
        bind(provider.key, provider.factory, by=plugin.name)
