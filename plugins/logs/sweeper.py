"""Deletes the lines that are not kept any longer, portion by portion."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog

from kernel.public import Statements, Transaction, failure, server_actor

from . import store
from .config import LogsConfig

EVERY_APP: Final = ""
"""The key for lines of all apps that are too old."""

log = structlog.get_logger("caudex.logs")


class Sweeper:
    """An app whose lines cannot be deleted holds up no other. What is tried next is half as large,
    as it may have been too much for one statement."""

    def __init__(self, config: LogsConfig, statements: Statements) -> None:
        self._config = config
        self._statements = statements
        self._failures: dict[str, int] = {}
        """How often in a row the lines of an app could not be deleted."""

    async def sweep(self) -> int:
        """Delete a portion of the old lines of each app; returns how many lines that were."""
        config = self._config
        gone = await self._portion(EVERY_APP, partial(store.sweep_old, keep_days=config.keep_days))
        apps = await store.apps(self._statements)
        for app_id in apps:
            most = {"keep_lines": config.keep_lines, "keep_bytes": config.keep_bytes}
            gone += await self._portion(app_id, partial(store.sweep_many, app_id=app_id, **most))
        for app_id in self._failures.keys() - {EVERY_APP, *apps}:
            del self._failures[app_id]
        return gone

    @property
    def retry_in(self) -> float:
        """Seconds until lines that could not be deleted are worth another try."""
        return min((2.0**count for count in self._failures.values()), default=math.inf)

    async def _portion(self, app_id: str, sweep: Callable[..., Awaitable[int]]) -> int:
        failures = self._failures.get(app_id, 0)

        async def work(tx: Transaction) -> int:
            return await sweep(tx, halvings=failures)

        try:
            gone = await self._statements.run(server_actor(), work)
        except Exception as error:
            log.warning("old log lines could not be swept", app=app_id or "any", **failure(error))
            self._failures[app_id] = min(failures + 1, 20)  # of a portion: a single line is left
            return 0
        if not gone:
            self._failures.pop(app_id, None)
        return gone
