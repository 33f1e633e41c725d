"""Every statement of the plugin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from kernel.public import (
    AppGrant,
    Assignment,
    NotFound,
    Permission,
    Reader,
    Role,
    Statements,
    Transaction,
)

from .field_rules import FieldRule
from .models import ADMIN, AppAssignment, AppRow

MAX_ASSIGNMENTS: Final = 10_000
"""Assignments of several apps that are read at once."""

_APP: Final = """
select row_to_json(r) from (
    select a.app_id, a.entities, a.permissions, a.field_rules,
        coalesce((
            select json_agg(jsonb_build_object('name', o.name, 'description', o.description,
                'inherits', o.inherits, 'permissions', o.permissions)
                || case when o.second_factor then '{"secondFactor": true}'::jsonb else '{}' end
                order by o.name collate "C")
            from caudex_rbac.roles o where o.app_id = a.app_id), '[]') as roles,
        coalesce((
            select json_object_agg(g.app_id, g.permissions)
            from caudex_rbac.grants g where g.target = a.app_id), '{}') as grants
    from caudex_rbac.apps a where a.app_id = $1::text
) r"""
_HELD: Final = """
select json_object_agg(app_id, roles) from (
    select app_id, array_agg(role order by role collate "C") as roles
    from caudex_rbac.assignments where user_id = $1::uuid group by app_id
) h having count(*) > 0"""
_ASSIGNMENTS: Final = """
select row_to_json(r) from (
    select user_id as "userId", role,
        to_char(assigned_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')
            as "assignedAt"
    from caudex_rbac.assignments where app_id = $1::text
    order by role collate "C", assigned_at, user_id
) r"""
_ALL_ASSIGNMENTS: Final = """
select row_to_json(r) from (
    select app_id as app, user_id as "userId", role,
        to_char(assigned_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')
            as "assignedAt"
    from caudex_rbac.assignments
    where $1::text[] is null or app_id = any ($1::text[])
    order by app_id collate "C", role collate "C", assigned_at, user_id limit $2::int
) r"""
_LOCK_APP: Final = """
select json_build_object('app_id', app_id, 'entities', entities, 'permissions', permissions,
    'roles', '[]'::json, 'grants', coalesce((
        select json_object_agg(g.app_id, g.permissions)
        from caudex_rbac.grants g where g.target = $1::text), '{}'))
from caudex_rbac.apps where app_id = $1::text for update"""
_ROLES: Final = """
select jsonb_build_object('name', name, 'description', description, 'inherits', inherits,
    'permissions', permissions)
    || case when second_factor then '{"secondFactor": true}'::jsonb else '{}' end
from caudex_rbac.roles where app_id = $1::text order by name collate "C" """
_LOCK_ROLE: Final = """
select name from caudex_rbac.roles where app_id = $1::text and name = $2::text for update"""
_SHARE_ROLE: Final = """
select name from caudex_rbac.roles where app_id = $1::text and name = $2::text for key share"""
_INSERT_ROLE: Final = """
insert into caudex_rbac.roles (app_id, name, description, inherits, permissions, second_factor)
values ($1::text, $2::text, $3::text, $4::text[], $5::text[], $6::boolean)
on conflict do nothing"""
_UPDATE_ROLE: Final = """
update caudex_rbac.roles
set description = $3::text, inherits = $4::text[], permissions = $5::text[],
    second_factor = $6::boolean
where app_id = $1::text and name = $2::text"""
_DELETE_ROLE: Final = """
with orphans as (
    update caudex_rbac.roles set inherits = array_remove(inherits, $2::text)
    where app_id = $1::text and name <> $2::text and inherits @> array[$2::text]
)
delete from caudex_rbac.roles where app_id = $1::text and name = $2::text"""
_ASSIGN: Final = """
insert into caudex_rbac.assignments (app_id, role, user_id)
values ($1::text, $2::text, $3::uuid) on conflict do nothing returning user_id"""
_REVOKE: Final = """
delete from caudex_rbac.assignments
where app_id = $1::text and role = $2::text and user_id = $3::uuid returning user_id"""
_HOLDERS: Final = """
select to_json(user_id) from caudex_rbac.assignments
where app_id = $1::text and role = $2::text order by assigned_at"""
_FORGET_USER: Final = """
delete from caudex_rbac.assignments where user_id = $1::uuid returning to_json(app_id)"""
_PUT_APP: Final = """
insert into caudex_rbac.apps (app_id, entities, permissions, field_rules)
values ($1::text, $2::text[], $3::jsonb, $4::jsonb)
on conflict (app_id) do update set entities = excluded.entities, permissions = excluded.permissions,
    field_rules = excluded.field_rules
"""
_GRANTS: Final = """
select json_build_object('app', target, 'permissions', permissions) from caudex_rbac.grants
where app_id = $1::text order by target"""
_PUT_GRANT: Final = """
insert into caudex_rbac.grants (app_id, target, permissions)
values ($1::text, $2::text, $3::text[])
on conflict (target, app_id) do update set permissions = excluded.permissions"""
_DELETE_GRANT: Final = """
delete from caudex_rbac.grants where app_id = $1::text and target = $2::text
returning to_json(permissions)"""
_PEERS: Final = """
select coalesce(json_agg(user_id), '[]') from (
    select shared.user_id from caudex_rbac.assignments own
    join caudex_rbac.assignments shared on shared.app_id = own.app_id
    where own.user_id = $1::uuid and own.app_id <> 'core'
    union
    select user_id from caudex_rbac.assignments where app_id = 'core' and role = 'admin'
) r"""
_KNOWN: Final = "select to_json(app_id) from caudex_rbac.apps"

_app = msgspec.json.Decoder(AppRow)
_role = msgspec.json.Decoder(Role)
_assignment = msgspec.json.Decoder(Assignment)
_app_assignment = msgspec.json.Decoder(AppAssignment)
_grant = msgspec.json.Decoder(AppGrant)
_keys = msgspec.json.Decoder(list[str])
_text = msgspec.json.Decoder(str)
_held = msgspec.json.Decoder(dict[str, tuple[str, ...]])


class RbacStore:
    """Apps, roles and assignments in `caudex_rbac`."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def app(self, app_id: str) -> AppRow | None:
        """Read an app with its roles."""
        row = await self._statements.fetch(_APP, app_id)
        return None if row is None else _app.decode(row)

    async def held_roles(self, user_id: str) -> dict[str, tuple[str, ...]]:
        """Read the names of the roles that a user was assigned, by app."""
        return _held.decode(await self._statements.fetch(_HELD, user_id) or b"{}")

    async def peers(self, user_id: str) -> list[str]:
        """Read the users with a role on an app where this user has one, and the core admins."""
        return _keys.decode(await self._statements.fetch(_PEERS, user_id) or b"[]")

    async def assignments(self, app_id: str) -> list[Assignment]:
        """Every assignment on an app, by role, then by age."""
        rows = await self._statements.fetch_all(_ASSIGNMENTS, app_id)
        return [_assignment.decode(row) for row in rows]

    async def all_assignments(self, app_ids: Sequence[str] | None) -> list[AppAssignment]:
        """Read the assignments on these apps, None for all: 10,000 at most."""
        rows = await self._statements.fetch_all(_ALL_ASSIGNMENTS, app_ids, MAX_ASSIGNMENTS)
        return [_app_assignment.decode(row) for row in rows]


async def lock_app(tx: Transaction, app_id: str) -> tuple[AppRow, dict[str, Role]]:
    """Lock the roles of an app; return both. Raises NotFound."""
    row = await tx.execute(_LOCK_APP, app_id)
    if row is None:
        raise NotFound(f"app '{app_id}' not found")
    roles = [_role.decode(role_row) for role_row in await tx.fetch_all(_ROLES, app_id)]
    return _app.decode(row), {role.name: role for role in roles}


async def lock_user(tx: Transaction, user_id: str) -> None:
    """Lock a user's roles: one transaction at a time assigns them or closes the account."""
    await tx.lock(f"rbac.user:{user_id}")


async def lock_role(tx: Transaction, app_id: str, name: str) -> bool:
    """Lock a role against assigning, revoking and deleting; False where it does not exist."""
    return await tx.execute(_LOCK_ROLE, app_id, name) is not None


async def share_role(tx: Transaction, app_id: str, name: str) -> bool:
    """Lock a role against deleting; False where it does not exist."""
    return await tx.execute(_SHARE_ROLE, app_id, name) is not None


async def insert_role(tx: Transaction, app_id: str, role: Role) -> None:
    """Add a role unless it exists."""
    await tx.execute(
        _INSERT_ROLE,
        app_id,
        role.name,
        role.description,
        role.inherits,
        role.permissions,
        role.second_factor is True,
    )


async def update_role(tx: Transaction, app_id: str, role: Role) -> None:
    """Replace everything of a role except its name."""
    await tx.execute(
        _UPDATE_ROLE,
        app_id,
        role.name,
        role.description,
        role.inherits,
        role.permissions,
        role.second_factor is True,
    )


async def delete_role(tx: Transaction, app_id: str, name: str) -> None:
    """Remove a role, its assignments, and its name from the `inherits` of others."""
    await tx.execute(_DELETE_ROLE, app_id, name)


async def assign(tx: Transaction, app_id: str, role: str, user_id: str) -> bool:
    """Add an assignment; False where it exists."""
    return await tx.execute(_ASSIGN, app_id, role, user_id) is not None


async def revoke(tx: Transaction, app_id: str, role: str, user_id: str) -> bool:
    """Remove an assignment; False where it does not exist."""
    return await tx.execute(_REVOKE, app_id, role, user_id) is not None


async def holders(tx: Reader, app_id: str, role: str) -> list[str]:
    """List the users that were assigned a role, the oldest assignment first."""
    return [_text.decode(row) for row in await tx.fetch_all(_HOLDERS, app_id, role)]


async def forget_user(tx: Transaction, user_id: str) -> Sequence[str]:
    """Remove every assignment of a user; return the apps they were on."""
    return [_text.decode(row) for row in await tx.execute_all(_FORGET_USER, user_id)]


async def grants_of(reader: Reader, app_id: str) -> list[AppGrant]:
    """Every grant of an app, by the other app."""
    return [_grant.decode(row) for row in await reader.fetch_all(_GRANTS, app_id)]


async def put_grant(tx: Transaction, app_id: str, target: str, keys: Sequence[str]) -> None:
    """Store the keys of another app that an app may use."""
    await tx.execute(_PUT_GRANT, app_id, target, keys)


async def delete_grant(tx: Transaction, app_id: str, target: str) -> list[str] | None:
    """Delete what an app may use of another one, and return it; None where there is nothing."""
    row = await tx.execute(_DELETE_GRANT, app_id, target)
    return None if row is None else _keys.decode(row)


async def put_app(
    tx: Transaction,
    app_id: str,
    entities: Sequence[str],
    permissions: Sequence[Permission],
    rules: Sequence[FieldRule],
) -> None:
    """Add an app, or replace its entities, permission keys and rules of fields."""
    encoded_permissions = msgspec.json.encode(permissions)
    encoded_rules = msgspec.json.encode(rules)
    await tx.execute(_PUT_APP, app_id, entities, encoded_permissions, encoded_rules)


async def add_admin_role(tx: Transaction, app_id: str) -> None:
    """Add the built-in role of an app unless it exists."""
    role = Role(name=ADMIN, description="Everything on this app", permissions=["*"])
    await insert_role(tx, app_id, role)


async def list_app_ids(reader: Reader) -> set[str]:
    """Return the ids of the apps that have roles here."""
    return {_text.decode(row) for row in await reader.fetch_all(_KNOWN)}
