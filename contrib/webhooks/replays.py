"""Finds the events that a replay sends again."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

from kernel.public import BadRequest, Changes, ChangesPage, cut_before_fill

from .events import EventMaker
from .models import Hook, NewDelivery

MAX_EVENTS: Final = 10_000
MAX_CHANGES: Final = 200_000
MAX_BYTES: Final = 64_000_000
"""Bounds of one replay: its deliveries, the changes that are judged, and the bytes of bodies."""
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d([Tt ].*)?")


async def find_events(
    changes: Changes, events: EventMaker, hook: Hook, since: str
) -> list[NewDelivery]:
    """Return the events of a webhook since a position or a time, up to where it has come.

    What it has not come to is left to it: there it keeps the order. Raises BadRequest.
    """
    watch = await events.open(hook)
    subject = f"{hook.app_id}.{hook.entity}"
    pending = await _list_pending(changes, hook, subject)
    position, earliest = await _find_start(changes, hook, since)

    deliveries: list[NewDelivery] = []
    size = 0
    async for page in _read(changes, position, subject):
        relevant = [
            change
            for change in page.changes
            if change.id not in pending and (earliest is None or _read_time(change.at) >= earliest)
        ]
        for part in cut_before_fill(relevant):
            new = (await events.make(hook, watch, part)).deliveries
            deliveries += new
            size += sum(len(delivery.body) for delivery in new)
            if len(deliveries) > MAX_EVENTS or size > MAX_BYTES:
                problem = f"more than {MAX_EVENTS} events, or 64 MB: name a later time"
                raise BadRequest(f"since: {problem}")
    return deliveries


async def _list_pending(changes: Changes, hook: Hook, subject: str) -> set[int]:
    """Return the ids of changes that the webhook has not come to."""
    ids = set[int]()
    if hook.position is None:
        return ids
    async for page in _read(changes, hook.position, subject):
        ids.update(change.id for change in page.changes)
    return ids


async def _find_start(changes: Changes, hook: Hook, since: str) -> tuple[str, datetime | None]:
    """Return the position to read from, and the time before which nothing counts."""
    if not _TIME.fullmatch(since):
        position = since.partition(".")[0]  # behind the dot a feed names its subscription
        changes.check(position)
        return position, None
    try:
        time = _read_time(since)
    except ValueError:
        example = "2026-01-31T12:00:00Z"
        raise BadRequest(f"since: it is neither a position nor a time, as {example}") from None
    position = await find_position(changes, hook, time)
    if position is None:
        raise BadRequest("since: the trail does not reach back that far")
    return position, time


async def find_position(changes: Changes, hook: Hook, time: datetime) -> str | None:
    """Return a position before everything that was committed since a time, or None."""
    position = await changes.find(time)
    if position is not None:
        # It may be some minutes older, and so be from before the app.
        page = await changes.read(position, [f"{hook.app_id}.{hook.entity}"], 1, reshape=True)
        if page.lost is None:
            return position
    return hook.begins


async def _read(changes: Changes, position: str, subject: str) -> AsyncIterator[ChangesPage]:
    """Yield the pages from a position up to now. Raises BadRequest for a gap and for too many."""
    count = 0
    while True:
        page = await changes.read(position, [subject], reshape=True)
        if page.lost is not None:
            raise BadRequest(f"since: the trail has a gap since then: {page.lost}")
        count += len(page.changes)
        if count > MAX_CHANGES:
            raise BadRequest(f"since: more than {MAX_CHANGES} changes: name a later time")
        yield page
        if page.complete:
            return
        position = page.position


def _read_time(text: str) -> datetime:
    time = datetime.fromisoformat(text.upper())
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
