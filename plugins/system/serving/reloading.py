"""SIGHUP: a running server takes over what it can of a changed configuration."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import anyio
import structlog
from anyio import to_thread
from anyio.abc import TaskStatus
from msgspec.structs import asdict, replace

from kernel.public import BootError, Configuration, LoadedPlugin, LoadedPlugins, Registry, failure

LIVE: Final[Mapping[str, tuple[str, ...]]] = {
    "server": ("allowed_hosts", "cors_origins", "max_requests", "trusted_proxies"),
    "log": ("level",),
}
"""Settings of the kernel that a running server takes over."""

log = structlog.get_logger("caudex.reload")


class Outcome(NamedTuple):
    """Names of changed settings: those that apply now, and those that need a restart."""

    applied: list[str]
    restart: list[str]


@asynccontextmanager
async def reloading(registry: Registry) -> AsyncGenerator[None]:
    """Reload at each SIGHUP within the block, where `caudex serve` allows it."""
    if not registry.reloads:
        yield
        return
    async with anyio.create_task_group() as tasks:
        await tasks.start(_at_signals, registry)
        yield
        tasks.cancel_scope.cancel()


async def _at_signals(registry: Registry, *, task_status: TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            await reload(registry)


async def reload(registry: Registry) -> Outcome | None:
    """Read the configuration again and log what became of each change.

    A wrong configuration changes nothing, and the reply is None.
    """
    try:
        # In a thread: it takes a while.
        running, new = await to_thread.run_sync(registry.reread)
    except BootError as error:
        log.error("the configuration is not reloaded", error=str(error))
        return None
    outcome = _apply(running, new)
    log.info("the configuration is reloaded", **outcome._asdict())
    return outcome


def _apply(running: LoadedPlugins, new: LoadedPlugins) -> Outcome:
    outcome = Outcome([], [])
    _apply_to_kernel(running, new, outcome)

    new_plugins = {plugin.name: plugin for plugin in new.instances}
    for plugin in running.instances:
        new_plugin = new_plugins.pop(plugin.name, None)
        if new_plugin is None:
            outcome.restart.append(f"[plugins.{plugin.name}] enabled")
            continue
        changed = {
            key
            for key, value in asdict(new_plugin.config).items()
            if value != getattr(plugin.config, key)
        }
        if changed:
            refused = _reload(running, plugin, new_plugin.config, changed)
            for key in sorted(changed - refused):
                outcome.applied.append(f"[plugins.{plugin.name}] {key}")
            for key in sorted(refused):
                outcome.restart.append(f"[plugins.{plugin.name}] {key}")
    outcome.restart.extend(f"[plugins.{name}] enabled" for name in new_plugins)
    return outcome


def _apply_to_kernel(running: LoadedPlugins, new: LoadedPlugins, outcome: Outcome) -> None:
    live: dict[str, dict[str, Any]] = {section: {} for section in LIVE}
    for section, key, value in _changes(running.config, new.config):
        if key in LIVE.get(section, ()):
            live[section][key] = value
            outcome.applied.append(f"[{section}] {key}")
        else:
            outcome.restart.append(f"[{section}] {key}")
    config = running.config
    server = replace(config.server, **live["server"])
    log_settings = replace(config.log, **live["log"])
    running.adopt(replace(config, server=server, log=log_settings))


def _reload(
    running: LoadedPlugins, plugin: LoadedPlugin, config: Any, changed: Collection[str]
) -> set[str]:
    """Let a plugin take over its configuration; return the settings that need a restart."""
    try:
        return {*plugin.on_reload(config)}
    except Exception as error:
        blamed = {"plugin": plugin.name, **running.blame(error, plugin.name)}
        log.error("a plugin does not take over its configuration", **failure(error), **blamed)
        return set(changed)


def _changes(old: Configuration, new: Configuration) -> Iterator[tuple[str, str, Any]]:
    """Yield section, key and value of what differs; an address and a port that were chosen at the
    start are not changes."""
    for section in ("server", "database", "log"):
        old_values = asdict(getattr(old, section))
        new_values = asdict(getattr(new, section))
        for key, value in new_values.items():
            is_chosen_port = section == "server" and key == "port" and not value
            is_embedded = (
                section == "database" and not new_values["url"] and key in ("url", "embedded_port")
            )
            if value != old_values[key] and not is_chosen_port and not is_embedded:
                yield section, key, value
    for key in old.services.keys() | new.services.keys():
        if old.services.get(key) != new.services.get(key):
            yield "services", key, new.services.get(key)
