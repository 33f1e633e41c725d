"""What plugins contribute while they are loaded: collected, checked, each name granted once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from inspect import iscoroutinefunction, isfunction, ismethod, unwrap
from typing import Any

from kernel.contracts import hookspecs
from kernel.contracts.access import Needs, Permission
from kernel.contracts.apps import MANIFEST_KEYS
from kernel.contracts.base import Command, ManifestSection
from kernel.contracts.server import Route
from kernel.errors import BootError, nearest
from kernel.hooks.bus import Implementation
from kernel.hooks.mistakes import place
from kernel.loading.kernel import Kernel
from kernel.loading.sources import blamed

KERNEL_COMMANDS = ("serve", "migrate")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PATH = re.compile(r"(/([^/{}?#\s]+|\{[a-z_]\w*\}))+|/|/(?!api/)([\w-]+/)+")
"""A path; outside `/api/` it may end in a slash, as the address of a page with relative links does.
"""
OF_AN_APP = ("app_user", "app_admin", "entity")

Faults = list[tuple[str, BootError]]
"""(plugin, what is wrong with it) pairs."""


def collect(kernel: Kernel) -> Faults:
    """Collect the contributions of all plugins; a name that two plugins use is an error."""
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
    kernel.middleware += _asked(kernel, hookspecs.register_middleware, Callable, faults)
    for name, route in _asked(kernel, hookspecs.register_routes, Route, faults):
        try:
            _add_route(kernel, name, route)
        except BootError as error:
            faults.append((name, error))
    if not faults:
        list(_asked(kernel, hookspecs.plugins_loaded, object, faults))
    return faults


def _granted(
    owners: dict[str, str], kind: str, items: Iterator[tuple[str, Any]], faults: Faults
) -> Iterator[tuple[str, Any]]:
    """Give each name to the first plugin that uses it, and yield the items of that one."""
    for plugin, item in items:
        what = f"{kind} {item.name if isinstance(item, Command) else item.key!r}"
        if owner := owners.get(what):
            problem = f"the {what} is already {owner}'s"
            faults.append((plugin, BootError(f"plugin {plugin}", problem, "rename one of the two")))
        else:
            owners[what] = f"plugin {plugin}"
            yield plugin, item


def _asked(
    kernel: Kernel, spec: Callable[..., Any], kind: Any, faults: Faults
) -> Iterator[tuple[str, Any]]:
    """Call a hook at load and yield its items; one failure does not hide another."""
    for impl in kernel.bus.implementations(spec):
        try:
            with kernel.timing(impl.plugin):
                items = _answer(impl, kind, {"services": kernel.services})
        except BootError as error:
            faults.append((impl.plugin, error))
        else:
            yield from ((impl.plugin, item) for item in items)


def _answer(impl: Implementation, kind: Any, given: dict[str, object]) -> list[Any]:
    with blamed(f"plugin {impl.plugin}", f"{impl.hook} failed"):
        result = impl.invoke(given)
        items = [result] if kind is ManifestSection else list(result or ())
    items = [item for item in items if item is not None]
    for item in items:
        if not isinstance(item, kind):
            where = f"plugin {impl.plugin}, {place(impl.function)}"
            problem = f"{impl.hook} returned a {type(item).__name__}"
            wanted = "a" if kind is ManifestSection else "a list of"
            raise BootError(where, problem, f"return {wanted} {kind.__name__}")
    return items


def _add_route(kernel: Kernel, plugin: str, route: Route) -> None:
    """Check a route and add it to the table. Raises BootError."""
    where, what = f"plugin {plugin}", f"the route {route.method} {route.path}"
    if fault := _route_fault(kernel, route):
        raise BootError(where, f"{what} {fault[0]}", fault[1])
    with blamed(where, f"{what} cannot be declared"):
        taken = kernel.table.add(plugin, route)
    if taken:
        raise BootError(where, f"{what} is already plugin {taken}'s", "disable one of the two")


def _route_fault(kernel: Kernel, route: Route) -> tuple[str, str] | None:
    """Return what a request would fail by, and the remedy."""
    needs: Any = route.needs
    if not isinstance(needs, Needs):
        remedy = "write PUBLIC, ANY_USER, CORE_ADMIN, core_permission(...)"
        return f"needs {needs!r}, which is no need", remedy
    if route.method not in METHODS:
        return "has an unknown method", nearest(route.method.upper(), METHODS)
    if not PATH.fullmatch(route.path):
        return "is no path", "write it as /api/v1/things/{id}"
    plain = isfunction(route.handler) or ismethod(route.handler)
    if plain and not iscoroutinefunction(unwrap(route.handler)):
        return f"has a handler that is a plain def, {place(route.handler)}", "write it as async def"
    for kinds, part, word in ((OF_AN_APP, "{app_id}", "app"), (("entity",), "{entity}", "entity")):
        if needs.kind in kinds and part not in route.path:
            return f"needs {needs}, and its path names no {word}", f"put {part} into the path"
    if needs.kind not in ("public", "user") and not kernel.services.provider("access"):
        return "needs the service 'access', which no plugin provides", "enable plugin rbac"
    permissions = {permission.key for permission in kernel.permissions}
    if needs.kind == "core_permission" and needs.key not in permissions:
        remedy = nearest(needs.key, permissions) or "return it from register_permissions"
        return f"needs the permission {needs.key!r}, which no plugin registers", remedy
    return None
