"""Every statement of the plugin."""

from __future__ import annotations

from typing import Final

import msgspec

from kernel.public import Reader, Transaction, User

_ONE: Final = """
select row_to_json(r) from (
    select id, username, email, display_name, created_at, disabled
    from caudex_identity_header.users where id = $1::uuid
) r"""
_LOCKED: Final = """
select row_to_json(r) from (
    select id, username, email, display_name, created_at, disabled
    from caudex_identity_header.users where id = $1::uuid for update
) r"""
_NAMED: Final = """
select row_to_json(r) from (
    select id, username, email, display_name, created_at, disabled
    from caudex_identity_header.users where username_key = $1::text
) r"""
_OF_EMAIL: Final = """
select row_to_json(r) from (
    select id, username, email, display_name, created_at, disabled
    from caudex_identity_header.users where email_key = $1::text
) r"""
_ALL: Final = """
select row_to_json(r) from (
    select id, username, email, display_name, created_at, disabled
    from caudex_identity_header.users order by username_key
) r"""
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


def _found(raw: bytes | None) -> User | None:
    return None if raw is None else _user(raw)


async def user(reader: Reader, user_id: str) -> User | None:
    """The account with an id."""
    return _found(await reader.fetch(_ONE, user_id))


async def lock_user(tx: Transaction, user_id: str) -> User | None:
    """The same, kept from changing until the transaction ends."""
    return _found(await tx.fetch(_LOCKED, user_id))


async def named(reader: Reader, key: str) -> User | None:
    """The account whose username has this key."""
    return _found(await reader.fetch(_NAMED, key))


async def of_email(reader: Reader, key: str) -> User | None:
    """The account whose email has this key."""
    return _found(await reader.fetch(_OF_EMAIL, key))


async def users(reader: Reader) -> list[User]:
    """Every account by username."""
    return [_user(raw) for raw in await reader.fetch_all(_ALL)]


async def any_user(reader: Reader) -> bool:
    """Whether there is an account at all."""
    return await reader.fetch(_ANY) is not None


async def alone(tx: Transaction) -> None:
    """Lock the creation and renaming of accounts until the transaction ends."""
    await tx.execute(_ALONE)


async def insert(
    tx: Transaction, username: str, key: str, email: str | None, email_key: str | None,
    display_name: str | None,
) -> User:  # fmt: skip
    """Make an account."""
    made = await tx.execute(_INSERT, username, key, email, email_key, display_name)
    assert made is not None, "an insert that returns a row does"
    return _user(made)


async def describe(
    tx: Transaction, user_id: str, email: str | None, email_key: str | None,
    display_name: str | None,
) -> None:  # fmt: skip
    """Write down what the proxy says of an account now."""
    await tx.execute(_DESCRIBE, user_id, email, email_key, display_name)


async def disable(tx: Transaction, user_id: str, disabled: bool) -> None:
    """Close an account, or open it again."""
    await tx.execute(_DISABLE, user_id, disabled)


async def delete(tx: Transaction, user_id: str) -> None:
    """Remove an account."""
    await tx.execute(_DELETE, user_id)
