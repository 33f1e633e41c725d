"""The kernel's database without a server around it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import psycopg

from kernel.config.settings import DatabaseConfig
from kernel.contracts import hookspecs
from kernel.contracts.base import Actor
from kernel.contracts.statements import NOTIFICATIONS, Query
from kernel.database.migrations import migrate
from kernel.database.pool import Database
from kernel.errors import unwrapped
from kernel.hooks.bus import PluggyBus
from kernel.hooks.services import ServiceContainer
from plugins.notifications.service import Notifier
from tests.waiting import until

RAISING = "do $$ begin raise exception using errcode = '%s', message = 'secret select'; end $$"
"""Fails with the SQLSTATE that it is filled with."""
SLEEPS = """
select 1 from pg_stat_activity
where datname = current_database() and wait_event = 'PgSleep' and position(%s in query) > 0"""
ACTOR = Actor(user_id="0b9f2c4e-0000-4000-8000-000000000001", request_id="req-1")


def hook_bus(*plugins: object) -> PluggyBus:
    """A bus with these plugins, called by the names of their classes."""
    bus = PluggyBus(hookspecs)
    names = [type(plugin).__name__ for plugin in plugins]
    for name, plugin in zip(names, plugins, strict=True):
        bus.register(plugin, name)
    bus.arrange(names)
    return bus


@asynccontextmanager
async def opened(dsn: str, *plugins: object, **settings: Any) -> AsyncGenerator[Database]:
    """Open a pool with a listener of its own; `settings` are those of `[database]`."""
    async with listening(dsn, *plugins, **settings) as (db, _):
        yield db


@asynccontextmanager
async def listening(
    dsn: str, *plugins: object, **settings: Any
) -> AsyncGenerator[tuple[Database, Notifier]]:
    """Open a pool and its listener; who waits for a connection is patient, as machines are busy."""
    config = DatabaseConfig(url=dsn, **{"pool_timeout": 60.0, **settings})
    services = ServiceContainer()
    await migrate(config, [])
    with unwrapped():
        async with (
            Database(config, hook_bus(*plugins), services).opened() as db,
            Notifier(db).listening() as notifier,
        ):
            services.put(NOTIFICATIONS, notifier)
            yield db, notifier


def sql(dsn: str, query: str, *params: Any) -> list[tuple[Any, ...]]:
    """Run a statement of psycopg's dialect on a connection of its own."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(query.encode(), params or None)
        return cursor.fetchall() if cursor.description else []


def kill(dsn: str, application: str = "caudex") -> int:
    """Cut the connections of a pool (or of the news desk) and count them."""
    found = sql(
        dsn,
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and application_name = %s",
        application,
    )
    return len(found)


async def asleep(dsn: str, words: str) -> None:
    """Wait until the statement with these words sleeps: only then can it be cut or cancelled."""
    await until(lambda: sql(dsn, SLEEPS, words))


async def at_rest(db: Database, out: int = 0) -> None:
    """Wait until the pool makes no connection and takes none back, but for `out` in use.

    A connection that is cut before the pool has read that it was let in would be handed out dead.
    """
    with anyio.fail_after(20):
        while (now := db.statistics())["pool_available"] < now["pool_size"] - out:
            await anyio.sleep(0.01)


def table(dsn: str, columns: str = "id int primary key, n int not null default 0") -> str:
    """Make a table of its own for a test."""
    name = f"t{time.monotonic_ns()}"
    sql(dsn, f"create table {name} ({columns})")
    return name


def text(query: str) -> Query:
    """A statement about a table of the test."""
    return query.encode()


async def together(*calls: Callable[[], Awaitable[Any]]) -> Sequence[Any]:
    """Run calls at once; the first error is raised as itself."""
    return await asyncio.gather(*[call() for call in calls])
