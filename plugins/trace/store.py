"""Every statement of the plugin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from kernel.public import EndedCall, Reader, RequestTrace, Statements

# Calls of an app that has been removed since are left out: they must not fail those of others.
_INSERT: Final = """
with installed as materialized (
    select app_id from caudex_kernel.apps
    where app_id in (select r ->> 'app_id' from jsonb_array_elements($1::jsonb) as r)
    for key share
)
insert into caudex_trace.calls (request_id, app_id, method, at, ms, error)
select n.request_id, n.app_id, n.method, to_timestamp(n.at), n.ms, n.error
from jsonb_to_recordset($1::jsonb) as n (request_id text, app_id text, method text,
    at double precision, ms double precision, error text)
where n.app_id = any(array(select app_id from installed))"""

_OF_REQUESTS: Final = """
select json_build_object('request_id', r.id, 'calls', c.calls)
from unnest($1::text[]) as r (id) cross join lateral (
    select json_agg(json_build_object('app', n.app_id, 'method', n.method,
        'at', to_char(n.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'ms', round(n.ms::numeric, 1), 'error', n.error) order by n.id) as calls
    from (
        select * from caudex_trace.calls as c where c.request_id = r.id
        order by c.id limit $2::integer
    ) as n
) as c
where c.calls is not null"""

_SWEEP: Final = """
with portion as materialized (
    select id from caudex_trace.calls
    where id <= (
        select id from caudex_trace.calls order by id desc offset $1::bigint limit 1
    )
    order by id limit $2::integer
),
gone as (delete from caudex_trace.calls where id = any(array(select id from portion)))
select count(*) from portion"""

PORTION: Final = 10_000
"""Rows that one statement deletes."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(RequestTrace).decode


async def insert_calls(statements: Statements, calls: Sequence[EndedCall]) -> None:
    """Add calls."""
    await statements.execute(_INSERT, _encode(calls))


async def find_calls(
    reader: Reader, request_ids: Sequence[str], limit: int
) -> Sequence[RequestTrace]:
    """Return the first calls of each request that has any."""
    rows = await reader.fetch_all(_OF_REQUESTS, list(request_ids), limit)
    return [_decode(row) for row in rows]


async def sweep_calls(statements: Statements, keep: int) -> int:
    """Delete a portion of what is beyond the newest calls; return how many these were."""
    count = await statements.execute(_SWEEP, keep, PORTION)
    return int(count or 0)
