"""Records of before a change of their entity, with the fields of today."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace
from psycopg import sql

from kernel.public import ChangeLoss, CommittedChange, Statements, cut_changes
from plugins.audit.names import (
    FormerName,
    NamePeriod,
    find_present_fields,
    periods_of_entity,
    rename_members,
)

from .replaced import find_replaced

# The shapes of entities, and what they and their fields were called.
HISTORY: Final = """
select json_build_object(
    'app_id', s.app_id, 'entity', s.entity, 'shape', s.id,
    'names', (
        select coalesce(json_agg(n order by n.until), '[]') from caudex_audit.names as n
        where n.app_id = s.app_id
        and (n.entity = s.entity or (n.field = '' and n.former = s.entity))
    ))
from caudex_audit.shapes as s
where s.app_id || '.' || s.entity = any ($1::text[])"""

# Nothing comes back where an install has changed the entity since its names were read.
RESHAPE: Final = sql.SQL("""
select json_build_array(
    caudex_audit.reshaped(null::{table}, nullif(change -> 0, 'null')),
    caudex_audit.reshaped(null::{table}, nullif(change -> 1, 'null')))
from jsonb_array_elements($1::jsonb) with ordinality as e (change, place)
where exists (select from caudex_audit.shapes
    where app_id = $2::text and entity = $3::text and id = $4::bigint)
order by place""")

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_pair = msgspec.json.Decoder(tuple[msgspec.Raw, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class Loss(NamedTuple):
    """Why changes of a subject are lost: what a row of a transaction says."""

    reason: ChangeLoss
    transaction: int
    row_id: int


class EntityHistory(msgspec.Struct, frozen=True, kw_only=True):
    """What an entity and its fields were called; `shape` is the id of its latest change."""

    app_id: str
    entity: str
    shape: int
    names: Sequence[FormerName]

    @property
    def subject(self) -> str:
        """The entity as CHANGES names it."""
        return f"{self.app_id}.{self.entity}"

    @property
    def periods(self) -> Sequence[NamePeriod]:
        """Which rows of the trail are about this entity, and under which name."""
        return periods_of_entity(self.entity, self.names)


class History(msgspec.Struct, frozen=True):
    """The histories of the entities that a batch needs reshaped, by subject."""

    entities: Mapping[str, EntityHistory]

    @property
    def subjects(self) -> frozenset[str]:
        """All subjects under which rows of these entities are found."""
        return frozenset(
            f"{entity.app_id}.{period.stored}"
            for entity in self.entities.values()
            for period in entity.periods
        )

    def has_shapes(self, losses: Mapping[str, Loss]) -> bool:
        """Whether the entities are still what a batch took them for."""
        return all(
            subject in self.entities and self.entities[subject].shape == loss.row_id
            for subject, loss in losses.items()
        )


_decode_history = msgspec.json.Decoder(EntityHistory).decode


class Reshaper:
    """Gives changes of records the names and fields that their entities have today."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def read_history(self, subjects: Collection[str]) -> History:
        """Return what subjects were called, those that are entities of today."""
        rows = await self._statements.fetch_all(HISTORY, sorted(subjects), quick=False)
        entities = [_decode_history(row) for row in rows]
        return History({entity.subject: entity for entity in entities})

    async def reshape(
        self, history: History, changes: Sequence[CommittedChange]
    ) -> list[CommittedChange] | None:
        """Return the changes that are about entities of today, in the form of today.

        None where an install came in between.
        """
        renamed = [_rename(change, history) for change in changes]
        present = [change for change in renamed if change is not None]
        reshaped: dict[int, CommittedChange] = {}
        for entity in history.entities.values():
            former = [
                change
                for change in present
                if change.subject == entity.subject and change.id < entity.shape
            ]
            for part in cut_changes(former):
                converted = await self._convert(entity, part)
                if len(converted) < len(part):
                    return None
                reshaped |= {change.id: change for change in converted}
        return [reshaped.get(change.id, change) for change in present]

    async def _convert(
        self, entity: EntityHistory, changes: Sequence[CommittedChange]
    ) -> list[CommittedChange]:
        """Give records the types of today; an empty list where the entity is another one now."""
        table = sql.Identifier(entity.app_id, entity.entity)
        statement = RESHAPE.format(table=table).as_bytes(None)
        pairs = [b"[%b,%b]" % (change.old or b"null", change.new or b"null") for change in changes]
        document = b"[%b]" % b",".join(pairs)
        rows = await self._statements.fetch_all(
            statement, document, entity.app_id, entity.entity, entity.shape, quick=False
        )
        if not rows:
            return []
        pairs_of_changes = zip(changes, rows, strict=True)
        return [_replace_records(change, row) for change, row in pairs_of_changes]


def _rename(change: CommittedChange, history: History) -> CommittedChange | None:
    """Give a change the present names of its entity and its fields.

    None where it is about something that had a name of today's entity.
    """
    is_named_alike = False
    for entity in history.entities.values():
        if entity.app_id != change.app_id:
            continue
        for period in entity.periods:
            if period.stored != change.entity:
                continue
            is_named_alike = True
            if period.since <= change.id < period.until:
                return _rename_fields(change, entity)
    return None if is_named_alike else change


def _rename_fields(change: CommittedChange, entity: EntityHistory) -> CommittedChange:
    present_names = find_present_fields(entity.entity, entity.names, change.id)
    return replace(
        change,
        entity=entity.entity,
        old=_rename_members(change.old, present_names),
        new=_rename_members(change.new, present_names),
    )


def _rename_members(record: bytes | None, present_names: Mapping[str, str | None]) -> bytes | None:
    if record is None or not present_names:
        return record
    return _encode(rename_members(_decode_fields(record), present_names))


def _replace_records(change: CommittedChange, row: bytes) -> CommittedChange:
    old, new = (bytes(record) for record in _decode_pair(row))
    old_record = None if old == b"null" else old
    new_record = None if new == b"null" else new
    replaced = {*find_replaced(old_record), *find_replaced(new_record)}
    return replace(change, old=old_record, new=new_record, replaced=tuple(sorted(replaced)))
