"""The newest batches, and what a follower has had of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from kernel.public import ChangesPage, CommittedChange
from plugins.audit.changes.batches import Batch, find_first_loss
from plugins.audit.changes.positions import Place, Position, PositionWriter, write_position
from plugins.audit.changes.reshaping import Loss

MAX_KEPT: Final = 5_000
"""Changes that wait for followers, at least those of the newest batch."""
MAX_KEPT_BYTES: Final = 32_000_000
"""Bytes of the records in them, before and after: a change may have some megabytes."""
MAX_PAGES: Final = 50
"""Pages of a batch that are kept: followers have few sets of subjects, or one each."""


class KeptBatch:
    """A batch, and its parts as followers of the same subjects share them."""

    def __init__(self, number: int, batch: Batch) -> None:
        self.number = number
        self.batch = batch
        self.size = sum(change.size for change in batch.changes)
        """Bytes of its records."""
        self._position = write_position(batch.position)
        self._pages = dict[frozenset[str], ChangesPage | None]()

    def select(self, subjects: frozenset[str]) -> tuple[CommittedChange, ...]:
        """Return the changes of some subjects."""
        changes = self.batch.changes
        if self.batch.subjects == subjects:
            return changes
        return tuple(change for change in changes if change.subject in subjects)

    def find_page(self, subjects: frozenset[str]) -> ChangesPage | None:
        """Return the page of followers that are in step; None where it has no changes."""
        if subjects in self._pages:
            return self._pages[subjects]
        page = self._make_page(subjects)
        if len(self._pages) < MAX_PAGES:
            self._pages[subjects] = page
        return page

    def _make_page(self, subjects: frozenset[str]) -> ChangesPage | None:
        changes = self.select(subjects)
        if not changes:
            return None
        return ChangesPage(changes=changes, position=self._position, complete=self.batch.complete)


class KeptBatches:
    """Batches with something in them, by their numbers, up to a number of changes and of bytes."""

    def __init__(self) -> None:
        self._batches = list[KeptBatch]()
        self._changes = 0
        self.size = 0
        """Bytes of the records in all of them."""
        self._empty_page: tuple[Position, ChangesPage] | None = None
        self.first = 0
        """Of the batches from this number on all are kept."""

    def add(self, number: int, batch: Batch) -> None:
        """Keep a batch; drop the oldest ones where there are too many changes or bytes."""
        newest = KeptBatch(number, batch)
        self._batches.append(newest)
        self._changes += len(batch.changes)
        self.size += newest.size
        dropped = 0
        while self._is_too_much() and dropped < len(self._batches) - 1:
            oldest = self._batches[dropped]
            self._changes -= len(oldest.batch.changes)
            self.size -= oldest.size
            self.first = oldest.number + 1
            dropped += 1
        del self._batches[:dropped]

    def find(self, number: int) -> KeptBatch | None:
        """Return the first batch from a number on."""
        batches = self._batches
        if not batches or batches[-1].number < number:
            return None
        return batches[bisect_left(batches, number, key=_number_of)]

    def make_empty_page(self, position: Position) -> ChangesPage:
        """Return a page that says how far a follower has read; those in step share it."""
        if self._empty_page is not None and self._empty_page[0] is position:
            return self._empty_page[1]
        page = ChangesPage(changes=(), position=write_position(position), complete=True)
        self._empty_page = (position, page)
        return page

    def forget(self, number: int) -> None:
        """Drop all; the next batch has this number."""
        self._batches.clear()
        self._changes = 0
        self.size = 0
        self.first = number

    def _is_too_much(self) -> bool:
        return self._changes > MAX_KEPT or self.size > MAX_KEPT_BYTES


def _number_of(kept: KeptBatch) -> int:
    return kept.number


class View:
    """What a follower has had, so that it gets the rest of each batch.

    Its own position may be newer than the begin of the first batches: what it has seen is left out
    of those, and the others get positions that begin where its own does.
    """

    def __init__(self, subjects: frozenset[str], position: Position) -> None:
        self.position = position
        self._subjects = subjects
        self._is_in_step = False
        """Whether the batches begin where the follower is."""

    def read(self, kept: KeptBatch) -> ChangesPage | None:
        """Return the follower's part of a batch; None where that has nothing for it."""
        batch = kept.batch
        losses = self._find_unread({**batch.reshaped, **batch.gaps})
        if losses:
            self.step_to(batch.position)
            loss = find_first_loss(losses)
            return ChangesPage(
                changes=(), position=write_position(self.position), complete=True, lost=loss
            )
        if self._is_in_step:
            self.position = batch.position
            return kept.find_page(self._subjects)

        changes = self._leave_out_seen(batch, kept.select(self._subjects))
        self.step_to(batch.position)
        if not changes:
            return None
        position = write_position(self.position)
        return ChangesPage(changes=changes, position=position, complete=batch.complete)

    def step_to(self, position: Position) -> None:
        """Take a position of the batches, if it is behind the follower's own in all."""
        own_position = self.position
        finish = position.end or position.begin
        is_elsewhere = own_position.branch != position.branch
        is_behind_own = finish.includes(own_position.begin)
        if self._is_in_step or is_elsewhere or (is_behind_own and position.end is None):
            self.position = position
            self._is_in_step = True
        elif is_behind_own:
            self.position = replace(position, begin=own_position.begin)

    def is_reshaped_by(self, batch: Batch) -> bool:
        """Whether the follower has not seen a change of fields that a batch reaches back over."""
        return bool(self._find_unread(batch.reshaped))

    def _find_unread(self, losses: Mapping[str, Loss]) -> Mapping[str, Loss]:
        """Return the losses that the follower has not read of already."""
        if not losses:
            return losses
        begin = self.position.begin
        unread = dict[str, Loss]()
        for subject, loss in losses.items():
            if subject not in self._subjects:
                continue
            if self._is_in_step or not begin.sees(loss.transaction, loss.row_id):
                unread[subject] = loss
        return unread

    def _leave_out_seen(
        self, batch: Batch, changes: Sequence[CommittedChange]
    ) -> tuple[CommittedChange, ...]:
        begin = self.position.begin
        unseen = [change for change in changes if not begin.sees(change.transaction, change.id)]
        if not unseen:
            return ()
        writer = PositionWriter(replace(self.position, begin=begin, end=batch.finish))
        rebased = list[CommittedChange]()
        for change in unseen:
            place = Place(batch.transaction_ends[change.transaction], change.id)
            rebased.append(replace(change, position=writer.write(place)))
        return tuple(rebased)
