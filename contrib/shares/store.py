"""Every SQL statement of the plugin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from kernel.public import Actor, LinkQuery, Reader, Statements, Transaction

from .models import PreparedShare, Share

INSERT: Final = """
insert into caudex_shares.shares as s (app_id, name, entity, record_id, query, context, token_hash,
    token_prefix, user_id, username, limits, expires_at)
select $1::text, $2::text, $3::text, $4::text, $5::jsonb, $6::jsonb, $7::text, $8::text, $9::uuid,
    $10::text, $11::jsonb, $12::timestamptz
where (select count(*) from caudex_shares.shares where user_id = $9::uuid) < $13::int
returning caudex_shares.shown(s)"""

# Those that ended take no place of the ones that are made.
DELETE_ENDED: Final = """
delete from caudex_shares.shares where user_id = $1::uuid and expires_at <= now()"""

OPEN: Final = """
update caudex_shares.shares as s
set access_count = s.access_count + 1, last_accessed_at = now()
where s.token_hash = $1::text and s.expires_at > now()
returning caudex_shares.shown(s)"""

LOCK: Final = """
select caudex_shares.shown(s) from caudex_shares.shares as s
where s.app_id = $1::text and s.id = $2::uuid for update"""

LIST: Final = """
select caudex_shares.shown(s) from caudex_shares.shares as s
where s.app_id = $1::text and ($2::uuid is null or s.user_id = $2::uuid) and s.expires_at > now()
order by s.created_at desc, s.id limit 1000"""

DELETE: Final = "delete from caudex_shares.shares where id = $1::uuid"

CHANGE: Final = """
update caudex_shares.shares set entity = $2::text, query = $3::jsonb where id = $1::uuid"""

FORGET_USER: Final = "delete from caudex_shares.shares where user_id = $1::uuid"

_decode = msgspec.json.Decoder(Share).decode


class StoredToken(msgspec.Struct, frozen=True):
    """What is kept of a token: its SHA-256, and what it begins with."""

    digest: str
    prefix: str


async def insert(
    tx: Transaction, actor: Actor, share: PreparedShare, token: StoredToken, limit: int
) -> Share | None:
    """Store a share; None where the user has `limit` of them."""
    await tx.execute(DELETE_ENDED, actor.user_id)
    limits = None if actor.limits is None else msgspec.json.encode(actor.limits)
    raw = await tx.execute(
        INSERT,
        share.app_id,
        share.name,
        share.entity,
        share.record_id,
        msgspec.json.encode(share.query),
        msgspec.json.encode(share.context),
        token.digest,
        token.prefix,
        actor.user_id,
        actor.username,
        limits,
        share.expires,
        limit,
    )
    return None if raw is None else _decode(raw)


async def open_share(statements: Statements, digest: str) -> Share | None:
    """Count that a share was opened, and return it; None for one that ended or never was."""
    raw = await statements.execute(OPEN, digest)
    return None if raw is None else _decode(raw)


async def lock(tx: Transaction, app_id: str, share_id: str) -> Share | None:
    """Return a share of an app, which no other transaction changes meanwhile."""
    raw = await tx.execute(LOCK, app_id, share_id)
    return None if raw is None else _decode(raw)


async def read_shares(reader: Reader, app_id: str, user_id: str | None) -> Sequence[Share]:
    """Return the shares of an app that a user made, or all of them, the newest first."""
    return [_decode(raw) for raw in await reader.fetch_all(LIST, app_id, user_id)]


async def delete(tx: Transaction, share_id: str) -> None:
    """Delete a share."""
    await tx.execute(DELETE, share_id)


async def change(tx: Transaction, share_id: str, entity: str, query: LinkQuery) -> None:
    """Change the names in what a share shows."""
    await tx.execute(CHANGE, share_id, entity, msgspec.json.encode(query))


async def forget_user(tx: Transaction, user_id: str) -> None:
    """Delete the shares of an account."""
    await tx.execute(FORGET_USER, user_id)
