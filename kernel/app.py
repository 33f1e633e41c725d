"""The boot, in reading order."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial
from typing import Any

import anyio
import structlog
from starlette.types import ASGIApp

from kernel.contracts import hookspecs
from kernel.contracts.base import Services
from kernel.contracts.statements import POOL, STATEMENTS
from kernel.database.connection_options import wait_for_database
from kernel.database.migrations import MigrationReport, migrate
from kernel.database.pool import Database
from kernel.errors import BootError, starting, unwrapped
from kernel.errors.source_lines import source_line
from kernel.hooks.hosts import ContextReporter, Hosts
from kernel.hooks.implementation import HookImplementation
from kernel.hooks.services import KERNEL
from kernel.loading.degrading import PluginReporter, starting_plugin
from kernel.loading.kernel import Kernel
from kernel.web.edge import note_passing

log = structlog.get_logger("caudex.boot")


def build_app(kernel: Kernel) -> ASGIApp:
    """Build the ASGI application of a loaded kernel; it answers while the kernel is `running`.

    Starlette's application is left out: the edge handles every error and the route table every
    path, and Starlette's middleware would take a sixth of the processor time of a quick request.
    """
    app: ASGIApp = kernel.table.handle
    for plugin, wrap in reversed(kernel.middleware):
        if plugin != KERNEL:
            app = note_passing(app, plugin)
        app = wrap(app)
    return app


@asynccontextmanager
async def running(kernel: Kernel) -> AsyncGenerator[Services]:
    """Wait for the database, migrate it, build the services; close all in reverse order.

    Raises BootError while it starts, later the error of the body, never as a group of one.
    """
    with unwrapped():
        async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
            with starting("start"):
                await _start(kernel, Hosts(tasks), stack)
            yield kernel.services


async def migrate_database(kernel: Kernel) -> MigrationReport:
    """Wait for the database and bring it up to date. Raises BootError."""
    config = kernel.config.database
    if not config.url:
        raise BootError("database", "no database is configured", "set [database] url")
    await wait_for_database(config)
    return await migrate(config, kernel.migrations)


async def _start(kernel: Kernel, hosts: Hosts, stack: AsyncExitStack) -> None:
    report = await migrate_database(kernel)
    if report.applied:
        log.info("migrated", files=len(report.applied), last=report.applied[-1])
    if report.unknown:
        log.warning(
            "a newer release has migrated this database; if something fails, go back to it",
            migrations=report.unknown,
        )
    database = Database(kernel.config.database, kernel.bus, kernel.services)
    pool = await stack.enter_async_context(database.opened())
    kernel.services.put(POOL, pool)
    for name in [KERNEL, *(plugin.name for plugin in kernel.instances)]:
        at = kernel.services.place_of(name)
        enter = partial(_enter_service, hosts, PluginReporter(kernel, name, at))
        with starting_plugin(kernel, name, at):
            await kernel.services.start(stack, name, enter)


async def _enter_service(
    hosts: Hosts,
    reporter: ContextReporter,
    stack: AsyncExitStack,
    manager: AbstractAsyncContextManager[Any],
) -> Any:
    """Enter the context of a service once: others hold what it gave."""
    return await hosts.enter(stack, lambda: manager, reporter)


@asynccontextmanager
async def lifespans(kernel: Kernel) -> AsyncGenerator[None]:
    """Enter the plugins' lifespans in dependency order and leave them in reverse."""
    with unwrapped():
        async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
            hosts = Hosts(tasks)
            for impl in list(kernel.bus.implementations(hookspecs.lifespan)):
                where = f"plugin {impl.plugin}"
                at = source_line(impl.function)
                reporter = PluginReporter(kernel, impl.plugin, at)
                with starting_plugin(kernel, impl.plugin, at), starting(where, at):
                    begin = partial(_lifespan, impl, kernel.services)
                    await hosts.enter(stack, begin, reporter, reopen=True)
            log.info("the plugins have started", seconds=_longest_first(kernel.boot_seconds))
            background = await stack.enter_async_context(anyio.create_task_group())
            for plugin in kernel.plugin_set.working:
                background.start_soon(plugin.tasks.run, kernel.services.get(STATEMENTS))
            stack.callback(background.cancel_scope.cancel)
            yield


def _longest_first(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the plugins whose start took a measurable time, in milliseconds' precision."""
    ranked = sorted(seconds.items(), key=lambda item: item[1], reverse=True)
    return {plugin: round(duration, 3) for plugin, duration in ranked if duration >= 0.0005}


def _lifespan(impl: HookImplementation, services: Services) -> AbstractAsyncContextManager[Any]:
    return impl.invoke({"services": services}) or nullcontext()
