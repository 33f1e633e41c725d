"""Find and import plugins; errors name the plugin and the place."""

from __future__ import annotations

import fnmatch
import importlib.util
import inspect
import os
import pkgutil
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
from kernel.errors import NOT_TO_END, REMEDY, BootError, ends_process, raise_all, raised_at
from kernel.hooks.mistakes import declared_at
from kernel.hooks.plugin import KERNEL_API, Plugin
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
    named = {name: table["module"] for name, table in config.plugins.items() if "module" in table}
    found = {
        name: Source(name, str(to), partial(_load_named, to), True) for name, to in named.items()
    }
    for source in (*_built_in(), *_installed(), *_files(config, errors)):
        other = found.setdefault(source.name, source)
        if other is not source and source.name not in named:
            problem = f"there are two: {other.origin} and {source.origin}"
            remedy = f"rename one, or choose: [plugins.{source.name}] module"
            errors.append(BootError(f"plugin {source.name}", problem, remedy))
    return found


def _built_in() -> Iterator[Source]:
    for package, origin in (("plugins", "built-in"), ("contrib", "contrib")):
        for name in folders(package):
            load = partial(import_module, f"{package}.{name}")
            yield Source(name, origin, load, package == "plugins")


def _installed() -> Iterator[Source]:
    for entry in entry_points(group=ENTRY_POINTS):
        distribution = entry.dist
        if distribution is None:
            yield Source(entry.name, entry.value, entry.load, False)
            continue
        origin = f"{distribution.name} {distribution.version}"
        yield Source(entry.name, origin, entry.load, False, distribution.requires or ())


def _files(config: Config, errors: list[BootError]) -> Iterator[Source]:
    folder, dropped = config.server.plugins_dir, list[str]()
    try:
        dropped = sorted(fnmatch.filter(os.listdir(folder), "[!_]*.py")) if folder else []
    except OSError as error:  # not taken for empty: it may hold guards
        problem = f"{folder} cannot be listed: {error.strerror}"
        remedy = "create it, or let the server's account read it"
        errors.append(BootError("[server] plugins_dir", problem, remedy))
    for path in map(Path, [*(f"{folder}/{name}" for name in dropped), *config.server.plugin_files]):
        yield Source(path.stem.replace("-", "_"), str(path), partial(_load_file, path), True)


def folders(package: str) -> list[str]:
    """Return the names of the plugins in a package; only the package is imported."""
    found = pkgutil.iter_modules(import_module(package).__path__)
    return sorted(info.name for info in found if info.ispkg)


def _load_named(target: Any) -> ModuleType | type[Plugin]:
    """Load what `module` names: something importable, or the class itself (in tests)."""
    if inspect.isclass(target):
        return cast("type[Plugin]", target)
    module, _, attribute = str(target).partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


class _FreshLoader(SourceFileLoader):
    """Compiles the file again: bytecode that was cached in the same second may be stale."""

    def get_code(self, fullname: str) -> CodeType | None:
        return self.source_to_code(self.get_data(self.path), self.path)


def _load_file(path: Path) -> ModuleType:
    name = f"caudex_file_{path.stem}"
    loader = _FreshLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or not path.is_file() or path.suffix != ".py":
        said = "is no Python file" if path.exists() else "is not there"
        raise ImportError(f"{path} {said}")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
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
        found = source.load()
    if inspect.isclass(found):
        classes: list[type[Plugin]] = [found] if _is_plugin(found, found.__module__) else []
    else:
        classes = [c for c in vars(found).values() if _is_plugin(c, found.__name__)]
    if len(classes) != 1:
        found_count = f"{len(classes)} plugin classes in {source.origin}"
        raise BootError(where, found_count, "one subclass of caudex.Plugin is needed")
    return classes[0]


def check_class(cls: type[Plugin], source: Source) -> None:
    """Check the attributes of a plugin class. Raises BootError."""
    where = f"plugin {source.name}"
    if (actual := getattr(cls, "name", None)) != source.name:
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
        said = f"{type(error).__name__}: {error}"
        remedy = NOT_TO_END if isinstance(error, SystemExit) else REMEDY
        raise BootError(f"{where}, {at}" if at else where, f"{problem}: {said}", remedy) from error


def _is_plugin(value: Any, module: str) -> bool:
    inside = inspect.isclass(value) and f"{value.__module__}.".startswith(f"{module}.")
    return inside and issubclass(value, Plugin) and value is not Plugin
