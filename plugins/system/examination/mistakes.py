"""Mistakes of plugins that would have no effect until a request meets them, found at the start."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from inspect import isclass, iscoroutinefunction, isfunction, ismethod, signature, unwrap
from pathlib import Path
from typing import Any, Final, cast

from kernel.public import (
    ACCESS,
    PERMISSION_KEY,
    BootError,
    Implementation,
    LoadedPlugin,
    LoadedPlugins,
    Needs,
    Plugin,
    Route,
    ServiceKey,
    code_of,
    declared_at,
    hookspecs,
    nearest,
    source_line,
)

from .asked import undeclared

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
PATH: Final = re.compile(
    r"(?=.)(/([^/{}?#\s]+|\{[a-z_]\w*\}))*(/\{[a-z_]\w*\*\})?|/|/(?!api/)([\w-]+/)+"
)
"""A path; `{name*}` at its end takes the rest. Outside `/api/` it may end in a slash, as the
address of a page with relative links does."""
OF_AN_APP: Final = ("app_user", "app_admin", "app_permission", "entity")
SUBJECT: Final = re.compile(r"\*|[a-z][a-z0-9_]*\.(\*|[a-z][a-z0-9_]*)")
DECLARING: Final = ("requires", "uses", "finds")
WITH_SUBJECTS: Final = ("record_writing", "event_recorded", "event_committed")

Fault = tuple[str, str]
"""A problem and its remedy."""


def find_mistakes(loaded: LoadedPlugins) -> Iterator[BootError]:
    """Look at what all plugins contribute."""
    for plugin, route in loaded.routes:
        fault = _check_route(loaded, route)
        if fault is not None:
            problem, remedy = fault
            line = f"plugin {plugin}, {_place_of(loaded, plugin, route)}"
            yield BootError(line, f"the route {route.method} {route.path} {problem}", remedy)

    for implementation in loaded.bus.all_implementations():
        for problem, remedy in _check_subjects(implementation):
            line = f"plugin {implementation.plugin}, {source_line(implementation.function)}"
            yield BootError(line, problem, remedy)

    for permission in loaded.permissions:
        if not PERMISSION_KEY.fullmatch(permission.key):
            owner = loaded.owners[f"permission {permission.key!r}"]
            problem = f"{permission.key!r} is no key of a permission"
            yield BootError(_hook_of(loaded, owner), problem, "write it as hello.greet")

    for plugin in loaded.instances:
        if _is_foreign(loaded, plugin):
            yield from _check_class(type(plugin))
            yield from _check_services(loaded, plugin)


def _is_foreign(loaded: LoadedPlugins, plugin: LoadedPlugin) -> bool:
    """Whether a plugin does not come with Caudex; tests look at those that do."""
    infos = {info.name: info for info in loaded.plugins}
    return plugin.name not in infos or infos[plugin.name].is_foreign


def _check_services(loaded: LoadedPlugins, plugin: LoadedPlugin) -> Iterator[BootError]:
    """Find services that a plugin asks for and does not declare."""
    services = loaded.services
    provided = services.offered_by(plugin.name) + services.wrapped_by(plugin.name)
    for line, key in undeclared(plugin, provided):
        problem = f"asks for the service {key!r}, which it does not declare"
        remedy = "name its key in `requires`, or in `uses` or `finds` if it may be missing"
        yield BootError(f"plugin {plugin.name}, {line}", problem, remedy)


def _check_class(plugin: type[LoadedPlugin]) -> Iterator[BootError]:
    """Find services that a class names twice, and attributes whose names are misspelt."""
    declared = set[str]()
    for attribute in DECLARING:
        for key in getattr(plugin, attribute):
            if key.name in declared:
                problem = f"names the service {key.name!r} twice"
                remedy = f"keep it in one of {', '.join(DECLARING)}, once"
                line = f"plugin {plugin.name}, {declared_at(plugin, attribute)}"
                yield BootError(line, problem, remedy)
            declared.add(key.name)
    for attribute, value in vars(plugin).items():
        if attribute not in vars(Plugin) and _is_declaration(value):
            suggestion = nearest(attribute, (*DECLARING, "migrations"))
            if suggestion.startswith("did you mean"):
                line = f"plugin {plugin.name}, {declared_at(plugin, attribute)}"
                yield BootError(line, f"{attribute!r} has no meaning", suggestion)


def _is_declaration(value: object) -> bool:
    """Whether a value is what `requires` or `migrations` could be."""
    if isinstance(value, tuple):
        items = cast("tuple[object, ...]", value)
        return any(isinstance(item, ServiceKey) for item in items)
    return isinstance(value, Path)


def _hook_of(loaded: LoadedPlugins, owner: str) -> str:
    """Return where the plugin `owner` registers its permissions."""
    places = {
        f"plugin {impl.plugin}": source_line(impl.function)
        for impl in loaded.bus.implementations(hookspecs.register_permissions)
    }
    return f"{owner}, {places[owner]}"


def _check_subjects(implementation: Implementation) -> Iterator[Fault]:
    """Find patterns of `@for_subjects` that match nothing, or that the hook ignores."""
    function = implementation.function
    method = getattr(function, "caudex_subjects_from", "")
    if not method and not hasattr(function, "caudex_subjects"):
        return
    mark = "@for_subjects"
    if method:
        mark = "@subjects_from"

    hook = implementation.hook
    if hasattr(hookspecs, hook) and hook not in WITH_SUBJECTS:
        yield f"{hook} ignores {mark}", f"it is for {', '.join(WITH_SUBJECTS)}"
    if method and not callable(implementation.subjects.find):
        yield f"@subjects_from({method!r}) names no method", "name one of the plugin's class"
        return
    try:
        patterns = implementation.patterns
    except Exception as error:
        problem = f"@subjects_from({method!r}) failed: {type(error).__name__}: {error}"
        remedy = "its method is called before the start, too: give what it reads a first value"
        yield problem, remedy
        return
    for pattern in patterns:
        if SUBJECT.fullmatch(pattern):
            continue
        call = f"@for_subjects({pattern!r})"
        if method:
            call = f"@subjects_from({method!r}): {pattern!r}"
        remedy = "write <app>.<entity>, <app>.* or core.*, as crm.contacts"
        yield f"{call} names no app and entity", remedy


def _check_route(loaded: LoadedPlugins, route: Route) -> Fault | None:
    """Return what a request would fail by, and the remedy."""
    needs: Any = route.needs
    if route.method == "GET" and route.body is not None:
        remedy = "declare parameters by query=, or write POST"
        return "has a body=, and a GET request has none", remedy
    if not isinstance(needs, Needs):
        remedy = "write PUBLIC, ANY_USER, CORE_ADMIN, core_permission(...)"
        return f"needs {needs!r}, which is no need", remedy
    if route.method not in METHODS:
        return "has an unknown method", nearest(route.method.upper(), METHODS)
    if not PATH.fullmatch(route.path):
        return "is no path", "write it as /api/v1/things/{id}, or /ui/{path*} for all below"
    if needs.kind in OF_AN_APP and "{app_id}" not in route.path:
        return f"needs {needs}, and its path names no app", "put {app_id} into the path"
    if needs.kind == "entity" and "{entity}" not in route.path:
        return f"needs {needs}, and its path names no entity", "put {entity} into the path"
    return _check_handler(route) or _check_need(loaded, needs)


def _place_of(loaded: LoadedPlugins, plugin: str, route: Route) -> str:
    """Return where the handler of a route is defined; of another value, where it is declared."""
    if code_of(route.handler) is not None:
        return source_line(route.handler)
    declaring = loaded.bus.implementations(hookspecs.register_routes)
    return next(source_line(impl.function) for impl in declaring if impl.plugin == plugin)


def _check_handler(route: Route) -> Fault | None:
    handler: Callable[..., Any] = unwrap(route.handler)
    if isclass(handler) or code_of(handler) is None:
        return "has a handler that is no function", "name a method, as self.get"
    if not (isfunction(handler) or ismethod(handler)):  # a partial function, or an object
        by_type = vars(type(handler)).get("__call__")
        if iscoroutinefunction(handler) or iscoroutinefunction(by_type):
            return None
        return "has a handler that is a plain def", "write it as async def"
    if not iscoroutinefunction(handler):
        return "has a handler that is a plain def", "write it as async def"
    argument_count = 1
    if route.body is not None:
        argument_count = 2
    code = handler.__code__
    is_plain = handler is route.handler and not code.co_kwonlyargcount
    if is_plain and code.co_argcount == argument_count + ismethod(handler):
        return None  # nearly every handler: `signature` took most of the time of the look
    try:
        signature(route.handler).bind(*range(argument_count))
    except TypeError:
        if route.body is not None:
            remedy = "write it as async def (request, body)"
            return "has a body=, and its handler takes none", remedy
        return "has no body=, and its handler takes more than the request", "give body= its type"
    return None


def _check_need(loaded: LoadedPlugins, needs: Needs) -> Fault | None:
    needs_access = needs.kind not in ("public", "user")
    if needs_access and not loaded.services.provider(ACCESS.name):
        # A plugin that failed perhaps provides it.
        has_failed_plugin = any(info.state == "failed" for info in loaded.plugins)
        if not has_failed_plugin:
            return "needs the service 'access', which no plugin provides", "enable plugin rbac"

    if not needs.kind.endswith("_permission"):
        return None
    if needs.key.startswith("core:"):
        return None  # of the platform: every app has them
    owner = needs.kind.removesuffix("_permission")
    keys = {
        permission.key for permission in loaded.permissions if (permission.on or "core") == owner
    }
    if needs.key not in keys:
        remedy = nearest(needs.key, keys) or "return it from register_permissions"
        return f"needs the permission {needs.key!r}, which no plugin registers", remedy
    return None
