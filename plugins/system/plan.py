"""What a change of plugins would do, found by loading both: nothing is started or connected."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from kernel.public import BootError, LoadedPlugins, Registry

COMMENT = re.compile(r"--[^\n]*")
TABLE = re.compile(
    r"(?i)\b(create|drop)\s+(?:unlogged\s+)?table\s+(?:if\s+(?:not\s+)?exists\s+)?([\w.]+)"
)
LISTED = ("provide_services", "register_commands", "register_manifest_section",
        "register_middleware", "register_permissions", "register_routes")  # fmt: skip
"""Hooks whose results are listed instead of their names."""


def plan(registry: Registry, off: Sequence[str], on: Sequence[str]) -> tuple[int, list[str]]:
    """Return the exit status, and lines: what a change does, or why it would not start."""
    if both := sorted(set(off) & set(on)):
        problem = f"{', '.join(both)} cannot be switched on and off"
        raise BootError("plugins plan", problem, "name it once")
    before = _loaded(registry, {})
    after = _loaded(registry, {**dict.fromkeys(off, False), **dict.fromkeys(on, True)})
    if isinstance(after, BootError):
        gone = [] if isinstance(before, BootError) else [p for n in off for p in _parts(before, n)]
        reasons = _lines("reason", str(after).splitlines())
        lines = [*_lines("removed", gone), "It would not start:", *reasons]
        return 78, lines  # as `serve` would exit (EX_CONFIG of sysexits.h)
    if isinstance(before, BootError):
        lines = [f"As it is, it does not start: {before}"]
    else:
        lines = _differences(before, after)
    count = sum(info.state == "on" for info in after.plugins)
    lines += _lines("degraded", left_out(after))
    return 0, [*lines, f"It would start, with {count} plugins on."]


def left_out(loaded: Registry) -> list[str]:
    """Return the plugins that failed and are left out, each with its reason."""
    degraded = [info for info in loaded.plugins if info.state == "degraded"]
    return [f"plugin {info.name} is left out: {info.note}" for info in degraded]


def _loaded(registry: Registry, enabled: Mapping[str, bool]) -> LoadedPlugins | BootError:
    try:
        return registry.with_plugins(enabled, to_serve=True)
    except BootError as error:
        return error


def _differences(before: LoadedPlugins, after: LoadedPlugins) -> list[str]:
    old, new = (
        [line for plugin in loaded.instances for line in _parts(loaded, plugin.name)]
        for loaded in (before, after)
    )
    gone = [line for line in old if line not in new]
    come = [line for line in new if line not in old]
    return [
        *_lines("removed", gone),
        *_lines("added", come),
        *_lines("changed", _other_providers(before, after)),
        *_lines("kept", _tables(before, {plugin.name for plugin in after.instances})),
        *_lines("created", _tables(after, {plugin.name for plugin in before.instances})),
        *_lines("warn", _without(before, after)),
        *([] if gone or come else ["Nothing changes."]),
    ]


def _lines(word: str, items: Sequence[str]) -> list[str]:
    return [f"  {word:<8} {item}" for item in items]


def _parts(loaded: LoadedPlugins, name: str) -> list[str]:
    """Return everything that a plugin contributes, a line each."""
    by = f"(plugin {name})"
    owned = [what for what, owner in loaded.owners.items() if owner == f"plugin {name}"]
    provider = loaded.services.provider
    return [
        *(f"plugin {name}" for plugin in loaded.instances if plugin.name == name),
        *(
            f"route {route.method} {route.path}: {route.needs} {by}"
            for plugin, route in loaded.routes
            if plugin == name
        ),
        *(f"{what} {by}" for what in owned),
        *(f"a middleware {by}" for plugin, _ in loaded.middleware if plugin == name),
        *(
            f"hook {impl.hook} {by}"
            for impl in loaded.bus.all_implementations()
            if impl.plugin == name and impl.hook not in LISTED
        ),
        *(
            f"service {key!r} {by}"
            for key in loaded.services.offered_by(name)
            if provider(key) == name
        ),
    ]


def _other_providers(before: LoadedPlugins, after: LoadedPlugins) -> list[str]:
    """Return the services that another plugin would provide."""
    keys = {key for plugin in before.instances for key in before.services.offered_by(plugin.name)}
    pairs = {key: (before.services.provider(key), after.services.provider(key)) for key in keys}
    return [
        f"service {key!r}: {new} provides it in place of {old}"
        for key, (old, new) in sorted(pairs.items())
        if old != new and old is not None and new is not None
    ]


def _without(before: LoadedPlugins, after: LoadedPlugins) -> list[str]:
    """Return the plugins that would run without a service that they have now."""
    return [
        f"plugin {plugin.name} uses the service {key.name!r} and would run without it"
        for plugin in after.instances
        for key in (*plugin.uses, *plugin.finds)
        if before.services.provider(key.name) and not after.services.provider(key.name)
    ]


def _tables(loaded: LoadedPlugins, others: set[str]) -> list[str]:
    """Return the tables that migrations create, of plugins that are not among the others."""
    found: dict[str, list[str]] = {}
    for migration in loaded.migrations:
        if migration.plugin not in others:
            tables = found.setdefault(migration.plugin, [])
            for verb, table in _statements(migration.text):
                if verb == "create" and table not in tables:
                    tables.append(table)
                elif verb == "drop" and table in tables:
                    tables.remove(table)
    return [f"table {table} (plugin {by})" for by in found for table in found[by]]


def _statements(text: bytes) -> Iterator[tuple[str, str]]:
    for match in TABLE.finditer(COMMENT.sub("", text.decode("utf-8", "replace"))):
        yield match[1].lower(), match[2]
