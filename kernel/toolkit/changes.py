"""Committed changes, cut into what one statement takes, or what memory has room for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from kernel.contracts.trail.changes import Changes, CommittedChange
from kernel.contracts.trail.watches import Verdict, Watch

MAX_PART_BYTES: Final = 8_000_000
"""Bytes of JSON of the records of one part, unless it is a single change."""
MAX_PART_CHANGES: Final = 1_000
MAX_JUDGED: Final = 500
"""Changes of a part that is judged and handled before the next one is filled."""
MAX_JUDGED_BYTES: Final = 1_000_000
"""Bytes of the records of such a part, once for each copy that is made, unless it is one change."""


def cut_changes(changes: Sequence[CommittedChange]) -> Iterator[Sequence[CommittedChange]]:
    """Yield changes in parts of at most 1,000, each with at most 8 MB of records.

    A change with larger records is a part of its own.
    """
    part: list[CommittedChange] = []
    size = 0
    for change in changes:
        if part and (size + change.size > MAX_PART_BYTES or len(part) >= MAX_PART_CHANGES):
            yield part
            part = []
            size = 0
        part.append(change)
        size += change.size
    if part:
        yield part


def cut_before_fill(
    changes: Sequence[CommittedChange], copies: int = 1
) -> Iterator[Sequence[CommittedChange]]:
    """Yield changes in parts of at most 500, and of 1 MB where each is handled `copies` times.

    One with replaced values is a part of its own: a page has 16 MB as the trail has it, and
    thousands of changes, each of which may have 50 MB when it is filled.
    """
    part: list[CommittedChange] = []
    size = 0
    for change in changes:
        change_size = change.size * copies
        is_full = len(part) >= MAX_JUDGED or size + change_size > MAX_JUDGED_BYTES
        if part and (is_full or change.replaced or part[-1].replaced):
            yield part
            part = []
            size = 0
        part.append(change)
        size += change_size
    if part:
        yield part


async def judge_part(
    changes: Changes, watch: Watch, part: Sequence[CommittedChange]
) -> list[Verdict | None]:
    """Judge a part of `cut_before_fill`, one verdict for each change. Raises Unavailable.

    Replaced values are read from the table where the watch shows them, or where one decides.
    """
    if not part[0].replaced:
        return await watch.judge(part)
    [change] = part
    fields = watch.watched.fields
    if fields is not None and not set(fields).intersection(change.replaced):
        verdicts = await watch.judge(part)
        [verdict] = verdicts
        if verdict is None or verdict.event != "unknown":
            return verdicts
    return await watch.judge([await changes.fill(change)])
