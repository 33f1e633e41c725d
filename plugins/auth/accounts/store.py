"""The SQL of accounts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from kernel.public import Reader, Statements, Transaction, User
from plugins.auth.models import Account, NewAccount, SignIn, Taken

NETWORK_SECONDS: Final = 30 * 86_400
"""How long a network in which an account has signed in is known."""

_USER: Final = """
select row_to_json(r) from (
    select id, username, email, display_name, created_at, disabled, kind
    from caudex_auth.users where id = $1::uuid
) r"""
_USERS: Final = """
select row_to_json(r) from (
    select id, username, email, display_name, created_at, disabled, kind
    from caudex_auth.users where ($1::uuid is null or username_key collate "C" > (
        select username_key from caudex_auth.users where id = $1::uuid
    )) and ($3::uuid[] is null or id = any ($3::uuid[]))
    order by username_key collate "C" limit $2::int
) r"""
_NAMED: Final = """
select row_to_json(r) from (
    select id, username, email, email_key, display_name, created_at, disabled, kind,
        password_hash, password_temporary, exists (
            select from caudex_auth.totp t where t.user_id = u.id and t.confirmed_at is not null
        ) as factor,
        exists (
            select from caudex_auth.networks n where n.user_id = u.id and n.network = $2::text
            and n.seen_at > now() - make_interval(secs => $3::int)
        ) as known_network
    from caudex_auth.users u where username_key = $1::text or email_key = $1::text
) r"""
# The account, its keys of the limiter, and how long these are blocked. It has a key of its own, and
# no other, where it has signed in: no stranger can use it up. Elsewhere it is judged like any name.
_SIGN_IN: Final = """
select row_to_json(r) from (
    select a.found as account, k.keys, coalesce((
        select ceil(extract(epoch from max(t.blocked_until) - clock_timestamp()))::int
        from caudex_auth.throttle t
        where t.key = any (k.keys) and t.blocked_until > clock_timestamp()
    ), 0) as blocked
    from (values (true)) as one left join (
        select row_to_json(r) as found, r.* from (
            select id, username, email, email_key, display_name, created_at, disabled, kind,
                password_hash, password_temporary, exists (
                    select from caudex_auth.totp t
                    where t.user_id = u.id and t.confirmed_at is not null
                ) as factor,
                exists (
                    select from caudex_auth.networks n
                    where n.user_id = u.id and n.network = $2::text
                    and n.seen_at > now() - make_interval(secs => $3::int)
                ) as known_network
            from caudex_auth.users u where username_key = $1::text or email_key = $1::text
        ) r
    ) as a on true
    cross join lateral (select case
        when a.known_network then array['account:' || a.id || '@' || $2::text]
        else array[coalesce('account:' || a.id, $4::text)] || case $2::text
            when '' then '{}'::text[] else array['address:' || $2::text] end
    end) as k (keys)
) r"""
_ACCOUNT: Final = """
select row_to_json(r) from (
    select id, username, email, email_key, display_name, created_at, disabled, kind,
        password_hash, password_temporary, exists (
            select from caudex_auth.totp t where t.user_id = u.id and t.confirmed_at is not null
        ) as factor
    from caudex_auth.users u where id = $1::uuid
) r"""
_LOCK_ACCOUNT: Final = """
select row_to_json(r) from (
    select id, username, email, email_key, display_name, created_at, disabled, kind,
        password_hash, password_temporary
    from caudex_auth.users where id = $1::uuid for no key update
) r"""
_LOCK_ACCOUNT_WITH_KEYS: Final = """
select row_to_json(r) from (
    select id, username, email, email_key, display_name, created_at, disabled, kind,
        password_hash, password_temporary
    from caudex_auth.users where id = $1::uuid for update
) r"""
_TAKEN: Final = """
select row_to_json(r) from (
    select coalesce(bool_or($1::text in (username_key, email_key)), false) as username,
        coalesce(bool_or($2::text in (username_key, email_key)), false) as email
    from caudex_auth.users
    where (username_key in ($1::text, $2::text) or email_key in ($1::text, $2::text))
    and id is distinct from $3::uuid
) r"""
_INSERT_USER: Final = """
with r as (
    insert into caudex_auth.users
        (username, username_key, email, email_key, display_name, password_hash,
        password_temporary, kind)
    values ($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::boolean, $8::text)
    returning id, username, email, display_name, created_at, disabled, kind
) select row_to_json(r) from r"""
_UPDATE_ACCOUNT: Final = """
update caudex_auth.users set email = $2::text, email_key = $3::text, display_name = $4::text,
    password_hash = $5::text, disabled = $6::boolean, password_temporary = $7::boolean,
    updated_at = now()
where id = $1::uuid"""
_RENEW_HASH: Final = """
update caudex_auth.users set password_hash = $3::text, updated_at = now(),
    password_temporary = password_temporary and not $4::boolean
where id = $1::uuid and password_hash = $2::text returning id"""

_account = msgspec.json.Decoder(Account).decode
_sign_in = msgspec.json.Decoder(SignIn).decode
_taken = msgspec.json.Decoder(Taken).decode
_user = msgspec.json.Decoder(User).decode


class AccountStore:
    """Reads and writes accounts; writes take their transaction."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def user(self, user_id: str, reader: Reader | None = None) -> User | None:
        """Read an account by id."""
        row = await (reader or self._statements).fetch(_USER, user_id)
        return None if row is None else _user(row)

    async def users(
        self, limit: int | None = None, after: str | None = None, ids: Sequence[str] | None = None
    ) -> list[User]:
        """Read accounts by username: all, or at most `limit` of those after the account `after`.

        With `ids` only these.
        """
        rows = await self._statements.fetch_all(_USERS, after, limit, ids)
        return [_user(row) for row in rows]

    async def find_account(self, key: str) -> Account | None:
        """Find the account with this username or email, given as a folded key."""
        row = await self._statements.fetch(_NAMED, key, "", NETWORK_SECONDS)
        return None if row is None else _account(row)

    async def sign_in(self, key: str, network: str) -> SignIn:
        """Find the account that a login names, and what its failures have led to.

        A name that no account has is hashed: any text may be typed, of any length.
        """
        typed = f"name:{hashlib.sha256(key.encode()).hexdigest()}"
        row = await self._statements.fetch(_SIGN_IN, key, network, NETWORK_SECONDS, typed)
        return _sign_in(row or b"")

    async def account(self, user_id: str) -> Account | None:
        """Read an account with its password hash."""
        row = await self._statements.fetch(_ACCOUNT, user_id)
        return None if row is None else _account(row)

    async def has_users(self, reader: Reader | None = None) -> bool:
        """Whether there is an account."""
        query = "select exists (select from caudex_auth.users)"
        return await (reader or self._statements).fetch(query) == b"t"

    async def find_taken(
        self, tx: Transaction, username_key: str, email_key: str | None, except_id: str | None
    ) -> Taken:
        """Return which of two names another account than `except_id` has, as username or as
        email."""
        return _taken(await tx.fetch(_TAKEN, username_key, email_key, except_id) or b"{}")

    async def insert_user(self, tx: Transaction, new: NewAccount, password_hash: str) -> User:
        """Add an account."""
        row = await tx.execute(
            _INSERT_USER,
            new.username,
            new.username_key,
            new.email,
            new.email_key,
            new.display_name,
            password_hash,
            new.temporary,
            new.kind,
        )
        return _user(row or b"")

    async def lock_account(
        self, tx: Transaction, user_id: str, *, with_keys: bool
    ) -> Account | None:
        """Read and lock an account; `with_keys` when its keys change or it is deleted."""
        statement = _LOCK_ACCOUNT_WITH_KEYS if with_keys else _LOCK_ACCOUNT
        row = await tx.execute(statement, user_id)
        return None if row is None else _account(row)

    async def update_account(self, tx: Transaction, account: Account) -> None:
        """Write an account back."""
        await tx.execute(
            _UPDATE_ACCOUNT,
            account.id,
            account.email,
            account.email_key,
            account.display_name,
            account.password_hash,
            account.disabled,
            account.password_temporary,
        )

    async def renew_hash(
        self, tx: Transaction, user_id: str, old: str, new: str, *, chosen: bool = False
    ) -> bool:
        """Replace a password hash, unless it has changed since it was read.

        With `chosen` the user has chosen the password.
        """
        return await tx.execute(_RENEW_HASH, user_id, old, new, chosen) is not None

    async def delete_user(self, tx: Transaction, user_id: str) -> None:
        """Remove an account with its sessions and networks."""
        await tx.execute("delete from caudex_auth.users where id = $1::uuid", user_id)
        # After the sessions: a refresh locks its session before it notes the network.
        await tx.execute("delete from caudex_auth.networks where user_id = $1::uuid", user_id)
