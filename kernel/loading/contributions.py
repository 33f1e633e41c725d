"""Collects and checks what plugins contribute at load; each name is granted once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from kernel.contracts import hookspecs
from kernel.contracts.access import Permission
from kernel.contracts.apps import MANIFEST_KEYS
from kernel.contracts.base import Command, ManifestSection
from kernel.contracts.server import Route
from kernel.errors import BootError
from kernel.hooks.implementation import HookImplementation
from kernel.hooks.mistakes import place
from kernel.loading.kernel import Kernel, migrations_of
from kernel.loading.sources import blamed

KERNEL_COMMANDS = ("serve", "migrate")
Faults = list[BootError]


def collect(kernel: Kernel) -> Faults:
    """Collect the contributions of all plugins; a name that two plugins use is an error.

    Each error names its plugin.
    """
    faults: Faults = []
    owners = kernel.owners
    owners |= {f"command {name!r}": "the kernel" for name in KERNEL_COMMANDS}
    owners |= {f"manifest section {key!r}": "every manifest" for key in MANIFEST_KEYS}
    permissions = _asked(kernel, hookspecs.register_permissions, Permission, faults)
    kernel.permissions += [each for _, each in _granted(owners, "permission", permissions, faults)]
    commands = _asked(kernel, hookspecs.register_commands, Command, faults)
    kernel.commands += [each for _, each in _granted(owners, "command", commands, faults)]
    sections = _asked(kernel, hookspecs.register_manifest_section, ManifestSection, faults)
    kernel.manifest_sections += _granted(owners, "manifest section", sections, faults)
    middleware = _asked(kernel, hookspecs.register_middleware, Callable, faults)
    kernel.middleware += [(impl.plugin, each) for impl, each in middleware]
    for impl, route in _asked(kernel, hookspecs.register_routes, Route, faults):
        try:
            _add_route(kernel, impl.plugin, route)
        except BootError as error:
            faults.append(error)
    for plugin in kernel.instances:
        try:
            kernel.migrations += migrations_of(plugin)
        except BootError as error:
            faults.append(error)
    list(_asked(kernel, hookspecs.plugins_loaded, object, faults))
    return faults


def _granted(
    owners: dict[str, str],
    kind: str,
    items: Iterator[tuple[HookImplementation, Any]],
    faults: Faults,
) -> Iterator[tuple[str, Any]]:
    """Give each name to the first plugin that uses it, and yield the items of that one."""
    for impl, item in items:
        what = f"{kind} {item.name if isinstance(item, Command) else item.key!r}"
        if owner := owners.get(what):
            problem = f"the {what} is already {owner}'s"
            faults.append(BootError(_where(impl), problem, "rename one of the two"))
        else:
            owners[what] = f"plugin {impl.plugin}"
            yield impl.plugin, item


def _asked(
    kernel: Kernel, spec: Callable[..., Any], kind: Any, faults: Faults
) -> Iterator[tuple[HookImplementation, Any]]:
    """Call a hook at load and yield its items; one failure does not hide another.

    Plugins of Caudex come first, so a conflict is an error of the other plugin.
    """
    impls = kernel.bus.implementations(spec)
    if spec is not hookspecs.register_middleware:
        own = {info.name for info in kernel.plugins if info.origin == "built-in"}
        impls = sorted(impls, key=lambda impl: impl.plugin not in own)
    for impl in impls:
        try:
            with kernel.timing(impl.plugin):
                items = _answer(impl, kind, {"services": kernel.services})
        except BootError as error:
            faults += error.errors
        else:
            yield from ((impl, item) for item in items)


def _where(impl: HookImplementation) -> str:
    return f"plugin {impl.plugin}, {place(impl.function)}"


def _answer(impl: HookImplementation, kind: Any, given: dict[str, object]) -> list[Any]:
    with blamed(f"plugin {impl.plugin}", f"{impl.hook} failed", place(impl.function)):
        result: Any = impl.invoke(given)
        found: Any = [result] if kind is ManifestSection else result
        items = list(cast("Iterable[Any]", found)) if isinstance(found, Iterable) else None
    wrong = [result] if items is None else [one for one in items if not isinstance(one, kind)]
    if any(one is not None for one in wrong) or (items is None and kind is not object):
        odd = next((f"a {type(one).__name__}" for one in wrong if one is not None), "nothing")
        wanted = f"return a{'' if kind is ManifestSection else ' list of'} {kind.__name__}"
        raise BootError(_where(impl), f"{impl.hook} returned {odd}", wanted)
    return [one for one in items or () if one is not None]


def _add_route(kernel: Kernel, plugin: str, route: Route) -> None:
    """Add a route to the table. Raises BootError."""
    where = f"plugin {plugin}, {place(route.handler)}"
    what = f"the route {route.method} {route.path}"
    with blamed(where, f"{what} cannot be declared"):
        taken = kernel.table.add(plugin, route)
    if taken:
        remedy = f"{'remove' if taken == plugin else 'disable'} one of the two"
        raise BootError(where, f"{what} is already plugin {taken}'s", remedy)
