"""Records in the database when a plugin is switched, and which servers run with it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

import anyio
import structlog

from kernel.public import (
    BootError,
    KernelError,
    Registry,
    Statements,
    Tasks,
    Transaction,
    server_actor,
)

from . import store

RENEWED: Final = 10.0
"""Seconds after which a process says again that it runs."""

log = structlog.get_logger("caudex.system")


@asynccontextmanager
async def register_process(
    statements: Statements, registry: Registry, tasks: Tasks, *, safe: bool
) -> AsyncGenerator[None]:
    """Switch plugins in the database as they are configured, and say that this process runs.

    Safe mode switches nothing. Raises BootError where another server runs with another setting.
    """
    process_id = uuid.uuid4().hex
    enabled_plugins = [info.name for info in registry.plugins if info.state == "on"]
    if not safe:
        await statements.run(server_actor(), partial(_switch_plugins, registry, process_id))
        renew = partial(store.renew_process, statements, process_id, enabled_plugins)
        await renew()
        tasks.every(RENEWED, renew, "say that it runs")
    try:
        yield
    finally:
        with anyio.move_on_after(1, shield=True), suppress(KernelError):
            await store.end_process(statements, process_id)


async def _switch_plugins(registry: Registry, process_id: str, tx: Transaction) -> None:
    await tx.lock("system.switches")
    states = {info.name: info.state for info in registry.plugins}
    for switch in await store.read_switches(tx):
        state = states.get(switch.plugin, "off")
        if state not in ("on", "off"):
            continue  # it failed: that switches nothing
        enabled = state == "on"
        if enabled != switch.enabled:
            await _switch_plugin(tx, switch, process_id, enabled=enabled)
        elif switch.is_recorded:
            continue
        await store.record_state(tx, switch.plugin, enabled=enabled)


async def _switch_plugin(
    tx: Transaction, switch: store.Switch, process_id: str, *, enabled: bool
) -> None:
    if await store.count_others(tx, process_id):
        problem = "it is off in this configuration and on in servers that run"
        if enabled:
            problem = "it is on in this configuration and off in servers that run"
        remedy = "stop them first, or give both the same setting"
        raise BootError(f"plugin {switch.plugin}", problem, remedy)

    await store.call_switched(tx, switch, enabled=enabled)
    message = "a plugin is switched off"
    if enabled:
        message = "a plugin is switched on again"
    log.warning(message, plugin=switch.plugin, since=str(switch.since or "its first start"))
