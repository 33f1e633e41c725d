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
    contradicting = sorted(set(off) & set(on))
    if contradicting:
        problem = f"{', '.join(contradicting)} cannot be switched on and off"
        raise BootError("plugins plan", problem, "name it once")

    before = _load(registry, {})
    after = _load(registry, {**dict.fromkeys(off, False), **dict.fromkeys(on, True)})
    if isinstance(after, BootError):
        removed: list[str] = []
        if not isinstance(before, BootError):
            removed = [part for name in off for part in _list_parts(before, name)]
        reasons = _lines("reason", str(after).splitlines())
        lines = [*_lines("removed", removed), "It would not start:", *reasons]
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


def _load(registry: Registry, enabled: Mapping[str, bool]) -> LoadedPlugins | BootError:
    try:
        return registry.with_plugins(enabled, to_serve=True)
    except BootError as error:
        return error


def _differences(before: LoadedPlugins, after: LoadedPlugins) -> list[str]:
    old_parts = _list_all_parts(before)
    new_parts = _list_all_parts(after)
    removed = [part for part in old_parts if part not in new_parts]
    added = [part for part in new_parts if part not in old_parts]
    lines = [
        *_lines("removed", removed),
        *_lines("added", added),
        *_lines("changed", _list_other_providers(before, after)),
        *_lines("kept", _list_tables(before, {plugin.name for plugin in after.instances})),
        *_lines("created", _list_tables(after, {plugin.name for plugin in before.instances})),
        *_lines("warn", _list_lacking(before, after)),
    ]
    if not removed and not added:
        lines.append("Nothing changes.")
    return lines


def _lines(word: str, items: Sequence[str]) -> list[str]:
    return [f"  {word:<8} {item}" for item in items]


def _list_all_parts(loaded: LoadedPlugins) -> list[str]:
    return [part for plugin in loaded.instances for part in _list_parts(loaded, plugin.name)]


def _list_parts(loaded: LoadedPlugins, name: str) -> list[str]:
    """Return everything that a plugin contributes, a line each."""
    origin = f"(plugin {name})"
    parts = [f"plugin {name}" for plugin in loaded.instances if plugin.name == name]
    for plugin, route in loaded.routes:
        if plugin == name:
            parts.append(f"route {route.method} {route.path}: {route.needs} {origin}")
    for thing, owner in loaded.owners.items():
        if owner == f"plugin {name}":
            parts.append(f"{thing} {origin}")
    for plugin, _ in loaded.middleware:
        if plugin == name:
            parts.append(f"a middleware {origin}")
    for implementation in loaded.bus.all_implementations():
        hook = implementation.hook
        if implementation.plugin == name and hook not in LISTED:
            parts.append(f"hook {hook} {origin}")
    offered = loaded.services.offered_by(name)
    provided = [key for key in offered if loaded.services.provider(key) == name]
    parts += [f"service {key!r} {origin}" for key in provided]
    return parts


def _list_other_providers(before: LoadedPlugins, after: LoadedPlugins) -> list[str]:
    """Return the services that another plugin would provide."""
    keys = {key for plugin in before.instances for key in before.services.offered_by(plugin.name)}
    lines: list[str] = []
    for key in sorted(keys):
        old = before.services.provider(key)
        new = after.services.provider(key)
        if old is not None and new is not None and old != new:
            lines.append(f"service {key!r}: {new} provides it in place of {old}")
    return lines


def _list_lacking(before: LoadedPlugins, after: LoadedPlugins) -> list[str]:
    """Return the plugins that would run without a service that they have now."""
    return [
        f"plugin {plugin.name} uses the service {key.name!r} and would run without it"
        for plugin in after.instances
        for key in (*plugin.uses, *plugin.finds)
        if before.services.provider(key.name) and not after.services.provider(key.name)
    ]


def _list_tables(loaded: LoadedPlugins, excluded: set[str]) -> list[str]:
    """Return the tables that migrations create, of plugins that are not excluded."""
    tables_by_plugin: dict[str, list[str]] = {}
    for migration in loaded.migrations:
        if migration.plugin in excluded:
            continue
        tables = tables_by_plugin.setdefault(migration.plugin, [])
        for verb, table in _find_statements(migration.text):
            if verb == "create" and table not in tables:
                tables.append(table)
            elif verb == "drop" and table in tables:
                tables.remove(table)
    return [
        f"table {table} (plugin {plugin})"
        for plugin, tables in tables_by_plugin.items()
        for table in tables
    ]


def _find_statements(text: bytes) -> Iterator[tuple[str, str]]:
    for match in TABLE.finditer(COMMENT.sub("", text.decode("utf-8", "replace"))):
        yield match[1].lower(), match[2]
