"""The boot, in reading order."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import anyio
import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from kernel import hookspecs
from kernel.connect import wait_for_database
from kernel.contracts.registry import REGISTRY
from kernel.contracts.statements import NEWS
from kernel.db import Database
from kernel.errors import EX_CONFIG, BootError
from kernel.hooks import HOOKS
from kernel.loader import Kernel
from kernel.middleware import Edge
from kernel.migrations import migrate
from kernel.news import NewsDesk
from kernel.plugin import Middleware as PluginMiddleware
from kernel.services import Services

WATCH = 0.5

log = structlog.get_logger("caudex.boot")


def build_app(kernel: Kernel) -> Starlette:
    """Make the application of a loaded kernel; its lifespan opens and closes all it needs."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        with _remembered(app):
            async with running(kernel):
                yield

    return Starlette(
        routes=[kernel.table],
        middleware=[
            Middleware(Edge, config=kernel.config),
            *[Middleware(_wrapped, wrap=wrap) for wrap in kernel.middleware],
        ],
        lifespan=lifespan,
    )


@asynccontextmanager
async def running(kernel: Kernel, *, lifespans: bool = True) -> AsyncGenerator[Services]:
    """Wait for the database, migrate it, build the services, enter the plugins' lifespans.

    Raises BootError. Everything is left in reverse order. A command that only needs services
    leaves the `lifespans` out.
    """
    config = kernel.config.database
    if not config.url:
        raise BootError("database", "no database is configured", "set [database] url")
    await wait_for_database(config)
    for name in await migrate(config, kernel.migrations()):
        log.info("migrated", migration=name)
    services = kernel.services
    with _unwrapped():
        async with AsyncExitStack() as stack:
            news = await stack.enter_async_context(NewsDesk(config).listening())
            database = await stack.enter_async_context(Database(config, kernel.bus, news).opened())
            kernel.database = database
            services.put(NEWS, news)
            services.put(REGISTRY, kernel)
            services.put(HOOKS, kernel.bus)
            names = [plugin.name for plugin in kernel.instances]
            await services.start(stack, ["kernel", *names])
            if lifespans:
                await _enter_lifespans(kernel, stack)
            yield services


async def _enter_lifespans(kernel: Kernel, stack: AsyncExitStack) -> None:
    for _, lifespan in kernel.bus.collect(hookspecs.lifespan, services=kernel.services):
        await stack.enter_async_context(lifespan)
    if kernel.watched:
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(_watch, kernel)
        stack.callback(tasks.cancel_scope.cancel)


async def _watch(kernel: Kernel) -> None:
    while True:
        await anyio.sleep(WATCH)
        for check in kernel.watched:
            check()


@contextmanager
def _remembered(app: Starlette) -> Generator[None]:
    """Keep why the boot failed, for the command that started it: uvicorn only says that it did.

    A child of a supervisor says it itself and exits with the status that ends the supervisor too.
    """
    try:
        yield
    except BootError as error:
        app.state.boot_error = error
        if getattr(app.state, "exit_on_boot_error", False):
            sys.stderr.write(f"{error}\n")
            sys.stderr.flush()
            os._exit(EX_CONFIG)
        raise


@contextmanager
def _unwrapped() -> Generator[None]:
    """A single error that passed through task groups is raised as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _single(group) from None


def _single(group: BaseException) -> BaseException:
    inner: tuple[BaseException, ...] = getattr(group, "exceptions", ())
    return _single(inner[0]) if len(inner) == 1 else group


def _wrapped(app: ASGIApp, wrap: PluginMiddleware) -> ASGIApp:
    """Let a plugin's `app -> app` middleware be one of Starlette's."""
    return wrap(app)
