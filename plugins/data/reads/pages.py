"""Pages within an object, with the number of all records where a caller asks for it."""

from __future__ import annotations

from kernel.public import MAX_PAGE, Actor, Collections, Grant, Page, Records, supports
from plugins.data.rendering import count_in


async def answer(
    records: Records,
    actor: Actor,
    grant: Grant,
    app_id: str,
    entity: str,
    page: Page,
    *,
    total: bool,
) -> bytes:
    """Return a page within an object; with `total` it has the exact number of all records."""
    data = await records.page(actor, grant, app_id, entity, page)
    if not total:
        return b'{"data": %b}' % data
    count, seen = count_in(data), page.offset
    if page.after is None and count < min(page.limit, MAX_PAGE) and (count or not seen):
        every = seen + count  # the page includes the end of the list
    else:
        every = await _counted(records, actor, grant, app_id, entity, page)
    return b'{"data": %b, "total": %d}' % (data, every)


async def _counted(
    records: Records, actor: Actor, grant: Grant, app_id: str, entity: str, page: Page
) -> int:
    if page.search is None or not supports(records, Collections):
        return await records.count(actor, grant, app_id, entity, page.where)
    return await records.count(actor, grant, app_id, entity, page.where, page.search)
