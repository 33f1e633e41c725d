"""New jobs: the statements that insert them, alone and together."""

from __future__ import annotations

from typing import Final

import msgspec

from kernel.public import Param, Transaction

from .models import NewRow

_INTO: Final = """
insert into caudex_jobs.jobs (id, app_id, due, priority, max_attempts, timeout_s, user_id, key,
    delegation_ends, delegation_epoch, limits, run_at, payload, request_id)"""

# A parameter for each value: PostgreSQL takes longer to read JSON.
INSERT: Final = (
    _INTO
    + """
values ($1::uuid, $2::text, coalesce($12::timestamptz <= now(), true), $3::integer, $4::integer,
    $5::double precision, $6::uuid, $7::text, to_timestamp($8::double precision), $9::text,
    $10::json, coalesce($12::timestamptz, now()), $11::json, $13::text)"""
)

INSERT_MANY: Final = (
    _INTO
    + """
select n.id, n.app_id, coalesce(n.run_at <= now(), true), n.priority, n.max_attempts, n.timeout_s,
    n.user_id, n.key, to_timestamp(n.delegation_ends), n.delegation_epoch, n.limits,
    coalesce(n.run_at, now()), n.payload::json, n.request_id
from json_to_recordset($1::json) as n (id uuid, app_id text, priority integer,
    max_attempts integer, timeout_s double precision, user_id uuid, key text,
    delegation_ends double precision, delegation_epoch text, limits json, run_at timestamptz,
    payload text, request_id text)"""
)

INSERT_KEYED: Final = (
    INSERT
    + """
on conflict (app_id, key) where key is not null and status in ('pending', 'running')
do update set key = excluded.key
returning id::text"""
)

_encode = msgspec.json.Encoder().encode


def params_of(row: NewRow) -> list[Param]:
    """Return the values of a new job as the parameters of `INSERT`."""
    limits = None if row.limits is None else _encode(row.limits)
    return [
        row.id, row.app_id, row.priority, row.max_attempts, row.timeout_s, row.user_id, row.key,
        row.delegation_ends, row.delegation_epoch, limits, row.payload, row.run_at, row.request_id,
    ]  # fmt: skip


async def insert_within(tx: Transaction, row: NewRow) -> str:
    """Add a job in the caller's transaction and return its id, or that of the one with its key."""
    if row.key is None:
        await tx.execute(INSERT, *params_of(row))
        return row.id
    job_id = await tx.execute(INSERT_KEYED, *params_of(row))
    return (job_id or b"").decode()
