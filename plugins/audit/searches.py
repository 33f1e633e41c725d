"""The statements of a search of the trail: one for each index that a search can walk.

A search is planned for its very values (`custom_plan`), so a condition on a parameter that is null
vanishes. Parameters: $1 the most bytes of a page, $2 the most rows, from $3 on those of the search.
"""

from __future__ import annotations

import re
from typing import Final, LiteralString

from kernel.public import AuditFilter, Param

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

# `key`, `via` and `client` are shown where there is one: other rows have the members of the
# contract. `via` and `client` are one column, with a space between.
_BEGIN: Final = """
with page as materialized (
    select found.id, left(row_to_json(shown)::text, -1)
        || coalesce(',"key":"' || key_id || '"', '')
        || coalesce(',"via":' || to_json(split_part(via, ' ', 1))
            || ',"client":' || to_json(substr(via, length(split_part(via, ' ', 1)) + 2)), '')
        || '}' as json
    from ("""

_END: Final = """
    ) as found cross join lateral (
        select
            found.id, table_schema, table_name, record_id, operation, old_record, new_record,
            to_char(changed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as changed_at,
            actor_id, request_id
    ) as shown
)
select coalesce('[' || string_agg(json, ',' order by id desc) || ']', '[]')
from (
    select id, json, sum(octet_length(json)) over (order by id desc) as upto from page
) as sized
where upto <= $1::bigint or upto = octet_length(json)"""


def _as_page(rows: LiteralString) -> LiteralString:
    """Make the JSON of rows once, and end a page before they are too large; it has at least one."""
    return _BEGIN + rows + _END


LATEST: Final = _as_page("""
            select * from caudex_audit.log
            where ($3::bigint is null or id < $3::bigint)
            order by id desc limit $2::int""")

BY_RECORD: Final = _as_page("""
            select * from caudex_audit.log
            where record_id = $6::text
            and ($3::text is null or table_schema = $3::text)
            and ($4::text is null or table_name = $4::text)
            and ($5::text is null or operation = $5::text)
            and ($7::uuid is null or actor_id = $7::uuid)
            and ($8::bigint is null or id + 0 < $8::bigint)
            and (not $9::boolean or id + 0 > coalesce(
                (select begins from caudex_audit.apps where app_id = $3::text), 0))
            order by id + 0 desc limit $2::int""")

# The newest rows of each spelling of a UUID, then the newest of these.
BY_SPELLING: Final = _as_page("""
            select * from (
                select * from (
                    select * from caudex_audit.log
                    where record_id = $6::text
                    and ($3::text is null or table_schema = $3::text)
                    and ($4::text is null or table_name = $4::text)
                    and ($5::text is null or operation = $5::text)
                    and ($7::uuid is null or actor_id = $7::uuid)
                    and ($8::bigint is null or id + 0 < $8::bigint)
                    and (not $9::boolean or id + 0 > coalesce(
                        (select begins from caudex_audit.apps where app_id = $3::text), 0))
                    order by id + 0 desc limit $2::int
                ) as given
                union all
                select * from (
                    select * from caudex_audit.log
                    where record_id = lower($6::text)
                    and ($3::text is null or table_schema = $3::text)
                    and ($4::text is null or table_name = $4::text)
                    and ($5::text is null or operation = $5::text)
                    and ($7::uuid is null or actor_id = $7::uuid)
                    and ($8::bigint is null or id + 0 < $8::bigint)
                    and (not $9::boolean or id + 0 > coalesce(
                        (select begins from caudex_audit.apps where app_id = $3::text), 0))
                    order by id + 0 desc limit $2::int
                ) as written
            ) as spelling
            order by id + 0 desc limit $2::int""")

# The next two read the newest rows by an index that has an entry for each block of 16 ids with such
# rows, not for each row: see `follows` in schema.sql. A row without an entry is of the same
# transaction as one with an entry, so it has its time, which names the partition. The first block
# may have no row before the id that is asked for, so one block more is read.

# Any block of a request may have the record; an actor is asked for without one.
BY_CALLER: Final = _as_page("""
            select l.* from (
                select id >> 4 as block, min(changed_at) as first, max(changed_at) as last
                from caudex_audit.log
                where follows is null
                and ($10::text is null or request_id = $10::text)
                and ($3::text is null or table_schema = $3::text)
                and ($4::text is null or table_name = $4::text)
                and ($5::text is null or operation = $5::text)
                and ($7::uuid is null or actor_id = $7::uuid)
                and ($8::bigint is null or id >> 4 <= $8::bigint >> 4)
                and (not $9::boolean or id >> 4 >= coalesce(
                    (select begins from caudex_audit.apps where app_id = $3::text), 0) >> 4)
                group by id >> 4 order by id >> 4 desc
                limit case when $6::text is null then $2::int + 1 end
            ) as b cross join lateral (
                select * from caudex_audit.log
                where id between b.block << 4 and (b.block << 4) + 15
                and changed_at between b.first and b.last
                and ($6::text is null or record_id = $6::text)
                and ($10::text is null or request_id = $10::text)
                and ($3::text is null or table_schema = $3::text)
                and ($4::text is null or table_name = $4::text)
                and ($5::text is null or operation = $5::text)
                and ($7::uuid is null or actor_id = $7::uuid)
                and ($8::bigint is null or id < $8::bigint)
                and (not $9::boolean or id > coalesce(
                    (select begins from caudex_audit.apps where app_id = $3::text), 0))
                order by id desc limit 16
            ) as l
            order by b.block desc, l.id desc limit $2::int""")

# The newest rows of each kind that is asked for, then the newest of these: no kind is so rare that
# its rows must be looked for among the others'. Two kinds may have one hash. The planner does not
# look into `case`: it would multiply the shares of four conditions that say the same.
BY_KIND: Final = _as_page("""
            select newest.* from caudex_audit.kinds as k cross join lateral (
                select l.* from (
                    select id >> 4 as block, min(changed_at) as first, max(changed_at) as last
                    from caudex_audit.log
                    where follows is null
                    and hashtextextended(table_schema || '.' || table_name || '.' || operation, 0)
                        = hashtextextended(
                            k.table_schema || '.' || k.table_name || '.' || k.operation, 0)
                    and case when table_schema = k.table_schema and table_name = k.table_name
                        and operation = k.operation then true end
                    and ($6::bigint is null or id >> 4 <= $6::bigint >> 4)
                    and (not $7::boolean or id >> 4 >= coalesce(
                        (select begins from caudex_audit.apps where app_id = k.table_schema), 0)
                        >> 4)
                    group by id >> 4 order by id >> 4 desc limit $2::int + 1
                ) as b cross join lateral (
                    select * from caudex_audit.log
                    where id between b.block << 4 and (b.block << 4) + 15
                    and changed_at between b.first and b.last
                    and case when table_schema = k.table_schema and table_name = k.table_name
                        and operation = k.operation then true end
                    and ($6::bigint is null or id < $6::bigint)
                    and (not $7::boolean or id > coalesce(
                        (select begins from caudex_audit.apps where app_id = k.table_schema), 0))
                    order by id desc limit 16
                ) as l
                order by b.block desc, l.id desc limit $2::int
            ) as newest
            where ($3::text is null or k.table_schema = $3::text)
            and ($4::text is null or k.table_name = $4::text)
            and ($5::text is null or k.operation = $5::text)
            order by newest.id desc limit $2::int""")


def choose_statement(criteria: AuditFilter) -> tuple[LiteralString, tuple[Param, ...]]:
    """Choose the statement whose index fits, with its parameters from `$3` on."""
    kind = (criteria.app_id, criteria.entity, criteria.operation)
    bounds = (criteria.before, criteria.current)
    of_record = (*kind, criteria.record_id, criteria.actor_id, *bounds)
    if criteria.request_id or (criteria.actor_id and not criteria.record_id):
        return BY_CALLER, (*of_record, criteria.request_id or None)
    if _is_spelt_otherwise(criteria.record_id):
        return BY_SPELLING, of_record
    if criteria.record_id:
        return BY_RECORD, of_record
    if any(kind):
        return BY_KIND, (*kind, *bounds)
    return LATEST, (criteria.before,)


def _is_spelt_otherwise(record_id: str | None) -> bool:
    """Whether it is a UUID that PostgreSQL writes otherwise; a text id may be as it is."""
    if not record_id or not _UUID.fullmatch(record_id):
        return False
    return record_id != record_id.lower()
