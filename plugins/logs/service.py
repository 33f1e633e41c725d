"""Rules of the log: lines go to the database in batches, and from there to every reader."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

import anyio
import structlog

from kernel.public import (
    KernelError,
    LogLevel,
    LogLine,
    Statements,
    Transaction,
    Unavailable,
    server_actor,
)

from . import store
from .config import LogsConfig
from .feed import Feed
from .intake import Intake
from .masking import Masks
from .models import NewLine

TOPIC: Final = "logs"
GATHER: Final = 0.05
"""Seconds in which lines join the same batch."""
RETRY: Final = 1.0
PAGE: Final = 500
SWEEP_EVERY: Final = 600.0

log = structlog.get_logger("caudex.logs")


class LogsService:
    """Provides LOGS."""

    def __init__(self, config: LogsConfig, statements: Statements) -> None:
        self._config = config
        self._statements = statements
        self._intake = Intake(config.lines_per_second)
        self._masks = Masks()
        self._feeds: dict[str, Feed] = {}
        self._stale: set[str] = set()
        self._news = anyio.Event()
        self._stopping = False

    def write(self, app_id: str, level: LogLevel, message: str) -> None:
        """See `Logs.write`."""
        self._intake.put(app_id, level, self.masked(app_id, message))

    def mask(self, app_id: str, values: Iterable[str]) -> None:
        """See `Logs.mask`."""
        self._masks.put(app_id, values)

    def masked(self, app_id: str, text: str) -> str:
        """See `Logs.masked`."""
        return self._masks.hide(app_id, text)

    async def tail(self, app_id: str, count: int) -> list[LogLine]:
        """See `Logs.tail`."""
        return await store.tail(self._statements, app_id, count) if count else []

    @asynccontextmanager
    async def follow(
        self, app_id: str, after: int
    ) -> AsyncGenerator[AsyncIterator[LogLine | None]]:
        """See `Logs.follow`."""
        feed = await self._attach(app_id)
        try:
            yield self._lines(app_id, feed, after)
        finally:
            feed.readers -= 1
            if not feed.readers and self._feeds.get(app_id) is feed:
                del self._feeds[app_id]

    async def heard(self, app_id: str | None) -> None:
        """Take the news that an app has new lines; None means that any may."""
        self._stale.update(self._feeds if app_id is None else {app_id} & self._feeds.keys())
        if self._stale:
            self._news.set()

    def end_readers(self) -> None:
        """End every stream: the server stops."""
        self._stopping = True
        for feed in self._feeds.values():
            feed.close()

    async def forget_app(self, tx: Transaction, app_id: str) -> None:
        """Delete the lines of an app."""
        self._intake.forget(app_id)
        self._masks.put(app_id, ())
        await store.forget_app(tx, app_id)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Store, hand on and sweep while the server runs; what still waits is stored at the end."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._store_always)
            tasks.start_soon(self._hand_on_always)
            tasks.start_soon(self._sweep_always)
            yield
            tasks.cancel_scope.cancel()
        with anyio.move_on_after(2.0):
            while lines := self._intake.take():
                await self._store(lines)

    async def _attach(self, app_id: str) -> Feed:
        if self._stopping:
            raise Unavailable("the server stops")
        feed = self._feeds.get(app_id)
        if feed is None:
            last_id = await store.last_id(self._statements, app_id)
            feed = self._feeds.setdefault(app_id, Feed(last_id))
        if feed.readers >= self._config.readers_per_app:
            raise Unavailable("too many readers of this log", retry_after=5)
        feed.readers += 1
        return feed

    async def _lines(self, app_id: str, feed: Feed, after: int) -> AsyncIterator[LogLine | None]:
        """What the database has behind `after`, then what the feed brings."""
        position, until = feed.end, feed.last_id
        while after < until:
            page = await store.between(self._statements, app_id, after, until, PAGE)
            for line in page:
                yield line
            if len(page) < PAGE:
                break
            after = page[-1].id
        async for line in feed.read(position):
            yield line

    async def _store_always(self) -> None:
        while True:
            await self._intake.wait()
            await anyio.sleep(GATHER)
            lines = self._intake.take()
            if lines and not await self._store(lines):
                self._intake.put_back(lines)
                await anyio.sleep(RETRY)

    async def _store(self, lines: list[NewLine]) -> bool:
        async def write(tx: Transaction) -> None:
            await store.insert(tx, lines)
            for app_id in sorted({line.app_id for line in lines}):
                await tx.publish(TOPIC, app_id)

        try:
            await self._statements.run(server_actor(), write)
        except Unavailable:
            return False
        except KernelError as error:
            log.error("log lines could not be stored", count=len(lines), error=error.message)
        return True

    async def _hand_on_always(self) -> None:
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            stale, self._stale = self._stale, set()
            for app_id in stale:
                try:
                    await self._catch_up(app_id)
                except KernelError:
                    self._stale.add(app_id)
            if self._stale:
                await anyio.sleep(RETRY)
                self._news.set()

    async def _catch_up(self, app_id: str) -> None:
        while (feed := self._feeds.get(app_id)) is not None:
            page = await store.between(self._statements, app_id, feed.last_id, store.NEWEST, PAGE)
            if page:
                feed.add(page)
            if len(page) < PAGE:
                return

    async def _sweep_always(self) -> None:
        days, lines = self._config.keep_days, self._config.keep_lines
        while True:
            gone = 0
            try:
                gone = await self._statements.run(
                    server_actor(), lambda tx: store.sweep(tx, days, lines)
                )
            except KernelError as error:
                log.warning("old log lines could not be swept", error=error.message)
            await anyio.sleep(0.2 if gone else SWEEP_EVERY)
