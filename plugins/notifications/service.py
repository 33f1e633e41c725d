"""LISTEN/NOTIFY between server processes, and polled revisions that detect lost notifications."""

from __future__ import annotations

import math
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import msgspec
import psycopg
import structlog
from anyio.abc import TaskStatus
from psycopg import AsyncConnection

from kernel.public import BootError, Pool, Transaction, Writer, dialect, failure

from . import store

POLL_INTERVAL: Final = 1.0
"""Seconds between two reads of the revisions."""
ATTEMPT: Final = 1.25
"""Seconds to connect again. After two, a frozen PostgreSQL is noticed within 5 s."""
Subscriber = Callable[[str | None], Awaitable[None]]

log = structlog.get_logger("caudex.notifications")


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

    def __init__(
        self,
        pool: Pool,
        blame: Callable[[BaseException], Mapping[str, str]] = lambda _: {},
        answer_timeout: float = 0.5,
    ) -> None:
        """Replace the connection where a poll takes `answer_timeout` seconds.

        A proxy can keep one open to a server that is gone, and its notifications would be lost.
        `blame` is `Registry.blame`, for subscribers that fail.
        """
        self._pool = pool
        self._blame = blame
        self._answer_timeout = answer_timeout
        self._subscribers: dict[str, list[Subscriber]] = {}
        self._seen: dict[str, int] = {}
        self._source = uuid.uuid4().hex

    def subscribe(self, topic: str, callback: Subscriber) -> None:
        self._subscribers.setdefault(topic, []).append(callback)

    async def publish(
        self, tx: Transaction, messages: Sequence[tuple[str, str | None]]
    ) -> Callable[[], Awaitable[None]]:
        sent = [
            (topic, payload, await store.publish(tx, topic, payload, self._source))
            for topic, payload in messages
        ]

        async def deliver() -> None:
            for message in sent:
                await self.deliver(*message)

        return deliver

    async def announce(self, writer: Writer, topic: str, payload: str | None) -> None:
        revision = await store.announce(writer, topic, payload, self._source)
        await self.deliver(topic, payload, revision)

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
                blamed = self._blame(error)
                log.error("a subscriber failed", topic=topic, **failure(error), **blamed)
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
        has_started = False
        was_slow = False
        failures = 0
        while True:
            try:
                with anyio.fail_after(ATTEMPT if has_started else None) as attempt:
                    async with self._pool.connect(direct=True) as connection:
                        await store.listen(connection)
                        revisions = await store.revisions(connection)
                        attempt.deadline = math.inf
                        if not has_started:
                            self._seen = revisions
                            task_status.started()
                        elif was_slow and self._pool.online:
                            await self._compare(revisions, self._seen)
                        else:
                            self._pool.online = True
                            self._seen = revisions
                            log.info("the database connection is back")
                            await self.invalidate()
                        has_started = True
                        failures = 0
                        await self._listen(connection)
            except (psycopg.Error, OSError) as error:
                was_slow = isinstance(error, TimeoutError)
                if not has_started:
                    remedy = "check database.url and database.direct_url"
                    raise BootError("database", dialect.reason(error), remedy) from None
                failures += 1
                await self._note_failure(failures, error)

    async def _note_failure(self, failures: int, error: Exception) -> None:
        """Log a lost connection, and note whether PostgreSQL is away.

        It is away when the connection cannot be opened again: after two attempts, as the first
        may be cut too, or be slow on a busy machine.
        """
        if failures == 1 and isinstance(error, TimeoutError):
            log.warning("a poll of the database takes long", seconds=self._answer_timeout)
        elif failures == 1:
            log.warning("the database connection is lost", error=dialect.reason(error))
        if failures < 3:
            return
        if self._pool.online:
            log.error("the database is away", error=dialect.reason(error))
            self._pool.go_offline()
            await self.invalidate()
        await anyio.sleep(0.3)

    async def _listen(self, connection: AsyncConnection[Any]) -> None:
        while True:
            due = anyio.current_time() + POLL_INTERVAL
            while (seconds := due - anyio.current_time()) > 0:
                # First those that came with the answer to a poll: the socket has no more to read.
                async for notify in connection.notifies(timeout=0.05, stop_after=1):
                    await self._on_message(notify.payload)
                with anyio.move_on_after(seconds):  # psycopg would wake up ten times a second
                    await anyio.wait_readable(connection)
            await self._poll(connection)

    async def _on_message(self, text: str) -> None:
        try:
            message = msgspec.json.decode(text, type=_Message)
        except (msgspec.DecodeError, RecursionError):
            log.warning("a notification is malformed", size=len(text))
            return
        # A login of an app can invent any number of topics: only known ones are stored.
        if message.source != self._source and message.topic in self._subscribers:
            await self.deliver(message.topic, message.payload, message.revision)

    async def _poll(self, connection: AsyncConnection[Any]) -> None:
        """Compare with the rows; a topic notified while they were read is left to the next poll."""
        seen_before = dict(self._seen)
        with anyio.fail_after(self._answer_timeout):
            revisions = await store.revisions(connection)
        await self._compare(revisions, seen_before)

    async def _compare(self, revisions: Mapping[str, int], seen_before: Mapping[str, int]) -> None:
        """Notify of topics whose notifications were lost."""
        for topic, revision in revisions.items():
            seen = self._seen.get(topic, 0)
            was_notified_meanwhile = seen != seen_before.get(topic, 0)
            if revision != seen and not was_notified_meanwhile:
                self._seen[topic] = revision
                await self._notify(topic, None)
