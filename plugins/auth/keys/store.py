"""The SQL of API keys."""

from __future__ import annotations

from typing import Final

import msgspec

from kernel.public import InstallPlan, Limits, Reader, Statements, Transaction, rename_keys

from .models import KeyRow, KeyUser, MadeKey, OwnedKey

# A key that has a second factor, or needs none: as in `store._IDENTIFY` for sessions.
_FIND: Final = """
select row_to_json(r) from (
    select k.id as key, case when k.hash = $1::text then k.hash else k.former_hash end as hash,
        k.user_id, u.username, k.apps, k.permissions,
        k.external or u.kind = 'service' or exists (
            select from caudex_auth.totp t where t.user_id = u.id and t.confirmed_at is not null
        ) as factor,
        extract(epoch from least(
            k.expires_at, case when k.hash <> $1::text then k.former_until end
        ) - now())::float8 as seconds
    from caudex_auth.keys k join caudex_auth.users u on u.id = k.user_id
    where (k.hash = $1::text or (k.former_hash = $1::text and k.former_until > now()))
    and (k.expires_at is null or k.expires_at > now()) and not u.disabled
) r"""
_FIND_ID: Final = """
select row_to_json(r) from (
    select k.id as key, k.hash, k.user_id, u.username, k.apps, k.permissions, true as factor,
        extract(epoch from k.expires_at - now())::float8 as seconds
    from caudex_auth.keys k join caudex_auth.users u on u.id = k.user_id
    where k.id = $1::uuid and k.user_id = $2::uuid
    and (k.expires_at is null or k.expires_at > now()) and not u.disabled
) r"""
_ID_OF_HASH: Final = """
select id::text from caudex_auth.keys where hash = $1::text or former_hash = $1::text"""
_COUNT: Final = """
select count(*) from caudex_auth.keys
where user_id = $1::uuid and (expires_at is null or expires_at > now())"""
_INSERT: Final = """
with r as (
    insert into caudex_auth.keys
        (user_id, name, prefix, hash, apps, permissions, expires_at, external)
    select $1::uuid, $2::text, $3::text, $4::text, $5::text[], $6::text[], $7::timestamptz,
        coalesce((select s.external from caudex_auth.sessions s where s.id = $8::uuid), false)
    returning id, name, prefix, created_at, expires_at as expires
) select row_to_json(r) from r"""
_LIST: Final = """
select row_to_json(r) from (
    select id, name, prefix, apps, permissions, created_at, expires_at as expires, last_used_at,
        last_address
    from caudex_auth.keys where user_id = $1::uuid order by created_at desc, id limit 1000
) r"""
_LOCK: Final = """
select row_to_json(r) from (
    select k.id, k.user_id, u.kind, k.name, coalesce(k.expires_at <= now(), false) as expired,
        k.apps, k.permissions
    from caudex_auth.keys k join caudex_auth.users u on u.id = k.user_id
    where k.id = $1::uuid for update of k
) r"""
_ROTATE: Final = """
with r as (
    update caudex_auth.keys set hash = $2::text, prefix = $3::text,
        former_hash = case when $4::int > 0 then hash end,
        former_until = case when $4::int > 0 then now() + make_interval(secs => $4::int) end
    where id = $1::uuid
    returning id, name, prefix, created_at, expires_at as expires
) select row_to_json(r) from r"""
_OF_APP: Final = """
select row_to_json(r) from (
    select k.id, k.permissions from caudex_auth.keys k
    where exists (select from unnest(k.permissions) as p where starts_with(p, $1::text || ':'))
    for update
) r"""
_SET_PERMISSIONS: Final = """
update caudex_auth.keys set permissions = $2::text[] where id = $1::uuid"""
_NOTE_USES: Final = """
update caudex_auth.keys k set last_used_at = now(), last_address = n.address
from unnest($1::uuid[], $2::text[]) as n (id, address) where k.id = n.id"""
_REMOVE_EXPIRED: Final = """
delete from caudex_auth.keys where id in (
    select id from caudex_auth.keys where expires_at < now() - interval '30 days'
    limit $1::int for update skip locked
)"""

_user = msgspec.json.Decoder(KeyUser).decode
_row = msgspec.json.Decoder(KeyRow).decode
_owned = msgspec.json.Decoder(OwnedKey).decode


class _Returned(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    prefix: str
    created_at: str
    expires: str | None

    def add_key(self, key: str) -> MadeKey:
        return MadeKey(**msgspec.structs.asdict(self), key=key)


class _KeyOfApp(msgspec.Struct, frozen=True):
    id: str
    permissions: list[str]


_of_app = msgspec.json.Decoder(_KeyOfApp).decode
_returned = msgspec.json.Decoder(_Returned).decode


async def find(reader: Reader, key_hash: str) -> KeyUser | None:
    """Return the user of a valid key."""
    row = await reader.fetch(_FIND, key_hash)
    return None if row is None else _user(row)


async def find_id(reader: Reader, key_id: str, user_id: str) -> KeyUser | None:
    """Return the user of a key that has not ended."""
    row = await reader.fetch(_FIND_ID, key_id, user_id)
    return None if row is None else _user(row)


async def id_of_hash(reader: Reader, key_hash: str) -> str | None:
    """Return the id of a key, for the log."""
    row = await reader.fetch(_ID_OF_HASH, key_hash)
    return None if row is None else row.decode()


async def count(tx: Transaction, user_id: str) -> int:
    """Count the keys of a user that have not expired."""
    return int(await tx.fetch(_COUNT, user_id) or 0)


async def insert(
    tx: Transaction,
    user_id: str,
    name: str,
    limits: Limits,
    expires: str | None,
    secret: tuple[str, str, str],
) -> MadeKey:
    """Add a key; `secret` is the key, its prefix and its hash."""
    key, prefix, key_hash = secret
    apps = None if limits.apps is None else list(limits.apps)
    permissions = None if limits.permissions is None else list(limits.permissions)
    row = await tx.execute(
        _INSERT, user_id, name, prefix, key_hash, apps, permissions, expires, tx.actor.session_id
    )
    return _returned(row or b"").add_key(key)


async def read_keys(reader: Reader, user_id: str) -> list[KeyRow]:
    """Read the keys of a user, the newest first."""
    return [_row(row) for row in await reader.fetch_all(_LIST, user_id)]


async def lock(tx: Transaction, key_id: str) -> OwnedKey | None:
    """Read and lock a key."""
    row = await tx.execute(_LOCK, key_id)
    return None if row is None else _owned(row)


async def rotate(
    tx: Transaction, key_id: str, secret: tuple[str, str, str], overlap: int
) -> MadeKey:
    """Replace a key; the former one is valid for `overlap` seconds."""
    key, prefix, key_hash = secret
    row = await tx.execute(_ROTATE, key_id, key_hash, prefix, overlap)
    return _returned(row or b"").add_key(key)


async def rename_permissions(tx: Transaction, plan: InstallPlan) -> list[str]:
    """Rename what an install renames in the permissions of keys; return the ids of these keys."""
    app_id = plan.app.id
    changed_ids: list[str] = []
    for row in await tx.fetch_all(_OF_APP, app_id):
        key = _of_app(row)
        permissions: list[str] = []
        for permission in key.permissions:
            app, _, name = permission.partition(":")
            if app == app_id:
                permissions += [f"{app}:{renamed}" for renamed in rename_keys(plan, [name])]
            else:
                permissions.append(permission)
        if permissions != key.permissions:
            await tx.execute(_SET_PERMISSIONS, key.id, permissions)
            changed_ids.append(key.id)
    return changed_ids


async def delete(tx: Transaction, key_id: str) -> None:
    """Remove a key."""
    await tx.execute("delete from caudex_auth.keys where id = $1::uuid", key_id)


async def delete_all(tx: Transaction, user_id: str) -> None:
    """Remove every key of a user."""
    await tx.execute("delete from caudex_auth.keys where user_id = $1::uuid", user_id)


async def note_uses(statements: Statements, ids: list[str], addresses: list[str]) -> None:
    """Note that keys were used now, each from an address."""
    await statements.execute(_NOTE_USES, ids, addresses)


async def remove_expired(statements: Statements, limit: int) -> None:
    """Delete keys that expired over a month ago."""
    await statements.execute(_REMOVE_EXPIRED, limit)
