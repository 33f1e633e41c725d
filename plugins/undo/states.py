"""Walks back through the changes of a record, and compares what they left with what it is now.

Only what is here decides whether a record has changed since.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

import msgspec

from kernel.public import (
    FIELD_KINDS,
    BadRequest,
    ChangeValues,
    Entity,
    Field,
    ValueKind,
    coerce_value,
)

from .models import Inverse, PlannedWrite, Reason, TouchedRecord

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_MISSING: Final = object()


class Kept(Exception):
    """A record stays as it is. Raised with the reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class FieldComparison:
    """Compares values of an entity's fields, in the form of the trail."""

    def __init__(self, entity: Entity) -> None:
        self._kinds: dict[str, ValueKind] = {
            field.name: kind_of(field) for field in entity.fields if field.generated is None
        }

    def select(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of fields that clients can write today."""
        return {name: values[name] for name in self._kinds if name in values}

    def is_same(self, name: str, first: Any, second: Any) -> bool:
        """Whether two values of a field are one; it can have had another type for one of them."""
        kind = self._kinds[name]
        if kind == "json":
            return _encode_sorted(first) == _encode_sorted(second)
        if first == second:
            return True
        if first is None or second is None:
            return False
        stored = self._coerce(kind, first)
        return stored is not _MISSING and stored == self._coerce(kind, second)

    def _coerce(self, kind: ValueKind, value: Any) -> Any:
        if kind == "text" and isinstance(value, (bool, int, float)):  # of another type then
            return msgspec.json.encode(value).decode()
        try:
            return coerce_value(kind, value, "")
        except BadRequest:
            return _MISSING


class WalkBack:
    """The state of a record while its changes are undone in thought, from the newest one on.

    Before the first step nothing is known of it but that it is there, or not. `expected` are the
    values that the changes left, `former` those before them. A record that was deleted is known
    `wholly` once its delete was undone.
    """

    def __init__(self, comparison: FieldComparison, *, exists: bool) -> None:
        self._comparison = comparison
        self.exists = exists
        self.is_whole = False
        self.expected: dict[str, Any] = {}
        self.expected_creation: str | None = None
        self.former: dict[str, Any] = {}
        self.created_at = ""
        self.updated_at = ""
        self.owner: str | None = None

    def step(self, operation: str, values: ChangeValues) -> None:
        """Undo one change. Raises Kept where another change came in between."""
        if operation == "DELETE":
            self._restore(values)
        elif operation == "INSERT":
            self._remove(values)
        else:
            self._revert(values)

    def _restore(self, values: ChangeValues) -> None:
        if self.exists or values.old is None:
            raise Kept("changed later")
        self.exists = True
        self.is_whole = True
        self.former = self._comparison.select(values.old)
        self.created_at = values.old["created_at"]
        self.updated_at = values.old["updated_at"]
        self.owner = values.owner

    def _remove(self, values: ChangeValues) -> None:
        if not self.exists or values.new is None:
            raise Kept("changed later")
        for name, value in self._comparison.select(values.new).items():
            self._leave(name, value)
        self.exists = False
        if not self.is_whole:
            self.expected_creation = values.new["created_at"]
        self.former = {}

    def _revert(self, values: ChangeValues) -> None:
        if not self.exists or values.old is None or values.new is None:
            raise Kept("changed later")
        for name, value in self._comparison.select(values.new).items():
            self._leave(name, value)
        self.former |= self._comparison.select(values.old)
        if self.is_whole:
            self.updated_at = values.old.get("updated_at", self.updated_at)

    def _leave(self, name: str, value: Any) -> None:
        """Note what a change left a field with."""
        if name in self.former:
            if not self._comparison.is_same(name, self.former[name], value):
                raise Kept("changed later")
        elif not self.is_whole:
            self.expected[name] = value


def plan_write(
    comparison: FieldComparison,
    record: TouchedRecord,
    values: Mapping[int, ChangeValues],
    current: Mapping[str, Any] | None,
) -> PlannedWrite | None:
    """Return what undoing the changes of a record writes, None where nothing is left to undo.

    `comparison` is that of its entity, `values` are those of the changes, `current` is the record
    as it is now. Raises Kept.
    """
    walk = WalkBack(comparison, exists=record.changes[0].operation != "DELETE")
    for change in record.changes:
        if change.id not in values:  # its month was dropped meanwhile
            raise Kept("changed later")
        walk.step(change.operation, values[change.id])
    write = _compare(comparison, record, walk, current)
    if write is not None and any(map(is_too_large, write.values.values())):
        raise Kept("value too large")
    return write


def _compare(
    comparison: FieldComparison,
    record: TouchedRecord,
    walk: WalkBack,
    current: Mapping[str, Any] | None,
) -> PlannedWrite | None:
    was_deleted = record.changes[0].operation == "DELETE"
    if current is None and was_deleted:
        return _restored(record, walk) if walk.exists else None
    if current is None:  # others have deleted it
        if walk.exists:
            raise Kept("changed later")
        return None
    if not walk.exists:
        if was_deleted:  # made and deleted; others have made it again
            return None
        _require_untouched(comparison, walk, current)
        return PlannedWrite(record, "removed")
    differing = {
        name: value
        for name, value in walk.former.items()
        if not comparison.is_same(name, current.get(name), value)
    }
    if not differing:
        return None
    if was_deleted:  # others have made another one
        raise Kept("changed later")
    for name in differing:
        if not _is_as_left(comparison, walk.expected, current, name):
            raise Kept("changed later")
    return PlannedWrite(record, "reverted", differing)


def _restored(record: TouchedRecord, walk: WalkBack) -> PlannedWrite:
    times = (walk.created_at, walk.updated_at)
    return PlannedWrite(record, "restored", walk.former, *times, owner=walk.owner)


def _require_untouched(
    comparison: FieldComparison, walk: WalkBack, current: Mapping[str, Any]
) -> None:
    """Raise Kept for a created record that has changed since."""
    is_same_record = current.get("created_at") == walk.expected_creation
    if not is_same_record:
        raise Kept("changed later")
    for name in walk.expected:
        if not _is_as_left(comparison, walk.expected, current, name):
            raise Kept("changed later")


def _is_as_left(
    comparison: FieldComparison, expected: Mapping[str, Any], current: Mapping[str, Any], name: str
) -> bool:
    return name in expected and comparison.is_same(name, current.get(name), expected[name])


def is_too_large(value: Any) -> bool:
    """Whether the trail has no more of a value than its length and hash."""
    if not isinstance(value, dict):
        return False
    members = cast("dict[str, Any]", value)
    if members.keys() != {"length", "sha256"}:
        return False
    sha256 = members["sha256"]
    return isinstance(sha256, str) and _SHA256.fullmatch(sha256) is not None


def kind_of(field: Field) -> ValueKind:
    """Return how values of a field behave."""
    if field.type == "entity_link":
        return "uuid" if field.sql_type.lower() == "uuid" else "text"
    if field.type == "file" and field.file is not None:
        return "file"
    return FIELD_KINDS[field.type]


def find_inverse(operations: Iterable[str]) -> Inverse | None:
    """Return what undoing changes does to a record; their operations come newest first."""
    ordered = [*operations]
    is_made = ordered[-1] == "INSERT"
    is_gone = ordered[0] == "DELETE"
    if is_made and is_gone:
        return None
    if is_made:
        return "removed"
    return "restored" if is_gone else "reverted"
