"""The fields of entities: a record of before a change of them cannot be read as one of now."""

from __future__ import annotations

import hashlib
from typing import Final

from kernel.public import Entity

SHAPE: Final = """
insert into caudex_audit.shapes as s (app_id, entity, shape)
select $1::text, entity, shape from unnest($2::text[], $3::text[]) as n (entity, shape)
on conflict (app_id, entity) do update set shape = excluded.shape, id = excluded.id,
    xid = excluded.xid
where s.shape <> excluded.shape"""

FORGET_SHAPES: Final = """
delete from caudex_audit.shapes where app_id = $1::text and entity <> all ($2::text[])"""


def shape_of(entity: Entity) -> str:
    """Hash the names and types of the fields that records of an entity have."""
    lines = [f"id {entity.id_type}"]
    lines += sorted(f"{field.name} {field.type} {field.sql_type}" for field in entity.fields)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]
