"""What each plugin is, gives, needs and costs, as this process knows it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil

from msgspec.structs import asdict

from kernel.public import HOOKS, REGISTRY, Implementation, Services

from .models import DeclaredRoute, HookFailure, HookUse, Inventory, PluginState


def inventory(services: Services) -> Inventory:
    """Look at every plugin that was found, those that are on in the order of their start."""
    registry = services.get(REGISTRY)
    implementations = list(services.get(HOOKS).everything())
    plugins = [
        PluginState(
            **asdict(info),
            boot_seconds=round(registry.boot_seconds.get(info.name, 0.0), 4),
            routes=[
                DeclaredRoute(route.method, route.path, str(route.needs))
                for plugin, route in registry.routes
                if plugin == info.name
            ],
            hooks=[_use(each) for each in implementations if each.plugin == info.name],
            tasks=list(registry.tasks.get(info.name, ())),
        )
        for info in registry.plugins
    ]
    return Inventory(process=os.getpid(), plugins=plugins)


def _use(implementation: Implementation) -> HookUse:
    durations = sorted(implementation.durations)
    return HookUse(
        hook=implementation.hook, calls=implementation.calls, refusals=implementation.refusals,
        errors=implementation.errors, p50_ms=_quantile(durations, 0.50),
        p99_ms=_quantile(durations, 0.99), last_error=_failure(implementation),
    )  # fmt: skip


def _failure(implementation: Implementation) -> HookFailure | None:
    if not implementation.last_error:
        return None
    when = datetime.fromtimestamp(implementation.failed_at, UTC)
    return HookFailure(implementation.last_error, when.isoformat(timespec="milliseconds"))


def _quantile(durations: Sequence[float], share: float) -> float | None:
    """The smallest duration that so many are not above (nearest rank), in milliseconds."""
    if not durations:
        return None
    return round(durations[max(0, ceil(share * len(durations)) - 1)] * 1000, 3)
