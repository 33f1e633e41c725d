"""Follows the trail for one webhook, and queues what its changes mean."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import anyio
import structlog

from contrib.webhooks import store as hooks
from contrib.webhooks.events import EventMaker, Events
from contrib.webhooks.models import Hook
from kernel.public import (
    APPS,
    CHANGES,
    STATEMENTS,
    BadRequest,
    ChangesPage,
    CommittedChange,
    Services,
    Transaction,
    Unavailable,
    Watch,
    cut_before_fill,
    server_actor,
)

from . import store

MAX_WAITING: Final = 10_000
"""Deliveries of a webhook that wait; further events stay in the trail until there is room."""
STORE_SECONDS: Final = 300.0
"""After so long a position is stored although nothing was queued."""
TRIES: Final = 3
TRY_SECONDS: Final = 2.0
"""A webhook is disabled after so many tries: another server may know a new role a moment before."""
NO_ROOM_SECONDS: Final = 2.0

log = structlog.get_logger("caudex.webhooks")

Disable = Callable[[str], Awaitable[None]]


class Follower:
    """Follows the entity of a webhook from its position on.

    The position moves in the transaction that queues the deliveries, so none is lost and none is
    queued twice, whenever the process dies. A page with large values is queued in parts.
    """

    def __init__(
        self, services: Services, hook: Hook, disable: Disable, wake: Callable[[], None]
    ) -> None:
        self._statements = services.get(STATEMENTS)
        self._changes = services.get(CHANGES)
        self._apps = services.get(APPS)
        self._events = EventMaker(services)
        self._hook = hook
        self._disable = disable
        self._wake = wake
        self._stored = hook.position
        self._stored_at = time.monotonic()

    async def run(self) -> None:
        """Follow until cancelled, or until the webhook is disabled. Raises KernelError."""
        watch = await self._open()
        while watch is not None:
            await self._load_position()
            if not await self._follow(watch):
                return
            watch = await self._open()

    async def _follow(self, watch: Watch) -> bool:
        """Queue what comes while a watch holds; False where the server stops.

        A page that was read before its entity changed has the fields of then. So nothing more of it
        is queued: reading begins again behind what was.
        """
        subject = f"{self._hook.app_id}.{self._hook.entity}"
        following = self._changes.follow([subject], self._stored, reshape=True)
        async with following as pages:
            async for page in pages:
                if page.reshaped:  # the catalog of this process may be a moment older
                    await self._apps.refresh()
                for part, position in _divide(page):
                    if await watch.find_end() is not None:
                        return True
                    events = Events([], 0)
                    if part:
                        events = await self._events.make(self._hook, watch, part)
                    await self._take(events, position, _describe_loss(page, events))
        return False

    async def _load_position(self) -> None:
        """Begin where this or another process has come to."""
        row = await self._find_row()
        if row is not None:
            self._stored = row.position

    async def _find_row(self) -> Hook | None:
        return await hooks.find(self._statements, self._hook.app_id, self._hook.id)

    async def _open(self) -> Watch | None:
        """Compile the conditions; disable the webhook where that is not possible any more.

        Raises Unavailable where an install has renamed what it is about: another run takes over.
        """
        reason = ""
        for number in range(TRIES):
            if number:
                await anyio.sleep(TRY_SECONDS)
                await self._apps.refresh()
            try:
                return await self._events.open(self._hook)
            except BadRequest as error:
                reason = error.message
        row = await self._find_row()
        if row is not None and row.config != self._hook.config:
            raise Unavailable("the webhook has changed")
        await self._disable(reason)
        return None

    async def _take(self, events: Events, position: str, note: str) -> None:
        """Queue events and move to a position, unless there is nothing to store."""
        age = time.monotonic() - self._stored_at
        if not events.deliveries and not note and age < STORE_SECONDS and self._stored:
            return

        async def work(tx: Transaction) -> bool:
            if not await hooks.move(tx, self._hook.id, self._stored, position):
                return False
            await store.queue(tx, events.deliveries)
            if note:
                await hooks.note(tx, self._hook.id, note)
            return True

        if not await self._statements.run(server_actor("webhooks"), work):
            raise Unavailable("the webhook has changed")
        self._stored = position
        self._stored_at = time.monotonic()
        if note:
            log.warning("events of a webhook are left out", hook=self._hook.id, reason=note)
        if events.deliveries:
            self._wake()
            await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        """Wait while the queue is full: the trail keeps what comes."""
        while True:
            limit = MAX_WAITING
            waiting = await store.count_waiting(self._statements, self._hook.id, limit)
            if waiting < limit:
                return
            await anyio.sleep(NO_ROOM_SECONDS)


def _divide(page: ChangesPage) -> Iterator[tuple[Sequence[CommittedChange], str]]:
    """Yield the parts of a page, each with the position behind it; of an empty page one."""
    parts: list[Sequence[CommittedChange]] = list(cut_before_fill(page.changes))
    for part in parts[:-1]:
        yield part, part[-1].position
    yield parts[-1] if parts else (), page.position


def _describe_loss(page: ChangesPage, events: Events) -> str:
    """Say what a page leaves out; empty where that is nothing."""
    if page.lost is not None:
        return f"events were left out, as the trail has a gap: {page.lost}"
    if events.unknown:
        return "events were left out, as a condition needs a value that is too large for the trail"
    return ""
