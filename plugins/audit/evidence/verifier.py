"""Compares the trail with its seals, from the newest back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import Final, Literal

import anyio.to_thread
import msgspec

from kernel.public import Reader

from . import store
from .entries import Entries, Entry, read_time, show_time
from .merkle import root_of
from .seals import Link, follows, is_signed, read_link
from .steps import STEP_ROWS, EntryReader
from .store import StoredSeal

BATCH: Final = 500
LAST_NUMBER: Final = 2**63 - 1
SLACK: Final = 1000
"""Rows beyond those that are expected, which are enough to see that there are more."""

Witnessed = Mapping[int, Collection[str]]
"""The hashes of the seals that a witness has, by their numbers."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The first row that is not as it was sealed, or a seal that does not follow its predecessor.

    `id` is that of the row, or the number of the seal; `at` when the row was written, or the seal
    made.
    """

    kind: Literal["changed", "removed", "added", "seal"]
    id: int
    at: str | None


class Report(msgspec.Struct, kw_only=True):
    """What a verification found.

    `ok` is false where there is a problem; `verified_from` and `verified_until` are the times
    between which the rows are as they were sealed. `pending` rows are not sealed yet.
    `dropped_before`: retention has dropped the rows of times before.
    """

    ok: bool = True
    verified_from: str | None = None
    verified_until: str | None = None
    rows: int = 0
    seals: int = 0
    pending: int = 0
    key: str
    problem: Problem | None = None
    dropped_before: str | None = None


class Verifier:
    """Verifies the chain of seals and the rows behind them."""

    def __init__(self, reader: Reader, keys: Sequence[str]) -> None:
        """`keys` are the public keys that seals may be signed by; the first one is shown."""
        self._reader = reader
        self._keys = keys

    async def verify(
        self,
        since: datetime | None = None,
        *,
        seconds: float | None = None,
        witnessed: Witnessed | None = None,
    ) -> Report:
        """Verify the chain, and the rows since a time.

        With `seconds` it ends after that time, although older seals are left. Raises Unavailable.
        """
        ends_at = None if seconds is None else monotonic() + seconds
        examination = _Examination(self._reader, self._keys, since, witnessed or {})
        async for links in examination.walk():
            await examination.compare_rows(links)
            if ends_at is not None and monotonic() > ends_at:
                break
        else:
            examination.end()
        return await examination.finish()


class _Examination:
    """One verification. It walks from the newest seal to the first."""

    def __init__(
        self, reader: Reader, keys: Sequence[str], since: datetime | None, witnessed: Witnessed
    ) -> None:
        self.report = Report(key=keys[0])
        self.last_id = 0
        """The last id that is sealed."""
        self._reader = reader
        self._keys = keys
        self._since = since
        self._witnessed = witnessed
        self._entries = EntryReader(reader)
        self._follower: Link | None = None
        """The seal after the one that comes next."""
        self._problem_seal = LAST_NUMBER
        """The first seal with a problem."""
        self._kept_from: int | None = None

    async def walk(self) -> AsyncGenerator[list[Link]]:
        """Check the chain, and yield its good seals in groups: each has rows for one step."""
        number = LAST_NUMBER
        while True:
            batch = await store.read_seals_before(self._reader, number, BATCH)
            if number == LAST_NUMBER:
                self._begin(batch[0] if batch else None)
            if not batch:
                return
            number = batch[-1].number
            group: list[Link] = []
            size = 0
            for stored in batch:
                link = self._check(stored)
                if link is None or not _fits(group, size, link):
                    yield group
                    group = []
                    size = 0
                if link is not None:
                    group.append(link)
                    size += link.seal.rows
            yield group

    def _begin(self, newest: StoredSeal | None) -> None:
        """Note what the newest seal says of the whole."""
        last_number = 0 if newest is None else newest.number
        missing = [number for number in self._witnessed if number > last_number]
        if missing:
            number = min(missing)
            self._note("seal", number, number, None)
        if newest is None:
            return
        self.last_id = newest.last_id
        link = read_link(newest)
        if link is None or not is_signed(link, self._keys):
            return
        kept_from = link.seal.kept_from
        self.report.dropped_before = kept_from
        if kept_from is not None:
            self._kept_from = read_time(kept_from)

    def _check(self, stored: StoredSeal) -> Link | None:
        """Check a seal and whether its follower follows it; None where its rows say nothing."""
        link = read_link(stored)
        follower = self._follower
        self._follower = link
        self.report.seals += 1
        if link is None:
            self._note("seal", stored.number, stored.number, None)
            return None
        if follower is not None and not follows(follower, link):
            seal = follower.seal
            self._note("seal", seal.seal, seal.seal, seal.at)
        if self._is_true(stored, link):
            return link
        self._note("seal", stored.number, stored.number, link.seal.at)
        return None

    def _is_true(self, stored: StoredSeal, link: Link) -> bool:
        """Whether a seal is what was signed, and what the witness has."""
        seal = link.seal
        if (stored.number, stored.last_id) != (seal.seal, seal.last):
            return False
        hashes = self._witnessed.get(seal.seal)
        if hashes is not None and link.signed.hash() not in hashes:
            return False
        return is_signed(link, self._keys)

    async def compare_rows(self, links: Sequence[Link]) -> None:
        """Compare the rows of some seals, the newest first, that are as recent as is asked for."""
        recent = [link for link in links if self._is_recent(link)]
        if not recent:
            return
        after = recent[-1].seal.after
        last = recent[0].seal.last
        # After a jump of the clock there are older seals between two recent ones.
        expected = sum(link.seal.rows for link in links if after < link.seal.last <= last)
        entries = await self._entries.read(after, last, expected + SLACK)
        for link in recent:
            part = entries.select(link.seal.after, link.seal.last)
            problem = await self._compare(link, part)
            if problem is None:
                self.report.rows += len(part)
                self.report.verified_from = link.seal.begin or self.report.verified_from
            else:
                self._note(problem.kind, link.seal.seal, problem.id, problem.at)

    def _is_recent(self, link: Link) -> bool:
        if self._since is None:
            return True
        end = link.seal.end
        return end is not None and datetime.fromisoformat(end) >= self._since

    async def _compare(self, link: Link, rows: Entries) -> Problem | None:
        """Compare the rows behind a seal with it."""
        seal = link.seal
        if rows.hash() == seal.entries:
            root = await anyio.to_thread.run_sync(root_of, rows.leaves())
            if root.hex() == seal.root:
                return None
        entries = await store.read_kept(self._reader, seal.seal)
        if entries is not None and entries.hash() == seal.entries:
            return find_difference(entries, rows, self._kept_from)
        if self._kept_from is None or seal.end is None or read_time(seal.end) >= self._kept_from:
            return Problem(kind="seal", id=seal.seal, at=seal.at)
        # Retention has dropped all of its rows, so what was kept of them is removed.
        for row in rows:
            return Problem(kind="added", id=row.id, at=show_time(row.at))
        return None

    def end(self) -> None:
        """Check that the chain begins with the first seal."""
        first = self._follower
        if first is not None and not follows(first, None):
            self._note("seal", first.seal.seal, first.seal.seal, first.seal.at)

    async def finish(self) -> Report:
        """Return the report, with what is asked of the database once."""
        report = self.report
        forged_id = await store.read_least_forged_id(self._reader)
        if forged_id is not None:
            self._note("added", 0, forged_id, None)
        report.pending = await store.count_pending(self._reader, self.last_id)
        good = await store.read_seals_before(self._reader, self._problem_seal, 1)
        link = read_link(good[0]) if good else None
        if link is not None:
            report.verified_until = link.seal.at
        return report

    def _note(
        self,
        kind: Literal["changed", "removed", "added", "seal"],
        seal: int,
        problem_id: int,
        at: str | None,
    ) -> None:
        """Note a problem of a seal; that of the earliest seal counts."""
        if seal > self._problem_seal:
            return
        self._problem_seal = seal
        report = self.report
        report.ok = False
        report.problem = Problem(kind=kind, id=problem_id, at=at)
        report.verified_from = None  # until rows before it are compared


def _fits(group: Sequence[Link], size: int, link: Link) -> bool:
    """Whether a group of so many rows can go on with the seal before."""
    if not group:
        return True
    is_next = group[-1].seal.after == link.seal.last
    return is_next and size + link.seal.rows <= STEP_ROWS


def find_difference(kept: Entries, rows: Entries, kept_from: int | None) -> Problem | None:
    """Return the first row that is not as it was sealed.

    Rows that are older than `kept_from` may be gone.
    """
    sealed = {entry.id: entry for entry in kept}
    present: dict[int, list[Entry]] = {}
    for row in rows:
        present.setdefault(row.id, []).append(row)
    for row_id in sorted(sealed.keys() | present.keys()):
        entry = sealed.get(row_id)
        present_rows = present.get(row_id, [])
        if entry is None:
            return Problem(kind="added", id=row_id, at=show_time(present_rows[0].at))
        if not present_rows:
            if kept_from is not None and entry.at < kept_from:
                continue
            return Problem(kind="removed", id=row_id, at=show_time(entry.at))
        if entry not in present_rows:
            return Problem(kind="changed", id=row_id, at=show_time(entry.at))
        others = [row for row in present_rows if row != entry]
        if others:
            return Problem(kind="added", id=row_id, at=show_time(others[0].at))
    return None
