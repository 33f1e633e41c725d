"""Every statement of the audit plugin."""

from __future__ import annotations

import re
from datetime import date
from typing import Final, LiteralString

import msgspec
from psycopg import sql

from kernel.public import App, AuditFilter, Event, Param, Reader, Transaction

from .models import MAX_PAGE_BYTES, ROW_OPERATIONS, HistoryPage, Months, SeenRecord

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

# The JSON of the rows that a search finds, made once; a page ends before they are too large.
# Parameters: the most bytes of a page, the most rows, and those of the search.
_PAGE: Final = """
with page as materialized (
    select id, row_to_json(l)::text as json from (
        select
            id, table_schema, table_name, record_id, operation, old_record, new_record,
            to_char(changed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as changed_at,
            actor_id, request_id
        from ({rows}) as found
    ) as l
)
select coalesce('[' || string_agg(json, ',' order by id desc) || ']', '[]')
from (
    select id, json, sum(octet_length(json)) over (order by id desc) as upto from page
) as sized
where upto <= $1::bigint or upto = octet_length(json)"""

LATEST: Final = _PAGE.replace("{rows}", """
    select * from caudex_audit.log
    where ($3::bigint is null or id < $3::bigint) order by id desc limit $2::int""")  # fmt: skip

# Planned for the very values (`custom_plan`): a condition on a parameter that is null vanishes.
_KIND_AND_ACTOR: Final = """
    ($3::text is null or table_schema = $3::text)
    and ($4::text is null or table_name = $4::text)
    and ($5::text is null or operation = $5::text)
    and ($7::uuid is null or actor_id = $7::uuid)"""

_BEGINS: Final = "coalesce((select begins from caudex_audit.apps where app_id = $3::text), 0)"

_OF_RECORD: Final = """
    select * from caudex_audit.log
    where {record} and {kind}
    and ($8::bigint is null or id + 0 < $8::bigint) and (not $9::boolean or id + 0 > {begins})
    order by id + 0 desc limit $2::int""".replace("{kind}", _KIND_AND_ACTOR).replace(
    "{begins}", _BEGINS
)  # fmt: skip
_AS_GIVEN: Final = _OF_RECORD.replace("{record}", "record_id = $6::text")
_AS_WRITTEN: Final = _OF_RECORD.replace("{record}", "record_id = lower($6::text)")

BY_RECORD: Final = _PAGE.replace("{rows}", _AS_GIVEN)

# The newest rows of each spelling of a UUID, then the newest of these.
BY_SPELLING: Final = _PAGE.replace("{rows}", """
    select * from (
        select * from ({given}) as given union all select * from ({written}) as written
    ) as spelling
    order by id + 0 desc limit $2::int""").replace("{given}", _AS_GIVEN).replace(
    "{written}", _AS_WRITTEN
)  # fmt: skip

# The newest rows by an index that has an entry for each block of 16 ids with such rows, not for
# each row: see the migration `0005_blocks`. A row without an entry is of the same transaction as
# one with an entry, so it has its time, which names the partition. The first block may have no row
# before the id that is asked for, so one block more is read.
_OF_BLOCKS: Final = """
    select l.* from (
        select id >> 4 as block, min(changed_at) as first, max(changed_at) as last
        from caudex_audit.log
        where follows is null and {entries}
        and ({before} is null or id >> 4 <= {before} >> 4)
        and (not {current} or id >> 4 >= {begins} >> 4)
        group by id >> 4 order by id >> 4 desc limit {blocks}
    ) as b cross join lateral (
        select * from caudex_audit.log
        where id between b.block << 4 and (b.block << 4) + 15
        and changed_at between b.first and b.last and {rows}
        and ({before} is null or id < {before}) and (not {current} or id > {begins})
        order by id desc limit 16
    ) as l
    order by b.block desc, l.id desc limit $2::int"""


def _by_blocks(
    entries: LiteralString,
    rows: LiteralString,
    before: LiteralString = "$8::bigint",
    current: LiteralString = "$9::boolean",
    begins: LiteralString = _BEGINS,
    blocks: LiteralString = "$2::int + 1",
) -> LiteralString:
    """Find rows that meet the condition `rows` in blocks whose entries meet `entries`."""
    found = _OF_BLOCKS.replace("{entries}", entries).replace("{rows}", rows)
    found = found.replace("{before}", before).replace("{current}", current)
    return found.replace("{begins}", begins).replace("{blocks}", blocks)


# Any block of a request may have the record; an actor is asked for without one.
_OF_CALLER: Final = f"($10::text is null or request_id = $10::text) and {_KIND_AND_ACTOR}"
BY_CALLER: Final = _PAGE.replace("{rows}", _by_blocks(
    _OF_CALLER,
    f"($6::text is null or record_id = $6::text) and {_OF_CALLER}",
    blocks="case when $6::text is null then $2::int + 1 end",
))  # fmt: skip

# The newest rows of each kind that is asked for, then the newest of these: no kind is so rare that
# its rows must be looked for among the others'. Two kinds may have one hash. The planner does not
# look into `case`: it would multiply the shares of four conditions that say the same.
_THIS_KIND: Final = """
    case when table_schema = k.table_schema and table_name = k.table_name
    and operation = k.operation then true end"""

_HASH_OF_KIND: Final = """
    hashtextextended(table_schema || '.' || table_name || '.' || operation, 0)
    = hashtextextended(k.table_schema || '.' || k.table_name || '.' || k.operation, 0)"""

BY_KIND: Final = _PAGE.replace("{rows}", """
    select newest.* from caudex_audit.kinds as k cross join lateral ({of_kind}) as newest
    where ($3::text is null or k.table_schema = $3::text)
    and ($4::text is null or k.table_name = $4::text)
    and ($5::text is null or k.operation = $5::text)
    order by newest.id desc limit $2::int""").replace("{of_kind}", _by_blocks(
        f"{_HASH_OF_KIND} and {_THIS_KIND}",
        _THIS_KIND,
        before="$6::bigint",
        current="$7::boolean",
        begins=_BEGINS.replace("$3::text", "k.table_schema"),
    ))  # fmt: skip

# Rows of a record, from the creation of the one that has its id today: an id can be taken again by
# another user. What was created while the trail was off is known by its time.
_OF_ONE: Final = """
    table_schema = $1::text and table_name = $2::text and record_id = $3::text
    and changed_at >= $4::timestamptz"""

# A reader of own records sees what happened while the record was that reader's. A row of the trail
# has the owner after the change, so the change that hands a record over is left out as well. A
# reader whom plugins narrow sees what happened since the fields that decide changed last. Planned
# for the very values: all rows of a record are read for these readers only.
HISTORY: Final = """
with creation as materialized (
    select greatest(
        (select begins from caudex_audit.apps where app_id = $1::text),
        (select id - case when operation = 'INSERT' then 1 else 0 end from caudex_audit.log
        where {of_one} and operation in ('INSERT', 'DELETE')
        order by id + 0 desc limit 1),
        0) as id
), reach as materialized (
    select case when $5::uuid is null and $6::text[] = '{}' then 0 else (
        select max(id) from (
            select id, $5::uuid is not null and (
                    owner_id is distinct from $5::uuid
                    or lag(owner_id, 1, owner_id) over (order by id) is distinct from $5::uuid
                ) as was_of_another,
                operation = 'UPDATE' and exists (
                    select from unnest($6::text[]) as name
                    where old_record -> name is distinct from new_record -> name
                ) as has_moved
            from caudex_audit.log
            where {of_one} and id + 0 > (select id from creation)
        ) as step
        where was_of_another or has_moved
    ) end as id
)
select coalesce(json_agg(h), '[]') from (
    select id,
        to_char(changed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at,
        actor_id as actor, request_id as request, operation, changes
    from caudex_audit.log cross join lateral (
        select coalesce(jsonb_object_agg(name, jsonb_build_array(old, new)), '{}') as changes from (
            select name, nullif(old_record -> name, 'null') as old,
                nullif(new_record -> name, 'null') as new
            from unnest($7::text[]) as name
        ) as field
        where old is distinct from new
    ) as compared
    where {of_one}
    and ($8::bigint is null or id + 0 < $8::bigint)
    and id + 0 > (select greatest(creation.id, reach.id) from creation, reach)
    and (operation <> 'UPDATE' or changes <> '{}')
    order by id + 0 desc limit $9::int
) as h""".replace("{of_one}", _OF_ONE)

BEGIN: Final = """
insert into caudex_audit.apps (app_id, begins)
select app_id, nextval('caudex_audit.log_id') from caudex_kernel.apps as a
where app_id = $1::text and not exists (
    select from caudex_audit.apps as known where known.app_id = a.app_id)
for key share on conflict do nothing"""

KNOWS_OPERATION: Final = """
select 'true' from caudex_audit.kinds where operation = $1::text limit 1"""

RECORD: Final = """
with kind as (
    insert into caudex_audit.kinds (table_schema, table_name, operation)
    values ($1::text, $2::text, $3::text) on conflict do nothing
)
insert into caudex_audit.log
    (table_schema, table_name, operation, record_id, old_record, new_record, actor_id, request_id,
    app_key)
values ($1::text, $2::text, $3::text, $4::text, caudex_audit.shrunk($5::jsonb),
    caudex_audit.shrunk($6::jsonb), $7::uuid, nullif($8::text, ''),
    (select key from caudex_kernel.apps where app_id = $1::text))"""

REGISTER: Final = """
insert into caudex_audit.kinds (table_schema, table_name, operation)
select $1::text, name, operation from unnest($2::text[]) as name, unnest($3::text[]) as operation
on conflict do nothing"""

UNWATCHED: Final = """
select c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
where n.nspname = $1::text and c.relname = any($2::text[]) and c.relkind in ('r', 'p')
and (select count(*) from pg_trigger as t where t.tgrelid = c.oid
    and t.tgname in ('caudex_audit', 'caudex_audit_insert', 'caudex_audit_delete')
    and t.tgargs = $3::text::bytea || '\\x00') < 3
order by c.relname"""

WATCH: Final = sql.SQL("""
create or replace trigger caudex_audit after update on {table}
    for each row execute function caudex_audit.record({key});
create or replace trigger caudex_audit_insert after insert on {table}
    referencing new table as changed
    for each statement execute function caudex_audit.record_all({key});
create or replace trigger caudex_audit_delete after delete on {table}
    referencing old table as changed
    for each statement execute function caudex_audit.record_all({key});
create or replace trigger caudex_audit_truncate after truncate on {table}
    for each statement execute function caudex_audit.record({key});
""")

MONTHS: Final = """
select json_build_object(
    'missing', coalesce(json_agg(month order by month) filter (where not taken), '[]'),
    'taken', coalesce(json_agg(month order by month) filter (where taken), '[]'),
    'expired', case when $1::int = 0 then '[]' else (
        select coalesce(json_agg(old order by old), '[]')
        from (
            select to_date(substr(c.relname, 5), 'YYYY_MM') as old
            from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
            where i.inhparent = 'caudex_audit.log'::regclass
            and c.relname ~ '^log_[0-9]{4}_[0-9]{2}$'
        ) as months
        where old < date_trunc('month', now() at time zone 'UTC') - make_interval(months => $1::int)
    ) end)
from (
    select month::date, exists (
        select from caudex_audit.log_default where changed_at >= month at time zone 'UTC'
        and changed_at < (month + interval '1 month') at time zone 'UTC'
    ) as taken
    from generate_series(
        date_trunc('month', now() at time zone 'UTC'),
        date_trunc('month', now() at time zone 'UTC') + make_interval(months => $2::int),
        interval '1 month'
    ) as month
    where to_regclass('caudex_audit.log_' || to_char(month, 'YYYY_MM')) is null
) as wanted"""

# Made aside and attached: that locks the trail less than `create table … partition of`.
MAKE_MONTH: Final = sql.SQL("""
create table {partition} (like caudex_audit.log including defaults including constraints);
create trigger refuse before update or delete or truncate on {partition}
    for each statement execute function caudex_audit.refuse();
alter table {partition} enable always trigger refuse;
revoke update, delete, truncate on {partition} from current_user;
alter table caudex_audit.log attach partition {partition} for values from ({first}) to ({next});
""")

DROP_MONTH: Final = sql.SQL("drop table {partition};\n")
MONTHS_DECODER: Final = msgspec.json.Decoder(Months)


async def search(reader: Reader, wanted: AuditFilter) -> bytes:
    """Return a JSON array of rows, newest first."""
    query, params = statement(wanted)
    size = (MAX_PAGE_BYTES, wanted.limit)
    return await reader.fetch(query, *size, *params, custom_plan=True) or b"[]"


async def history(reader: Reader, record: SeenRecord, page: HistoryPage) -> bytes:
    """Return the changes of a record that its reader may see, newest first."""
    identity = (record.app_id, record.entity, record.id, record.created_at)
    reach = (record.owner, list(record.deciding))
    params = (*identity, *reach, list(record.fields), page.before, page.limit)
    return await reader.fetch(HISTORY, *params, custom_plan=True) or b"[]"


def statement(wanted: AuditFilter) -> tuple[LiteralString, tuple[Param, ...]]:
    """Choose the statement whose index fits, with its parameters from `$3` on."""
    kind, row = (
        (wanted.app_id, wanted.entity, wanted.operation),
        (wanted.record_id, wanted.actor_id),
    )
    if wanted.request_id or (wanted.actor_id and not wanted.record_id):
        request = wanted.request_id or None
        return BY_CALLER, (*kind, *row, wanted.before, wanted.current, request)
    if _in_capitals(wanted.record_id):
        return BY_SPELLING, (*kind, *row, wanted.before, wanted.current)
    if wanted.record_id:
        return BY_RECORD, (*kind, *row, wanted.before, wanted.current)
    if any(kind):
        return BY_KIND, (*kind, wanted.before, wanted.current)
    return LATEST, (wanted.before,)


def _in_capitals(record_id: str | None) -> bool:
    """Whether it is a UUID that PostgreSQL writes otherwise; a text id may be as it is."""
    return bool(record_id and _UUID.fullmatch(record_id) and record_id != record_id.lower())


async def knows_operation(reader: Reader, operation: str) -> bool:
    """Whether a row with this operation may exist."""
    return await reader.fetch(KNOWS_OPERATION, operation) is not None


async def record(tx: Transaction, event: Event) -> None:
    """Write what the system did."""
    what = (event.app_id, event.entity, event.operation, event.record_id, event.old, event.new)
    await tx.execute(RECORD, *what, event.actor.user_id, event.actor.request_id)


async def watch(tx: Transaction, app: App) -> None:
    """Attach the triggers to the tables of an app that lack them or have them for another key.

    Records where its trail begins as well: what a former app of the same name did is kept from the
    admins of a new one.
    """
    await tx.execute(BEGIN, app.id)
    found = await tx.fetch_all(UNWATCHED, app.id, tuple(app.entities), app.key)
    if lacking := [name.decode() for name in found]:
        key = sql.Literal(str(app.key))
        parts = [WATCH.format(table=sql.Identifier(app.id, table), key=key) for table in lacking]
        await tx.script(sql.Composed(parts).as_bytes(None))
        await tx.execute(REGISTER, app.id, lacking, ROW_OPERATIONS)


async def months(reader: Reader, keep: int, ahead: int = 2) -> Months:
    """Look which partitions are to be made and dropped."""
    return MONTHS_DECODER.decode(await reader.fetch(MONTHS, keep, ahead) or b"{}")


async def change_months(tx: Transaction, wanted: Months) -> None:
    """Make and drop partitions."""
    made = [
        MAKE_MONTH.format(partition=_name(m), first=_start(m), next=_start(_following(m)))
        for m in wanted.missing
    ]
    dropped = [DROP_MONTH.format(partition=_name(m)) for m in wanted.expired]
    if made or dropped:
        await tx.script(sql.Composed([*made, *dropped]).as_bytes(None))


def _name(month: date) -> sql.Identifier:
    return sql.Identifier("caudex_audit", f"log_{month:%Y_%m}")


def _start(month: date) -> sql.Literal:
    return sql.Literal(f"{month.isoformat()} 00:00:00+00")


def _following(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)
