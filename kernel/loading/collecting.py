"""Collects and checks what plugins contribute at load; each name is granted once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from kernel.contracts import hookspecs
from kernel.contracts.access import Permission
from kernel.contracts.base import Command, ManifestSection
from kernel.contracts.server import Migration, Route
from kernel.database.migrations import find_migrations
from kernel.errors import BootError
from kernel.errors.source_lines import declared_at, source_line
from kernel.hooks.implementation import HookImplementation
from kernel.hooks.plugin import Plugin
from kernel.loading.kernel import Kernel
from kernel.loading.sources import blamed

BUILT_IN = "built-in"


def collect(kernel: Kernel) -> list[BootError]:
    """Collect the contributions of all plugins; a name that two plugins use is an error.

    Each error names its plugin.
    """
    collector = _Collector(kernel)
    collector.collect()
    return collector.errors


class _Collector:
    """Calls the hooks of a load. One failure does not hide another."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.errors = list[BootError]()

    def collect(self) -> None:
        """Collect what plugins contribute, in an order in which each hook finds what it needs."""
        contributions = self._kernel.contributions
        for implementation, permission in self._ask(hookspecs.register_permissions, Permission):
            if self._claim(implementation, f"permission {permission.key!r}"):
                contributions.permissions.append(permission)
        for implementation, command in self._ask(hookspecs.register_commands, Command):
            if self._claim(implementation, f"command {command.name!r}"):
                contributions.commands.append(command)
        sections = self._ask(hookspecs.register_manifest_section, ManifestSection)
        for implementation, section in sections:
            if self._claim(implementation, f"manifest section {section.key!r}"):
                contributions.manifest_sections.append((implementation.plugin, section))
        for implementation, wrap in self._ask(hookspecs.register_middleware, Callable):
            contributions.middleware.append((implementation.plugin, wrap))
        for implementation, route in self._ask(hookspecs.register_routes, Route):
            self._add_route(implementation.plugin, route)
        for plugin in self._kernel.instances:
            try:
                contributions.migrations += _migrations_of(plugin)
            except BootError as error:
                self.errors.append(error)
        for _ in self._ask(hookspecs.plugins_loaded, object):
            pass

    def _ask(self, spec: Callable[..., Any], kind: Any) -> Iterator[tuple[HookImplementation, Any]]:
        """Call a hook at load and yield its items, which have to be of a type.

        Plugins of Caudex come first, so a conflict is an error of the other plugin.
        """
        kernel = self._kernel
        implementations = kernel.bus.implementations(spec)
        if spec is not hookspecs.register_middleware:
            built_in = {info.name for info in kernel.plugins if info.origin == BUILT_IN}
            implementations = sorted(implementations, key=lambda impl: impl.plugin not in built_in)
        for implementation in implementations:
            try:
                with kernel.starts.timing(implementation.plugin):
                    items = _call(implementation, kind, {"services": kernel.services})
            except BootError as error:
                self.errors += error.errors
            else:
                for item in items:
                    yield implementation, item

    def _claim(self, implementation: HookImplementation, name: str) -> bool:
        """Give a name to the first plugin that uses it; report the others."""
        owner = self._kernel.contributions.claim(name, implementation.plugin)
        if owner is None:
            return True
        problem = f"the {name} is already {owner}'s"
        self.errors.append(BootError(_locate(implementation), problem, "rename one of the two"))
        return False

    def _add_route(self, plugin: str, route: Route) -> None:
        """Add a route to the table, or report why it cannot be added."""
        where = f"plugin {plugin}, {source_line(route.handler)}"
        name = f"the route {route.method} {route.path}"
        try:
            with blamed(where, f"{name} cannot be declared"):
                owner = self._kernel.table.add(plugin, route)
        except BootError as error:
            self.errors.append(error)
            return
        if owner:
            remedy = "remove one of the two" if owner == plugin else "disable one of the two"
            self.errors.append(BootError(where, f"{name} is already plugin {owner}'s", remedy))


def _locate(implementation: HookImplementation) -> str:
    return f"plugin {implementation.plugin}, {source_line(implementation.function)}"


def _call(implementation: HookImplementation, kind: Any, arguments: dict[str, object]) -> list[Any]:
    """Return the items of one implementation. Raises BootError where one is of another type."""
    hook = implementation.hook
    is_single = kind is ManifestSection
    expects_nothing = kind is object  # in return: such a hook notifies
    at = source_line(implementation.function)
    with blamed(f"plugin {implementation.plugin}", f"{hook} failed", at):
        result: Any = implementation.invoke(arguments)
        if is_single and not isinstance(result, list | tuple):
            result = [result]
        elif result is None and expects_nothing:
            result = []
        elif isinstance(result, Iterable):
            result = list(cast("Iterable[Any]", result))

    wrong = result
    if isinstance(result, list):
        items = [item for item in cast("list[Any]", result) if item is not None]
        misfits = [item for item in items if not isinstance(item, kind)]
        if not misfits:
            return items
        wrong = misfits[0]
    actual = "nothing" if wrong is None else f"a {type(wrong).__name__}"
    expected = kind.__name__ if is_single else f"list of {kind.__name__}"
    problem = f"{hook} returned {actual}"
    raise BootError(_locate(implementation), problem, f"return a {expected}")


def _migrations_of(plugin: Plugin) -> list[Migration]:
    """Return the migrations of a plugin in order. Raises BootError."""
    source = Path(sys.modules[type(plugin).__module__].__file__ or ".")
    if plugin.migrations is None:
        folder = source.parent / "migrations"
        is_package = source.stem == "__init__"
        return find_migrations(plugin.name, folder) if is_package and folder.is_dir() else []
    folder = Path(plugin.migrations)
    migrations = find_migrations(plugin.name, folder)
    if not migrations:
        where = f"plugin {plugin.name}, {declared_at(type(plugin), 'migrations')}"
        state = "is empty" if folder.is_dir() else "is missing"
        problem = f"its folder of migrations {state}: {folder}"
        raise BootError(where, problem, "write 0001_what.sql into it")
    return migrations
