"""Events that hooks receive."""

from __future__ import annotations

from typing import Any

import msgspec

from kernel.contracts.actor import Actor


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened: a record of an app changed, or the system did (app `core`).

    `old` and `new` are JSON text. For records they are what the API shows, and `old` is known
    only where the write ran in a transaction (see `record_writing`).
    """

    app_id: str
    entity: str
    operation: str
    actor: Actor
    record_id: str | None = None
    old: bytes | None = None
    new: bytes | None = None

    @property
    def subject(self) -> str:
        """`<app>.<entity>`, what `@for_subjects` patterns are matched against."""
        return f"{self.app_id}.{self.entity}"


class Change(msgspec.Struct, kw_only=True):
    """A record about to be written; a hook may change `values` (field name to JSON value).

    `values` is empty for a delete, `record_id` None for a create.
    """

    app_id: str
    entity: str
    action: str
    actor: Actor
    record_id: str | None = None
    values: dict[str, Any] = {}

    @property
    def subject(self) -> str:
        """`<app>.<entity>`, what `@for_subjects` patterns are matched against."""
        return f"{self.app_id}.{self.entity}"
