"""What clients send and get, and what is known of a record while its changes are undone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from kernel.public import Action, RecordedChange

MAX_CHANGES: Final = 100_000
"""Changes that one undo takes back."""

Inverse = Literal["restored", "reverted", "removed"]
"""What becomes of a record: a delete, an update or a create of it is undone."""

NEEDED: Final[Mapping[Inverse, Action]] = {
    "restored": "create",
    "reverted": "update",
    "removed": "delete",
}

Reason = Literal["changed later", "value too large", "refused"]
"""Why a record stays as it is."""


class RecordName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A record of the app."""

    entity: str
    id: Annotated[str, Meta(min_length=1, max_length=1000)]


class UndoBody(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """The body of POST …/undo: `request`, `actor` with `since`, or `record` with `to`."""

    request: (
        Annotated[str, Meta(min_length=1, max_length=200, description="id of a request")] | None
    ) = None
    children: Annotated[
        bool, Meta(description="with `request`: what its jobs and calls wrote, too")
    ] = False
    actor: Annotated[
        str | None, Meta(description="id of a user; beside `request` only this user's changes")
    ] = None
    since: Annotated[str | None, Meta(description="time of the first change")] = None
    until: Annotated[str | None, Meta(description="changes before this time")] = None
    record: RecordName | None = None
    to: Annotated[str | None, Meta(description="with `record`: the time to go back to")] = None
    entities: Annotated[list[str] | None, Meta(description="records of these only")] = None
    mode: Annotated[
        Literal["all", "possible"], Meta(description="`all`: a conflict undoes nothing")
    ] = "all"
    dry_run: Annotated[bool, Meta(description="says what would happen, and writes nothing")] = False


class UndoneRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record that was put back; `fields` are those that were reverted."""

    entity: str
    id: str
    operation: Inverse
    fields: list[str] | msgspec.UnsetType = msgspec.UNSET


class Conflict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record that stays as it is, and why."""

    entity: str
    id: str
    reason: Reason
    error: str | msgspec.UnsetType = msgspec.UNSET


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    """The reply of POST …/undo. `records` lists the first 1000.

    `request` is the id under which the trail has the undo.
    """

    undone: int
    records: list[UndoneRecord]
    conflicts: list[Conflict]
    request: str


class UndoConflicts(msgspec.Struct, frozen=True, kw_only=True):
    """The reply with status 412: nothing was undone."""

    error: str
    conflicts: list[Conflict]


class TouchedRecord(msgspec.Struct, frozen=True):
    """A record with its changes, newest first, and what undoing all of them does to it.

    `inverse` is None for a record that was made and deleted.
    """

    entity: str
    id: str
    changes: Sequence[RecordedChange]
    inverse: Inverse | None

    @property
    def place(self) -> int:
        """The id of the change by which the inverse is ordered, newest first.

        What a record links to was there before it was created, and after it was deleted.
        """
        if self.inverse == "removed":
            return self.changes[-1].id
        return self.changes[0].id

    @property
    def size(self) -> int:
        """About the bytes of all values."""
        return sum(change.size for change in self.changes)


class PlannedWrite(msgspec.Struct, frozen=True):
    """What has to be written of a record: values of some fields, or a deleted record."""

    record: TouchedRecord
    inverse: Inverse
    values: Mapping[str, Any] = {}
    created_at: str = ""
    updated_at: str = ""
    owner: str | None = None
