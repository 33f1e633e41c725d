"""The fast lane without a server around it, and ways to hurt it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from kernel.db import Database
from kernel.errors import unwrapped
from plugins.pipeline.config import PipelineConfig
from plugins.pipeline.service import PipelinedStatements
from tests.kernel.databases import opened, sql


class Opened(NamedTuple):
    """A fast lane and the pool that it stands on."""

    lane: PipelinedStatements
    pool: Database


@asynccontextmanager
async def fast_lane(
    dsn: str, config: PipelineConfig | None = None, **settings: Any
) -> AsyncGenerator[Opened]:
    """Open both; `settings` are those of `[database]`."""
    async with opened(dsn, **settings) as pool:
        with unwrapped():
            async with PipelinedStatements(pool, config or PipelineConfig()).opened() as lane:
                yield Opened(lane, pool)


def table(dsn: str, columns: str = "id int primary key, n int not null default 0") -> str:
    """Make a table of its own for a test."""
    name = f"t{time.monotonic_ns()}"
    sql(dsn, f"create table {name} ({columns})")
    return name


async def until(true: Callable[[], Awaitable[bool] | bool], seconds: float = 20) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while True:
            found = true()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01)
