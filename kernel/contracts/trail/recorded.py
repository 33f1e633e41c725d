"""Recorded changes of an app: which ones there are, what they were, and the records as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from kernel.contracts.apps import Entity
from kernel.contracts.base import ServiceKey
from kernel.contracts.statements import Reader, Transaction

__all__ = ["RECORDED", "ChangeSelection", "ChangeValues", "Recorded", "RecordedChange"]


class ChangeSelection(msgspec.Struct, frozen=True, kw_only=True):
    """Which recorded changes of an app are meant: those that meet every member that is set.

    One of `request_ids`, `actor_id` and `record_id` is needed. Times are RFC 3339 texts, and those
    of the transactions: `since` is inclusive, `until` exclusive, `after` exclusive. `record_id`
    goes with one entity in `entities`.
    """

    app_id: str
    request_ids: Sequence[str] = ()
    actor_id: str | None = None
    record_id: str | None = None
    entities: Sequence[str] | None = None
    since: str | None = None
    after: str | None = None
    until: str | None = None


class RecordedChange(msgspec.Struct, frozen=True, array_like=True):
    """A change of a record, without its values.

    `id` is that of its row in the trail. `entity` has its present name. `size` is about that of its
    values on disk, in bytes.
    """

    id: int
    entity: str
    record_id: str
    operation: Literal["INSERT", "UPDATE", "DELETE"]
    actor_id: str | None
    at: str
    size: int


class ChangeValues(msgspec.Struct, frozen=True, array_like=True):
    """The values of a change: of an update those that differ, else the whole record.

    `id` is that of the change. Fields have their present names. A value over 1 MB is
    `{"length", "sha256"}` of its text. `owner` is that of the record.
    """

    id: int
    old: dict[str, Any] | None
    new: dict[str, Any] | None
    owner: str | None


class Recorded(Protocol):
    """Reads the trail of installed apps, for those who put records back.

    It checks no permission.
    """

    async def begins(self, reader: Reader, app_id: str) -> str | None:
        """Return the time from which an app's trail has everything, None where it has nothing."""
        ...

    async def list(
        self, reader: Reader, selection: ChangeSelection, limit: int
    ) -> list[RecordedChange]:
        """Return the newest changes of records, newest first."""
        ...

    async def count(self, reader: Reader, selection: ChangeSelection) -> int:
        """Count the changes of records."""
        ...

    async def read(
        self, reader: Reader, changes: Sequence[RecordedChange]
    ) -> Mapping[int, ChangeValues]:
        """Return the values of changes by their ids. The caller bounds their sizes."""
        ...

    async def lock(
        self, tx: Transaction, entity: Entity, record_ids: Sequence[str]
    ) -> Mapping[str, Mapping[str, Any]]:
        """Lock records that exist, and return them as they are now, in the form of the trail."""
        ...


RECORDED = ServiceKey[Recorded]("recorded")
