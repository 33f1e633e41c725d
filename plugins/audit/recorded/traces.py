"""What requests changed, and what the system recorded in their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from kernel.public import Reader, RequestTrace

MAX_BLOCKS: Final = 100_000
"""Blocks of 16 rows that are counted of all requests together."""
MAX_EVENTS: Final = 1001
"""Events that are listed of each request."""

# By the index that has an entry for each block of 16 ids: see `follows` in schema.sql. With a limit
# PostgreSQL looks into each block; it would rather walk the whole trail for all of them.
_CHANGES: Final = """
select json_build_object('request_id', g.request_id, 'changes', json_agg(json_build_object(
    'app', g.table_schema, 'entity', g.table_name, 'operation', g.operation, 'count', g.count,
    'actor', g.actor_id, 'current', g.current,
    'first', to_char(g.first at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'last', to_char(g.last at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))))
from (
    select l.request_id, l.table_schema, l.table_name, l.operation, l.actor_id,
        l.id > coalesce(a.begins, l.id) as current, count(*) as count,
        min(l.changed_at) as first, max(l.changed_at) as last
    from (
        select id >> 4 as block, min(changed_at) as first, max(changed_at) as last
        from caudex_audit.log
        where follows is null and request_id = any($1::text[]) and table_schema <> 'core'
        group by id >> 4 order by id >> 4 desc limit $2::bigint
    ) as b cross join lateral (
        select * from caudex_audit.log
        where id between b.block << 4 and (b.block << 4) + 15
        and changed_at between b.first and b.last
        order by id desc limit 16
    ) as l
    left join caudex_audit.apps as a on a.app_id = l.table_schema
    where l.request_id = any($1::text[]) and l.table_schema <> 'core'
    group by 1, 2, 3, 4, 5, 6
) as g
group by g.request_id"""

_EVENTS: Final = """
select json_build_object('request_id', r.id, 'events', e.events)
from unnest($1::text[]) as r (id) cross join lateral (
    select json_agg(json_build_object('id', n.id, 'entity', n.table_name,
        'operation', n.operation, 'record_id', n.record_id, 'actor', n.actor_id,
        'at', to_char(n.changed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
        order by n.id) as events
    from (
        select * from caudex_audit.log as l
        where l.follows is null and l.request_id = r.id and l.table_schema = 'core'
        order by l.id limit $2::integer
    ) as n
) as e
where e.events is not null"""

_decode = msgspec.json.Decoder(RequestTrace).decode


async def trace_rows(reader: Reader, request_ids: Sequence[str]) -> Sequence[RequestTrace]:
    """Return what the trail has of requests."""
    ids = list(request_ids)
    changes = await reader.fetch_all(_CHANGES, ids, MAX_BLOCKS, custom_plan=True, quick=False)
    events = await reader.fetch_all(_EVENTS, ids, MAX_EVENTS, custom_plan=True)
    return [_decode(row) for row in (*changes, *events)]
