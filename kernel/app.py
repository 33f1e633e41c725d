"""The boot, in reading order."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import structlog
from starlette.types import ASGIApp

from kernel.contracts import hookspecs
from kernel.contracts.statements import POOL, STATEMENTS
from kernel.database.connect import wait_for_database
from kernel.database.migrations import MigrationReport, migrate
from kernel.database.pool import Database
from kernel.errors import BootError, starting, unwrapped
from kernel.hooks.services import KERNEL, Services
from kernel.loading.kernel import Kernel

log = structlog.get_logger("caudex.boot")


def build_app(kernel: Kernel) -> ASGIApp:
    """Build the ASGI application of a loaded kernel; it answers while the kernel is `running`.

    Starlette's application is left out: the edge handles every error and the route table every
    path, and Starlette's middleware would take a sixth of the processor time of a quick request.
    """
    app: ASGIApp = kernel.table.handle
    for _, wrap in reversed(kernel.middleware):
        app = wrap(app)
    return app


@asynccontextmanager
async def running(kernel: Kernel) -> AsyncGenerator[Services]:
    """Wait for the database, migrate it, build the services; close all in reverse order.

    Raises BootError while it starts, later the error of the body, never as a group of one.
    """
    with unwrapped():
        async with AsyncExitStack() as stack:
            with starting("start"):
                await _start(kernel, stack)
            yield kernel.services


async def migrated(kernel: Kernel) -> MigrationReport:
    """Wait for the database and bring it up to date. Raises BootError."""
    config = kernel.config.database
    if not config.url:
        raise BootError("database", "no database is configured", "set [database] url")
    await wait_for_database(config)
    return await migrate(config, kernel.migrations)


async def _start(kernel: Kernel, stack: AsyncExitStack) -> None:
    report = await migrated(kernel)
    if report.applied:
        log.info("migrated", files=len(report.applied), last=report.applied[-1])
    if report.unknown:
        log.warning(
            "a newer release has migrated this database; if something fails, go back to it",
            migrations=report.unknown,
        )
    database = Database(kernel.config.database, kernel.bus, kernel.services)
    kernel.database = await stack.enter_async_context(database.opened())
    kernel.services.put(POOL, kernel.database)
    for name in [KERNEL, *(plugin.name for plugin in kernel.instances)]:
        with kernel.starting(name):
            await kernel.services.start(stack, name)


@asynccontextmanager
async def lifespans(kernel: Kernel) -> AsyncGenerator[None]:
    """Enter the plugins' lifespans in dependency order and leave them in reverse."""
    with unwrapped():
        async with AsyncExitStack() as stack:
            for impl in list(kernel.bus.implementations(hookspecs.lifespan)):
                with kernel.starting(impl.plugin), starting(f"plugin {impl.plugin}"):
                    if lifespan := impl.invoke({"services": kernel.services}):
                        await stack.enter_async_context(lifespan)
            took = sorted(kernel.boot_seconds.items(), key=lambda item: -item[1])
            seconds = {name: round(s, 3) for name, s in took if s >= 0.0005}
            log.info("the plugins have started", seconds=seconds)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            for plugin in kernel.working:
                tasks.start_soon(plugin.tasks.run, kernel.services.get(STATEMENTS))
            stack.callback(tasks.cancel_scope.cancel)
            yield
