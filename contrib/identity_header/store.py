"""Every statement of the plugin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from kernel.public import Reader, Transaction, User, fold_name

from .models import Claim

_BY_ID: Final = """
select row_to_json(r) from (
    select id, username, email, display_name, created_at, disabled
    from caudex_identity_header.users where id = $1::uuid
) r"""
_LOCKED: Final = """
select row_to_json(r) from (
    select id, username, email, display_name, created_at, disabled
    from caudex_identity_header.users where id = $1::uuid for update
) r"""
_BY_NAME: Final = """
select row_to_json(r) from (
    select id, username, email, display_name, created_at, disabled
    from caudex_identity_header.users where username_key = $1::text
) r"""
_BY_EMAIL: Final = """
select row_to_json(r) from (
    select id, username, email, display_name, created_at, disabled
    from caudex_identity_header.users where email_key = $1::text
) r"""
_PAGE: Final = """
select row_to_json(r) from (
    select id, username, email, display_name, created_at, disabled
    from caudex_identity_header.users where ($1::uuid is null or username_key > (
        select username_key from caudex_identity_header.users where id = $1::uuid))
    and ($3::uuid[] is null or id = any ($3::uuid[]))
    order by username_key limit $2::int
) r"""
_INSTALLATION: Final = "select key::text from caudex_kernel.apps where app_id = $1::text"
_ANY: Final = "select 1 from caudex_identity_header.users limit 1"
_ALONE: Final = "lock table caudex_identity_header.users in share row exclusive mode"
_INSERT: Final = """
insert into caudex_identity_header.users as u
    (username, username_key, email, email_key, display_name)
values ($1::text, $2::text, $3::text, $4::text, $5::text)
returning json_build_object('id', u.id, 'username', u.username, 'email', u.email, 'display_name',
    u.display_name, 'created_at', u.created_at, 'disabled', u.disabled)"""
_DESCRIBE: Final = """
update caudex_identity_header.users
set email = $2::text, email_key = $3::text, display_name = $4::text where id = $1::uuid"""
_DISABLE: Final = """
update caudex_identity_header.users set disabled = $2::boolean where id = $1::uuid"""
_DELETE: Final = "delete from caudex_identity_header.users where id = $1::uuid"

_user = msgspec.json.Decoder(User).decode


async def find_by_id(reader: Reader, user_id: str) -> User | None:
    """Return the account with an id."""
    return _decode(await reader.fetch(_BY_ID, user_id))


async def lock_user(tx: Transaction, user_id: str) -> User | None:
    """Return an account, locked until the transaction ends."""
    return _decode(await tx.fetch(_LOCKED, user_id))


async def find_by_name(reader: Reader, username: str) -> User | None:
    """Return the account with a username, ignoring case."""
    return _decode(await reader.fetch(_BY_NAME, fold_name(username)))


async def find_by_email(reader: Reader, email: str | None) -> User | None:
    """Return the account with an email, ignoring case."""
    if not email:
        return None
    return _decode(await reader.fetch(_BY_EMAIL, _key(email)))


async def read_installation(reader: Reader, app_id: str) -> str:
    """Return the key of an app's installation; "" without one."""
    return (await reader.fetch(_INSTALLATION, app_id) or b"").decode()


async def users(
    reader: Reader,
    limit: int | None = None,
    after: str | None = None,
    ids: Sequence[str] | None = None,
) -> list[User]:
    """Return accounts by username: all, or at most `limit` of those after the account `after`.

    With `ids` only these.
    """
    return [_user(raw) for raw in await reader.fetch_all(_PAGE, after, limit, ids)]


async def has_users(reader: Reader) -> bool:
    """Whether there is an account at all."""
    return await reader.fetch(_ANY) is not None


async def lock_names(tx: Transaction) -> None:
    """Lock the creation and renaming of accounts until the transaction ends."""
    await tx.execute(_ALONE)


async def insert(tx: Transaction, claim: Claim) -> User:
    """Create an account."""
    row = await tx.execute(
        _INSERT,
        claim.username,
        fold_name(claim.username),
        claim.email,
        _key(claim.email),
        claim.display_name,
    )
    assert row is not None, "the statement returns a row"
    return _user(row)


async def describe(tx: Transaction, user: User) -> None:
    """Store what the proxy sends about an account today."""
    await tx.execute(_DESCRIBE, user.id, user.email, _key(user.email), user.display_name)


async def set_disabled(tx: Transaction, user_id: str, disabled: bool) -> None:
    """Close an account, or open it again."""
    await tx.execute(_DISABLE, user_id, disabled)


async def delete(tx: Transaction, user_id: str) -> None:
    """Remove an account."""
    await tx.execute(_DELETE, user_id)


def _decode(row: bytes | None) -> User | None:
    return None if row is None else _user(row)


def _key(email: str | None) -> str | None:
    return fold_name(email) if email else None
