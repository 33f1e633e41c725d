"""Data types of the audit plugin."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

import msgspec
from msgspec import Meta

ROW_OPERATIONS = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
"""What the triggers record."""

SYSTEM_OPERATIONS = (
    "LOGIN", "LOGIN_FAILED", "LOGOUT", "SESSION_REVOKED",
    "REGISTER", "PASSWORD_CHANGED", "USER_UPDATED", "USER_DISABLED", "USER_ENABLED", "USER_DELETED",
    "SECOND_FACTOR_ADDED", "SECOND_FACTOR_REMOVED", "RECOVERY_CODE_USED", "RECOVERY_CODES_RENEWED",
    "SESSIONS_ENDED", "INVITE_CREATED", "INVITE_USED", "INVITE_WITHDRAWN",
    "KEY_CREATED", "KEY_ROTATED", "KEY_REVOKED",
    "ROLE_CREATED", "ROLE_UPDATED", "ROLE_DELETED", "ROLE_ASSIGNED", "ROLE_REVOKED",
    "APP_INSTALLED", "APP_UPDATED", "APP_PRUNED", "APP_REMOVED",
    "SECRET_SET", "SECRET_DELETED", "KEYS_ROTATED",
    "DEPLOYED", "WORKER_STARTED", "WORKER_STOPPED",
    "CRON_TRIGGERED", "CRON_ENABLED", "CRON_DISABLED",
    "WEBHOOK_CREATED", "WEBHOOK_CHANGED", "WEBHOOK_DELETED", "WEBHOOK_ROTATED",
    "WEBHOOK_REPLAYED", "WEBHOOK_ENDED",
    "TRAIL_STOPPED", "TRAIL_RESUMED",
    "FILE_ERASED",
    "BACKUP_STARTED", "BACKUP_VERIFYING", "BACKUP_DOWNLOADED",
)  # fmt: skip
"""What the system reports of itself, so that one can ask for it before it ever happened; the
operations of other plugins are known once they did."""


class Months(msgspec.Struct, frozen=True, kw_only=True):
    """Which months, by their first day, want a partition and which have had theirs long enough.

    `blocked` are months that cannot get one, because the default partition holds rows of theirs.
    """

    missing: list[date] = []
    blocked: list[date] = []
    expired: list[date] = []


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a record: `changes` has the old and the new value of each changed field.

    `actor` is the id of the user, null for the server itself.
    """

    id: int
    at: str
    actor: str | None
    request: str | None
    operation: str
    changes: dict[str, tuple[Any, Any]]


class SeenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record as its reader sees it, and what its history is limited to.

    `owner` is the reader, where own records are all that it reads. `deciding` are the fields by
    which plugins narrow what it reads.
    """

    app_id: str
    entity: str
    id: str
    created_at: str
    fields: Sequence[str]
    owner: str | None = None
    deciding: Sequence[str] = ()


class HistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """The requested part of a history: `limit` entries that are older than `before`."""

    before: int | None
    limit: int


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of GET …/history."""

    limit: Annotated[int, Meta(ge=1, description="above 1000 it is 1000")] = 100
    before: Annotated[int | None, Meta(description="id of the last entry seen")] = None


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the trail as REST shows it; `changed_at` ends in `Z`.

    `key` is the id of the API key that the request came with; absent without one. `via` is `mcp`
    for what an agent did, and `client` is the name that it gave itself.
    An INSERT has no old record, a DELETE no new one. Rows of `core` are what the system reports of
    itself.
    """

    id: int
    table_schema: str
    table_name: str
    record_id: str | None
    operation: str
    old_record: dict[str, Any] | None
    new_record: dict[str, Any] | None
    changed_at: str
    actor_id: str | None
    request_id: str | None
    key: str | msgspec.UnsetType = msgspec.UNSET
    via: str | msgspec.UnsetType = msgspec.UNSET
    client: str | msgspec.UnsetType = msgspec.UNSET
