"""LISTEN/NOTIFY between server processes, and polled revisions that detect lost notifications."""

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

POLL_INTERVAL: Final = 1.0
ANSWER_TIMEOUT: Final = 6.0
"""Seconds for an answer, one more than `statement_timeout`: a proxy can keep a connection open to a
server that is gone, and its notifications would be lost."""
Subscriber = Callable[[str | None], Awaitable[None]]

log = structlog.get_logger("caudex.notifications")

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

    Every login of the database may NOTIFY and LISTEN. So the channel has a name that logins of apps
    cannot read, and the poll compares the revisions with the rows whatever the messages said.
    """

    def __init__(self, config: DatabaseConfig) -> None:
        self._config = config
        self._subscribers: dict[str, list[Subscriber]] = {}
        self._seen: dict[str, int] = {}
        self.source = uuid.uuid4().hex
        self.online = True
        """False while PostgreSQL cannot be reached: requests fail at once instead of waiting."""

    def subscribe(self, topic: str, callback: Subscriber) -> None:
        """See `Notifications.subscribe`."""
        self._subscribers.setdefault(topic, []).append(callback)

    async def deliver(self, topic: str, payload: str | None, revision: int) -> None:
        """Notify the subscribers of a topic; after a gap in the revisions the payload is None."""
        seen = self._seen.get(topic, 0)
        self._seen[topic] = max(revision, seen)
        # An older one as well: what seems newer may be forged by the login of an app.
        await self._notify(topic, payload if revision <= seen + 1 else None)

    async def invalidate(self) -> None:
        """Notify all subscribers that anything may have changed."""
        for topic in self._subscribers:
            await self._notify(topic, None)

    async def _notify(self, topic: str, payload: str | None) -> None:
        for callback in self._subscribers.get(topic, ()):
            try:
                with anyio.fail_after(10):
                    await callback(payload)
            except Exception as error:
                log.error("a subscriber failed", topic=topic, **failure(error))
                self._seen[topic] = -1  # no revision: the next poll notifies again

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[Notifier]:
        """Keep one connection that listens, and reopen it when it breaks. Raises BootError."""
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
                        await self.invalidate()
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
        """PostgreSQL is away when the connection cannot be opened again: after two attempts, as the
        first may be cut too, or one without an answer for seconds."""
        if failures == 1:
            log.warning("the database connection is lost", error=reason(error))
        if failures < (2 if isinstance(error, psycopg.errors.ConnectionTimeout) else 3):
            return
        if self.online:
            log.error("the database is away", error=reason(error))
            self.online = False
            await self.invalidate()
        await anyio.sleep(0.3)

    def _connected(self) -> AbstractAsyncContextManager[Connection]:
        options = {
            "autocommit": True,
            "application_name": "caudex notifications",
            "options": "-c statement_timeout=5000",
        }
        return connected(self._config.direct_url or self._config.url, NETWORK | options)

    async def _listen(self, connection: Connection) -> None:
        while True:
            async for notify in connection.notifies(timeout=POLL_INTERVAL, stop_after=100):
                await self._on_message(notify.payload)
            await self._poll(connection)

    async def _on_message(self, text: str) -> None:
        try:
            message = msgspec.json.decode(text, type=_Message)
        except (msgspec.DecodeError, RecursionError):
            log.warning("a notification is malformed", size=len(text))
            return
        # A login of an app can invent any number of topics: only known ones are stored.
        if message.source != self.source and message.topic in self._subscribers:
            await self.deliver(message.topic, message.payload, message.revision)

    async def _poll(self, connection: Connection) -> None:
        """Compare with the rows; a topic notified while they were read is left to the next poll."""
        before = dict(self._seen)
        for topic, revision in (await _revisions(connection)).items():
            if revision != self._seen.get(topic, 0) == before.get(topic, 0):
                self._seen[topic] = revision
                await self._notify(topic, None)


async def _listen_to_channel(connection: Connection) -> None:
    with anyio.fail_after(ANSWER_TIMEOUT):
        [(name,)] = await (await connection.execute("table caudex_kernel.channel")).fetchall()
        await connection.execute(sql.SQL("listen {}").format(sql.Identifier(name)))


async def _revisions(connection: Connection) -> dict[str, int]:
    with anyio.fail_after(ANSWER_TIMEOUT):
        cursor = await connection.execute("select topic, revision from caudex_kernel.revisions")
        return {topic: revision async for topic, revision in cursor}
