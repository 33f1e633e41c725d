"""The boot, in reading order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware

from kernel import hookspecs
from kernel.contracts.registry import REGISTRY
from kernel.contracts.statements import NEWS
from kernel.db import Database, wait_for_database
from kernel.errors import BootError
from kernel.hooks import HOOKS
from kernel.loader import Kernel
from kernel.middleware import Edge
from kernel.migrations import migrate
from kernel.news import NewsDesk
from kernel.services import Services

log = structlog.get_logger("caudex.boot")


def build_app(kernel: Kernel) -> Starlette:
    """Make the application of a loaded kernel; its lifespan opens and closes all it needs."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with _remembered(app):
            async with running(kernel):
                yield

    return Starlette(
        routes=[kernel.table],
        middleware=[
            Middleware(Edge, config=kernel.config),
            *[Middleware(_Wrapped, wrap=wrap) for wrap in kernel.middleware],
        ],
        lifespan=lifespan,
    )


@asynccontextmanager
async def running(kernel: Kernel) -> AsyncIterator[Services]:
    """Wait for the database, migrate it, build the services, enter the plugins' lifespans.

    Raises BootError. Everything is left in reverse order.
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
            for _, lifespan in kernel.bus.collect(hookspecs.lifespan, services=services):
                await stack.enter_async_context(lifespan)
            yield services


@contextmanager
def _remembered(app: Starlette) -> Iterator[None]:
    """Keep why the boot failed, for the command that started it: uvicorn only says that it did."""
    try:
        yield
    except BootError as error:
        app.state.boot_error = error
        raise


@contextmanager
def _unwrapped() -> Iterator[None]:
    """A single error that passed through task groups is raised as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None


class _Wrapped:
    """Lets a plugin's `app -> app` middleware be one of Starlette's."""

    def __new__(cls, app: object, wrap: object) -> object:  # type: ignore[misc]
        return wrap(app)  # type: ignore[operator]
