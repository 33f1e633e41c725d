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
async def registered(
    statements: Statements, registry: Registry, tasks: Tasks, *, safe: bool
) -> AsyncGenerator[None]:
    """Switch plugins in the database as they are configured, and say that this process runs.

    Safe mode switches nothing. Raises BootError where another server runs with another setting.
    """
    own = uuid.uuid4().hex
    on = [info.name for info in registry.plugins if info.state == "on"]
    if not safe:
        await statements.run(server_actor(), partial(_switch, registry, own))
        await store.run(statements, own, on)
        tasks.every(RENEWED, partial(store.run, statements, own, on), "say that it runs")
    try:
        yield
    finally:
        with anyio.move_on_after(1, shield=True), suppress(KernelError):
            await store.end(statements, own)


async def _switch(registry: Registry, own: str, tx: Transaction) -> None:
    await tx.lock("system.switches")
    states = {info.name: info.state for info in registry.plugins}
    for switch in await store.switches(tx):
        state = states.get(switch.plugin, "off")
        enabled = state == "on"
        if state not in ("on", "off") or (switch.known and enabled == switch.enabled):
            continue
        if enabled != switch.enabled:
            if await store.others(tx, own):
                here, there = ("on", "off") if enabled else ("off", "on")
                problem = f"it is {here} in this configuration and {there} in servers that run"
                remedy = "stop them first, or give both the same setting"
                raise BootError(f"plugin {switch.plugin}", problem, remedy)
            await store.call_switched(tx, switch, enabled=enabled)
            said = "a plugin is switched on again" if enabled else "a plugin is switched off"
            log.warning(said, plugin=switch.plugin, since=str(switch.since or "its first start"))
        await store.note(tx, switch.plugin, enabled=enabled)
