"""Seals what was written, and announces what retention drops."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from math import inf
from time import monotonic
from typing import Final

import anyio
import anyio.to_thread
import msgspec
import structlog

from kernel.public import Reader, Statements, Transaction, Unavailable, server_actor

from . import store
from .entries import EPOCH, Entries, show_time
from .horizon import PAUSE, Horizon
from .merkle import root_of
from .seals import Link, Seal, Signer, read_link
from .steps import EntryReader

SEAL_SECONDS: Final = 60.0
WAIT_SECONDS: Final = 2.0
"""Until the next look at transactions that have not ended."""
BEHIND_SECONDS: Final = 600.0
"""After which health reports that sealing is behind."""

log = structlog.get_logger("caudex.audit")


class Sealer:
    """Seals the rows that no other can precede any more, in parts."""

    def __init__(self, statements: Statements, signer: Signer) -> None:
        self._statements = statements
        self._signer = signer
        self._horizon = Horizon(statements)
        self._entries = EntryReader(statements)
        self._done_at: float | None = None
        """When all was sealed last, or this process began to seal."""
        self._looked_at = -inf
        self._cleaned_to = 0
        """The seal that `_clean` looked at last; 0 where it begins again."""

    @property
    def is_behind(self) -> bool:
        """Whether this process, and no other, seals and has not come to an end for long."""
        now = monotonic()
        is_sealing = now - self._looked_at < 2 * SEAL_SECONDS
        return is_sealing and self._done_at is not None and now - self._done_at > BEHIND_SECONDS

    async def run(self) -> float:
        """Seal what was written; return the seconds until the next time."""
        now = monotonic()
        if self._done_at is None or now - self._looked_at > 2 * SEAL_SECONDS:
            self._done_at = now
        self._looked_at = now
        horizon = await self._horizon.find()
        if horizon is None:
            return WAIT_SECONDS
        while True:
            began = monotonic()
            if not await self._seal_part(horizon):
                break
            # No more than half of a connection's time: others read and write meanwhile.
            await anyio.sleep(monotonic() - began)
            self._looked_at = monotonic()  # a trail of before the seals takes longer than a look
        await self._clean()
        self._done_at = monotonic()
        return SEAL_SECONDS

    async def seal_all(self) -> None:
        """Seal everything that is written now, for commands and tests. Raises Unavailable."""
        pause = await self.run()
        while pause < SEAL_SECONDS:
            await anyio.sleep(PAUSE)
            pause = await self.run()

    async def announce(self, tx: Transaction, kept_from: date) -> bool:
        """State that the rows before a day may be gone, in the transaction that drops them.

        Returns False where rows of these months are not sealed yet: they have to stay.
        """
        moment = datetime.combine(kept_from, time(), UTC)
        await tx.lock(store.LOCK)
        if await store.has_unsealed(tx, moment):
            return False
        tip = await read_tip(tx)
        last = 0 if tip is None else tip.seal.last
        text = show_time(int((moment - EPOCH).total_seconds()) * 1_000_000)
        seal = self._draft(tip, Entries(), last)
        earlier = seal.kept_from
        if earlier is not None and earlier >= text:
            return True
        await self._add(tx, msgspec.structs.replace(seal, kept_from=text), Entries())
        return True

    async def _seal_part(self, horizon: int) -> bool:
        """Seal the next rows; False where all up to the horizon are sealed."""
        tip = await read_tip(self._statements)
        after = 0 if tip is None else tip.seal.last
        if after >= horizon:
            return False
        entries, is_whole = await self._entries.read_some(after, horizon)
        if not entries:
            return False
        last = horizon if is_whole else entries[-1].id
        seal = await anyio.to_thread.run_sync(self._draft, tip, entries, last)

        async def add(tx: Transaction) -> bool:
            await tx.lock(store.LOCK)
            current = await read_tip(tx)
            if current != tip:  # another process was faster
                return False
            await self._add(tx, seal, entries)
            return True

        was_added = await self._statements.run(server_actor(), add, quick=False)
        return not (was_added and is_whole)

    async def _add(self, tx: Transaction, seal: Seal, entries: Entries) -> None:
        await store.add(tx, seal, self._signer.sign(seal), entries)

    def _draft(self, tip: Link | None, entries: Entries, last: int) -> Seal:
        """Make the statement about the rows that follow those of a seal."""
        times = entries.times()
        return Seal(
            seal=1 if tip is None else tip.seal.seal + 1,
            at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z",
            after=0 if tip is None else tip.seal.last,
            last=last,
            rows=len(entries),
            root=root_of(entries.leaves()).hex(),
            entries=entries.hash(),
            begin=show_time(min(times)) if times else None,
            end=show_time(max(times)) if times else None,
            kept_from=None if tip is None else tip.seal.kept_from,
            previous="" if tip is None else tip.signed.hash(),
            key=self._signer.public,
        )

    async def _clean(self) -> None:
        """Remove some entries of rows that are gone by retention.

        Each time it goes on behind the seals that it looked at: some of them keep their rows.
        """
        tip = await read_tip(self._statements)
        if tip is None or tip.seal.kept_from is None:
            return
        kept_from = datetime.fromisoformat(tip.seal.kept_from)
        cleaned = await store.clean(self._statements, kept_from, self._cleaned_to)
        self._cleaned_to = cleaned.last or 0
        if cleaned.removed:
            log.info("entries of dropped months removed", seals=cleaned.removed)


async def read_tip(reader: Reader) -> Link | None:
    """Return the last seal; None before the first. Raises Unavailable where it cannot be read."""
    signed = await store.read_tip(reader)
    if signed is None:
        return None
    link = read_link(signed)
    if link is None:
        raise Unavailable("the last seal of the trail cannot be read: run `caudex audit verify`")
    return link
