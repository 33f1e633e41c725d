"""The SQL of the setup token and of the second factor."""

from __future__ import annotations

import msgspec

from kernel.public import Reader, Statements, Transaction

from .models import Factor

_factor = msgspec.json.Decoder(Factor).decode


async def create_setup(statements: Statements) -> bytes | None:
    """Return the nonce of the setup token; make it, unless there is one or an account."""
    await statements.execute(
        "insert into caudex_auth.setup (nonce) select gen_random_uuid()"
        " where not exists (select from caudex_auth.users) on conflict do nothing"
    )
    return await setup_nonce(statements)


async def setup_nonce(reader: Reader) -> bytes | None:
    """Return the nonce of the setup token; None where it was used, or where there is an account."""
    return await reader.fetch(
        "select nonce::text from caudex_auth.setup where not exists (select from caudex_auth.users)"
    )


async def end_setup(tx: Transaction) -> bytes | None:
    """Delete the nonce of the setup token and return it; None where it was used."""
    return await tx.execute("delete from caudex_auth.setup returning nonce::text")


async def read_factor(reader: Reader, user_id: str) -> Factor | None:
    """Read the second factor of an account."""
    row = await reader.fetch(
        "select row_to_json(r) from (select sealed, confirmed_at is not null as confirmed,"
        " last_step from caudex_auth.totp where user_id = $1::uuid) r",
        user_id,
    )
    return None if row is None else _factor(row)


async def has_recovery_code(reader: Reader, user_id: str, code_hash: str) -> bool:
    """Whether an account has an unused recovery code."""
    answer = await reader.fetch(
        "select exists (select from caudex_auth.recovery_codes"
        " where user_id = $1::uuid and code_hash = $2::text)",
        user_id,
        code_hash,
    )
    return answer == b"t"


async def count_recovery_codes(reader: Reader, user_id: str) -> int:
    """Return how many unused recovery codes an account has."""
    statement = "select count(*) from caudex_auth.recovery_codes where user_id = $1::uuid"
    return int(await reader.fetch(statement, user_id) or 0)


async def lock_factor(tx: Transaction, user_id: str) -> bool:
    """Lock the second factor of an account; False without one."""
    row = await tx.execute(
        "select true from caudex_auth.totp"
        " where user_id = $1::uuid and confirmed_at is not null for update",
        user_id,
    )
    return row is not None


async def replace_recovery_codes(tx: Transaction, user_id: str, code_hashes: list[str]) -> None:
    """Replace the recovery codes of an account."""
    await tx.execute("delete from caudex_auth.recovery_codes where user_id = $1::uuid", user_id)
    await _insert_recovery_codes(tx, user_id, code_hashes)


async def _insert_recovery_codes(tx: Transaction, user_id: str, code_hashes: list[str]) -> None:
    await tx.execute(
        "insert into caudex_auth.recovery_codes (user_id, code_hash)"
        " select $1::uuid, unnest($2::text[])",
        user_id,
        code_hashes,
    )


async def put_secret(tx: Transaction, user_id: str, sealed: str) -> bool:
    """Begin or restart a setup; False where an account has a second factor."""
    row = await tx.execute(
        "insert into caudex_auth.totp as t (user_id, sealed) values ($1::uuid, $2::text)"
        " on conflict (user_id) do update set sealed = excluded.sealed"
        " where t.confirmed_at is null returning true",
        user_id,
        sealed,
    )
    return row is not None


async def confirm_factor(
    tx: Transaction, user_id: str, sealed: str, step: int, code_hashes: list[str]
) -> bool:
    """Finish the setup of a secret; False where it was finished or restarted meanwhile."""
    row = await tx.execute(
        "update caudex_auth.totp set confirmed_at = now(), last_step = $3::bigint"
        " where user_id = $1::uuid and sealed = $2::text and confirmed_at is null"
        " returning true",
        user_id,
        sealed,
        step,
    )
    if row is None:
        return False
    await _insert_recovery_codes(tx, user_id, code_hashes)
    return True


async def use_step(tx: Transaction, user_id: str, step: int) -> bool:
    """Use the code of a time step; False where it, or a newer one, was used."""
    row = await tx.execute(
        "update caudex_auth.totp set last_step = $2::bigint where user_id = $1::uuid"
        " and confirmed_at is not null and last_step < $2::bigint returning true",
        user_id,
        step,
    )
    return row is not None


async def use_recovery_code(tx: Transaction, user_id: str, code_hash: str) -> bool:
    """Use a recovery code; False where it was used."""
    row = await tx.execute(
        "delete from caudex_auth.recovery_codes"
        " where user_id = $1::uuid and code_hash = $2::text returning true",
        user_id,
        code_hash,
    )
    return row is not None


async def delete_factor(tx: Transaction, user_id: str) -> bool:
    """Remove the second factor of an account, or an unfinished setup; False without one."""
    row = await tx.execute(
        "delete from caudex_auth.totp where user_id = $1::uuid returning true", user_id
    )
    return row is not None
