"""Pages within an object, with the number of all records where a caller asks for it."""

from __future__ import annotations

from kernel.public import MAX_PAGE, Page, Records, Target
from plugins.data.rendering import count_in


async def answer_page(
    records: Records, target: Target, page: Page, *, total: bool, array: bytes | None = None
) -> bytes:
    """Return a page within an object; with `total` it has the exact number of all records.

    `array` are its records, where they were read before.
    """
    if array is None:
        array = await records.page(target, page)
    if not total:
        return b'{"data": %b}' % array
    number = await find_total(records, target, page, array)
    return b'{"data": %b, "total": %d}' % (array, number)


async def find_total(records: Records, target: Target, page: Page, array: bytes) -> int:
    """Return the exact number of all records that a page is from, counted if it does not say."""
    count = count_in(array)
    is_last_page = count < min(page.limit, MAX_PAGE)
    # An empty page says nothing about the records before it.
    shows_end = is_last_page and (count > 0 or page.offset == 0)
    if page.after is None and shows_end:
        return page.offset + count
    return await records.count(target, page.where, page.search)
