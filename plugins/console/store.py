"""Every SQL statement of the plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from kernel.public import Reader, Renamed, Transaction

from .models import DeclaredRow, NewView, StoredView, ViewContent

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

# Of a manifest, one without a role is for every user of the app; an admin sees those of all roles.
_VIEWS: Final = """
select to_json(v)
from caudex_console.views as v
where app_id = $1::text and ($2::text is null or entity = $2::text)
    and (owner_id = $3::uuid or role = any($4::text[]) or ($5::bool and role is not null)
        or (owner_id is null and role is null and ($5::bool or cardinality($4::text[]) > 0)))
order by lower(name), id"""

_FIND_VIEW: Final = "select to_json(v) from caudex_console.views as v where id = $1::uuid"

_SAVE_VIEW: Final = """
insert into caudex_console.views (app_id, entity, name, role, owner_id, state)
select $1::text, $2::text, $3::text, $4::text, $5::uuid, $6::jsonb
where (select count(*) from caudex_console.views where owner_id = $5::uuid) < $7::int
returning to_json(id)"""

_CHANGE_VIEW: Final = """
update caudex_console.views as v
set name = $3::text, role = $4::text, state = $5::jsonb, version = version + 1
where id = $1::uuid and version = $2::int
returning to_json(v)"""

_DELETE_VIEW: Final = """
delete from caudex_console.views where id = $1::uuid and owner_id is not null
returning to_json(id)"""

_OF_APP: Final = """
select to_json(v) from caudex_console.views as v where app_id = $1::text for update"""

_CHANGE_STATE: Final = """
update caudex_console.views
set entity = $2::text, state = $3::jsonb, version = version + 1 where id = $1::uuid"""

# What stays as it was keeps its version, and all keep their ids.
_DECLARE: Final = """
with declared as (
    select * from jsonb_to_recordset($3::jsonb)
        as d (name text, entity text, role text, state jsonb)
), gone as (
    delete from caudex_console.views as v where app_id = $1::text and install_stamp is not null
    and not exists (
        select from declared as d
        where d.name = v.name and (d.entity is null) = (v.entity is null))
)
insert into caudex_console.views as v (app_id, entity, name, role, state, install_stamp)
select $1::text, entity, name, role, state, $2::bigint from declared
on conflict (app_id, (entity is null), name) where install_stamp is not null do update
set entity = excluded.entity, role = excluded.role, state = excluded.state,
    install_stamp = excluded.install_stamp,
    version = v.version + case
        when (v.entity, v.role, v.state)
            is distinct from (excluded.entity, excluded.role, excluded.state) then 1
        else 0
    end"""

_INSTALL_STAMPS: Final = """
select coalesce(jsonb_object_agg(app_id, stamp), '{}') from (
    select app_id, max(install_stamp) as stamp from caudex_console.views
    where install_stamp is not null group by app_id) as s"""

_DECLARED_ROLES: Final = """
select coalesce(jsonb_agg(distinct role), '[]') from caudex_console.views
where app_id = $1::text and install_stamp is not null and role is not null"""

# A setting `columns:<app>.<entity>` is a list of names of fields; `widths:<app>.<entity>` an object
# with such names.
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

_RENAME_WIDTH: Final = """
update caudex_console.settings
set value = (value - $2::text) || jsonb_build_object($3::text, value -> $2::text)
where key = $1::text and jsonb_typeof(value) = 'object' and value ? $2::text"""

_CLOSE: Final = (
    "delete from caudex_console.settings where user_id = $1::uuid",
    "delete from caudex_console.views where owner_id = $1::uuid",
)

_decode_view: Final = msgspec.json.Decoder(StoredView).decode
_decode_stamps: Final = msgspec.json.Decoder(dict[str, int]).decode
_decode_names: Final = msgspec.json.Decoder(list[str]).decode


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
    reader: Reader, app_id: str, entity: str | None, user_id: str, roles: list[str], is_admin: bool
) -> list[StoredView]:
    """Return the views of a table, or of an app, that a user may see."""
    rows = await reader.fetch_all(_VIEWS, app_id, entity, user_id, roles, is_admin)
    return [_decode_view(raw) for raw in rows]


async def find_view(reader: Reader, view_id: str) -> StoredView | None:
    """Return a view that any user saved, or a manifest declares."""
    raw = await reader.fetch(_FIND_VIEW, view_id)
    return None if raw is None else _decode_view(raw)


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


async def change_view(
    tx: Transaction, view_id: str, version: int, content: ViewContent
) -> StoredView | None:
    """Change a view that has this version, and return it; None where it has another one."""
    state = msgspec.json.encode(content.state)
    row = await tx.execute(_CHANGE_VIEW, view_id, version, content.name, content.role, state)
    return None if row is None else _decode_view(row)


async def delete_view(tx: Transaction, view_id: str) -> bool:
    """Delete a view that a user saved; return whether it existed."""
    return await tx.execute(_DELETE_VIEW, view_id) is not None


async def read_views_of_app(tx: Transaction, app_id: str) -> list[StoredView]:
    """Read and lock every view of an app."""
    return [_decode_view(raw) for raw in await tx.execute_all(_OF_APP, app_id)]


async def change_state(
    tx: Transaction, view_id: str, entity: str | None, state: Mapping[str, Any]
) -> None:
    """Store a view with another table and state."""
    await tx.execute(_CHANGE_STATE, view_id, entity, msgspec.json.encode(state))


async def declare_views(
    tx: Transaction, app_id: str, stamp: int, rows: Sequence[DeclaredRow]
) -> None:
    """Replace what the manifest of an app declares."""
    await tx.execute(_DECLARE, app_id, stamp, msgspec.json.encode(rows))


async def read_install_stamps(reader: Reader) -> dict[str, int]:
    """Return, by app, the install whose declared views are stored."""
    return _decode_stamps(await reader.fetch(_INSTALL_STAMPS) or b"{}")


async def read_declared_roles(reader: Reader, app_id: str) -> list[str]:
    """Return the roles that the present manifest of an app declares views for."""
    return _decode_names(await reader.fetch(_DECLARED_ROLES, app_id) or b"[]")


async def rename_columns(tx: Transaction, app_id: str, name: Renamed) -> None:
    """Rename a table or a field in the columns that users chose, and in their widths."""
    columns = f"columns:{app_id}."
    widths = f"widths:{app_id}."
    if name.field is None:
        for prefix in (columns, widths):
            await tx.execute(_RENAME_TABLE, prefix + name.former, prefix + name.entity)
    else:
        await tx.execute(_RENAME_FIELD, columns + name.entity, name.former, name.field)
        await tx.execute(_RENAME_WIDTH, widths + name.entity, name.former, name.field)


async def forget_user(tx: Transaction, user_id: str) -> None:
    """Delete everything of an account."""
    for statement in _CLOSE:
        await tx.execute(statement, user_id)
