"""The SQL of invites."""

from __future__ import annotations

from typing import Final

import msgspec

from kernel.public import MAX_PAGE, Reader, Statements, Transaction

from .models import CheckedInvite, InviteRow, OpenInvite

_COUNT: Final = """
select count(*) from caudex_auth.invites where used_at is null and expires_at > now()"""
_INSERT: Final = """
with r as (
    insert into caudex_auth.invites
        (hash, created_by, expires_at, email, app_id, role, installation)
    values ($1::text, $2::uuid, $3::timestamptz, $4::text, $5::text, $6::text,
        (select key from caudex_kernel.apps where app_id = $5::text))
    returning id, created_at, expires_at as expires
) select row_to_json(r) from r"""
_LIST: Final = """
select row_to_json(r) from (
    select i.id, case when i.used_at is not null then 'used' when i.expires_at <= now()
        then 'expired' else 'open' end as state,
        i.app_id as app, i.role, i.email, i.created_at, i.expires_at as expires,
        maker.username as by, i.used_at, guest.username as used_by
    from caudex_auth.invites i join caudex_auth.users maker on maker.id = i.created_by
    left join caudex_auth.users guest on guest.id = i.used_by
    order by i.created_at desc, i.id limit $1::int
) r"""
# Open ones only, neither of another app of the same name nor of a disabled account.
_FIND: Final = """
select row_to_json(r) from (
    select i.id, i.app_id as app, i.role, i.email, i.expires_at as expires,
        coalesce(maker.display_name, maker.username) as by, i.created_by
    from caudex_auth.invites i join caudex_auth.users maker on maker.id = i.created_by
    where i.hash = $1::text and i.used_at is null and i.expires_at > now() and not maker.disabled
    and i.installation is not distinct from (
        select key from caudex_kernel.apps where app_id = i.app_id
    )
) r"""
_USE: Final = """
update caudex_auth.invites i set used_at = now(), used_by = $2::uuid
where id = $1::uuid and used_at is null and expires_at > now()
and installation is not distinct from (select key from caudex_kernel.apps where app_id = i.app_id)
returning true"""
_DELETE: Final = """
delete from caudex_auth.invites where id = $1::uuid and used_at is null returning true"""
_DELETE_ALL: Final = """
delete from caudex_auth.invites where created_by = $1::uuid and used_at is null"""
_REMOVE_EXPIRED: Final = """
delete from caudex_auth.invites where id in (
    select id from caudex_auth.invites where expires_at < now() - interval '30 days'
    limit $1::int for update skip locked
)"""


class StoredInvite(msgspec.Struct, frozen=True):
    """What the database gave a new invite."""

    id: str
    created_at: str
    expires: str


_stored = msgspec.json.Decoder(StoredInvite).decode
_row = msgspec.json.Decoder(InviteRow).decode
_open = msgspec.json.Decoder(OpenInvite).decode


async def count_open(reader: Reader) -> int:
    """Return how many invites can be used now."""
    return int(await reader.fetch(_COUNT) or 0)


async def insert(
    tx: Transaction, token_hash: str, user_id: str, invite: CheckedInvite
) -> StoredInvite:
    """Add an invite."""
    row = await tx.execute(
        _INSERT, token_hash, user_id, invite.expires, invite.email, invite.app, invite.role
    )
    return _stored(row or b"")


async def read_all(statements: Statements) -> list[InviteRow]:
    """Read the invites, the newest first."""
    return [_row(row) for row in await statements.fetch_all(_LIST, MAX_PAGE)]


async def find_open(reader: Reader, token_hash: str) -> OpenInvite | None:
    """Find the invite of a token, unless it was used, has expired, or lost its app or maker."""
    row = await reader.fetch(_FIND, token_hash)
    return None if row is None else _open(row)


async def use(tx: Transaction, invite_id: str, user_id: str) -> bool:
    """Use an invite up; False where that was done, or it ended, meanwhile."""
    return await tx.execute(_USE, invite_id, user_id) is not None


async def delete(tx: Transaction, invite_id: str) -> bool:
    """Withdraw an invite; False where it was used, or does not exist."""
    return await tx.execute(_DELETE, invite_id) is not None


async def delete_all(tx: Transaction, user_id: str) -> None:
    """Withdraw the invites that an account made."""
    await tx.execute(_DELETE_ALL, user_id)


async def remove_expired(statements: Statements, limit: int) -> None:
    """Delete invites that ended 30 days ago."""
    await statements.execute(_REMOVE_EXPIRED, limit)
