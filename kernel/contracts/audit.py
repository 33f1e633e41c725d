"""The audit trail."""

from __future__ import annotations

from typing import Protocol

import msgspec

from kernel.contracts.services import ServiceKey


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows of the trail are wanted, newest first; `before` is the id of the last seen."""

    app_id: str | None = None
    entity: str | None = None
    record_id: str | None = None
    operation: str | None = None
    actor_id: str | None = None
    before: int | None = None
    limit: int = 100


class Audit(Protocol):
    """Reads the trail; rows are written by triggers and by `event_recorded`."""

    async def search(self, wanted: AuditFilter) -> bytes:
        """Return a JSON array of audit rows."""
        ...


AUDIT = ServiceKey[Audit]("audit")
