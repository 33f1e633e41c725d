"""Every statement of the plugin."""

from __future__ import annotations

from typing import Final

import msgspec

from kernel.public import Reader, Statements, Transaction

from .models import DataKeyRow, Scope, SecretRow

MASTER: Final = "select key_id from caudex_vault.master"
_LOCK_MASTER: Final = "select key_id from caudex_vault.master for update"
_SHARE_MASTER: Final = "select key_id from caudex_vault.master for share"
_CLAIM_MASTER: Final = """
insert into caudex_vault.master as m (key_id) values ($1::text)
on conflict (only_row) do update set key_id = m.key_id returning key_id"""
_SET_MASTER: Final = "update caudex_vault.master set key_id = $1::text"
_DATA_KEYS: Final = """
select row_to_json(r) from (
    select id, scope, app_id, master_id, encode(sealed, 'base64') as sealed
    from caudex_vault.data_keys
    where $1::text is null or (scope = $1::text and app_id = $2::text)
    order by id
) r"""
_INSERT_DATA_KEY: Final = """
insert into caudex_vault.data_keys (id, scope, app_id, master_id, sealed)
values ($1::uuid, $2::text, $3::text, $4::text, decode($5::text, 'base64'))
on conflict (scope, app_id) do nothing"""
_REWRAP: Final = """
update caudex_vault.data_keys
set master_id = $2::text, sealed = decode($3::text, 'base64') where id = $1::uuid"""
_SECRETS: Final = """
select row_to_json(r) from (
    select scope, app_id, key, version, data_key, encode(sealed, 'base64') as sealed
    from caudex_vault.secrets
    where scope = 'platform' or (scope = 'app' and app_id = $1::text)
    order by scope desc, key
) r"""
_NAMES: Final = """
select coalesce(json_agg(key order by key collate "C"), '[]') from caudex_vault.secrets
where scope = $1::text and app_id = $2::text"""
_USED: Final = """
update caudex_vault.secrets set used_at = now(), used_by = $1::text
where (scope = 'platform' or (scope = 'app' and app_id = $1::text))
    and (used_by is distinct from $1::text or used_at < now() - interval '1 minute')"""
_USAGE: Final = """
select coalesce(json_agg(s), '[]') from (
    select key, used_by,
        to_char(updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as updated_at,
        to_char(used_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as used_at
    from caudex_vault.secrets where scope = $1::text and app_id = $2::text
    order by key collate "C"
) as s"""
_NEXT_VERSION: Final = """
select coalesce(max(version), 0) + 1 from caudex_vault.secrets
where scope = $1::text and app_id = $2::text and key = $3::text"""
_PUT: Final = """
insert into caudex_vault.secrets (scope, app_id, key, version, data_key, sealed)
values ($1::text, $2::text, $3::text, $4::bigint, $5::uuid, decode($6::text, 'base64'))
on conflict (scope, app_id, key) do update
set version = excluded.version, data_key = excluded.data_key, sealed = excluded.sealed,
    updated_at = now()"""
_DELETE: Final = """
delete from caudex_vault.secrets
where scope = $1::text and app_id = $2::text and key = $3::text returning key"""

_data_key = msgspec.json.Decoder(DataKeyRow).decode
_secret = msgspec.json.Decoder(SecretRow).decode
_list = msgspec.json.Decoder(list[str]).decode


async def master(reader: Reader) -> str | None:
    """Id of the master key that seals data keys, None before the first boot is through."""
    row = await reader.fetch(MASTER)
    return None if row is None else row.decode()


async def claim_master(tx: Transaction, key_id: str) -> str:
    """Record the master key, unless one is recorded; returns the one that is."""
    return _text(await tx.execute(_CLAIM_MASTER, key_id))


async def lock_master(tx: Transaction) -> str:
    """Keep everyone from making data keys until the transaction ends."""
    return _text(await tx.execute(_LOCK_MASTER))


async def share_master(tx: Transaction) -> str:
    """Keep the master key from being rotated until the transaction ends."""
    return _text(await tx.execute(_SHARE_MASTER))


async def set_master(tx: Transaction, key_id: str) -> None:
    """Record another master key."""
    await tx.execute(_SET_MASTER, key_id)


async def data_keys(reader: Reader, scope: Scope | None = None) -> list[DataKeyRow]:
    """The data key of a scope, or all of them."""
    if scope is None:
        rows = await reader.fetch_all(_DATA_KEYS, None, None)
    else:
        rows = await reader.fetch_all(_DATA_KEYS, scope.kind, scope.app_id)
    return [_data_key(row) for row in rows]


async def insert_data_key(tx: Transaction, row: DataKeyRow) -> None:
    """Add a data key, unless the scope has got one meanwhile."""
    await tx.execute(_INSERT_DATA_KEY, row.id, row.scope, row.app_id, row.master_id, row.sealed)


async def rewrap(tx: Transaction, row_id: str, master_id: str, sealed: str) -> None:
    """Replace the wrapping of a data key."""
    await tx.execute(_REWRAP, row_id, master_id, sealed)


async def secrets_for(reader: Reader, app_id: str) -> list[SecretRow]:
    """The platform's secrets, then the app's."""
    return [_secret(raw) for raw in await reader.fetch_all(_SECRETS, app_id)]


async def names(reader: Reader, scope: Scope) -> list[str]:
    """Names of a scope's secrets, sorted."""
    return _list(await reader.fetch(_NAMES, scope.kind, scope.app_id) or b"[]")


async def mark_used(statements: Statements, app_id: str) -> None:
    """Note that the worker of an app was given its secrets, at most once a minute."""
    await statements.execute(_USED, app_id)


async def usage(reader: Reader, scope: Scope) -> bytes:
    """When each secret of a scope was set and last given to a worker, as JSON."""
    return await reader.fetch(_USAGE, scope.kind, scope.app_id) or b"[]"


async def next_version(tx: Transaction, scope: Scope, key: str) -> int:
    """The version that the next value of a secret has."""
    return int(await tx.fetch(_NEXT_VERSION, scope.kind, scope.app_id, key) or 1)


async def put(tx: Transaction, row: SecretRow) -> None:
    """Write a secret."""
    await tx.execute(_PUT, row.scope, row.app_id, row.key, row.version, row.data_key, row.sealed)


async def delete(tx: Transaction, scope: Scope, key: str) -> bool:
    """Delete a secret and return whether it existed."""
    return await tx.execute(_DELETE, scope.kind, scope.app_id, key) is not None


def _text(raw: bytes | None) -> str:
    assert raw is not None, "the row of the master key is made at start-up"
    return raw.decode()
