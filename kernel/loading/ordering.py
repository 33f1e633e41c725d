"""Puts plugins in order: providers before the plugins that need them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from operator import attrgetter
from typing import Final

from kernel.errors import BootError
from kernel.errors.source_lines import declared_at
from kernel.hooks.plugin import Plugin
from kernel.loading.kernel import Kernel

KERNEL_SERVICES: Final = ("statements", "pool", "registry", "hooks", "routes", "traffic")


def find_unmet(kernel: Kernel) -> list[BootError]:
    """Return the services that no plugin provides, or that the operator has to choose."""
    errors = kernel.services.check()
    reported = {error.where.removeprefix("[services] ") for error in errors}
    # What a plugin of Caudex lacks may come from one that failed: it is not reported.
    has_failed = any(info.state == "failed" for info in kernel.plugins)
    foreign = {info.name for info in kernel.plugins if info.is_foreign}
    for plugin in kernel.instances:
        if has_failed and plugin.name not in foreign:
            continue
        where = f"plugin {plugin.name}"
        if plugin.name in foreign:
            where = f"{where}, {declared_at(type(plugin), 'requires')}"
        remedy = f"enable a plugin that does{_disabled(kernel)}, or disable {plugin.name}"
        for name in _needed_by(kernel, plugin) - reported:
            if not kernel.services.provider(name):
                problem = f"needs the service {name!r}, which no plugin provides"
                errors.append(BootError(where, problem, remedy))
    return errors


def arrange(kernel: Kernel) -> list[BootError]:
    """Put providers before the plugins that need them; names break ties, so it never changes."""
    errors = list[BootError]()
    ordered = list[Plugin]()
    by_name = sorted(kernel.instances, key=attrgetter("name"))
    waiting = {plugin.name: plugin for plugin in by_name}
    while waiting:
        ready = next((name for name in waiting if not _needs(kernel, waiting, name)), None)
        if ready is None:
            errors.append(_circle(kernel, waiting))
            ordered += waiting.values()
            break
        ordered.append(waiting.pop(ready))
    names = kernel.plugin_set.arrange(ordered)
    kernel.bus.arrange(names)
    return errors


def _needed_by(kernel: Kernel, plugin: Plugin) -> set[str]:
    """Return the names of services that a plugin needs of other plugins."""
    required = {key.name for key in plugin.requires}
    wrapped = set(kernel.services.wrapped_by(plugin.name))
    return (required | wrapped).difference(KERNEL_SERVICES)


def _disabled(kernel: Kernel) -> str:
    """Name the plugins that are configured and not on; not those that are off by default."""
    names = sorted(kernel.config.plugins.keys() - {plugin.name for plugin in kernel.instances})
    return f" (not on: {', '.join(names)})" if names else ""


def _needs(kernel: Kernel, waiting: Mapping[str, Plugin], name: str) -> dict[str, str]:
    """Map the waiting plugins that this one needs to the service."""
    needs = dict[str, str]()
    for service in _services_before(kernel, waiting[name]):
        with suppress(BootError):  # `find_unmet` reports a wrong choice
            for provider in kernel.services.chain(service, before=name):
                if provider in waiting and provider != name:
                    needs[provider] = service
    return needs


def _services_before(kernel: Kernel, plugin: Plugin) -> Iterator[str]:
    """Yield the services that are built before a plugin starts."""
    for key in (*plugin.requires, *plugin.uses):
        yield key.name
    yield from kernel.services.wrapped_by(plugin.name)


def _circle(kernel: Kernel, waiting: Mapping[str, Plugin]) -> BootError:
    """Follow the needs until a plugin repeats; every waiting plugin needs another one."""
    name = next(iter(waiting))
    path = dict[str, str]()
    while name not in path:
        needed, service = next(iter(_needs(kernel, waiting, name).items()))
        path[name] = f"{name} needs {service!r} of {needed}"
        name = needed
    first = list(path).index(name)
    steps = list(path.values())[first:]
    remedy = "remove one of these keys from `requires` and ask for it in the handler"
    return BootError("services", f"plugins need each other: {', '.join(steps)}", remedy)
