"""What plugins contribute while they are loaded: asked for, looked at, given to one each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from inspect import iscoroutinefunction, isfunction, ismethod, unwrap
from typing import TYPE_CHECKING, Any

from kernel.contracts.access import Needs, Permission
from kernel.contracts.apps import MANIFEST_KEYS
from kernel.errors import BootError, nearest
from kernel.hooks import hookspecs
from kernel.hooks.bus import Implementation, place
from kernel.hooks.plugin import Command, ManifestSection
from kernel.loading.sources import blamed
from kernel.web.http import Route

if TYPE_CHECKING:
    from kernel.loading.loader import Kernel

KERNEL_COMMANDS = ("serve", "init", "plugins", "routes", "migrate", "doctor", "config")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PATH = re.compile(r"(/([^/{}?#\s]+|\{[a-z_]\w*\}))+")
OF_AN_APP = ("app_user", "app_admin", "entity")


Faults = list[tuple[str, BootError]]
"""(plugin, what is wrong with it) pairs."""


def collect(kernel: Kernel) -> Faults:
    """Ask the plugins what they contribute; two that contribute the same clash by name."""
    errors: Faults = []
    claims = _Claims(kernel, errors)
    for name, permission in _asked(kernel, hookspecs.register_permissions, Permission, errors):
        if claims.grant(name, f"permission {permission.key!r}"):
            kernel.permissions.append(permission)
    for name, command in _asked(kernel, hookspecs.register_commands, Command, errors):
        if claims.grant(name, f"command {command.name!r}"):
            kernel.commands.append(command)
    for name, section in _asked(
        kernel, hookspecs.register_manifest_section, ManifestSection, errors
    ):
        if claims.grant(name, f"manifest section {section.key!r}"):
            kernel.manifest_sections.append((name, section))
    given = {"services": kernel.services}
    for name, wrap in _asked(kernel, hookspecs.register_middleware, Callable, errors, **given):
        kernel.middleware.append((name, wrap))
    for name, route in _asked(kernel, hookspecs.register_routes, Route, errors, **given):
        _add_route(kernel, name, route, errors)
    return errors


def _asked(
    kernel: Kernel, spec: Callable[..., Any], kind: Any, errors: Faults, **given: object
) -> Iterator[tuple[str, Any]]:
    """Call a hook at load, and pass on what is of its kind; one failure does not hide another."""
    for impl in kernel.bus.implementations(spec):
        try:
            with kernel.timing(impl.plugin):
                items = _answer(impl, kind, given)
        except BootError as error:
            errors.append((impl.plugin, error))
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
            one = kind.__name__
            remedy = f"return a {one}" if kind is ManifestSection else f"return a list of {one}"
            raise BootError(where, problem, remedy)
    return items


def _add_route(kernel: Kernel, name: str, route: Route, errors: Faults) -> None:
    where, what = f"plugin {name}", f"the route {route.method} {route.path}"
    try:
        _check_route(kernel, where, what, route)
        with blamed(where, f"{what} cannot be declared"):
            taken = kernel.table.add(name, route)
    except BootError as error:
        errors.append((name, error))
        return
    if taken:
        problem = f"{what} is already plugin {taken}'s"
        errors.append((name, BootError(where, problem, "switch one of the two off")))


def _check_route(kernel: Kernel, where: str, what: str, route: Route) -> None:
    """Find what would only show once somebody calls it. Raises BootError."""
    needs: Any = route.needs
    if not isinstance(needs, Needs):
        problem = f"{what} needs {needs!r}, which is no need"
        raise BootError(where, problem, "say PUBLIC, ANY_USER, CORE_ADMIN, core_permission(...)")
    if route.method not in METHODS:
        problem = f"{what} has an unknown method"
        raise BootError(where, problem, nearest(route.method.upper(), METHODS))
    if not PATH.fullmatch(route.path):
        raise BootError(where, f"{what} is no path", "write it as /api/v1/things/{id}")
    if (isfunction(route.handler) or ismethod(route.handler)) and not iscoroutinefunction(
        unwrap(route.handler)
    ):
        problem = f"{what} has a handler that is a plain def, {place(route.handler)}"
        raise BootError(where, problem, "write it as async def")
    if needs.kind in OF_AN_APP and "{app_id}" not in route.path:
        problem = f"{what} needs {needs}, and its path names no app"
        raise BootError(where, problem, "put {app_id} into the path")
    if needs.kind == "entity" and "{entity}" not in route.path:
        problem = f"{what} needs {needs}, and its path names no entity"
        raise BootError(where, problem, "put {entity} into the path")
    if needs.kind not in ("public", "user") and not kernel.services.provider("access"):
        problem = f"{what} needs the service 'access', which nobody provides"
        raise BootError(where, problem, "switch on plugin rbac")
    permissions = {permission.key for permission in kernel.permissions}
    if needs.kind == "core_permission" and needs.key not in permissions:
        problem = f"{what} needs the permission {needs.key!r}, which nobody registers"
        remedy = nearest(needs.key, permissions) or "return it from register_permissions"
        raise BootError(where, problem, remedy)


class _Claims:
    """Who has which name; the kernel's own commands are taken from the start."""

    def __init__(self, kernel: Kernel, errors: Faults) -> None:
        self._errors = errors
        self._owners = kernel.owners
        self._owners |= {f"command {name!r}": "the kernel" for name in KERNEL_COMMANDS}
        self._owners |= {f"manifest section {key!r}": "every manifest" for key in MANIFEST_KEYS}

    def grant(self, plugin: str, what: str) -> bool:
        """Give a name to the first who asks; the next is told who has it."""
        if owner := self._owners.get(what):
            problem = f"the {what} is already {owner}'s"
            error = BootError(f"plugin {plugin}", problem, "rename one of the two")
            self._errors.append((plugin, error))
            return False
        self._owners[what] = f"plugin {plugin}"
        return True
