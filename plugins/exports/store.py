"""Every SQL statement of the plugin."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

import msgspec

from kernel.public import Actor, Reader, Statements, Transaction, Writer

from .models import ExportLink, ExportQuery, NewLink

INSERT: Final = """
insert into caudex_exports.links as l
    (app_id, entity, name, format, raw, query, user_id, username, limits, expires_at)
select $1::text, $2::text, $3::text, $4::text, $5::boolean, $6::jsonb, $7::uuid, $8::text,
    $9::jsonb, $10::timestamptz
where (select count(*) from caudex_exports.links where user_id = $7::uuid) < $11::int
returning json_build_object('id', l.id, 'app_id', l.app_id, 'entity', l.entity, 'name', l.name,
    'format', l.format, 'raw', l.raw, 'query', l.query, 'user_id', l.user_id,
    'username', l.username, 'limits', l.limits, 'created_at', l.created_at,
    'expires', l.expires_at, 'last_used_at', l.last_used_at, 'ended', false)"""

# Those that ended take no place of the ones that are made.
DELETE_ENDED: Final = """
delete from caudex_exports.links where user_id = $1::uuid and expires_at <= now()"""

READ: Final = """
select json_build_object('id', l.id, 'app_id', l.app_id, 'entity', l.entity, 'name', l.name,
    'format', l.format, 'raw', l.raw, 'query', l.query, 'user_id', l.user_id,
    'username', l.username, 'limits', l.limits, 'created_at', l.created_at,
    'expires', l.expires_at, 'last_used_at', l.last_used_at,
    'ended', coalesce(l.expires_at <= now(), false))
from caudex_exports.links as l where l.app_id = $1::text and l.id = $2::uuid"""

LOCK: Final = f"{READ} for update"

LIST: Final = """
select json_build_object('id', l.id, 'app_id', l.app_id, 'entity', l.entity, 'name', l.name,
    'format', l.format, 'raw', l.raw, 'query', l.query, 'user_id', l.user_id,
    'username', l.username, 'limits', l.limits, 'created_at', l.created_at,
    'expires', l.expires_at, 'last_used_at', l.last_used_at,
    'ended', coalesce(l.expires_at <= now(), false))
from caudex_exports.links as l
where l.app_id = $1::text and ($2::uuid is null or l.user_id = $2::uuid)
order by l.created_at desc, l.id limit 1000"""

DELETE: Final = "delete from caudex_exports.links where id = $1::uuid"

NOTE_USE: Final = """
update caudex_exports.links set last_used_at = now()
where id = $1::uuid and (last_used_at is null or last_used_at < now() - interval '1 minute')"""

CHANGE: Final = """
update caudex_exports.links set entity = $2::text, query = $3::jsonb where id = $1::uuid"""

FORGET_USER: Final = "delete from caudex_exports.links where user_id = $1::uuid"

MAKE_KEY: Final = """
insert into caudex_exports.signing as s (is_only, key) values (true, $1::text)
on conflict (is_only) do update set key = s.key returning key"""

_decode = msgspec.json.Decoder(ExportLink).decode


async def insert(tx: Transaction, actor: Actor, link: NewLink, limit: int) -> ExportLink | None:
    """Store a link; None where the user has `limit` of them."""
    await tx.execute(DELETE_ENDED, actor.user_id)
    limits = None if actor.limits is None else msgspec.json.encode(actor.limits)
    raw = await tx.execute(
        INSERT,
        link.app_id,
        link.entity,
        link.name,
        link.format,
        link.raw,
        msgspec.json.encode(link.query),
        actor.user_id,
        actor.username,
        limits,
        link.expires,
        limit,
    )
    return None if raw is None else _decode(raw)


async def read_link(reader: Reader, app_id: str, link_id: str) -> ExportLink | None:
    """Return a link of an app."""
    raw = await reader.fetch(READ, app_id, link_id)
    return None if raw is None else _decode(raw)


async def lock(tx: Transaction, app_id: str, link_id: str) -> ExportLink | None:
    """Return a link of an app, which no other transaction changes meanwhile."""
    raw = await tx.execute(LOCK, app_id, link_id)
    return None if raw is None else _decode(raw)


async def read_links(reader: Reader, app_id: str, user_id: str | None) -> Sequence[ExportLink]:
    """Return the links of an app that a user made, or all of them, the newest first."""
    return [_decode(raw) for raw in await reader.fetch_all(LIST, app_id, user_id)]


async def delete(tx: Transaction, link_id: str) -> None:
    """Delete a link."""
    await tx.execute(DELETE, link_id)


async def change(tx: Transaction, link_id: str, entity: str, query: ExportQuery) -> None:
    """Change what a link shows."""
    await tx.execute(CHANGE, link_id, entity, msgspec.json.encode(query))


async def note_use(writer: Statements, link_id: str) -> None:
    """Note that a link was opened, exact to a minute."""
    await writer.execute(NOTE_USE, link_id)


async def forget_user(tx: Transaction, user_id: str) -> None:
    """Delete the links of an account."""
    await tx.execute(FORGET_USER, user_id)


async def read_key(writer: Writer) -> bytes:
    """Return the key of links; the first server makes it."""
    raw = await writer.execute(MAKE_KEY, secrets.token_hex(32))
    return bytes.fromhex((raw or b"").decode())
