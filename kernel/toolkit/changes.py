"""Committed changes, cut into what one statement takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from kernel.contracts.trail.changes import CommittedChange

MAX_PART_BYTES: Final = 8_000_000
"""Bytes of JSON of the records of one part, unless it is a single change."""
MAX_PART_CHANGES: Final = 1_000


def cut_changes(changes: Sequence[CommittedChange]) -> Iterator[Sequence[CommittedChange]]:
    """Yield changes in parts of at most 1,000, each with at most 8 MB of records.

    A change with larger records is a part of its own.
    """
    part: list[CommittedChange] = []
    size = 0
    for change in changes:
        weight = len(change.old or b"") + len(change.new or b"")
        if part and (size + weight > MAX_PART_BYTES or len(part) >= MAX_PART_CHANGES):
            yield part
            part = []
            size = 0
        part.append(change)
        size += weight
    if part:
        yield part
