"""Writes rows with their seals, and on request with what proves them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

import anyio.to_thread
import msgspec

from kernel.public import NotFound, Reader, Unavailable
from plugins.audit.evidence import store
from plugins.audit.evidence.entries import Entries
from plugins.audit.evidence.merkle import sparse_path
from plugins.audit.evidence.seals import Link, SignedSeal, read_link
from plugins.audit.evidence.steps import LineReader, id_of
from plugins.audit.evidence.store import RowFilter

from .files import Evidence, EvidenceLine, Proof, add_seal, join_runs, read_row

BATCH: Final = 200


class Exporter:
    """Exports rows, and proves single ones."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def export(self, rows: RowFilter, *, with_proofs: bool) -> AsyncGenerator[bytes]:
        """Yield lines of JSON, the oldest row first, in pieces of bounded size.

        No connection is held between two pieces.
        """
        last = await store.read_greatest_id(self._reader)
        seals = _SealQueue(self._reader, await self._first_seal(rows))
        await seals.advance()
        after = 0 if seals.current is None else seals.current.seal.after
        is_whole = rows == RowFilter()
        pages = LineReader(self._reader, rows, plain=not with_proofs)
        shown = list[int]()
        while after < last:
            lines, after = await pages.read_page(after, last)
            piece = list[bytes]()
            for line in lines:
                row_id = id_of(line)
                while seals.current is not None and row_id > seals.current.seal.last:
                    if with_proofs and (shown or is_whole):
                        piece.append(await self._prove_rows(seals.current, shown))
                    shown = []
                    await seals.advance()
                number = seals.number_of(row_id)
                piece.append(add_seal(line, number))
                if number is not None:
                    shown.append(row_id)
            yield b"".join(piece)
        while with_proofs and seals.current is not None and (shown or is_whole):
            yield await self._prove_rows(seals.current, shown)
            shown = []
            await seals.advance()

    async def prove(self, row_id: int) -> Proof:
        """Prove one row. Raises NotFound, and Unavailable where it cannot be proven."""
        lines = await store.read_lines(self._reader, row_id - 1, row_id, 2, RowFilter())
        if not lines:
            raise NotFound(f"the trail has no row {row_id}")
        signed = await store.read_seal_of(self._reader, row_id)
        link = None if signed is None else read_link(signed)
        if signed is None or link is None:
            raise Unavailable(f"row {row_id} is not sealed yet: try again in a minute or two")
        entries = await self._read_entries(link)
        place = None if entries is None else entries.find(row_id)
        if entries is None or place is None or entries[place].leaf != read_row(lines[0]).leaf:
            problem = f"row {row_id} is not as it was sealed"
            raise Unavailable(f"{problem}: run `caudex audit verify`", retry_after=None)
        path = sparse_path(entries.leaves(), [place])
        return Proof(
            statement=signed.statement,
            signature=signed.signature,
            row=lines[0].decode(),
            place=place,
            path=[node.hex() for node in path],
        )

    async def _first_seal(self, rows: RowFilter) -> int:
        """Return the number of the first seal that can have rows of the export."""
        if rows.since is None:
            return 1
        number = await store.read_first_since(self._reader, rows.since)
        if number is not None:
            return number
        tip = await store.read_tip(self._reader)
        link = None if tip is None else read_link(tip)
        return 1 if link is None else link.seal.seal

    async def _prove_rows(self, link: Link, shown: list[int]) -> bytes:
        """Return the line that proves rows of a seal."""
        signed = link.signed
        entries = await self._read_entries(link)
        places = [] if entries is None else [entries.find(row_id) for row_id in shown]
        found_places = [place for place in places if place is not None]
        path: list[str] | None = None
        if entries is not None and len(found_places) == len(shown):
            nodes = await anyio.to_thread.run_sync(sparse_path, entries.leaves(), found_places)
            path = [node.hex() for node in nodes]
        elif not shown:
            path = []
        evidence = Evidence(
            signed.statement, signed.signature, shown=join_runs(found_places), path=path
        )
        return msgspec.json.encode(EvidenceLine(evidence)) + b"\n"

    async def _read_entries(self, link: Link) -> Entries | None:
        """Return the entries of a seal as they were sealed."""
        entries = await store.read_kept(self._reader, link.seal.seal)
        if entries is None or entries.hash() != link.seal.entries:
            return None
        return entries


class _SealQueue:
    """The seals from a number on, one after the other."""

    def __init__(self, reader: Reader, number: int) -> None:
        self.current: Link | None = None
        self._reader = reader
        self._number = number
        self._batch: AsyncIterator[SignedSeal] = self._read()

    async def advance(self) -> None:
        """Go to the next seal that can be read; behind the last one it is None."""
        self.current = None
        async for signed in self._batch:
            self.current = read_link(signed)
            if self.current is not None:
                return

    def number_of(self, row_id: int) -> int | None:
        """Return the number of the current seal if it is that of a row."""
        if self.current is None or row_id <= self.current.seal.after:
            return None
        return self.current.seal.seal

    async def _read(self) -> AsyncGenerator[SignedSeal]:
        while True:
            batch = await store.read_seals_from(self._reader, self._number, BATCH)
            if not batch:
                return
            self._number += len(batch)
            for signed in batch:
                yield signed
