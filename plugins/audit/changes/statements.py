"""The statements that read changes.

What became visible between two moments is found by ids alone, so that the trail needs no index on
the numbers of transactions. Rows behind the greatest id of the first moment are new. Before it,
only those of transactions are new that were open then and have ended since.
"""

from __future__ import annotations

from typing import Final

BATCH_IDS: Final = 20_000
"""Ids of the trail that one batch goes over, where there are marks: each page orders the whole."""

# What is visible now: where it is what was visible at a position, nothing is behind that.
SNAPSHOT: Final = """
select pg_current_snapshot()::text"""

# Whether CHANGES would find anything of some subjects, a loss of theirs included. Null where it
# would; else what the statement saw, and the number that it took. $1 the greatest id of a position,
# $2 the transactions that were open then and $3 their floors, $4 the first number that was not
# given to a transaction that had ended, $5 the floor of this and later ones, $6 subjects, $7
# whether to take a number now. The orders make PostgreSQL take the index on the ids, however old
# its statistics are.
LOOK: Final = """
with ended as materialized (
    select number, floor
    from unnest($2::text[]::xid8[], $3::bigint[]) as o (number, floor)
    where pg_visible_in_snapshot(number, pg_current_snapshot())
)
select case
    when (
        select id from caudex_audit.log
        where id > $1::bigint
        and (table_schema || '.' || table_name = any ($6::text[])
            or (table_schema = 'core' and table_name = 'audit'))
        order by id limit 1
    ) is not null or (
        select id from caudex_audit.log
        where id > least($5::bigint, (select min(floor) from ended)) and id <= $1::bigint
        and (xid = any (array(select number from ended))
            or (xid >= $4::text::xid8 and id > $5::bigint))
        and (table_schema || '.' || table_name = any ($6::text[])
            or (table_schema = 'core' and table_name = 'audit'))
        order by id limit 1
    ) is not null or exists (
        select from caudex_audit.shapes
        where app_id || '.' || entity = any ($6::text[])
        and (id > $1::bigint or xid = any (array(select number from ended))
            or (xid >= $4::text::xid8 and id > $5::bigint))
    ) or exists (
        select from caudex_audit.apps
        where begins > $1::bigint
        and app_id = any (array(select split_part(s, '.', 1) from unnest($6::text[]) as s))
    ) then null
    else json_build_object('now', caudex_audit.seen(), 'own', case
        when $7::boolean and pg_current_xact_id_if_assigned() is null
        then pg_current_xact_id()::text::bigint end)::text end"""

# The snapshot, and the floors of the transactions that are open and of the later ones: what the
# newest mark saw that was made before a number was given.
SEEN_WITH_FLOORS: Final = """
select json_build_object('seen', seen, 'floors', (
    select json_object_agg(number, coalesce((
        select m.last_id from caudex_audit.marks as m
        where m.branch = split_part(s.seen, ' ', 1) and m.number < n.number
        order by m.last_id desc limit 1
    ), 0))
    from (
        select pg_snapshot_xip(split_part(seen, ' ', 2)::pg_snapshot) as number
        union all select pg_snapshot_xmax(split_part(seen, ' ', 2)::pg_snapshot)
    ) as n
))
from (select coalesce($1::text, caudex_audit.seen()) as seen offset 0) as s"""

# $1 greatest id visible at the begin, $2 and $3 the transactions that were open then and their
# floors, $4 the snapshot of the end and $5 its greatest id (null: the end is to be chosen),
# $6 and $7 the place behind which to read, $8 the subjects, $9 most changes, $10 most bytes,
# $11 ids of a batch, $12 the lowest id that the position needs, $13 the first number that was not
# given to a transaction that had ended, $14 the floor of this and later ones, $15 whether to take a
# number now.
# A row is one change, as an array: with names it takes a fourth longer. The first row is the
# header.
# The ids are taken from `asked`, so that their values do not promise a better plan: to plan it each
# time would take longer than to run it.
CHANGES: Final = """
with asked as materialized (
    select $1::bigint as last_id, $14::bigint as late
), now as materialized (
    select seen, split_part(seen, ' ', 2)::pg_snapshot as snapshot,
        split_part(seen, ' ', 3)::bigint as last_id
    from (select caudex_audit.seen() as seen offset 0) as s
), mark as materialized (
    select m.seen, m.last_id, m.number from (
        (select * from caudex_audit.marks where last_id > $1::bigint
            and last_id <= $1::bigint + $11::bigint
            and branch = (select split_part(seen, ' ', 1) from now)
            order by last_id desc limit 1)
        union all
        (select * from caudex_audit.marks where last_id > $1::bigint + $11::bigint
            and branch = (select split_part(seen, ' ', 1) from now)
            order by last_id limit 1)
    ) as m
    where $4::text is null
    and (select last_id from now) > $1::bigint + $11::bigint
    order by m.last_id limit 1
), finish as materialized (
    select coalesce($4::text::pg_snapshot, (select seen from mark), now.snapshot) as snapshot,
        coalesce($5::bigint, (select last_id from mark), now.last_id) as last_id,
        $4::text is null and not exists (select from mark) as is_now,
        coalesce((select number from mark),
            case when $15::boolean and pg_current_xact_id_if_assigned() is null
                then pg_current_xact_id() end) as own
    from now
), ended as materialized (
    select number, floor
    from unnest($2::text[]::xid8[], $3::bigint[]) as o (number, floor)
    where pg_visible_in_snapshot(number, (select snapshot from finish))
), fresh as materialized (
    select id, xid, changed_at, table_schema, table_name, record_id, operation
    from caudex_audit.log
    where id > (select last_id from asked) and id <= (select last_id from finish)
    and ((select is_now from finish)
        or pg_visible_in_snapshot(xid, (select snapshot from finish)))
    union all
    select id, xid, changed_at, table_schema, table_name, record_id, operation
    from caudex_audit.log
    where id > least((select late from asked), (select min(floor) from ended))
    and id <= (select last_id from asked)
    and (xid = any (array(select number from ended))
        or (xid >= $13::text::xid8 and id > (select late from asked)
            and ((select is_now from finish)
                or pg_visible_in_snapshot(xid, (select snapshot from finish)))))
), ordered as (
    select *, max(id) over (partition by xid) as transaction_end,
        table_schema || '.' || table_name as subject
    from fresh
), page as materialized (
    select transaction_end, max(id) as last, min(id) as first, min(changed_at) as changed_at
    from ordered
    where subject = any ($8::text[]) and operation in ('INSERT', 'UPDATE', 'DELETE')
    group by transaction_end, xid, table_schema, table_name, record_id
    having (transaction_end, max(id)) > ($6::bigint, $7::bigint)
    order by 1, 2 limit $9::int
), sized as materialized (
    select p.transaction_end, p.last, p.changed_at, f.old_record, l.new_record,
        f.operation as first_operation, f.former_owner_id as former, f.owner_id as first_owner,
        l.table_schema, l.table_name, l.record_id, l.owner_id, l.actor_id, l.request_id, l.xid,
        sum(coalesce(pg_column_size(f.old_record), 0) + coalesce(pg_column_size(l.new_record), 0))
            over (order by p.transaction_end, p.last) as size
    from page as p
    join caudex_audit.log as l on l.id = p.last and l.changed_at = p.changed_at
    join caudex_audit.log as f on f.id = p.first and f.changed_at = p.changed_at
), rows as (
    select transaction_end, last, json_build_array(
        transaction_end, last, table_schema, table_name, record_id, old_record, new_record,
        first_operation, former, first_owner, owner_id, actor_id, request_id, xid::text::bigint,
        to_char(changed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))::text as json
    from sized where size <= $10::bigint
        or last = (select last from page order by transaction_end, last limit 1)
), bounded as (
    select json, transaction_end, last,
        sum(octet_length(json)) over (order by transaction_end, last) as upto
    from rows
), losses as (
    select subject,
        case
            when a.begins > $1::bigint
                then json_build_array('too old', coalesce(s.xid::text::bigint, 0), begins)
            else (
                select json_build_array('trail was off', o.xid::text::bigint, o.id)
                from ordered as o
                where o.operation = 'TRUNCATE' and o.subject = asked.subject
                order by o.id desc limit 1)
        end as gap,
        case
            when s.id > $1::bigint or s.xid = any (array(select number from ended))
                or (s.xid >= $13::text::xid8 and s.id > $14::bigint)
                then json_build_array('entity changed', s.xid::text::bigint, s.id)
        end as reshaped
    from unnest($8::text[]) as asked (subject)
    left join caudex_audit.apps as a on a.app_id = split_part(subject, '.', 1)
    left join caudex_audit.shapes as s on s.app_id = split_part(subject, '.', 1)
        and s.entity = split_part(subject, '.', 2)
)
select json_build_object(
    'now', (select seen from now),
    'snapshot', snapshot, 'last_id', last_id, 'is_now', is_now, 'own', own::text::bigint,
    'count', (select count(*) from page),
    'is_too_old', coalesce((select max(d.last_id) from caudex_audit.dropped as d), 0)
        > $12::bigint,
    'was_off', exists (select from ordered where table_schema = 'core' and table_name = 'audit'
        and operation in ('TRAIL_STOPPED', 'TRAIL_RESUMED')),
    'gaps', (select json_object_agg(subject, gap) from losses where gap is not null),
    'reshaped', (select json_object_agg(subject, reshaped) from losses where reshaped is not null)
)::text
from finish
union all
(select json from bounded where upto <= $10::bigint or upto = octet_length(json)
order by transaction_end, last)"""

FIND_MARK: Final = """
select json_build_array(m.branch || ' ' || m.seen || ' ' || m.last_id)
from caudex_audit.marks as m
where m.at <= $1::timestamptz and m.branch = caudex_audit.branch()
and m.last_id >= coalesce((select max(last_id) from caudex_audit.dropped), 0)
order by m.at desc limit 1"""

# A mark a minute, or sooner where much was written; after a month one an hour is left.
MARK: Final = """
with seen as materialized (
    select caudex_audit.seen() as seen
), latest as materialized (
    select branch, last_id, at from caudex_audit.marks order by last_id desc limit 1
), thinned as (
    delete from caudex_audit.marks
    where at < now() - interval '31 days' and extract(minute from at) > 0
)
insert into caudex_audit.marks (last_id, at, seen, branch)
select split_part(seen, ' ', 3)::bigint, clock_timestamp(), split_part(seen, ' ', 2)::pg_snapshot,
    split_part(seen, ' ', 1)
from seen left join latest on true
where latest is null
or split_part(seen, ' ', 1) <> branch
or (split_part(seen, ' ', 3)::bigint > last_id and at < clock_timestamp() - interval '1 minute')
or split_part(seen, ' ', 3)::bigint >= last_id + $1::bigint
on conflict (last_id) do update
set at = excluded.at, seen = excluded.seen, branch = excluded.branch, number = excluded.number
where marks.branch <> excluded.branch"""
