"""Describes each plugin in this process: its state, services, routes, and the cost of its hooks."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Final, Literal

from msgspec.structs import asdict

from kernel.public import HOOKS, REGISTRY, HookStatistics, Implementation, Services

from .models import DeclaredRoute, HookFailure, HookUse, Inventory, PluginState

TAKING_PART: Final = ("record_writing", "event_recorded")
"""Hooks for which a write needs a transaction."""


def inventory(
    services: Services, blocked: Mapping[str, str] = {}, flooding: Mapping[str, int] = {}
) -> Inventory:
    """Look at every plugin that was found, those that are on in the order of their start.

    `blocked` is the place where each plugin held the event loop, `flooding` the rows a second that
    it wrote.
    """
    registry = services.get(REGISTRY)
    implementations = list(services.get(HOOKS).all_implementations())
    warnings = warnings_of(implementations, blocked, flooding)
    for plugin, fault in registry.failing.items():
        warnings.setdefault(plugin, []).append(f"it fails while the server runs: {fault}")
    plugins = [
        PluginState(
            **asdict(info),
            warnings=warnings.get(info.name, []),
            boot_seconds=round(registry.boot_seconds.get(info.name, 0.0), 4),
            routes=[
                DeclaredRoute(route.method, route.path, str(route.needs))
                for plugin, route in registry.routes
                if plugin == info.name
            ],
            hooks=[
                _describe_use(implementation)
                for implementation in implementations
                if implementation.plugin == info.name
            ],
            tasks=list(registry.tasks.get(info.name, ())),
        )
        for info in registry.plugins
    ]
    return Inventory(process=os.getpid(), plugins=plugins)


def warnings_of(
    implementations: Iterable[Implementation],
    blocked: Mapping[str, str] = {},
    flooding: Mapping[str, int] = {},
) -> dict[str, list[str]]:
    """Return sentences about plugins that cost others more than they need to, by plugin."""
    warnings = defaultdict[str, list[str]](list)
    for implementation in implementations:
        hook = implementation.hook
        sentences = warnings[implementation.plugin]
        if hook in TAKING_PART and "*" in implementation.patterns:
            sentences.append(
                f"{hook} takes every entity off the one-statement path; limit it with @for_subjects"
            )
        if implementation.is_open:
            sentences.append(f"{hook} keeps failing and is skipped for a while")
    for plugin, place in blocked.items():
        warnings[plugin].append(f"its code at {place} blocks the event loop")
    for plugin, rows in flooding.items():
        warnings[plugin].append(f"it floods its tables: {rows} rows a second")
    return {plugin: sentences for plugin, sentences in warnings.items() if sentences}


def _describe_use(implementation: Implementation) -> HookUse:
    statistics = implementation.statistics
    durations = sorted(statistics.durations)
    breaker: Literal["closed", "open"] = "closed"
    if implementation.is_open:
        breaker = "open"
    return HookUse(
        hook=implementation.hook,
        calls=statistics.calls,
        refusals=statistics.refusals,
        errors=statistics.errors,
        breaker=breaker,
        p50_ms=_quantile(durations, 0.50),
        p99_ms=_quantile(durations, 0.99),
        last_error=_describe_failure(statistics),
    )


def _describe_failure(statistics: HookStatistics) -> HookFailure | None:
    if not statistics.last_error:
        return None
    when = datetime.fromtimestamp(statistics.failed_at, UTC)
    return HookFailure(statistics.last_error, when.isoformat(timespec="milliseconds"))


def _quantile(durations: Sequence[float], share: float) -> float | None:
    """The smallest duration that so many are not above (nearest rank), in milliseconds."""
    if not durations:
        return None
    rank = max(1, ceil(share * len(durations)))
    return round(durations[rank - 1] * 1000, 3)
