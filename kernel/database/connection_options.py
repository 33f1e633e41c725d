"""Connections to PostgreSQL: their options, and the wait at the start until it accepts them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import psycopg
import structlog
from psycopg import AsyncRawCursor
from psycopg.conninfo import conninfo_to_dict

from kernel.config.settings import DatabaseConfig
from kernel.database.dialect import Connection, reason
from kernel.errors import BootError

NETWORK: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "client_encoding": "utf8",
}
"""Parameters that detect a vanished peer within 25 s (libpq, 34.1.2). Times are in seconds,
`tcp_user_timeout` is in milliseconds."""

OLDEST_VERSION: Final = 15

log = structlog.get_logger("caudex.db")


def connect_options(config: DatabaseConfig, **limits: int) -> dict[str, Any]:
    """Return options for a connection: each statement is a transaction, with timeouts.

    `limits` replaces the configured timeouts (milliseconds). `options` of the url apply unless they
    are set here.
    """
    settings: dict[str, Any] = limits or {
        "statement_timeout": int(config.statement_timeout * 1000),
        "lock_timeout": int(config.lock_timeout * 1000),
        "idle_in_transaction_session_timeout": 60_000,
    }
    settings |= {"timezone": "UTC", "datestyle": "ISO"}
    # PostgreSQL detects a killed server: its long statement ends and releases its locks.
    settings["client_connection_check_interval"] = 2000
    options_of_url = str(conninfo_to_dict(config.url).get("options") or "")
    options = [options_of_url, *(f"-c {key}={value}" for key, value in settings.items())]
    return {
        **NETWORK,
        "autocommit": True,
        "cursor_factory": AsyncRawCursor,
        "prepare_threshold": 3 if config.prepare else None,
        "application_name": "caudex",
        "options": " ".join(options),
    }


@asynccontextmanager
async def connected(url: str, options: dict[str, Any]) -> AsyncGenerator[Connection]:
    """Open a connection in autocommit mode and close it in every case.

    psycopg's own context rolls back first. For that it waits for a lock that a suspended
    `notifies()` still holds, and if the wait is cancelled the connection stays open.
    """
    connection = await Connection.connect(url, **options)
    try:
        yield connection
    finally:
        with anyio.CancelScope(shield=True):
            await connection.close()


async def wait_for_database(config: DatabaseConfig) -> int:
    """Wait until PostgreSQL accepts connections and return its major version.

    Raises BootError after `database.wait` seconds, and for a server that cannot be used.
    """
    deadline = anyio.current_time() + config.wait
    is_logged = False
    while True:
        try:
            async with connected(config.url, connect_options(config)) as connection:
                return _check_server(connection)
        except psycopg.OperationalError as error:
            if anyio.current_time() >= deadline or _is_permanent(error):
                raise BootError("database", reason(error), "check database.url") from None
            if not is_logged:
                log.warning("waiting for the database", seconds=config.wait, error=reason(error))
                is_logged = True
        await anyio.sleep(0.5)


def _is_permanent(error: psycopg.OperationalError) -> bool:
    """Whether waiting does not help, as with a wrong password or name."""
    hints = ("authentication failed", "does not exist", "no pg_hba.conf entry", "invalid port")
    return any(hint in str(error) for hint in hints)


def _check_server(connection: Connection) -> int:
    info = connection.info
    version = info.server_version // 10000
    if version < OLDEST_VERSION:
        problem = f"PostgreSQL {version} is too old"
        raise BootError("database", problem, f"use {OLDEST_VERSION} or newer")
    encoding = info.parameter_status("server_encoding")
    if encoding != "UTF8":
        remedy = "create it with: create database ... encoding 'UTF8' template template0"
        raise BootError("database", f"the encoding of {info.dbname} is {encoding}", remedy)
    return version
