"""What a link shows: the records, or groups, that its maker may read now."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from kernel.public import Access, Actor, Records, Target, WorkerOperation, entity, on_behalf_of

from .models import ExportLink, NewLink


class ExportContents:
    """Reads on behalf of who made a link."""

    def __init__(self, records: Records, access: Access) -> None:
        self._records = records
        self._access = access

    async def find_target(self, maker: Actor, app_id: str, entity_name: str) -> Target:
        """Return what a link reads. Raises Forbidden, NotFound."""
        path = {"app_id": app_id, "entity": entity_name}
        grant = await self._access.authorize(maker, entity("read"), path)
        return Target(maker, grant, app_id, entity_name)

    async def check(self, target: Target, link: NewLink) -> None:
        """Read one row, which finds what is wrong with a query. Raises BadRequest."""
        query = link.query
        if query.has_groups:
            await self._records.aggregate(target, query.aggregation)
            return
        async with self._records.export(target, query.page, link.format, limit=1) as pieces:
            async for _ in pieces:
                pass

    @asynccontextmanager
    async def open(self, target: Target, link: ExportLink) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Yield the pieces of the file. It counts for the maker, who has a share of the server."""
        async with on_behalf_of(
            user_id=target.actor.user_id, app_id=target.app_id, plugin="exports"
        ):
            query = link.query
            if query.has_groups:
                yield self._read_groups(target, link)
                return
            export = self._records.export(
                target, query.page, link.format, limit=query.limit, raw=link.raw
            )
            async with export as pieces:
                yield pieces

    async def _read_groups(self, target: Target, link: ExportLink) -> AsyncIterator[bytes]:
        data: dict[str, Any] = msgspec.to_builtins(link.query)
        data |= {"format": link.format, "raw": link.raw}
        operation = WorkerOperation(entity=link.entity, op="export", data=data)
        text = await self._records.operate(target.actor, target.app_id, operation)
        yield msgspec.json.decode(text, type=str).encode()
