"""What one stream is subscribed to: watches by name, and the events of changes for them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Hashable,
    Iterator,
    Mapping,
    Sequence,
)
from functools import cached_property, partial

import msgspec

from kernel.public import MAX_JUDGED_BYTES, Changes, ChangesPage, CommittedChange, Verdict, Watch

from .chunks import Part, SharedChunks
from .events import is_resync, write_change, write_resync
from .places import Place
from .shared import Shared


class NamedWatch(msgspec.Struct, frozen=True):
    """A subscription; the only one of a GET has no name."""

    name: str | None
    watch: Watch


class ValueLost(Exception):
    """A value that nothing holds any more decides about an event."""


class Subscribed:
    """The subscriptions of one stream, in the order of the request."""

    def __init__(
        self,
        subscriptions: Sequence[NamedWatch],
        changes: Changes,
        chunks: SharedChunks,
        *,
        stops_at_loss: bool = False,
    ) -> None:
        """With `stops_at_loss` a value that is lost raises ValueLost and is no event."""
        self.subscriptions = subscriptions
        self._stops_at_loss = stops_at_loss
        self._changes = changes
        self._chunks = chunks
        entities = Counter(item.watch.watched.entity for item in subscriptions)
        self._copies = max(entities.values())
        """How many subscriptions of one entity there are at most."""
        self._numbers_by_entity = {
            entity: [
                number
                for number, item in enumerate(subscriptions)
                if item.watch.watched.entity == entity
            ]
            for entity in entities
        }

    @property
    def subjects(self) -> frozenset[str]:
        """The entities as CHANGES names them."""
        watched = [item.watch.watched for item in self.subscriptions]
        return frozenset(f"{item.app_id}.{item.entity}" for item in watched)

    @cached_property
    def key(self) -> Hashable:
        """Equal for streams whose events are equal."""
        names = tuple((item.name, item.watch.key) for item in self.subscriptions)
        return names, self._stops_at_loss

    @cached_property
    def digest(self) -> str:
        """Names the list of subscriptions in a place."""
        lines = [f"{item.name} {item.watch.watched.entity}\n" for item in self.subscriptions]
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:8]

    def has_sent(self, place: Place, change: CommittedChange) -> int:
        """Return how many subscriptions have sent a change to a client that comes back."""
        if not place.sent or change.id != place.change:
            return 0
        if place.subscriptions != self.digest:
            return len(self.subscriptions)
        return place.sent

    def cut(self, page: ChangesPage) -> Sequence[Part]:
        """Return the parts of a page that are written together."""
        return self._chunks.cut(page, self._copies)

    async def write_events(self, part: Part, place: Place) -> AsyncGenerator[bytes]:
        """Yield the events of changes behind a place; streams that send the same share them.

        They are one piece. Those of a large change that is sent several times have one each.
        """
        filled = Shared[Part]()
        fill = partial(filled.get, partial(self._fill_part, part))
        if not self._is_large(part):
            all_numbers = range(len(self.subscriptions))
            yield await self._share_events(part, place, all_numbers, fill)
            return
        for number in self._numbers_by_entity.get(part[0].entity, ()):
            if number < self.has_sent(place, part[0]):
                continue
            events = await self._share_events(part, place, range(number, number + 1), fill)
            yield events
            if is_resync(events):
                return

    def _is_large(self, part: Part) -> bool:
        """Whether the events of a part are too many bytes for one piece."""
        change = part[0]
        copies = len(self._numbers_by_entity.get(change.entity, ()))
        if len(part) > 1 or copies < 2:
            return False
        return bool(change.replaced) or change.size * copies > MAX_JUDGED_BYTES

    async def _share_events(
        self, part: Part, place: Place, numbers: range, fill: Callable[[], Awaitable[Part]]
    ) -> bytes:
        write = partial(self._write_events, place, numbers, fill)
        if place.sent:
            return await write()
        before = place.position if self._copies > 1 else ""
        key = (self.key, before, numbers, part[0].id, len(part), part[-1].position)
        return await self._chunks.get(self.key, key, write)

    async def _write_events(
        self, place: Place, asked: range, fill: Callable[[], Awaitable[Part]]
    ) -> bytes:
        """Write the events of some subscriptions."""
        changes = await fill()
        verdicts = {number: await self._judge(number, changes) for number in asked}
        blocks: list[bytes] = []
        before = place.position
        for position, change in enumerate(changes):
            sent = self.has_sent(place, change)
            numbers = self._numbers_by_entity.get(change.entity, ())
            events: list[tuple[int, Verdict]] = []
            for number in numbers:
                verdict = verdicts[number].get(position) if number in asked else None
                if verdict is not None and number >= sent:
                    events.append((number, verdict))
            has_last = bool(numbers) and numbers[-1] in asked
            blocks += self._write_blocks(change, events, before, has_last=has_last)
            before = change.position
        return b"".join(blocks)

    def _write_blocks(
        self,
        change: CommittedChange,
        events: Sequence[tuple[int, Verdict]],
        before: str,
        *,
        has_last: bool,
    ) -> Iterator[bytes]:
        """Write events of one change; only the last of all has its position."""
        if any(verdict.event == "unknown" for _, verdict in events):
            if self._stops_at_loss:
                raise ValueLost
            yield write_resync("value too large", change.position)
            return
        for number, verdict in events:
            place = change.position
            if number != events[-1][0] or not has_last:
                place = str(Place(before, number + 1, self.digest, change.id))
            yield write_change(self.subscriptions[number].name, change, verdict, place)

    async def _judge(self, number: int, changes: Part) -> Mapping[int, Verdict]:
        """Return the verdicts of a subscription by the places of changes in the sequence."""
        watch = self.subscriptions[number].watch
        positions = [
            position
            for position, change in enumerate(changes)
            if change.entity == watch.watched.entity
        ]
        judged = await self._chunks.judge(watch, [changes[place] for place in positions])
        return {
            position: verdict
            for position, verdict in zip(positions, judged, strict=True)
            if verdict is not None
        }

    async def _fill_part(self, part: Part) -> Part:
        return [await self._changes.fill(change) if change.replaced else change for change in part]
