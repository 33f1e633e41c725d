"""The records that a share shows: those that its maker may read now."""

from __future__ import annotations

from typing import Final

from kernel.public import (
    Access,
    Actor,
    BadRequest,
    Forbidden,
    NotFound,
    Records,
    Target,
    entity,
    on_behalf_of,
)

from .models import PreparedShare, Share

PAGE: Final = 100
"""Records of a list without a limit."""
MAX_RECORDS: Final = 1000
"""Records of a list."""


class SharedRecords:
    """Reads what a share names on behalf of who made it."""

    def __init__(self, records: Records, access: Access) -> None:
        self._records = records
        self._access = access

    async def read(self, maker: Actor, share: Share | PreparedShare) -> bytes:
        """Return the records as a JSON array. Raises BadRequest, Forbidden, NotFound."""
        if share.entity is None:
            return b"[]"
        path = {"app_id": share.app_id, "entity": share.entity}
        grant = await self._access.authorize(maker, entity("read"), path)
        target = Target(maker, grant, share.app_id, share.entity)
        query = share.query
        # The reads of strangers count for the maker, who has a share of the server.
        async with on_behalf_of(user_id=maker.user_id, app_id=share.app_id, plugin="shares"):
            if share.record_id is not None:
                tagged = await self._records.get(target, share.record_id, query.view)
                return b"[%b]" % tagged.record
            return await self._records.page(target, query.page_of(PAGE, MAX_RECORDS))

    async def find(self, maker: Actor, share: Share) -> bytes | None:
        """Return the records, or None where the maker may not read all that the share names."""
        try:
            return await self.read(maker, share)
        except (BadRequest, Forbidden, NotFound):
            return None
