"""LISTEN/NOTIFY between server processes, with a polled revision that catches what gets lost."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import anyio
import msgspec
import psycopg
import structlog
from anyio.abc import TaskStatus
from psycopg import sql

from kernel.config.settings import DatabaseConfig
from kernel.database.connect import NETWORK, Connection, connected, reason
from kernel.errors import BootError, failure

POLL: Final = 1.0
PAUSE: Final = 0.3
"""Seconds between attempts to reach a database that is away."""
PATIENCE: Final = 10.0
"""Seconds a subscriber may take."""
ANSWER: Final = 6.0
"""Seconds for an answer, one more than PostgreSQL has: a proxy keeps a connection alive behind
which nobody is left, and news that are not heard are not missed."""
Subscriber = Callable[[str | None], Awaitable[None]]

log = structlog.get_logger("caudex.news")

PUBLISH: Final = b"""
with bump as (
    insert into caudex_kernel.revisions as r (topic, revision) values ($1::text, 1)
    on conflict (topic) do update set revision = r.revision + 1 returning revision
)
select revision, pg_notify(c.name, json_build_object(
    'topic', $1::text, 'revision', revision, 'payload', $2::text, 'source', $3::text)::text)
from bump, caudex_kernel.channel as c"""


class _Message(msgspec.Struct, frozen=True):
    topic: str
    revision: int
    payload: str | None
    source: str


class Notifier:
    """See `kernel.contracts.statements.Notifications`.

    Whoever may connect to the database may also NOTIFY and LISTEN, so the channel has a name that
    logins of apps cannot read; and a message is never believed: the poll compares with the rows,
    whatever was heard.
    """

    def __init__(self, config: DatabaseConfig) -> None:
        self._config = config
        self._subscribers: dict[str, list[Subscriber]] = {}
        self._seen: dict[str, int] = {}
        self.source = uuid.uuid4().hex
        self.online = True
        """False while PostgreSQL cannot be reached: requests fail at once and do not pile up."""

    def subscribe(self, topic: str, callback: Subscriber) -> None:
        """See `Notifications.subscribe`."""
        self._subscribers.setdefault(topic, []).append(callback)

    async def deliver(self, topic: str, payload: str | None, revision: int) -> None:
        """Tell the subscribers of a topic; a gap in the revisions means that something is lost."""
        seen = self._seen.get(topic, 0)
        self._seen[topic] = max(revision, seen)
        # What is older is told as well: a login of an app may have made up what seems to be newer.
        await self._tell(topic, payload if revision <= seen + 1 else None)

    async def forget(self) -> None:
        """Tell everyone that anything may have changed."""
        for topic in self._subscribers:
            await self._tell(topic, None)

    async def _tell(self, topic: str, payload: str | None) -> None:
        for callback in self._subscribers.get(topic, ()):
            try:
                with anyio.fail_after(PATIENCE):
                    await callback(payload)
            except Exception as error:
                log.error("a subscriber failed", topic=topic, **failure(error))
                self._seen[topic] = -1  # no revision: the next poll tells it again

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[Notifier]:
        """Keep one connection that listens, and reconnect it. Raises BootError."""
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._listen_always)
            try:
                yield self
            finally:
                tasks.cancel_scope.cancel()

    async def _listen_always(self, *, task_status: TaskStatus[None]) -> None:
        started, failures = False, 0
        while True:
            try:
                async with self._connected() as connection:
                    await _listen_to_channel(connection)
                    self._seen = await _revisions(connection)
                    self.online = True
                    if started:
                        log.info("the database connection is back")
                        await self.forget()
                    else:
                        task_status.started()
                    started, failures = True, 0
                    await self._listen(connection)
            except (psycopg.Error, OSError) as error:
                if not started:
                    remedy = "check database.direct_url" if self._config.direct_url else ""
                    raise BootError("database", reason(error), remedy) from None
                failures += 1
                await self._lost(failures, error)

    async def _lost(self, failures: int, error: Exception) -> None:
        """Only a connection that cannot be made again means that PostgreSQL is away.

        That is told by two tries in a row, since the first one may have been cut as well, or by one
        that nobody answered for seconds.
        """
        if failures == 1:
            log.warning("the database connection is lost", error=reason(error))
        if failures < (2 if isinstance(error, psycopg.errors.ConnectionTimeout) else 3):
            return
        if self.online:
            log.error("the database is away", error=reason(error))
            self.online = False
            await self.forget()
        await anyio.sleep(PAUSE)

    def _connected(self) -> AbstractAsyncContextManager[Connection]:
        options = {
            "autocommit": True,
            "application_name": "caudex news",
            "options": "-c statement_timeout=5000",
        }
        return connected(self._config.direct_url or self._config.url, NETWORK | options)

    async def _listen(self, connection: Connection) -> None:
        while True:
            async for notify in connection.notifies(timeout=POLL, stop_after=100):
                await self._hear(notify.payload)
            await self._poll(connection)

    async def _hear(self, text: str) -> None:
        try:
            message = msgspec.json.decode(text, type=_Message)
        except (msgspec.DecodeError, RecursionError):
            log.warning("a notification is not ours", size=len(text))
            return
        # A login of an app may make up topics without end: only known ones are remembered.
        if message.source != self.source and message.topic in self._subscribers:
            await self.deliver(message.topic, message.payload, message.revision)

    async def _poll(self, connection: Connection) -> None:
        """Compare with the rows; what was told while they were read is left to the next poll."""
        before = dict(self._seen)
        for topic, revision in (await _revisions(connection)).items():
            if revision != self._seen.get(topic, 0) == before.get(topic, 0):
                self._seen[topic] = revision
                await self._tell(topic, None)


async def _listen_to_channel(connection: Connection) -> None:
    with anyio.fail_after(ANSWER):
        [(name,)] = await (await connection.execute("table caudex_kernel.channel")).fetchall()
        await connection.execute(sql.SQL("listen {}").format(sql.Identifier(name)))


async def _revisions(connection: Connection) -> dict[str, int]:
    with anyio.fail_after(ANSWER):
        cursor = await connection.execute("select topic, revision from caudex_kernel.revisions")
        return {topic: revision async for topic, revision in cursor}
