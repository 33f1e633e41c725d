"""The SQL of the sign-in."""

from __future__ import annotations

from typing import Final

import msgspec

from kernel.public import Reader, Statements, Transaction

from .models import Code

SECONDS: Final = 60
"""How long a code works."""
MAX_CODES: Final = 20
"""Unused codes of one user; a new one removes the oldest."""

_KEY: Final = "select key from caudex_frontends.sealing"
_INSERT: Final = """
insert into caudex_frontends.sign_in_codes
    (code_hash, app_id, challenge, user_id, session_id, expires_at)
values ($1::text, $2::text, $3::text, $4::uuid, $5::uuid, now() + make_interval(secs => $6::int))"""
_REMOVE_OLDEST: Final = """
delete from caudex_frontends.sign_in_codes where code_hash in (
    select code_hash from caudex_frontends.sign_in_codes
    where user_id = $1::uuid order by expires_at desc offset $2::int
)"""
_TAKE: Final = """
with r as (
    delete from caudex_frontends.sign_in_codes where code_hash = $1::text
    returning app_id, challenge, user_id, session_id, expires_at <= now() as expired
) select row_to_json(r) from r"""
_EXPIRE: Final = """
delete from caudex_frontends.sign_in_codes where code_hash in (
    select code_hash from caudex_frontends.sign_in_codes
    where expires_at < now() limit $1::int for update skip locked
)"""

_decode_code: Final = msgspec.json.Decoder(Code).decode


async def read_key(reader: Reader) -> bytes:
    """Return the key of the cookies."""
    row = await reader.fetch(_KEY)
    return bytes.fromhex((row or b"").decode())


async def insert_code(
    tx: Transaction, code_hash: str, app_id: str, challenge: str, owner: tuple[str, str]
) -> None:
    """Add a code; `owner` is the user and the session at the server."""
    user_id, session_id = owner
    await tx.execute(_REMOVE_OLDEST, user_id, MAX_CODES - 1)
    await tx.execute(_INSERT, code_hash, app_id, challenge, user_id, session_id, SECONDS)


async def take_code(statements: Statements, code_hash: str) -> Code | None:
    """Remove a code and return it: whatever comes of it, it never works again."""
    row = await statements.execute(_TAKE, code_hash)
    return None if row is None else _decode_code(row)


async def remove_expired(statements: Statements, limit: int = 10_000) -> None:
    """Delete codes that were not used."""
    await statements.execute(_EXPIRE, limit)
