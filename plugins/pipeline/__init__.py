"""The pipelined driver: many requests share a few connections in libpq's pipeline mode."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kernel.public import (
    POOL,
    STATEMENTS,
    BootError,
    Measure,
    Plugin,
    Provider,
    Services,
    Statements,
    hookimpl,
    provide,
)

from .config import PipelineConfig
from .service import PipelinedStatements


class PipelinePlugin(Plugin):
    """Provides STATEMENTS, unless `[services] statements = "kernel"` chooses the pool."""

    name = "pipeline"
    requires = (POOL,)
    Config = PipelineConfig
    config: PipelineConfig

    _service: PipelinedStatements | None = None

    @hookimpl(optionalhook=True)
    async def measure(self) -> Sequence[Measure]:
        """Return the load of the groups, where they are used."""
        if self._service is None:
            return []
        return self._service.measure()

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide STATEMENTS; connections are opened only where this provider is chosen."""
        return [provide(STATEMENTS, self._open)]

    @asynccontextmanager
    async def _open(self, services: Services) -> AsyncGenerator[Statements]:
        pool = services.get(POOL)
        if not pool.prepares:
            raise BootError(
                "[services] statements",
                "the pipelined driver needs prepared statements, and database.prepare is false",
                'set statements = "kernel"',
            )
        driver = PipelinedStatements(pool, self.config, processes=self.context.processes)
        async with driver.opened() as statements:
            self._service = statements
            yield statements
