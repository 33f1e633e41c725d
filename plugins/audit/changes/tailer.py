"""One reader of the trail for all followers of a process, and what each of them gets."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import anyio
import msgspec
import structlog
from msgspec.structs import replace

from kernel.public import ChangesPage, CommittedChange, KernelError, Unavailable, failure

from .batches import Batch, BatchReader, Loss, find_first_loss
from .positions import Place, Position, PositionWriter, write_position

MAX_FOLLOWERS: Final = 2_000
MAX_KEPT: Final = 5_000
"""Changes that wait for followers, at least those of the newest batch."""
PAGE: Final = 1_000
CATCH_UP_PAGE: Final = 5_000
HEARTBEAT: Final = 15.0
TICK: Final = 0.1
"""Seconds between two looks at what other processes write."""
FIRST_GAP: Final = 0.005
"""Seconds between two looks while this process writes; it doubles, up to a tick, while they find
nothing for a follower."""
RETRY: Final = 0.5

log = structlog.get_logger("caudex.audit")


class _Follower:
    """A reader that follows subjects, and is woken when a batch is about one of them."""

    def __init__(self, subjects: frozenset[str], *, reshapes: bool) -> None:
        self.subjects = subjects
        self.reshapes = reshapes
        self._woken = anyio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def wait(self, seconds: float) -> None:
        """Wait until something has come, or for so many seconds."""
        with anyio.move_on_after(seconds):
            await self._woken.wait()
        self._woken = anyio.Event()


class _Numbered(msgspec.Struct, frozen=True):
    number: int
    batch: Batch
    position: str


class _View:
    """What a follower has had, so that it gets the rest of each batch.

    Its own position may be newer than the begin of the first batches: what it has seen is left out
    of those, and the others get positions that begin where its own does.
    """

    def __init__(self, subjects: frozenset[str], position: Position) -> None:
        self.position = position
        self._subjects = subjects
        self._is_in_step = False
        """Whether the batches begin where the follower is."""

    def read(self, batch: Batch, position: str) -> ChangesPage | None:
        """Return the follower's part of a batch, or None where there is none."""
        losses = self._find_unread({**batch.reshaped, **batch.gaps})
        if losses:
            self._step_to(batch.position)
            loss = find_first_loss(losses)
            return ChangesPage(
                changes=(), position=write_position(self.position), complete=True, lost=loss
            )
        changes = batch.changes
        if batch.subjects != self._subjects:
            changes = tuple(change for change in changes if change.subject in self._subjects)
        if not self._is_in_step:
            changes = self._leave_out_seen(batch, changes)
            self._step_to(batch.position)
            position = write_position(self.position)
        else:
            self.position = batch.position
        if not changes:
            return None
        return ChangesPage(changes=changes, position=position, complete=batch.complete)

    def make_empty_page(self, position: Position) -> ChangesPage:
        """Return a page that says how far the follower has read."""
        self._step_to(position)
        return ChangesPage(changes=(), position=write_position(self.position), complete=True)

    def _step_to(self, position: Position) -> None:
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


class Tailer:
    """Reads what is committed, once for all followers, and only while there are any.

    Batches have numbers. A follower joins at the number that is read next, after it has read from
    its own position until then. One that falls behind what is kept does so again.
    """

    def __init__(self, reader: BatchReader) -> None:
        self._reader = reader
        self._followers = set[_Follower]()
        self._kept = deque[_Numbered]()
        self._kept_changes = 0
        self._first_kept = 0
        """Of the batches from this number on all are kept that have anything in them."""
        self._next_number = 0
        """The number of the batch that is being read, or that is read next."""
        self._is_reading = False
        self._position: Position | None = None
        """Where that batch begins; None without followers."""
        self._begun = anyio.Event()
        self._written = anyio.Event()
        self._turned = anyio.Event()
        """Set, and replaced, where the next number changes."""
        self._is_stopping = False

    def note_write(self) -> None:
        """Look at once: this process has written something."""
        if self._followers:
            self._written.set()

    def stop(self) -> None:
        """End every follower: the server stops."""
        self._is_stopping = True
        for follower in self._followers:
            follower.wake()
        self._turn()

    @asynccontextmanager
    async def follow(
        self, subjects: Collection[str], position: Position | None, *, reshape: bool = False
    ) -> AsyncGenerator[AsyncIterator[ChangesPage]]:
        """See `Changes.follow`."""
        if self._is_stopping:
            raise Unavailable("the server stops")
        if len(self._followers) >= MAX_FOLLOWERS:
            raise Unavailable("too many readers of changes", retry_after=5)
        follower = _Follower(frozenset(subjects), reshapes=reshape)
        self._followers.add(follower)
        self._begun.set()
        try:
            if position is None:
                position = await self._reader.find_now()
            yield self._read_pages(follower, position)
        finally:
            self._followers.discard(follower)

    # The one reader

    async def run(self) -> None:
        """Read batches while there are followers, for ever."""
        while True:
            if not self._followers:
                self._forget()
                self._begun = anyio.Event()
                await self._begun.wait()
            try:
                await self._read_on()
            except KernelError as error:
                # The position stays, so nothing is lost.
                log.warning("changes cannot be read now", **failure(error))
                await anyio.sleep(RETRY)

    async def _read_on(self) -> None:
        """Read while there are followers."""
        gap = FIRST_GAP
        while self._followers:
            batch = await self._read_batch()
            if batch is not None and batch.concerned:
                gap = FIRST_GAP
            if batch is not None and not batch.complete:
                continue
            await anyio.sleep(gap)
            if not self._written.is_set():
                with anyio.move_on_after(TICK - gap):
                    await self._written.wait()
            has_written = self._written.is_set()
            self._written = anyio.Event()
            gap = min(2 * gap, TICK) if has_written else FIRST_GAP

    async def _read_batch(self) -> Batch | None:
        """Read the next batch; None where no transaction has ended since the last one."""
        if self._position is None:
            self._position = await self._reader.find_now()
            self._turn()
        if not await self._reader.has_more(self._position):
            # A batch without anything, for followers that wait for its number.
            self._next_number += 1
            self._turn()
            return None
        subjects = frozenset[str]().union(*(follower.subjects for follower in self._followers))
        self._is_reading = True
        try:
            batch = await self._reader.read(self._position, subjects, PAGE)
        finally:
            self._is_reading = False
        self._position = batch.position
        if batch.concerned:
            self._keep(batch)
        self._next_number += 1
        self._turn()
        return batch

    def _keep(self, batch: Batch) -> None:
        self._kept.append(_Numbered(self._next_number, batch, write_position(batch.position)))
        self._kept_changes += len(batch.changes)
        while len(self._kept) > 1 and self._kept_changes > MAX_KEPT:
            dropped = self._kept.popleft()
            self._kept_changes -= len(dropped.batch.changes)
            self._first_kept = dropped.number + 1
        concerned = batch.concerned
        for follower in self._followers:
            if not concerned.isdisjoint(follower.subjects):
                follower.wake()

    def _turn(self) -> None:
        self._turned.set()
        self._turned = anyio.Event()

    def _forget(self) -> None:
        self._position = None
        self._kept.clear()
        self._kept_changes = 0
        self._first_kept = self._next_number

    # Its followers

    async def _read_pages(
        self, follower: _Follower, position: Position
    ) -> AsyncIterator[ChangesPage]:
        while not self._is_stopping:
            # The batch that is being read now was asked for without this follower.
            number = self._next_number + (1 if self._is_reading else 0)
            has_caught_up = False
            is_joining = True
            while is_joining and not self._is_stopping:
                # What is read from here on reaches beyond the begin of that batch.
                is_begun = self._position is not None and self._next_number >= number
                try:
                    page, position = await self._reader.read_page(
                        position, follower.subjects, CATCH_UP_PAGE, reshape=follower.reshapes
                    )
                except Unavailable:
                    await anyio.sleep(RETRY)
                    continue
                if page.changes or page.lost or (page.complete and not has_caught_up):
                    yield page
                has_caught_up = page.complete
                is_joining = not (page.complete and is_begun)
                if page.complete and not is_begun:
                    await self._wait_for_batch(number)

            view = _View(follower.subjects, position)
            async for page in self._read_kept(follower, view, number):
                yield page
            position = view.position

    async def _wait_for_batch(self, number: int) -> None:
        while not self._is_stopping and (self._position is None or self._next_number < number):
            await self._turned.wait()

    async def _read_kept(
        self, follower: _Follower, view: _View, number: int
    ) -> AsyncIterator[ChangesPage]:
        """Yield pages until the follower has to read by itself, or the server stops.

        It has to where it falls behind what is kept, and where records need the fields of today.
        """
        heard_at = anyio.current_time()
        while not self._is_stopping and number >= self._first_kept:
            next_batch = next((kept for kept in self._kept if kept.number >= number), None)
            if next_batch is not None:
                number = next_batch.number + 1
                if follower.reshapes and view.is_reshaped_by(next_batch.batch):
                    return
                page = view.read(next_batch.batch, next_batch.position)
            else:
                number = self._next_number
                await follower.wait(heard_at + HEARTBEAT - anyio.current_time())
                page = None
                if anyio.current_time() >= heard_at + HEARTBEAT:
                    page = self._make_heartbeat(view, number)
            if page is not None:
                yield page
                heard_at = anyio.current_time()

    def _make_heartbeat(self, view: _View, number: int) -> ChangesPage | None:
        """Return an empty page for a follower that has read all batches below a number."""
        has_unread = any(kept.number >= number for kept in self._kept)
        if has_unread or self._position is None:
            return None
        return view.make_empty_page(self._position)
