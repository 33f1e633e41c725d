"""What happens to records and in the server, as hooks and the trail get it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec

from .actors import Actor

__all__ = ["Change", "Event"]


def _new_id() -> str:
    return str(uuid.uuid4())


def _now() -> datetime:
    return datetime.now(UTC)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened: a record of an app changed, or the system did (app `core`).

    `operation` is INSERT, UPDATE or DELETE for records, and a word such as LOGIN_FAILED for `core`.
    `id` is unique, and the same as that of the `Change` before it. `time` is when the event was
    described, in UTC; the commit comes later. `old` and `new` are JSON text. For records they are
    what the API shows. `old` is set if a hook takes part in the transaction of the write, and if
    an observer asks for it: `@for_subjects("crm.contacts", old=True)`.
    """

    app_id: str
    entity: str
    operation: str
    actor: Actor
    record_id: str | None = None
    old: bytes | None = None
    new: bytes | None = None
    id: str = msgspec.field(default_factory=_new_id)
    time: datetime = msgspec.field(default_factory=_now)

    @classmethod
    def core(
        cls,
        entity: str,
        operation: str,
        actor: Actor,
        record_id: str | None = None,
        *,
        old: object = None,
        new: object = None,
    ) -> Event:
        """Describe what happened to the system; `old` and `new` are encoded unless they are None.

        None of them may hold a secret: events are kept in the audit trail.
        """
        return cls(
            app_id="core",
            entity=entity,
            operation=operation,
            actor=actor,
            record_id=record_id,
            old=None if old is None else msgspec.json.encode(old),
            new=None if new is None else msgspec.json.encode(new),
        )

    @property
    def subject(self) -> str:
        """`<app>.<entity>`, what `@for_subjects` patterns are matched against."""
        return f"{self.app_id}.{self.entity}"


class Change(msgspec.Struct, kw_only=True):
    """A record about to be written; a hook may change `values` (field name to JSON value).

    `action` is create, update or delete. `values` is empty for a delete, `record_id` None for a
    create. `old` is the record before an update or a delete, as JSON text. `id` is that of the
    `Event` that follows, `time` is in UTC.
    """

    app_id: str
    entity: str
    action: str
    actor: Actor
    record_id: str | None = None
    values: dict[str, Any] = {}
    old: bytes | None = None
    id: str = msgspec.field(default_factory=_new_id)
    time: datetime = msgspec.field(default_factory=_now)

    @property
    def subject(self) -> str:
        """`<app>.<entity>`, what `@for_subjects` patterns are matched against."""
        return f"{self.app_id}.{self.entity}"
