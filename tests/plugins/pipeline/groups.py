"""The pipelined driver without a server around it, and ways to hurt it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

from kernel.database.pool import Database
from kernel.errors import unwrapped
from plugins.pipeline.config import PipelineConfig
from plugins.pipeline.service import PipelinedStatements
from tests.kernel.databases import opened

T = TypeVar("T")


class Opened(NamedTuple):
    """A pipelined driver and the pool that it uses."""

    driver: PipelinedStatements
    pool: Database


@asynccontextmanager
async def pipelined(
    dsn: str, config: PipelineConfig | None = None, **settings: Any
) -> AsyncGenerator[Opened]:
    """Open both; `settings` are those of `[database]`."""
    async with opened(dsn, **settings) as pool:
        with unwrapped():
            async with PipelinedStatements(pool, config or PipelineConfig()).opened() as driver:
                yield Opened(driver, pool)


def started(call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A call that is under way; the test awaits it."""
    return asyncio.get_running_loop().create_task(call)


def pids(driver: PipelinedStatements, name: str) -> list[int]:
    """The server processes behind the connections of a driver."""
    members = driver.groups[name].members
    # One that has just been cut stays in its driver until its reconnector wakes up.
    return [member.wire.pg.backend_pid for member in members if member.wire.is_open]
