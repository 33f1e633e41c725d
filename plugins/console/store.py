"""Every SQL statement of the plugin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kernel.public import Reader, Renamed, Transaction

from .models import FoundView, NewView, StoredView, View

_INSTANCE: Final = "select id from caudex_console.instance"

_SETTINGS: Final = """
select coalesce(jsonb_object_agg(key, value), '{}')
from caudex_console.settings where user_id = $1::uuid"""

_KEEP: Final = """
insert into caudex_console.settings (user_id, key, value)
select $1::uuid, key, value from jsonb_each($2::jsonb)
on conflict (user_id, key) do update set value = excluded.value"""

_FORGET: Final = """
delete from caudex_console.settings where user_id = $1::uuid and key = any($2::text[])"""

_COUNT: Final = "select count(*) from caudex_console.settings where user_id = $1::uuid"

_VIEWS: Final = """
select json_build_object('id', id, 'name', name, 'role', role, 'own', owner_id = $3::uuid,
    'state', state)
from caudex_console.views
where app_id = $1::text and entity = $2::text
    and (owner_id = $3::uuid or role = any($4::text[]))
order by lower(name), id"""

_FIND_VIEW: Final = """
select json_build_object('id', id, 'entity', entity, 'name', name, 'role', role,
    'owner_id', owner_id, 'state', state)
from caudex_console.views where app_id = $1::text and id = $2::uuid"""

_SAVE_VIEW: Final = """
insert into caudex_console.views (app_id, entity, name, role, owner_id, state)
select $1::text, $2::text, $3::text, $4::text, $5::uuid, $6::jsonb
where (select count(*) from caudex_console.views where owner_id = $5::uuid) < $7::int
returning to_json(id)"""

_DELETE_VIEW: Final = """
delete from caudex_console.views where id = $1::uuid and owner_id = $2::uuid
returning to_json(id)"""

_OF_APP: Final = """
select json_build_object('id', id, 'entity', entity, 'state', state)
from caudex_console.views where app_id = $1::text for update"""

_CHANGE_VIEW: Final = """
update caudex_console.views set entity = $2::text, state = $3::jsonb where id = $1::uuid"""

# A setting `columns:<app>.<entity>` is a list of names of fields.
_RENAME_TABLE: Final = """
update caudex_console.settings as s set key = $2::text
where key = $1::text and not exists (
    select from caudex_console.settings as o where o.user_id = s.user_id and o.key = $2::text)"""

_RENAME_FIELD: Final = """
update caudex_console.settings set value = (
    select jsonb_agg(case item when to_jsonb($2::text) then to_jsonb($3::text) else item end
        order by place)
    from jsonb_array_elements(value) with ordinality as i (item, place))
where key = $1::text and jsonb_typeof(value) = 'array' and value ? $2::text"""

_CLOSE: Final = (
    "delete from caudex_console.settings where user_id = $1::uuid",
    "delete from caudex_console.views where owner_id = $1::uuid",
)

_decode_view: Final = msgspec.json.Decoder(View).decode
_decode_stored: Final = msgspec.json.Decoder(StoredView).decode
_decode_found: Final = msgspec.json.Decoder(FoundView).decode


async def read_instance(reader: Reader) -> str:
    """Return the id of this deployment."""
    row = await reader.fetch(_INSTANCE)
    return (row or b"").decode()


async def read_settings(reader: Reader, user_id: str) -> bytes:
    """Return the settings of a user as one JSON object."""
    return await reader.fetch(_SETTINGS, user_id) or b"{}"


async def change_settings(tx: Transaction, user_id: str, changes: Mapping[str, Any]) -> int:
    """Set what is not null, remove the rest; return how many settings the user has then."""
    values = {key: value for key, value in changes.items() if value is not None}
    removed_keys = [key for key, value in changes.items() if value is None]
    await tx.execute(_KEEP, user_id, msgspec.json.encode(values))
    await tx.execute(_FORGET, user_id, removed_keys)
    return int(await tx.execute(_COUNT, user_id) or 0)


async def read_views(
    reader: Reader, app_id: str, entity: str, user_id: str, roles: list[str]
) -> list[View]:
    """Return the views of a table that a user saved, or that are for one of the roles."""
    rows = await reader.fetch_all(_VIEWS, app_id, entity, user_id, roles)
    return [_decode_view(raw) for raw in rows]


async def find_view(reader: Reader, app_id: str, view_id: str) -> FoundView | None:
    """Return a view of an app that any user saved."""
    raw = await reader.fetch(_FIND_VIEW, app_id, view_id)
    return None if raw is None else _decode_found(raw)


async def save_view(tx: Transaction, user_id: str, view: NewView, limit: int) -> str | None:
    """Save a view and return its id; None where the user has `limit` of them."""
    row = await tx.execute(
        _SAVE_VIEW,
        view.app,
        view.entity,
        view.name,
        view.role,
        user_id,
        msgspec.json.encode(view.state),
        limit,
    )
    return None if row is None else msgspec.json.decode(row, type=str)


async def delete_view(tx: Transaction, user_id: str, view_id: str) -> bool:
    """Delete a view of the user; return whether it existed."""
    return await tx.execute(_DELETE_VIEW, view_id, user_id) is not None


async def read_views_of_app(tx: Transaction, app_id: str) -> list[StoredView]:
    """Read and lock every view of an app."""
    return [_decode_stored(raw) for raw in await tx.execute_all(_OF_APP, app_id)]


async def change_view(tx: Transaction, view_id: str, entity: str, state: Mapping[str, Any]) -> None:
    """Store a view with another table and state."""
    await tx.execute(_CHANGE_VIEW, view_id, entity, msgspec.json.encode(state))


async def rename_columns(tx: Transaction, app_id: str, name: Renamed) -> None:
    """Rename a table or a field in the columns that users chose."""
    if name.field is None:
        former_key = f"columns:{app_id}.{name.former}"
        await tx.execute(_RENAME_TABLE, former_key, f"columns:{app_id}.{name.entity}")
    else:
        key = f"columns:{app_id}.{name.entity}"
        await tx.execute(_RENAME_FIELD, key, name.former, name.field)


async def forget_user(tx: Transaction, user_id: str) -> None:
    """Delete everything of an account."""
    for statement in _CLOSE:
        await tx.execute(statement, user_id)
