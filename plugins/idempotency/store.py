"""Every statement of the plugin."""

from __future__ import annotations

from typing import Final

import msgspec

from kernel.public import Answer, Reader, Statements, Transaction

_CLAIM: Final = """
insert into caudex_idempotency.keys as k (user_id, route, key, body, rights)
values ($1::uuid, $2::text, $3::text, decode($4::text, 'hex'), $5::text)
on conflict (user_id, route, key) do update
set body = excluded.body, rights = excluded.rights, created_at = now(),
    status = null, headers = null, reply = null
where k.created_at < now() - interval '24 hours'
returning 1"""
_FIND: Final = """
select json_build_object('body', encode(body, 'hex'), 'rights', rights, 'status', status,
    'headers', headers, 'reply', reply)
from caudex_idempotency.keys
where user_id = $1::uuid and route = $2::text and key = $3::text"""
_KEEP: Final = """
update caudex_idempotency.keys set status = $4::int, headers = $5::json, reply = $6::text
where user_id = $1::uuid and route = $2::text and key = $3::text"""
_EXPIRE: Final = """
with old as (
    select ctid from caudex_idempotency.keys
    where created_at < now() - interval '24 hours' limit $1::int
),
gone as (
    delete from caudex_idempotency.keys where ctid = any(array(select ctid from old)) returning 1
)
select count(*) from gone"""


class Place(msgspec.Struct, frozen=True):
    """Whose key it is, and of which route."""

    user_id: str
    route: str
    key: str


class EarlierRequest(msgspec.Struct, frozen=True):
    """A key that was used before: the hash of its body, and its reply as far as that was kept."""

    body: str
    rights: str
    status: int | None
    headers: dict[str, str] | None
    reply: str | None


_decode = msgspec.json.Decoder(EarlierRequest).decode


async def claim(tx: Transaction, place: Place, body: str, rights: str, seconds: float) -> bool:
    """Insert a key, or return False where it exists; waits for a request that has it.

    Raises Unavailable after `seconds`.
    """
    await tx.wait_for_locks(seconds)
    claimed = await tx.execute(_CLAIM, place.user_id, place.route, place.key, body, rights)
    await tx.wait_for_locks()
    return claimed is not None


async def find(reader: Reader, place: Place) -> EarlierRequest | None:
    """Return a key that was used before."""
    raw = await reader.fetch(_FIND, place.user_id, place.route, place.key)
    return None if raw is None else _decode(raw)


async def keep(tx: Transaction, place: Place, answer: Answer, reply: str | None) -> None:
    """Store the reply of a request."""
    headers = msgspec.json.encode(answer.headers)
    await tx.execute(_KEEP, place.user_id, place.route, place.key, answer.status, headers, reply)


async def expire(statements: Statements, limit: int) -> int:
    """Delete keys that are over a day old, at most so many; return their number."""
    count = await statements.execute(_EXPIRE, limit)
    return int(count or 0)
