"""The audit trail."""

from __future__ import annotations

from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from kernel.contracts.base import ServiceKey

__all__ = ["AUDIT", "Audit", "AuditFilter"]


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """A query for rows of the trail, newest first; `before` is the id of the last row seen."""

    app_id: Annotated[str | None, Meta(description="rows of this app, or `core`")] = None
    entity: Annotated[str | None, Meta(description="rows of this table")] = None
    record_id: Annotated[str | None, Meta(description="rows about this record")] = None
    operation: Annotated[str | None, Meta(description="INSERT, UPDATE, LOGIN and so on")] = None
    actor_id: Annotated[str | None, Meta(description="what this user did")] = None
    before: Annotated[int | None, Meta(description="id of the last row seen")] = None
    current: Annotated[
        bool,
        Meta(description="true: nothing of a former app of this name; app admins see no other"),
    ] = False
    limit: Annotated[int, Meta(ge=1, description="above 1000 it is 1000")] = 100


class Audit(Protocol):
    """Reads the trail; rows are written by triggers and by `event_recorded`."""

    async def search(self, wanted: AuditFilter) -> bytes:
        """Return a JSON array of audit rows."""
        ...


AUDIT = ServiceKey[Audit]("audit")
