"""One reader of the trail for all followers of a process, and what each of them gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import asynccontextmanager
from time import monotonic, thread_time
from typing import Final

import anyio
import structlog

from kernel.public import ChangesPage, KernelError, Unavailable, failure
from plugins.audit.changes.batches import Batch, BatchReader
from plugins.audit.changes.positions import Position

from .followers import Follower, Followers
from .kept import KeptBatches, View
from .pace import Pace
from .writes import Writes

MAX_FOLLOWERS: Final = 110_000
"""More than `[plugins.feed] streams` can be: others, such as webhooks, have room as well."""
PAGE: Final = 1_000
CATCH_UP_PAGE: Final = 5_000
HEARTBEAT: Final = 14.0
"""Seconds between two empty pages of a follower, which say how far it has read."""
TICK: Final = 0.1
"""Seconds between two looks at what other processes write."""
FIRST_GAP: Final = 0.005
"""Least seconds between two looks; while this process writes and they find nothing for a follower,
they double up to a tick."""
TAKEN: Final = 0.05
"""Seconds that the next batch waits for the followers of the last one."""
RETRY: Final = 0.5

log = structlog.get_logger("caudex.audit")


class Tailer:
    """Reads what is committed, once for all followers, and only while there are any.

    Batches have numbers. A follower joins at the number that is read next, after it has read from
    its own position until then. One that falls behind what is kept does so again.
    """

    def __init__(self, reader: BatchReader) -> None:
        self._reader = reader
        self._followers = Followers()
        self._kept = KeptBatches()
        self._pace = Pace()
        self._next_number = 0
        """The number of the batch that is being read, or that is read next."""
        self._is_reading = False
        self._position: Position | None = None
        """Where that batch begins; None without followers."""
        self._expects_changes = False
        """Whether what was read last had something for a follower."""
        self._begun = anyio.Event()
        self._writes = Writes()
        self._turned = anyio.Event()
        """Set, and replaced, where the next number changes."""
        self._is_stopping = False

    def note_write(self) -> None:
        """Look at once: this process has written something."""
        if self._followers:
            self._writes.note()

    def stop(self) -> None:
        """End every follower: the server stops."""
        self._is_stopping = True
        self._followers.wake_all()
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
        follower = Follower(subjects, self._followers, reshapes=reshape)
        self._set_heartbeat(follower)
        self._followers.add(follower)
        self._begun.set()
        try:
            if position is None:
                position = await self._reader.find_now()
            yield self._read_pages(follower, position)
        finally:
            self._followers.remove(follower)

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
        has_written = False
        while self._followers:
            began = monotonic()
            used = thread_time()
            batch = await self._read_next(has_written)
            await self._followers.wait_until_taken(TAKEN)
            if batch is not None:
                now = monotonic()
                self._pace.note(now, now - began, thread_time() - used)
                gap = FIRST_GAP
                if not batch.complete:
                    continue

            has_written = await self._writes.wait(max(gap, self._pace.rest), TICK)
            gap = min(2 * gap, TICK) if has_written else FIRST_GAP

    async def _read_next(self, has_written: bool) -> Batch | None:
        """Read the next batch; None where smaller statements find nothing for followers."""
        position = self._position
        if position is None:
            position = await self._reader.find_now()
            self._position = position
            self._turn()
        batch: Batch | None = None
        if has_written or not await self._reader.is_newest(position):
            # Followers that come from here on count on the next number.
            self._is_reading = True
            try:
                batch = await self._read_batch(position, has_written)
            finally:
                self._is_reading = False
        if batch is not None and batch.concerned:
            self._kept.add(self._next_number, batch)
            self._followers.wake(batch.concerned)
        self._next_number += 1
        self._turn()
        return batch

    async def _read_batch(self, position: Position, has_written: bool) -> Batch | None:
        """Read on from a position, or only step over what concerns no follower.

        Where this process has written what followers wait for, they have the next one at once.
        """
        subjects = self._followers.subjects
        if not (has_written and self._expects_changes):
            later = await self._reader.pass_others(position, subjects)
            if later is not None:
                self._position = later
                return None
        batch = await self._reader.read(position, subjects, PAGE)
        self._position = batch.position
        self._expects_changes = bool(batch.concerned)
        return batch

    def _turn(self) -> None:
        self._turned.set()
        self._turned = anyio.Event()

    def _forget(self) -> None:
        self._position = None
        self._kept.forget(self._next_number)

    # Its followers

    async def _read_pages(
        self, follower: Follower, position: Position
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
                    read = await self._reader.read_page(
                        position, follower.subjects, CATCH_UP_PAGE, reshape=follower.reshapes
                    )
                except Unavailable:
                    await anyio.sleep(RETRY)
                    continue
                page = read.page
                position = read.position
                is_due = self._is_heartbeat_due(follower)
                if page.changes or page.lost or is_due or (page.complete and not has_caught_up):
                    if is_due and not page.changes:
                        self._set_heartbeat(follower)
                    yield page
                has_caught_up = page.complete
                is_joining = not (page.complete and is_begun)
                if page.complete and not is_begun:
                    await self._wait_for_batch(number)

            view = View(follower.subjects, position)
            async for page in self._read_kept(follower, view, number):
                yield page
            position = view.position

    async def _wait_for_batch(self, number: int) -> None:
        while not self._is_stopping and (self._position is None or self._next_number < number):
            await self._turned.wait()

    async def _read_kept(
        self, follower: Follower, view: View, number: int
    ) -> AsyncIterator[ChangesPage]:
        """Yield pages until the follower has to read by itself, or the server stops.

        It has to where it falls behind what is kept, and where records need the fields of today.
        """
        while not self._is_stopping and number >= self._kept.first:
            page: ChangesPage | None = None
            next_batch = self._kept.find(number)
            if next_batch is not None:
                number = next_batch.number + 1
                if follower.reshapes and view.is_reshaped_by(next_batch.batch):
                    return
                page = view.read(next_batch)
            else:
                number = self._next_number
                await follower.wait(follower.heartbeat_at)
                if self._is_heartbeat_due(follower):
                    page = self._make_heartbeat(view, number)
                if page is not None:
                    self._set_heartbeat(follower)
            if page is not None:
                yield page

    def _is_heartbeat_due(self, follower: Follower) -> bool:
        return asyncio.get_running_loop().time() >= follower.heartbeat_at

    def _set_heartbeat(self, follower: Follower) -> None:
        """Let the next empty page come after a while, whatever comes in between.

        The reader may have no use for what does, and its client has to hear of the position.
        """
        follower.heartbeat_at = asyncio.get_running_loop().time() + HEARTBEAT

    def _make_heartbeat(self, view: View, number: int) -> ChangesPage | None:
        """Return an empty page for a follower that has read all batches below a number."""
        if self._kept.find(number) is not None or self._position is None:
            return None
        view.step_to(self._position)
        return self._kept.make_empty_page(view.position)
