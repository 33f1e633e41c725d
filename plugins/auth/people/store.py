"""The SQL of what admins see of accounts."""

from __future__ import annotations

from typing import Final

import msgspec

from kernel.public import Statements, Transaction

from .models import AccountRow

_ACCOUNTS: Final = """
select row_to_json(r) from (
    select u.id, u.username, u.email, u.display_name, u.created_at, u.disabled, u.kind,
        (select at from caudex_auth.sign_ins i where i.user_id = u.id) as last_sign_in,
        (select count(*) from caudex_auth.sessions s
            where s.user_id = u.id and s.revoked_at is null and s.expires_at > now()) as sessions,
        (select count(*) from caudex_auth.keys k
            where k.user_id = u.id and (k.expires_at is null or k.expires_at > now())) as keys,
        exists (
            select from caudex_auth.totp t where t.user_id = u.id and t.confirmed_at is not null
        ) as second_factor,
        u.password_temporary
    from caudex_auth.users u
    where ($2::uuid is null or u.username_key collate "C" > (
        select username_key from caudex_auth.users where id = $2::uuid
    ))
    order by u.username_key collate "C" limit $1::int
) r"""
_COUNT_SESSIONS: Final = """
select count(*) from caudex_auth.sessions
where user_id = $1::uuid and revoked_at is null and expires_at > now()"""

_account = msgspec.json.Decoder(AccountRow).decode


async def read_accounts(statements: Statements, limit: int, after: str | None) -> list[AccountRow]:
    """Read a page of accounts by username, after the one with the id `after`."""
    return [_account(row) for row in await statements.fetch_all(_ACCOUNTS, limit, after)]


async def count_sessions(tx: Transaction, user_id: str) -> int:
    """Return how many active sessions a user has."""
    return int(await tx.fetch(_COUNT_SESSIONS, user_id) or 0)
