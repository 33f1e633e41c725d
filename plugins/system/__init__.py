"""Health and status of the server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import structlog

from kernel.public import (
    ACCESS,
    HOOKS,
    POOL,
    PROCESS_MANAGER,
    REGISTRY,
    STATEMENTS,
    TRAFFIC,
    BootErrors,
    Command,
    DatabaseQuery,
    Finding,
    Health,
    LoadedPlugins,
    Plugin,
    Provider,
    Route,
    Services,
    hookimpl,
    provide,
)

from .blocking import LoopWatch
from .commands import system_commands
from .config import SystemConfig
from .examination.diagnosis import findings, python_build
from .examination.disk import Disk
from .examination.mistakes import find_mistakes
from .flooding import PERIOD, TableWatch
from .inventory import warnings_of
from .routes import SystemRoutes
from .serving.manager import ProcessManager, is_reloaded
from .serving.reloading import reloading
from .serving.safe_mode import notices
from .serving.watcher import FileWatcher
from .switching.states import register_process
from .timing import time_plugins, time_services
from .traffic.service import TrafficReports

log = structlog.get_logger("caudex.system")


class SystemPlugin(Plugin):
    """Reports the state of the server; works with every other plugin off."""

    name = "system"
    requires = (STATEMENTS, REGISTRY, HOOKS, TRAFFIC)
    uses = (ACCESS,)
    finds = (POOL,)
    Config = SystemConfig
    config: SystemConfig
    _traffic: TrafficReports

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide PROCESS_MANAGER."""
        watcher = FileWatcher(self.context.config_file)
        return [provide(PROCESS_MANAGER, lambda _: ProcessManager(watcher))]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare health and status, and where roles are known, the plugins."""
        registry = services.get(REGISTRY)
        always = is_reloaded() or bool(registry.config.server.server_timing)
        self._watch = LoopWatch(registry, always=always, limit=self.config.blocked_timeout)
        self._floods = TableWatch(self.config.table_writes)
        return SystemRoutes(services, self._watch, self._floods, self._find_traffic).routes()

    @hookimpl
    def plugins_loaded(self, services: Services) -> None:
        """Look for mistakes, and time the plugins for `Server-Timing`, where it is on.

        Raises BootErrors.
        """
        errors = list(find_mistakes(cast("LoadedPlugins", services.get(REGISTRY))))
        if errors:
            raise BootErrors(errors)
        if services.get(REGISTRY).config.server.server_timing:
            time_plugins(services)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Watch disk and event loop; time the services for `Server-Timing`, where it is on; name
        what is broken in safe mode; reload the configuration at SIGHUP."""
        self.tasks.every(30, Disk(self.context.data_dir).watch, "watch the disk")
        registry = services.get(REGISTRY)
        if registry.config.server.server_timing:
            time_services(services)
        statements = services.get(STATEMENTS)
        self._traffic = TrafficReports(services.get(TRAFFIC), statements)
        self.tasks.every(60, self._traffic.share, "share what requests cost")
        self.tasks.every(
            PERIOD,
            lambda: self._floods.look(statements, registry.plugins),
            "watch the tables of plugins",
        )
        implementations = services.get(HOOKS).all_implementations()
        for plugin, warnings in warnings_of(implementations).items():
            log.warning("a plugin slows others down", plugin=plugin, warnings=warnings)
        if self.config.safe:
            self.context.notices[:0] = await notices(self.context.config_file)
        states = register_process(statements, registry, self.tasks, safe=self.config.safe)
        async with states, self._watch.running(), reloading(registry):
            yield
            await self._traffic.share_last()

    def _find_traffic(self) -> TrafficReports:
        return self._traffic

    @hookimpl
    async def health(self) -> Health:
        """Report disks that are full."""
        return Disk(self.context.data_dir).health()

    @hookimpl
    def register_commands(self, services: Services) -> Sequence[Command]:
        """Add `plugins`, `routes`, `config`, `init` and `doctor`."""
        self._registry = services.get(REGISTRY)
        return system_commands(self._registry, self.context.config_file)

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Report the machine, and whether the Python that runs is an optimized build."""
        return [*findings(self._registry, self.context, query), python_build()]
