"""Who may read a file: who may read a record and field that holds it, or has just uploaded it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from kernel.public import (
    APP_USER,
    Access,
    Actor,
    Forbidden,
    KernelError,
    NotFound,
    Page,
    Reader,
    Records,
    Target,
    View,
    entity,
    is_uuid,
)
from plugins.files import store
from plugins.files.models import Holding, StoredFile

MAX_HOLDINGS: Final = 20
"""Records that are read one by one; a file that more of them hold is looked for by a query."""

_decode_records = msgspec.json.Decoder(list[msgspec.Raw]).decode


class FileReading:
    """Finds files for their readers."""

    def __init__(self, reader: Reader, records: Records, access: Access) -> None:
        self._reader = reader
        self._records = records
        self._access = access

    async def find_readable(self, actor: Actor, app_id: str, file_id: str) -> StoredFile:
        """Return a file that a caller may read. Raises NotFound."""
        held = None
        if is_uuid(file_id):
            held = await store.find(self._reader, app_id, file_id, MAX_HOLDINGS + 1)
        if held is None:
            raise _not_found(file_id)
        file = held.file
        if not await self._may_read(actor, app_id, file, held.holdings):
            raise _not_found(file_id)
        if file.sha256 is None:
            raise NotFound(f"the content of file '{file_id}' was erased")
        return file

    async def _may_read(
        self, actor: Actor, app_id: str, file: StoredFile, holdings: Sequence[Holding]
    ) -> bool:
        if file.of_app and await self._has_role(actor, app_id):
            return True
        if not file.held and not file.of_app:
            return actor.user_id is not None and file.uploader_id == actor.user_id
        if len(holdings) > MAX_HOLDINGS:
            return await self._is_shown_by_query(actor, app_id, file.id, holdings)
        for holding in holdings:
            if await self._is_shown(actor, app_id, file.id, holding):
                return True
        return False

    async def _has_role(self, actor: Actor, app_id: str) -> bool:
        try:
            await self._access.authorize(actor, APP_USER, {"app_id": app_id})
        except (Forbidden, NotFound):
            return False
        return True

    async def _find_target(self, actor: Actor, app_id: str, holding: Holding) -> Target | None:
        """Return what to read of an entity, None where the caller may not read the field."""
        path = {"app_id": app_id, "entity": holding.entity}
        try:
            grant = await self._access.authorize(actor, entity("read"), path)
        except (Forbidden, NotFound):
            return None
        if holding.field in grant.hidden:
            return None
        return Target(actor, grant, app_id, holding.entity)

    async def _is_shown(self, actor: Actor, app_id: str, file_id: str, holding: Holding) -> bool:
        """Whether the record shows the file to the caller."""
        target = await self._find_target(actor, app_id, holding)
        if target is None:
            return False
        try:
            view = View(fields=[holding.field])
            record = await self._records.get(target, holding.record_id, view)
        except KernelError as error:
            if error.status >= 500:
                raise
            return False
        return file_id.encode() in record.record

    async def _is_shown_by_query(
        self, actor: Actor, app_id: str, file_id: str, holdings: Sequence[Holding]
    ) -> bool:
        """Whether any record shows the file, by one query for each field that holds it.

        Only some of the holdings are known, so every field of their entities is asked.
        """
        fields = dict.fromkeys((holding.entity, holding.field) for holding in holdings)
        for entity_name, field in fields:
            target = await self._find_target(actor, app_id, Holding(entity_name, field, ""))
            if target is None:
                continue
            page = Page(where={field: file_id}, limit=1, view=View(fields=[]))
            if _decode_records(await self._records.page(target, page)):
                return True
        return False


def _not_found(file_id: str) -> NotFound:
    """Say the same of a file that does not exist and of one that the caller may not read."""
    return NotFound(f"file '{file_id[:80]}' not found")
