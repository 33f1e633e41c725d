"""Find and import plugins; errors name the plugin and the place."""

from __future__ import annotations

import fnmatch
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, cast

import msgspec

from kernel.config.settings import Config
from kernel.contracts.base import ServiceKey
from kernel.errors import NOT_TO_END, REMEDY, BootError, ends_process, raise_all
from kernel.errors.source_lines import declared_at, raised_at
from kernel.hooks.plugin import KERNEL_API, Plugin
from kernel.loading.bundles import bundles, folders
from kernel.loading.requirements import unmet

ENTRY_POINTS = "caudex.plugins"
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Source(msgspec.Struct, frozen=True):
    """Where a plugin comes from; nothing is imported before the plugin is enabled."""

    name: str
    origin: str
    load: Callable[[], ModuleType | type[Plugin]]
    default_on: bool
    requirements: Sequence[str] = ()
    """Those of its distribution, as `Requires-Dist` has them."""


def find_sources(config: Config, errors: list[BootError]) -> dict[str, Source]:
    """Find every plugin by name; `module` in the configuration replaces any other source."""
    named = {source.name: source for source in _named(config)}
    sources = dict(named)
    for source in (*_bundled(), *_installed(), *_files(config, errors)):
        other = sources.setdefault(source.name, source)
        if other is not source and source.name not in named:
            problem = f"there are two: {other.origin} and {source.origin}"
            remedy = f"rename one, or choose: [plugins.{source.name}] module"
            errors.append(BootError(f"plugin {source.name}", problem, remedy))
    return sources


def _named(config: Config) -> Iterator[Source]:
    for name, table in config.plugins.items():
        if "module" in table:
            target = table["module"]
            yield Source(name, str(target), partial(_load_named, target), default_on=True)


def _bundled() -> Iterator[Source]:
    for package, bundle in bundles():
        for name in folders(package):
            load = partial(import_module, f"{package}.{name}")
            yield Source(name, bundle.origin, load, bundle.on_by_default)


def _installed() -> Iterator[Source]:
    for entry in entry_points(group=ENTRY_POINTS):
        distribution = entry.dist
        if distribution is None:
            yield Source(entry.name, entry.value, entry.load, default_on=False)
            continue
        origin = f"{distribution.name} {distribution.version}"
        requirements = distribution.requires or ()
        yield Source(entry.name, origin, entry.load, default_on=False, requirements=requirements)


def _files(config: Config, errors: list[BootError]) -> Iterator[Source]:
    folder = config.server.plugins_dir
    files = list[str]()
    if folder:
        try:
            names = sorted(fnmatch.filter(os.listdir(folder), "[!_]*.py"))
            files += [f"{folder}/{name}" for name in names]
        except OSError as error:  # not taken for empty: it may hold guards
            problem = f"{folder} cannot be listed: {error.strerror}"
            remedy = "create it, or let the server's account read it"
            errors.append(BootError("[server] plugins_dir", problem, remedy))
    files += config.server.plugin_files
    for path in map(Path, files):
        name = path.stem.replace("-", "_")
        yield Source(name, str(path), partial(_load_file, path), default_on=True)


def _load_named(target: Any) -> ModuleType | type[Plugin]:
    """Load what `module` names: something importable, or the class itself (in tests)."""
    if inspect.isclass(target):
        return cast("type[Plugin]", target)
    name, _, attribute = str(target).partition(":")
    module = import_module(name)
    return getattr(module, attribute) if attribute else module


class _FreshLoader(SourceFileLoader):
    """Compiles the file again: bytecode that was cached in the same second may be stale."""

    def get_code(self, fullname: str) -> CodeType | None:
        return self.source_to_code(self.get_data(self.path), self.path)


def _load_file(path: Path) -> ModuleType:
    name = f"caudex_file_{path.stem}"
    loader = _FreshLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or not path.is_file() or path.suffix != ".py":
        problem = "is no Python file" if path.exists() else "is not there"
        raise ImportError(f"{path} {problem}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def plugin_class(source: Source) -> type[Plugin]:
    """Import a plugin and find its one class. Raises BootError."""
    where = f"plugin {source.name}"
    raise_all(list(unmet(f"{where}, {source.origin}", source.requirements)))
    with blamed(where, "cannot be imported", source.origin):
        loaded = source.load()
    if inspect.isclass(loaded):
        candidates: list[Any] = [loaded]
        module = loaded.__module__
    else:
        candidates = list(vars(loaded).values())
        module = loaded.__name__
    classes: list[type[Plugin]] = [value for value in candidates if _is_plugin(value, module)]
    if len(classes) != 1:
        problem = f"{len(classes)} plugin classes in {source.origin}"
        raise BootError(where, problem, "one subclass of caudex.Plugin is needed")
    return classes[0]


def check_class(cls: type[Plugin], source: Source) -> None:
    """Check the attributes of a plugin class. Raises BootError."""
    where = f"plugin {source.name}"
    actual = getattr(cls, "name", None)
    if actual != source.name:
        raise BootError(where, f"its class is called {actual!r}", f"set name = {source.name!r}")
    if not NAME.fullmatch(cls.name):
        problem = f"{cls.name!r} is no name for a plugin"
        raise BootError(where, problem, "use lower-case letters, digits and underscores")
    if cls.kernel_api != KERNEL_API:
        problem = f"wants kernel_api {cls.kernel_api}, this kernel has {KERNEL_API}"
        raise BootError(where, problem, "install a version of the plugin for this kernel")
    for attribute in ("requires", "uses", "finds"):
        keys: object = getattr(cls, attribute)
        if not isinstance(keys, tuple) or not all(
            isinstance(key, ServiceKey) for key in cast("tuple[object, ...]", keys)
        ):
            remedy = f"write a tuple of service keys: {attribute} = (STATEMENTS,)"
            where = f"{where}, {declared_at(cls, attribute)}"
            raise BootError(where, f"its {attribute} are no service keys", remedy)
    config: Any = cls.Config
    if not inspect.isclass(config) or not issubclass(config, msgspec.Struct):
        raise BootError(where, "its Config is no msgspec.Struct", "derive it from caudex.Section")


@contextmanager
def blamed(where: str, problem: str, origin: str = "") -> Generator[None]:
    """Turn an exception of a plugin's own code into a BootError with its location."""
    try:
        yield
    except BootError:
        raise
    except (Exception, SystemExit) as error:
        if ends_process(error):
            raise
        at = raised_at(error) or origin
        place = f"{where}, {at}" if at else where
        remedy = NOT_TO_END if isinstance(error, SystemExit) else REMEDY
        message = f"{problem}: {type(error).__name__}: {error}"
        raise BootError(place, message, remedy) from error


def _is_plugin(value: Any, module: str) -> bool:
    if not inspect.isclass(value) or value is Plugin:
        return False
    is_inside = f"{value.__module__}.".startswith(f"{module}.")
    return is_inside and issubclass(value, Plugin)
