"""Under which names the trail has what an entity and its fields are called today."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from kernel.public import Reader

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


# Of one app: it has few.
OF_APP: Final = """
select json_build_object('entity', entity, 'field', field, 'former', former,
    'since', since, 'until', until)
from caudex_audit.names where app_id = $1::text order by until"""

_decode_name = msgspec.json.Decoder(FormerName).decode


class NameHistory:
    """What rows of an app's trail are called today."""

    def __init__(self, names: Sequence[FormerName]) -> None:
        self._names = names

    def list_stored(self, entity: str) -> list[str]:
        """Return all names under which rows of an entity are found."""
        return sorted({period.stored for period in periods_of_entity(entity, self._names)})

    def find_entity(self, stored: str, row_id: int) -> str | None:
        """Return the present name of a row's entity; None where another one has the name now."""
        of_entities = [name for name in self._names if not name.field]
        is_taken = False
        for name in of_entities:
            if name.former == stored and name.since <= row_id < name.until:
                return name.entity
            is_taken = is_taken or (stored in (name.entity, name.former) and row_id < name.until)
        return None if is_taken else stored

    def rename_members(
        self, entity: str, row_id: int, members: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        """Return a row's fields under their present names; those of other fields are left out."""
        if members is None:
            return None
        return rename_members(members, find_present_fields(entity, self._names, row_id))


async def read_names(reader: Reader, app_id: str) -> NameHistory:
    """Return the former names of an app's entities and fields."""
    rows = await reader.fetch_all(OF_APP, app_id)
    return NameHistory([_decode_name(row) for row in rows])


def find_present_fields(
    entity: str, names: Iterable[FormerName], row_id: int
) -> Mapping[str, str | None]:
    """Return the present names of fields of a row; None where a name is of something else now.

    A field that is not in there has had its name all the time. `entity` is a present name.
    """
    present_names: dict[str, str | None] = {}
    renames = [name for name in names if name.field and name.entity == entity]
    later = [name for name in renames if row_id < name.until]
    for name in later:
        present_names.setdefault(name.field, None)
        present_names.setdefault(name.former, None)
        if name.since <= row_id:
            present_names[name.former] = name.field
    return present_names


def rename_members(
    members: Mapping[str, Any], present_names: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return the members of a record under their present names."""
    renamed: dict[str, Any] = {}
    for name, value in members.items():
        present_name = present_names.get(name, name)
        if present_name is not None:
            renamed[present_name] = value
    return renamed


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
