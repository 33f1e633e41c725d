"""Under which names the trail has what an entity and its fields are called today."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

LAST: Final = 2**63 - 1
"""An id that no row of the trail has yet."""


class FormerName(msgspec.Struct, frozen=True, kw_only=True):
    """A former name; `field` is empty where it is one of the entity itself."""

    entity: str
    field: str
    former: str
    since: int
    until: int


class NamePeriod(msgspec.Struct, frozen=True):
    """Rows of the trail from the id `since` on, below `until`, have `stored` for `name`."""

    name: str
    stored: str
    since: int
    until: int


def periods_of_entity(entity: str, names: Iterable[FormerName]) -> list[NamePeriod]:
    """Return the periods of an entity, the present one last."""
    of_entities = [name for name in names if not name.field]
    return _list_periods(entity, [(name.entity, name) for name in of_entities])


def periods_of_fields(
    entity: str, fields: Iterable[str], names: Iterable[FormerName]
) -> list[NamePeriod]:
    """Return the periods of fields of an entity."""
    of_fields = [(name.field, name) for name in names if name.field and name.entity == entity]
    periods: list[NamePeriod] = []
    for field in fields:
        periods += _list_periods(field, of_fields)
    return periods


def _list_periods(present: str, names: Sequence[tuple[str, FormerName]]) -> list[NamePeriod]:
    """Return the periods of a name; `names` are the former names with the present one of each."""
    periods = [
        NamePeriod(present, name.former, name.since, name.until)
        for owner, name in names
        if owner == present
    ]
    # What had this name before, or had another one since, is not what has it today.
    ends = [name.until for owner, name in names if present in (owner, name.former)]
    return [*periods, NamePeriod(present, present, max(ends, default=0), LAST)]
