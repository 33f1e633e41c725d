"""What one stream is subscribed to: watches by name, and the events of changes for them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import cached_property

import msgspec

from kernel.public import Changes, ChangesPage, CommittedChange, Verdict, Watch

from .chunks import Part, SharedChunks
from .events import write_change, write_resync
from .places import Place


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
        self._has_repeated_entities = len(entities) < len(subscriptions)
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
        return self._chunks.cut(page)

    async def write_events(self, part: Part, place: Place) -> bytes:
        """Write the events of changes behind a place; streams that send the same share them."""
        if place.sent:
            return await self._write_events(part, place)
        before = place.position if self._has_repeated_entities else ""
        key = (self.key, before, part[0].id, len(part), part[-1].position)
        return await self._chunks.get(self.key, key, lambda: self._write_events(part, place))

    async def _write_events(self, part: Part, place: Place) -> bytes:
        changes = [await self._fill(change) for change in part]
        verdicts = await self._judge(changes)
        blocks: list[bytes] = []
        before = place.position
        for position, change in enumerate(changes):
            sent = self.has_sent(place, change)
            numbers = self._numbers_by_entity.get(change.entity, ())
            events: list[tuple[int, Verdict]] = []
            for number in numbers:
                verdict = verdicts[number].get(position)
                if verdict is not None and number >= sent:
                    events.append((number, verdict))
            blocks += self._write_blocks(change, events, before)
            before = change.position
        return b"".join(blocks)

    def _write_blocks(
        self, change: CommittedChange, events: Sequence[tuple[int, Verdict]], before: str
    ) -> Iterator[bytes]:
        """Write the events of one change; only the last one has its position."""
        if any(verdict.event == "unknown" for _, verdict in events):
            if self._stops_at_loss:
                raise ValueLost
            yield write_resync("value too large", change.position)
            return
        for number, verdict in events:
            place = change.position
            if number != events[-1][0]:
                place = str(Place(before, number + 1, self.digest, change.id))
            yield write_change(self.subscriptions[number].name, change, verdict, place)

    async def _judge(self, changes: Sequence[CommittedChange]) -> list[Mapping[int, Verdict]]:
        """Return the verdicts of each subscription by the places of changes in the sequence."""
        verdicts: list[Mapping[int, Verdict]] = []
        for item in self.subscriptions:
            watched = item.watch.watched
            positions = [
                position
                for position, change in enumerate(changes)
                if change.entity == watched.entity
            ]
            judged = await self._chunks.judge(item.watch, [changes[place] for place in positions])
            verdicts.append(
                {
                    position: verdict
                    for position, verdict in zip(positions, judged, strict=True)
                    if verdict is not None
                }
            )
        return verdicts

    async def _fill(self, change: CommittedChange) -> CommittedChange:
        return await self._changes.fill(change) if change.replaced else change
