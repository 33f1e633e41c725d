"""Every statement of the audit plugin; those of a search are in `searches`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

import msgspec
from psycopg import sql

from kernel.public import MAX_PAGE_BYTES, App, AuditFilter, Event, Reader, Renamed, Transaction

from .changes.shapes import FORGET_SHAPES, SHAPE, shape_of
from .models import ROW_OPERATIONS, HistoryPage, Months, SeenRecord
from .names import LAST, FormerName, NamePeriod, periods_of_entity, periods_of_fields
from .searches import choose_statement

# Rows of a record, from the creation of the one that has its id today: an id can be taken again by
# another user. What was created while the trail was off is known by its time.
# A reader of own records sees what happened while the record was that reader's. A row of the trail
# has the owner after the change, so the change that hands a record over is left out as well. A
# reader whom plugins narrow sees what happened since the fields that decide changed last. Planned
# for the very values: all rows of a record are read for these readers only.
# Both have names that they had at other times: `tables` and `columns` say until which row.
HISTORY: Final = """
with tables as materialized (
    select * from unnest($2::text[], $10::bigint[], $11::bigint[]) as t (stored, since, until)
), columns as materialized (
    select * from unnest($12::text[], $13::text[], $14::bigint[], $15::bigint[])
        as c (name, stored, since, until)
), creation as materialized (
    select greatest(
        (select begins from caudex_audit.apps where app_id = $1::text),
        (select id - case when operation = 'INSERT' then 1 else 0 end from caudex_audit.log
        where table_schema = $1::text and record_id = $3::text
        and exists (select from tables as t
            where t.stored = table_name and id + 0 >= t.since and id + 0 < t.until)
        and changed_at >= $4::timestamptz and operation in ('INSERT', 'DELETE')
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
                    select from columns as c
                    where c.name = any($6::text[]) and id + 0 >= c.since and id + 0 < c.until
                    and old_record -> c.stored is distinct from new_record -> c.stored
                ) as has_moved
            from caudex_audit.log
            where table_schema = $1::text and record_id = $3::text
            and exists (select from tables as t
                where t.stored = table_name and id + 0 >= t.since and id + 0 < t.until)
            and changed_at >= $4::timestamptz and id + 0 > (select id from creation)
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
            select c.name, nullif(old_record -> c.stored, 'null') as old,
                nullif(new_record -> c.stored, 'null') as new
            from columns as c
            where c.name = any($7::text[]) and id + 0 >= c.since and id + 0 < c.until
        ) as field
        where old is distinct from new
    ) as compared
    where table_schema = $1::text and record_id = $3::text
    and exists (select from tables as t
        where t.stored = table_name and id + 0 >= t.since and id + 0 < t.until)
    and changed_at >= $4::timestamptz
    and ($8::bigint is null or id + 0 < $8::bigint)
    and id + 0 > (select greatest(creation.id, reach.id) from creation, reach)
    and (operation <> 'UPDATE' or changes <> '{}')
    order by id + 0 desc limit $9::int
) as h"""

NAMES: Final = """
select json_build_object('entity', entity, 'field', field, 'former', former,
    'since', since, 'until', until)
from caudex_audit.names
where app_id = $1::text and (entity = $2::text or (field = '' and former = $2::text))
order by until"""

# The table is locked, so all rows under its former name have ids that were taken before.
RENAME: Final = (
    """
insert into caudex_audit.names (app_id, entity, field, former, since, until)
select $1::text, $2::text, $3::text, case $3::text when '' then $2::text else $3::text end,
    coalesce((
        select max(until) from caudex_audit.names
        where app_id = $1::text and case $3::text
            when '' then field = '' and $2::text in (entity, former)
            else entity = $2::text and field <> '' and $3::text in (field, former) end
    ), 0),
    nextval('caudex_audit.log_id')""",
    """
update caudex_audit.names set
    entity = case $3::text when '' then $4::text else entity end,
    field = case $3::text when '' then field else $4::text end
where app_id = $1::text and entity = $2::text and $3::text in ('', field)""",
)

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
    key_id, via, app_key)
values ($1::text, $2::text, $3::text, $4::text, caudex_audit.shrunk($5::jsonb),
    caudex_audit.shrunk($6::jsonb), $7::uuid, nullif($8::text, ''), $9::uuid,
    nullif($10::text, ''),
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
    'missing', coalesce(json_agg(month order by month) filter (where not blocked), '[]'),
    'blocked', coalesce(json_agg(month order by month) filter (where blocked), '[]'),
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
    ) as blocked
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

# Positions from before its last row have lost something.
DROP_MONTH: Final = sql.SQL("""
insert into caudex_audit.dropped (month, last_id)
select {month}, coalesce(max(id), 0) from {partition}
on conflict (month) do update set last_id = greatest(dropped.last_id, excluded.last_id);
drop table {partition};
""")
MONTHS_DECODER: Final = msgspec.json.Decoder(Months)
_decode_name = msgspec.json.Decoder(FormerName).decode
_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Id(msgspec.Struct):
    id: int


_decode_id = msgspec.json.Decoder(_Id).decode


async def search(reader: Reader, criteria: AuditFilter) -> bytes:
    """Return a JSON array of rows, newest first; of an entity those under its former names too."""
    if criteria.app_id is not None and criteria.entity is not None:
        names = await _read_names(reader, criteria.app_id, criteria.entity)
        if any(name.entity == criteria.entity for name in names if not name.field):
            periods = periods_of_entity(criteria.entity, names)
            return await _search_periods(reader, criteria, periods)
    return await _search(reader, criteria)


async def _search_periods(
    reader: Reader, criteria: AuditFilter, periods: Sequence[NamePeriod]
) -> bytes:
    """Search one period after the other, the last one first: ids of one are below the next."""
    rows: list[msgspec.Raw] = []
    for period in sorted(periods, key=lambda period: period.until, reverse=True):
        before = min(criteria.before or LAST, period.until)
        part = msgspec.structs.replace(
            criteria, entity=period.stored, before=before, limit=criteria.limit - len(rows)
        )
        page = await _search(reader, part)
        rows += [row for row in _decode_rows(page) if _decode_id(row).id >= period.since]
        # A page that ends because of its size is not the whole period.
        is_cut = len(page) > MAX_PAGE_BYTES // 2
        if is_cut or len(rows) >= criteria.limit:
            break
    return msgspec.json.encode(rows)


async def _search(reader: Reader, criteria: AuditFilter) -> bytes:
    query, parameters = choose_statement(criteria)
    size = (MAX_PAGE_BYTES, criteria.limit)
    return await reader.fetch(query, *size, *parameters, custom_plan=True) or b"[]"


async def history(reader: Reader, record: SeenRecord, page: HistoryPage) -> bytes:
    """Return the changes of a record that its reader may see, newest first."""
    names = await _read_names(reader, record.app_id, record.entity)
    tables = periods_of_entity(record.entity, names)
    every_field = dict.fromkeys([*record.fields, *record.deciding])
    columns = periods_of_fields(record.entity, every_field, names)

    identity = (record.app_id, [table.stored for table in tables], record.id, record.created_at)
    reach = (record.owner, list(record.deciding))
    of_tables = ([table.since for table in tables], [table.until for table in tables])
    of_columns = (
        [column.name for column in columns],
        [column.stored for column in columns],
        [column.since for column in columns],
        [column.until for column in columns],
    )
    shown = (list(record.fields), page.before, page.limit)
    parameters = (*identity, *reach, *shown, *of_tables, *of_columns)
    return await reader.fetch(HISTORY, *parameters, custom_plan=True) or b"[]"


async def _read_names(reader: Reader, app_id: str, entity: str) -> list[FormerName]:
    """Return the former names of an entity and its fields, and what had its name before."""
    return [_decode_name(row) for row in await reader.fetch_all(NAMES, app_id, entity)]


async def rename(tx: Transaction, app_id: str, renamed: Sequence[Renamed]) -> None:
    """Note under which names the rows until now have what is renamed."""
    for name in renamed:
        former_entity = name.entity
        former_field = ""
        new_name = name.entity
        if name.field is None:
            former_entity = name.former
        else:
            former_field = name.former
            new_name = name.field
        await tx.execute(RENAME[0], app_id, former_entity, former_field)
        await tx.execute(RENAME[1], app_id, former_entity, former_field, new_name)
    former_entities = {name.former for name in renamed if name.field is None}
    new_entities = [
        name.entity for name in renamed if name.field is None and name.entity not in former_entities
    ]
    if new_entities:
        await _register(tx, app_id, new_entities)


async def knows_operation(reader: Reader, operation: str) -> bool:
    """Whether a row with this operation may exist."""
    return await reader.fetch(KNOWS_OPERATION, operation) is not None


async def record(tx: Transaction, event: Event) -> None:
    """Write what the system did."""
    subject = (event.app_id, event.entity, event.operation, event.record_id)
    records = (event.old, event.new)
    limits = event.actor.limits
    key = limits.key if limits is not None and limits.key else None
    caller = (event.actor.user_id, event.actor.request_id, key, event.actor.via)
    await tx.execute(RECORD, *subject, *records, *caller)


async def watch(tx: Transaction, app: App) -> None:
    """Attach the triggers to the tables of an app that lack them or have them for another key.

    Records where its trail begins as well: what a former app of the same name did is kept from the
    admins of a new one.
    """
    await tx.execute(BEGIN, app.id)
    shapes = {name: shape_of(entity) for name, entity in app.entities.items()}
    await tx.execute(SHAPE, app.id, list(shapes), list(shapes.values()))
    await tx.execute(FORGET_SHAPES, app.id, list(shapes))
    names = await tx.fetch_all(UNWATCHED, app.id, tuple(app.entities), app.key)
    tables = [name.decode() for name in names]
    if not tables:
        return
    key = sql.Literal(str(app.key))
    triggers = [WATCH.format(table=sql.Identifier(app.id, table), key=key) for table in tables]
    await tx.script(sql.Composed(triggers).as_bytes(None))
    await _register(tx, app.id, tables)


async def _register(tx: Transaction, app_id: str, entities: list[str]) -> None:
    """Make the kinds of rows known that tables can have from now on."""
    await tx.execute(REGISTER, app_id, entities, ROW_OPERATIONS)


async def find_months(reader: Reader, keep: int, ahead: int = 2) -> Months:
    """Look which partitions are to be made and dropped."""
    return MONTHS_DECODER.decode(await reader.fetch(MONTHS, keep, ahead) or b"{}")


async def change_months(tx: Transaction, months: Months) -> None:
    """Make and drop partitions."""
    script = [_make_month(month) for month in months.missing]
    script += [_drop_month(month) for month in months.expired]
    if script:
        await tx.script(sql.Composed(script).as_bytes(None))


def _make_month(month: date) -> sql.Composed:
    next_month = date(month.year + month.month // 12, month.month % 12 + 1, 1)
    return MAKE_MONTH.format(partition=_name(month), first=_start(month), next=_start(next_month))


def _drop_month(month: date) -> sql.Composed:
    return DROP_MONTH.format(partition=_name(month), month=sql.Literal(month))


def _name(month: date) -> sql.Identifier:
    return sql.Identifier("caudex_audit", f"log_{month:%Y_%m}")


def _start(month: date) -> sql.Literal:
    return sql.Literal(f"{month.isoformat()} 00:00:00+00")
