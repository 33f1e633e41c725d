"""What a change of plugins would do, found by loading both: nothing is started or connected."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from kernel.config.settings import Config
from kernel.errors import EX_CONFIG, BootError
from kernel.loading.kernel import Kernel
from kernel.loading.loader import load

COMMENT = re.compile(r"--[^\n]*")
TABLE = re.compile(
    r"(?i)\b(create|drop)\s+(?:unlogged\s+)?table\s+(?:if\s+(?:not\s+)?exists\s+)?([\w.]+)"
)
TOLD = ("provide_services", "register_commands", "register_manifest_section",
        "register_middleware", "register_permissions", "register_routes")  # fmt: skip
"""Hooks whose results are told instead of their names."""


def plan(config: Config, off: Sequence[str], on: Sequence[str]) -> int:
    """Print what goes, comes and changes, or why it would not start; return the exit status."""
    if both := sorted(set(off) & set(on)):
        problem = f"{', '.join(both)} cannot be switched on and off"
        raise BootError("plugins plan", problem, "name it once")
    changed = msgspec.structs.replace(config, plugins=_switched(config.plugins, off, on))
    before, after = _loaded(config), _loaded(changed)
    if isinstance(after, BootError):
        if isinstance(before, Kernel):
            _print("removed", [line for name in off for line in _parts(before, name)])
        print("It would not start:")
        _print("reason", str(after).splitlines())
        return EX_CONFIG
    if isinstance(before, Kernel):
        _compare(before, after)
    else:
        print(f"As it is, it does not start: {before}")
    print(f"It would start, with {sum(info.state == 'on' for info in after.plugins)} plugins on.")
    return 0


def _loaded(config: Config) -> Kernel | BootError:
    try:
        return load(config)
    except BootError as error:
        return error


def _switched(
    plugins: Mapping[str, dict[str, Any]], off: Sequence[str], on: Sequence[str]
) -> dict[str, dict[str, Any]]:
    changes = {**dict.fromkeys(off, False), **dict.fromkeys(on, True)}
    tables = {name: {**plugins.get(name, {}), "enabled": to} for name, to in changes.items()}
    return {**plugins, **tables}


def _compare(before: Kernel, after: Kernel) -> None:
    """Print the differences of two kernels."""
    old, new = (
        [line for plugin in kernel.instances for line in _parts(kernel, plugin.name)]
        for kernel in (before, after)
    )
    gone = [line for line in old if line not in new]
    come = [line for line in new if line not in old]
    _print("removed", gone)
    _print("added", come)
    _print("changed", _other_providers(before, after))
    _print("kept", _tables(before, {plugin.name for plugin in after.instances}))
    _print("created", _tables(after, {plugin.name for plugin in before.instances}))
    _print("warn", _without(before, after))
    if not gone and not come:
        print("Nothing changes.")


def _print(word: str, lines: Sequence[str]) -> None:
    for line in lines:
        print(f"  {word:<8} {line}")


def _parts(kernel: Kernel, name: str) -> list[str]:
    """Everything that a plugin gives to a kernel, a line each."""
    by = f"(plugin {name})"
    owned = [what for what, owner in kernel.owners.items() if owner == f"plugin {name}"]
    provider = kernel.services.provider
    return [
        *(f"plugin {name}" for plugin in kernel.instances if plugin.name == name),
        *(
            f"route {route.method} {route.path}: {route.needs} {by}"
            for plugin, route in kernel.routes
            if plugin == name
        ),
        *(f"{what} {by}" for what in owned),
        *(f"a middleware {by}" for plugin, _ in kernel.middleware if plugin == name),
        *(
            f"hook {impl.hook} {by}"
            for impl in kernel.bus.everything()
            if impl.plugin == name and impl.hook not in TOLD
        ),
        *(
            f"service {key!r} {by}"
            for key in kernel.services.offered_by(name)
            if provider(key) == name
        ),
    ]


def _other_providers(before: Kernel, after: Kernel) -> list[str]:
    """Services that somebody else would provide."""
    keys = {key for plugin in before.instances for key in before.services.offered_by(plugin.name)}
    pairs = {key: (before.services.provider(key), after.services.provider(key)) for key in keys}
    return [
        f"service {key!r}: {new} provides it in place of {old}"
        for key, (old, new) in sorted(pairs.items())
        if old != new and old is not None and new is not None
    ]


def _without(before: Kernel, after: Kernel) -> list[str]:
    """Plugins that go on without a service that they have now."""
    return [
        f"plugin {plugin.name} uses the service {key.name!r} and would run without it"
        for plugin in after.instances
        for key in (*plugin.uses, *plugin.finds)
        if before.services.provider(key.name) and not after.services.provider(key.name)
    ]


def _tables(kernel: Kernel, others: set[str]) -> list[str]:
    """Tables of the plugins that are not among the others, as their migrations make them."""
    found: dict[str, list[str]] = {}
    for migration in kernel.migrations():
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
