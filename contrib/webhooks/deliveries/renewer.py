"""Makes what waits again, where the webhook may send something else by now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from contrib.webhooks import store as hooks
from contrib.webhooks.events import EventMaker, describe_basis
from contrib.webhooks.models import Hook, NewDelivery
from contrib.webhooks.replays import find_position
from kernel.public import (
    APPS,
    CHANGES,
    STATEMENTS,
    CommittedChange,
    Services,
    Transaction,
    Unavailable,
    Watch,
    cut_before_fill,
    server_actor,
)

from . import store

MAX_RENEWED: Final = 1_000
"""Deliveries that are made again at a time."""
NOT_SENT: Final = "the webhook no longer sends this event: its rights or conditions have changed"
NOT_HELD: Final = (
    "the rights or conditions of the webhook have changed, and the trail does not hold this event"
)


class Renewer:
    """Keeps what waits within the rights of now, as it may wait for days.

    A body names its basis: role, readable fields, `where`, `fields`, `on`. One of another basis is
    made again from the trail before it is sent, or fails.
    """

    def __init__(self, services: Services, hook: Hook) -> None:
        self._statements = services.get(STATEMENTS)
        self._changes = services.get(CHANGES)
        self._apps = services.get(APPS)
        self._events = EventMaker(services)
        self._hook = hook
        self._watch: Watch | None = None
        self._basis = ""

    async def find_basis(self) -> str:
        """Return the basis of what is sent now, mostly from memory. Raises BadRequest."""
        await self._open()
        return self._basis

    async def renew(self) -> None:
        """Make some of the oldest that wait with another basis again. Raises KernelError."""
        await self._apps.refresh()  # what was made by a newer catalog must not be made by an older
        watch = await self._open()
        outdated = await store.find_outdated(
            self._statements, self._hook.id, self._basis, MAX_RENEWED
        )
        if outdated.since is None:
            return
        missing = dict(outdated.ids)
        async for part in self._read(outdated.since, missing):
            events = await self._events.make(self._hook, watch, part)
            renewed = [replace(new, id=missing[new.place]) for new in events.deliveries]
            sent = {new.place for new in renewed}
            dropped = [missing[change.id] for change in part if change.id not in sent]
            await self._store(renewed, dropped, NOT_SENT)
            for change in part:
                del missing[change.id]
        if missing:
            await self._store([], list(missing.values()), NOT_HELD)

    async def _read(
        self, since: datetime, ids: Mapping[int, str]
    ) -> AsyncIterator[Sequence[CommittedChange]]:
        """Yield changes with these ids in parts, as far as the trail has them."""
        hook = await hooks.find(self._statements, self._hook.app_id, self._hook.id)
        position = None if hook is None else await find_position(self._changes, hook, since)
        subject = f"{self._hook.app_id}.{self._hook.entity}"
        while position is not None and ids:
            page = await self._changes.read(position, [subject], reshape=True)
            for part in cut_before_fill([change for change in page.changes if change.id in ids]):
                yield part
            is_at_end = page.complete or page.lost is not None
            position = None if is_at_end else page.position

    async def _store(
        self, renewed: Sequence[NewDelivery], dropped: Sequence[str], reason: str
    ) -> None:
        async def work(tx: Transaction) -> bool:
            hook = await hooks.lock(tx, self._hook.app_id, self._hook.id)
            if hook is None or hook.config != self._hook.config:
                return False
            await store.renew(tx, renewed)
            if dropped:
                await store.drop(tx, hook.id, dropped, reason)
            return True

        if not await self._statements.run(server_actor("webhooks"), work):
            raise Unavailable("the webhook has changed")

    async def _open(self) -> Watch:
        if self._watch is None or await self._watch.find_end() is not None:
            self._watch = None
            self._watch = await self._events.open(self._hook)
            self._basis = describe_basis(self._hook, self._watch)
        return self._watch
