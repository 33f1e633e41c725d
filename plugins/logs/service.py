"""Rules of the log: lines go to the database in batches, and from there to every reader."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import anyio
import structlog

from kernel.public import (
    Batcher,
    LogBatch,
    LogLevel,
    LogLine,
    Retry,
    Statements,
    Transaction,
    Unavailable,
    failure,
    server_actor,
)

from . import store
from .config import LogsConfig
from .events import batches, own_line, remark
from .feed import STOPS, Feed
from .intake import Intake, Lines

TOPIC: Final = "logs"
EVERY_APP: Final = ""
"""The key for lines of all apps that are too old."""

log = structlog.get_logger("caudex.logs")


class LogsService:
    """Provides LOGS."""

    def __init__(self, config: LogsConfig, statements: Statements) -> None:
        self._config = config
        self._statements = statements
        self._intake = Intake(self._store, config.lines_per_second, config.bytes_per_second)
        self._failures: dict[str, int] = {}
        """How often in a row the old lines of an app could not be deleted."""
        self._feeds: dict[str, Feed] = {}
        self._unread: set[str] = set()
        """Apps whose new lines are to be read for their readers."""
        self._reader = Batcher[str, None](
            self._read_new, retry=Retry(on=(Exception,), first=1.0, longest=1.0)
        )
        self._stopping = False

    def write(self, app_id: str, level: LogLevel, message: str, request_id: str = "") -> None:
        """See `Logs.write`."""
        if self._intake.admits(app_id):
            self._intake.put(app_id, level, message, request_id)

    async def tail(self, app_id: str, count: int) -> list[LogLine]:
        """See `Logs.tail`. Lines that are too large together give way to one that counts them."""
        if not count:
            return []
        lines = await store.read_tail(self._statements, app_id, count)
        left_out = await store.count_left_out(self._statements, app_id, lines, count)
        if left_out:
            return [own_line(f"{left_out} older lines are left out: they are too large"), *lines]
        return lines

    async def before(self, app_id: str, since: str) -> int:
        """See `Logs.before`."""
        return await store.find_id_before(self._statements, app_id, since)

    @asynccontextmanager
    async def follow(
        self, app_id: str, after: int
    ) -> AsyncGenerator[AsyncIterator[LogBatch | None]]:
        """See `Logs.follow`."""
        feed = await self._attach(app_id)
        try:
            # Known by a tail that is newer than the feed, or not there yet.
            if after > feed.last_id:
                newest_id = await store.find_last_id(self._statements, app_id)
                after = min(after, max(feed.last_id, newest_id))
            yield self._batches(app_id, feed, after)
        finally:
            feed.readers -= 1
            if not feed.readers and self._feeds.get(app_id) is feed:
                del self._feeds[app_id]

    async def on_notification(self, app_id: str | None) -> None:
        """Read the new lines of an app for its readers; None means of every app."""
        changed = set(self._feeds)
        if app_id is not None:
            changed &= {app_id}
        for changed_id in changed - self._unread:
            self._unread.add(changed_id)
            self._reader.add(changed_id)

    def end_readers(self) -> None:
        """End every stream: the server stops."""
        self._stopping = True
        for feed in self._feeds.values():
            feed.close()

    async def forget_app(self, tx: Transaction, app_id: str) -> None:
        """Delete the lines of an app."""
        await store.forget_app(tx, app_id)

        async def drop() -> None:
            self._intake.drop(app_id)

        tx.after_commit(drop)

    async def sweep(self) -> float:
        """Delete a portion of the old lines; return the seconds until the next one.

        An app whose lines cannot be deleted delays no other one.
        """
        delete_old = partial(store.sweep_old, keep_days=self._config.keep_days)
        deleted = await self._delete_portion(EVERY_APP, delete_old)

        app_ids = await store.list_apps(self._statements)
        for app_id in app_ids:
            delete_many = partial(
                store.sweep_many,
                app_id=app_id,
                keep_lines=self._config.keep_lines,
                keep_bytes=self._config.keep_bytes,
            )
            deleted += await self._delete_portion(app_id, delete_many)

        failures = self._failures
        for app_id in failures.keys() - {EVERY_APP, *app_ids}:
            del failures[app_id]
        if deleted:
            return 0.2
        pauses = [2.0**count for count in failures.values()]
        return min([600.0, *pauses])

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Store lines and read new ones while the server runs; at the end store what waits."""
        lines = self._intake.batcher
        async with self._reader.running(drain=0), lines.running(drain=2.0):
            yield
        if lines:
            log.warning("log lines are lost: the database is not available", count=len(lines))

    async def _delete_portion(self, app_id: str, delete: Callable[..., Awaitable[int]]) -> int:
        """Return how many lines were deleted. After a failure the next portion is half as large."""
        failures = self._failures.get(app_id, 0)
        try:
            deleted = await self._statements.run(
                server_actor(), lambda tx: delete(tx, halvings=failures)
            )
        except Exception as error:
            log.warning("old log lines could not be swept", app=app_id or "any", **failure(error))
            self._failures[app_id] = min(failures + 1, 20)  # a portion is a single line by then
            return 0
        if not deleted:
            self._failures.pop(app_id, None)
        return deleted

    async def _attach(self, app_id: str) -> Feed:
        feed = self._feeds.get(app_id)
        if feed is None:
            last_id = await store.find_last_id(self._statements, app_id)
            feed = self._feeds.setdefault(app_id, Feed(last_id))
            await self.on_notification(app_id)  # lines may have come before the feed was there
        if self._stopping:
            raise Unavailable(STOPS)
        if feed.readers >= self._config.readers_per_app:
            raise Unavailable("too many readers of this log", retry_after=5)
        feed.readers += 1
        return feed

    async def _batches(self, app_id: str, feed: Feed, after: int) -> AsyncIterator[LogBatch | None]:
        """What the database has behind `after`, then what the feed brings."""
        cursor = feed.end
        async for batch in self._read_stored(app_id, after, feed.last_id):
            if feed.closed:  # it goes on behind the last line, at another server
                yield remark(STOPS)
                return
            yield batch
        async for batch in feed.read(cursor):
            if batch is None:
                yield None
                continue
            for part in _cut_after(batch, after):
                yield part

    async def _read_stored(self, app_id: str, after: int, until: int) -> AsyncIterator[LogBatch]:
        while after < until:
            page, is_full = await store.read_page(self._statements, app_id, after, until)
            last_id = until
            if page:
                last_id = page[-1].id
            for batch in batches(page):
                yield batch
            if not is_full:
                return
            after = last_id

    async def _store(self, lines: Lines) -> None:
        async def write(tx: Transaction) -> None:
            # Asked here, as a connection may be long in coming: apps may be removed by then.
            waiting = lines()
            if not waiting:
                return
            await store.insert(tx, waiting)
            for app_id in sorted({line.app_id for line in waiting}):
                await tx.publish(TOPIC, app_id)

        try:
            await self._statements.run(server_actor(), write)
        except Unavailable:
            raise
        except Exception as error:
            log.error("log lines could not be stored", count=len(lines()), **failure(error))
            await anyio.sleep(1.0)

    async def _read_new(self, app_ids: Sequence[str]) -> Sequence[Exception | None]:
        self._unread.difference_update(app_ids)
        return [await self._try_catch_up(app_id) for app_id in app_ids]

    async def _try_catch_up(self, app_id: str) -> Exception | None:
        try:
            await self._catch_up(app_id)
        except Exception as error:
            if not isinstance(error, Unavailable):
                log.error("new log lines cannot be read", app=app_id, **failure(error))
            return error
        return None

    async def _catch_up(self, app_id: str) -> None:
        is_full = True
        while is_full:
            feed = self._feeds.get(app_id)
            if feed is None:  # its last reader has left
                return
            page, is_full = await store.read_page(self._statements, app_id, feed.last_id)
            if page:
                feed.add(page)


def _cut_after(batch: LogBatch, after: int) -> Iterable[LogBatch]:
    """Return a batch without the lines that a reader has already; whole where it has none."""
    first_id = batch.lines[0].id
    if not first_id or first_id > after:
        return (batch,)
    return batches(line for line in batch.lines if line.id > after)
