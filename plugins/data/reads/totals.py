"""Pages within an object, with the number of all records where a caller asks for it."""

from __future__ import annotations

from kernel.public import MAX_PAGE, Page, Query, Records, SnapshotReads, Target, WithSnapshot
from plugins.data.rendering import count_in


async def answer_page(records: Records, target: Target, page: Page, *, total: bool) -> bytes:
    """Return a page within an object; with `total` it has the exact number of all records."""
    array = await records.page(target, page)
    if not total:
        return write_page(array, None)
    return write_page(array, await find_total(records, target, page, array))


async def answer_page_with(
    records: SnapshotReads, target: Target, page: Page, expression: Query, *, total: bool
) -> WithSnapshot:
    """Return what `answer_page` does, and what the statement of the page saw."""
    seen = await records.page_with(target, page, expression)
    number = None
    if total:
        number = _read_total(page, seen.reply)
        if number is None:
            counted = await records.count_with(target, page.where, page.search, expression)
            number = int(counted.reply)
    return WithSnapshot(write_page(seen.reply, number), seen.snapshot)


def write_page(array: bytes, total: int | None) -> bytes:
    """Return records within an object, with their number if it is given."""
    if total is None:
        return b'{"data": %b}' % array
    return b'{"data": %b, "total": %d}' % (array, total)


async def find_total(records: Records, target: Target, page: Page, array: bytes) -> int:
    """Return the exact number of all records that a page is from, counted if it does not say."""
    number = _read_total(page, array)
    if number is not None:
        return number
    return await records.count(target, page.where, page.search)


def _read_total(page: Page, array: bytes) -> int | None:
    """Return the number of all records where their page says it: it is the last one."""
    count = count_in(array)
    is_last_page = count < min(page.limit, MAX_PAGE)
    # An empty page says nothing about the records before it.
    shows_end = is_last_page and (count > 0 or page.offset == 0)
    return page.offset + count if page.after is None and shows_end else None
