alter table caudex_audit.log add column former_owner_id uuid;
comment on column caudex_audit.log.former_owner_id is
'The owner before an update that gave the record another one; the nil UUID where it had none.';

create or replace function caudex_audit.record() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    plain boolean := caudex_audit.in_utc();
    old_row jsonb;
    new_row jsonb;
    unchanged jsonb;
    owner uuid;
    former_owner uuid;
    actor uuid;
    request text;
    api_key uuid;
    door text;
begin
    if tg_level = 'ROW' then
        old_row := case when plain then to_jsonb(old) else caudex_audit.as_json_in_utc(old) end;
        new_row := case when plain then to_jsonb(new) else caudex_audit.as_json_in_utc(new) end;
        owner := (coalesce(new_row, old_row) ->> '_owner')::uuid;
        if tg_op = 'UPDATE' and old_row -> '_owner' <> new_row -> '_owner' then
            former_owner := coalesce(old_row ->> '_owner', '00000000-0000-0000-0000-000000000000')::uuid;
        end if;
        old_row := old_row - caudex_audit.hidden();
        new_row := new_row - caudex_audit.hidden();
        if pg_column_size(old_row) > 1000000 or pg_column_size(new_row) > 1000000 then
            old_row := caudex_audit.shrunk(old_row);
            new_row := caudex_audit.shrunk(new_row);
            if tg_op = 'UPDATE' then
                select jsonb_object_agg(key, jsonb_build_object(
                    'length', octet_length(value #>> '{}'),
                    'sha256', encode(sha256(convert_to(value #>> '{}', 'UTF8')), 'hex')))
                into unchanged
                from (
                    select key, value, sum(pg_column_size(value)) over larger as before
                    from jsonb_each(new_row)
                    where value = old_row -> key and key <> 'id' and pg_column_size(value) > 200
                    window larger as (
                        order by pg_column_size(value) desc, key rows between unbounded preceding and 1 preceding)
                ) as same
                where greatest(pg_column_size(old_row), pg_column_size(new_row)) - coalesce(before, 0) > 1000000;
                old_row := old_row || coalesce(unchanged, '{}');
                new_row := new_row || coalesce(unchanged, '{}');
            end if;
        end if;
    end if;
    -- The login of a worker could set these to anything; only the server's is believed.
    if pg_has_role(session_user, current_user, 'member') then
        actor := nullif(current_setting('caudex.actor_id', true), '')::uuid;
        request := nullif(current_setting('caudex.request_id', true), '');
        api_key := nullif(current_setting('caudex.key_id', true), '')::uuid;
        door := nullif(current_setting('caudex.via', true), '');
    end if;
    insert into caudex_audit.log
        (table_schema, table_name, record_id, operation, old_record, new_record,
         actor_id, request_id, key_id, app_key, owner_id, former_owner_id, via)
    values (tg_table_schema, tg_table_name, coalesce(new_row, old_row) ->> 'id', tg_op,
            old_row, new_row, actor, request, api_key, tg_argv[0]::bigint, owner, former_owner, door);
    return null;
end $$;

create table caudex_audit.shapes (
    app_id text collate "C" not null references caudex_kernel.apps (app_id) on delete cascade,
    entity text collate "C" not null,
    shape text not null,
    id bigint not null default nextval('caudex_audit.log_id'),
    xid xid8 not null default pg_current_xact_id(),
    primary key (app_id, entity)
);
create index shapes_latest on caudex_audit.shapes (id);
comment on table caudex_audit.shapes is
'Which fields the records of an entity have now, and since when: records of before cannot be read as those of now.';
comment on column caudex_audit.shapes.app_id is 'The installed app.';
comment on column caudex_audit.shapes.entity is 'The entity.';
comment on column caudex_audit.shapes.shape is 'The names and types of its fields, hashed.';
comment on column caudex_audit.shapes.id is 'Its place among the ids of the trail.';
comment on column caudex_audit.shapes.xid is 'The transaction of the install that changed them last.';

create table caudex_audit.marks (
    last_id bigint primary key,
    at timestamptz not null,
    seen pg_snapshot not null,
    branch text collate "C" not null,
    number xid8 not null default pg_current_xact_id()
);
create index marks_at on caudex_audit.marks (at);
comment on table caudex_audit.marks is
'What was visible at some times, at most once a minute and only where something was written: a long replay goes from one '
'to the next, a position can be found for a time, and where the rows of an open transaction can begin is known. After a '
'month one an hour is left.';
comment on column caudex_audit.marks.last_id is 'The greatest id of the trail that was visible.';
comment on column caudex_audit.marks.at is 'The time: what is not visible here was committed later.';
comment on column caudex_audit.marks.seen is 'The snapshot.';
comment on column caudex_audit.marks.number is
'The transaction that made the mark, after its snapshot: those with greater numbers have rows behind `last_id` only.';
comment on column caudex_audit.marks.branch is 'The history that its transactions are numbered in: see `seen()`.';

create table caudex_audit.dropped (
    month date primary key,
    last_id bigint not null
);
comment on table caudex_audit.dropped is 'Months of the trail that retention has dropped.';
comment on column caudex_audit.dropped.month is 'The first day of the month.';
comment on column caudex_audit.dropped.last_id is 'The greatest id of its rows; 0 where it had none.';

create function caudex_audit.branch() returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select case when pg_is_in_recovery() then 'standby' else concat_ws('-',
        (select system_identifier from pg_control_system()),
        (select oid from pg_database where datname = current_database()),
        'caudex_audit.log'::regclass::oid,
        left(pg_walfile_name(pg_current_wal_lsn()), 8)) end
$$;
comment on function caudex_audit.branch is
'Names the history that numbers of transactions belong to: the database cluster, the database, the trail, and the timeline. '
'A restored dump has another trail, as its table is another one; a promoted standby and a restored cluster are on another '
'timeline.';

create function caudex_audit.seen() returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select concat_ws(' ', caudex_audit.branch(), pg_current_snapshot(), greatest(0,
        (select id from caudex_audit.log order by id desc limit 1),
        (select id from caudex_audit.shapes order by id desc limit 1),
        (select max(last_id) from caudex_audit.dropped)))
$$;
comment on function caudex_audit.seen is
'What the statement sees that calls it: the branch, its snapshot, and the greatest id that is visible in '
'it, of the trail, of shapes, and of what was dropped.';
revoke execute on function caudex_audit.branch(), caudex_audit.seen() from public;
