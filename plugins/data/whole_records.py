"""What clients that know other APIs send and ask: whole records, and the number of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernel.public import BadRequest, Entity, Page, Records, Request, Target, headers_of

from .reads.totals import find_total
from .rendering import count_in


def wants_count(request: Request) -> bool:
    """Whether a client asks a list for the number of all records (RFC 7240)."""
    prefer = headers_of(request.scope).get(b"prefer")
    if prefer is None:
        return False
    return b"count=exact" in [wish.strip().lower() for wish in prefer.split(b",")]


async def count_page(
    records: Records, target: Target, page: Page, array: bytes | None
) -> dict[str, str]:
    """Return the headers with the number of all records, and the place of the page among them.

    Without an `array` the list is complete. After a keyset the place is unknown.
    """
    if array is None:
        total = await records.count(target, page.where, page.search)
        count = max(0, total - page.offset)
    else:
        total = await find_total(records, target, page, array)
        count = count_in(array)
    place = "*"
    if page.after is None and count > 0:
        place = f"{page.offset}-{page.offset + count - 1}"
    return {"content-range": f"items {place}/{total}", "x-total-count": str(total)}


def read_whole(
    target: Target, entity: Entity, record_id: str, body: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the changes of a whole record, such as one of a list. Raises BadRequest.

    Members that the server computes are left out: they are part of the record that was read.
    """
    sent_id: Any = body.get("id", record_id)
    if str(sent_id).lower() != record_id.lower():
        raise BadRequest("id must be the one in the address: a record keeps its id")
    changes = dict(body)
    for field in entity.hide(target.grant.hidden).fields:
        if field.generated is not None:
            changes.pop(field.name, None)
        elif field.required and field.name not in body:
            raise BadRequest(f"{field.name} is required: PUT takes a whole record, PATCH a part")
    return changes
