"""The statements that select recorded changes, and read what they were.

A selection is planned for its very values (`custom_plan`). Parameters: $1 the app, $2 entities,
$3 since, $4 after, $5 until, $6 an actor, $7 the most changes, $8 requests or a record.
"""

from __future__ import annotations

from typing import Final

from psycopg import sql

_MEETS: Final = """
    l.table_schema = $1::text and l.operation in ('INSERT', 'UPDATE', 'DELETE')
    and l.id > (select begins from caudex_audit.apps where app_id = $1::text)
    and ($2::text[] is null or l.table_name = any($2::text[]))
    and ($3::timestamptz is null or l.changed_at >= $3::timestamptz)
    and ($4::timestamptz is null or l.changed_at > $4::timestamptz)
    and ($5::timestamptz is null or l.changed_at < $5::timestamptz)
    and ($6::uuid is null or l.actor_id = $6::uuid)"""

# By an index that has an entry for each block of 16 ids, not for each row: see `follows` in
# schema.sql. The rows of a block without an entry have the time of one with an entry. With a limit
# PostgreSQL looks into each block; it would rather walk the whole trail for all of them.
_BLOCKS: Final = """
    select l.* from (
        select id >> 4 as block, min(changed_at) as first, max(changed_at) as last
        from caudex_audit.log as l
        where l.follows is null and l.table_schema = $1::text
        and ($3::timestamptz is null or l.changed_at >= $3::timestamptz)
        and ($4::timestamptz is null or l.changed_at > $4::timestamptz)
        and ($5::timestamptz is null or l.changed_at < $5::timestamptz)"""
_IN_BLOCKS: Final = """
        group by id >> 4 order by id >> 4 desc limit $7::bigint
    ) as b cross join lateral (
        select * from caudex_audit.log
        where id between b.block << 4 and (b.block << 4) + 15
        and changed_at between b.first and b.last
        order by id desc limit 16
    ) as l
    where"""

_BY_REQUESTS: Final = (
    _BLOCKS
    + " and l.request_id = any($8::text[])"
    + _IN_BLOCKS
    + _MEETS
    + " and l.request_id = any($8::text[])"
)
_BY_ACTOR: Final = (
    _BLOCKS + " and l.actor_id = $6::uuid" + _IN_BLOCKS + _MEETS + " and $8::text[] is null"
)
_OF_RECORD: Final = """
    select l.* from caudex_audit.log as l
    where l.record_id = ($8::text[])[1] and"""
_BY_RECORD: Final = _OF_RECORD + _MEETS

_LIST_BEGIN: Final = """
select coalesce(json_agg(json_build_array(c.id, c.table_name, c.record_id, c.operation, c.actor_id,
    c.changed_at, coalesce(pg_column_size(c.old_record), 0)
        + coalesce(pg_column_size(c.new_record), 0)) order by c.id desc), '[]')
from (select s.* from ("""
_LIST_END: Final = """
) as s order by s.id desc limit $7::bigint) as c"""
_COUNT_BEGIN: Final = """
select count(*) from ("""
_COUNT_END: Final = """
limit $7::bigint) as c"""

LIST_OF_REQUESTS: Final = _LIST_BEGIN + _BY_REQUESTS + _LIST_END
LIST_OF_ACTOR: Final = _LIST_BEGIN + _BY_ACTOR + _LIST_END
LIST_OF_RECORD: Final = _LIST_BEGIN + _BY_RECORD + _LIST_END
COUNT_OF_REQUESTS: Final = _COUNT_BEGIN + _BY_REQUESTS + _COUNT_END
COUNT_OF_ACTOR: Final = _COUNT_BEGIN + _BY_ACTOR + _COUNT_END
COUNT_OF_RECORD: Final = _COUNT_BEGIN + _BY_RECORD + _COUNT_END

# Of an update only what differs: a row can have hundreds of fields.
READ: Final = """
select json_build_array(l.id,
    case l.operation when 'UPDATE' then (
        select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each(l.old_record)
        where value is distinct from l.new_record -> key
    ) else l.old_record end,
    case l.operation when 'UPDATE' then (
        select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each(l.new_record)
        where value is distinct from l.old_record -> key
    ) else l.new_record end,
    l.owner_id, l.table_schema)
from caudex_audit.log as l
where l.id = any($1::bigint[])
and l.changed_at between $2::timestamptz and $3::timestamptz"""

BEGINS: Final = """
select to_json(l.changed_at) #>> '{}' from caudex_audit.log as l
where l.id > (select begins from caudex_audit.apps where app_id = $1::text)
order by l.id limit 1"""

# In the order in which every write locks records: by id. `$2` is the type of ids.
LOCK: Final = sql.SQL("""
select json_build_array(_r.id::text,
    caudex_audit.shrunk(to_jsonb(_r) - caudex_audit.hidden()))
from {table} as _r where _r.id = any($1::{id_type}[]) order by _r.id for update""")
