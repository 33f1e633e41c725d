"""LISTEN/NOTIFY between server processes, with a polled revision that catches what gets lost."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import msgspec
import psycopg
import structlog
from psycopg import AsyncConnection

from kernel.config import DatabaseConfig

CHANNEL: Final = "caudex"
POLL: Final = 1.0
Subscriber = Callable[[str | None], Awaitable[None]]

log = structlog.get_logger("caudex.news")

PUBLISH: Final = b"""
with bump as (
    insert into caudex_kernel.revisions as r (topic, revision) values ($1::text, 1)
    on conflict (topic) do update set revision = r.revision + 1 returning revision
)
select revision, pg_notify('caudex', json_build_object(
    'topic', $1::text, 'revision', revision, 'payload', $2::text, 'source', $3::text)::text)
from bump"""


class _Message(msgspec.Struct, frozen=True):
    topic: str
    revision: int
    payload: str
    source: str


class NewsDesk:
    """See `kernel.contracts.statements.News`."""

    def __init__(self, config: DatabaseConfig) -> None:
        self._config = config
        self._subscribers: dict[str, list[Subscriber]] = {}
        self._seen: dict[str, int] = {}
        self.source = uuid.uuid4().hex
        self.online = True
        """False while PostgreSQL cannot be reached: requests fail at once and do not pile up."""

    def subscribe(self, topic: str, callback: Subscriber) -> None:
        """See `News.subscribe`."""
        self._subscribers.setdefault(topic, []).append(callback)

    async def deliver(self, topic: str, payload: str | None, revision: int) -> None:
        """Tell the subscribers of a topic; a gap in the revisions means that something is lost."""
        seen = self._seen.get(topic)
        if seen is not None and revision <= seen:
            return
        lost = seen is not None and revision > seen + 1
        self._seen[topic] = revision
        await self._tell(topic, None if lost else payload)

    async def forget(self) -> None:
        """Tell everyone that anything may have changed."""
        for topic in self._subscribers:
            await self._tell(topic, None)

    async def _tell(self, topic: str, payload: str | None) -> None:
        for callback in self._subscribers.get(topic, ()):
            try:
                await callback(payload)
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
                log.error("a subscriber failed", topic=topic, error=said)

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[NewsDesk]:
        """Keep one connection that listens, and reconnect it."""
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._listen_always)
            try:
                yield self
            finally:
                tasks.cancel_scope.cancel()

    async def _listen_always(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        started = False
        while True:
            try:
                async with await self._connect() as connection:
                    self._seen = await _revisions(connection)
                    self.online = True
                    if started:
                        log.info("the database is back")
                        await self.forget()
                    else:
                        task_status.started()
                        started = True
                    await self._listen(connection)
            except (psycopg.Error, OSError) as error:
                if not started:
                    raise
                if self.online:
                    log.warning("the database connection is lost", error=str(error).strip())
                    await self.forget()
                await self._mark_if_away()

    async def _mark_if_away(self) -> None:
        """Only a connection that cannot be made again means that PostgreSQL is away."""
        try:
            await (await self._connect()).close()
            self.online = True
        except (psycopg.Error, OSError):
            self.online = False
            await anyio.sleep(0.3)

    async def _connect(self) -> AsyncConnection[Any]:
        url = self._config.direct_url or self._config.url
        return await AsyncConnection.connect(
            url,
            autocommit=True,
            connect_timeout=5,
            application_name="caudex news",
            options="-c statement_timeout=5000",
        )

    async def _listen(self, connection: AsyncConnection[Any]) -> None:
        await connection.execute(f"listen {CHANNEL}")  # type: ignore[arg-type]
        while True:
            async for notify in connection.notifies(timeout=POLL):
                message = msgspec.json.decode(notify.payload, type=_Message)
                if message.source != self.source:
                    await self.deliver(message.topic, message.payload, message.revision)
            for topic, revision in (await _revisions(connection)).items():
                if revision > self._seen.get(topic, 0):
                    self._seen[topic] = revision
                    await self._tell(topic, None)


async def _revisions(connection: AsyncConnection[Any]) -> dict[str, int]:
    cursor = await connection.execute("select topic, revision from caudex_kernel.revisions")
    return {topic: revision async for topic, revision in cursor}
