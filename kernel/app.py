"""The boot, in reading order."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import cast

import anyio
import psycopg
import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from kernel import hookspecs
from kernel.connect import reason, wait_for_database
from kernel.contracts.registry import REGISTRY
from kernel.contracts.statements import NEWS
from kernel.db import Database
from kernel.errors import BootError, KernelError
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
    """Make the application of a loaded kernel; it answers while the kernel is `running`."""
    return Starlette(
        routes=[kernel.table],
        middleware=[
            Middleware(Edge, config=kernel.config),
            *[Middleware(_wrapped, wrap=wrap) for wrap in kernel.middleware],
        ],
    )


@asynccontextmanager
async def running(kernel: Kernel) -> AsyncGenerator[Services]:
    """Wait for the database, migrate it, build the services; all is closed in reverse order.

    Raises BootError while it starts, and afterwards what the body raises, never a group of one.
    """
    with unwrapped():
        async with AsyncExitStack() as stack:
            with _boot_errors("start"):
                await _start(kernel, stack)
            yield kernel.services


async def _start(kernel: Kernel, stack: AsyncExitStack) -> None:
    config, services = kernel.config.database, kernel.services
    if not config.url:
        raise BootError("database", "no database is configured", "set [database] url")
    await wait_for_database(config)
    for name in await migrate(config, kernel.migrations()):
        log.info("migrated", migration=name)
    news = await stack.enter_async_context(NewsDesk(config).listening())
    kernel.database = await stack.enter_async_context(Database(config, kernel.bus, news).opened())
    services.put(NEWS, news)
    services.put(REGISTRY, kernel)
    services.put(HOOKS, kernel.bus)
    await services.start(stack, ["kernel", *(plugin.name for plugin in kernel.instances)])


@asynccontextmanager
async def lifespans(kernel: Kernel) -> AsyncGenerator[None]:
    """Enter the plugins' lifespans in dependency order and leave them in reverse."""
    with unwrapped():
        async with AsyncExitStack() as stack:
            for plugin, lifespan in kernel.bus.collect(
                hookspecs.lifespan, services=kernel.services
            ):
                with _boot_errors(f"plugin {plugin}"):
                    await stack.enter_async_context(lifespan)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            tasks.start_soon(_watch, kernel)
            stack.callback(tasks.cancel_scope.cancel)
            yield


async def _watch(kernel: Kernel) -> None:
    while kernel.watched:
        await anyio.sleep(WATCH)
        for check in kernel.watched:
            try:
                check()
            except Exception as error:
                log.error("a look after a subsystem failed", exc_info=error)


@contextmanager
def _boot_errors(where: str) -> Generator[None]:
    """What keeps a server from starting is told in one line; a fault, beside it, in the log."""
    try:
        with unwrapped():
            yield
    except BootError:
        raise
    except KernelError as error:
        raise BootError(where, error.message) from error
    except (psycopg.Error, OSError) as error:
        raise BootError(where, reason(error)) from error
    except Exception as error:
        log.error("the start failed", where=where, exc_info=error)
        said = f"{type(error).__name__}: {error}"
        raise BootError(where, f"it failed to start: {said}", "the log tells more") from error


@contextmanager
def unwrapped() -> Generator[None]:
    """Raise an error that passed through task groups as itself, and a BootError before others."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _telling(group) from None


def _telling(error: BaseException) -> BaseException:
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    boot = group.subgroup(BootError)
    alone = boot is not None or len(group.exceptions) == 1
    return _telling((boot or group).exceptions[0]) if alone else group


def _wrapped(app: ASGIApp, wrap: PluginMiddleware) -> ASGIApp:
    """Let a plugin's `app -> app` middleware be one of Starlette's."""
    return wrap(app)
