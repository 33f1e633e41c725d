-- replaces: 0001_schema.sql 0002_kind_hash.sql 0003_ascending.sql 0004_generic_plan.sql 0005_blocks.sql
create sequence caudex_audit.log_id as bigint;

create table caudex_audit.log (
    id bigint not null default nextval('caudex_audit.log_id'),
    table_schema text collate "C" not null,
    table_name text collate "C" not null,
    record_id text collate "C",
    operation text collate "C" not null,
    old_record jsonb,
    new_record jsonb,
    changed_at timestamptz not null default now(),
    actor_id uuid,
    request_id text,
    xid xid8 not null default pg_current_xact_id(),
    app_key bigint,
    owner_id uuid,
    follows boolean
) partition by range (changed_at);
alter sequence caudex_audit.log_id owned by caudex_audit.log.id;
create index log_kind on caudex_audit.log
    (hashtextextended(table_schema || '.' || table_name || '.' || operation, 0), (id >> 4)) where follows is null;
create index log_record on caudex_audit.log (record_id, (id + 0));
create index log_actor on caudex_audit.log (actor_id, (id >> 4)) where follows is null;
create index log_latest on caudex_audit.log (id);
create index log_request on caudex_audit.log (request_id) where request_id is not null and follows is null;

create table caudex_audit.kinds (
    table_schema text collate "C" not null,
    table_name text collate "C" not null,
    operation text collate "C" not null,
    primary key (table_schema, table_name, operation)
);

create table caudex_audit.apps (
    app_id text collate "C" primary key references caudex_kernel.apps (app_id) on delete cascade,
    begins bigint not null
);

create function caudex_audit.refuse() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise insufficient_privilege using message = 'the audit trail is append-only';
end
$$;

create function caudex_audit.shrunk(whole jsonb) returns jsonb
language sql immutable strict set search_path = pg_catalog, pg_temp as $$
    select case when pg_column_size(whole) <= 1000000 then whole else (
        select jsonb_object_agg(key, case
            when octet_length(value #>> '{}') > 1000000 then jsonb_build_object(
                'length', octet_length(value #>> '{}'),
                'sha256', encode(sha256(convert_to(value #>> '{}', 'UTF8')), 'hex'))
            else value end)
        from jsonb_each(whole)
    ) end
$$;

create table caudex_audit.log_default partition of caudex_audit.log default;
create trigger refuse before update or delete or truncate on caudex_audit.log
    for each statement execute function caudex_audit.refuse();
alter table caudex_audit.log enable always trigger refuse;
create trigger refuse before update or delete or truncate on caudex_audit.log_default
    for each statement execute function caudex_audit.refuse();
alter table caudex_audit.log_default enable always trigger refuse;
revoke update, delete, truncate on caudex_audit.log, caudex_audit.log_default from current_user;

create function caudex_audit.hidden() returns text[]
language sql immutable as $$
    select '{_owner,_search,_search_1,_search_2,_search_3,_search_4,_search_5,_search_6,_search_7,_search_8,_search_9}'
        ::text[]
$$;

create function caudex_audit.as_json_in_utc(whole anyelement) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' set extra_float_digits = 1 as $$
    select to_jsonb(whole)
$$;

create function caudex_audit.in_utc() returns boolean
language sql stable as $$
    select current_setting('timezone') = 'UTC' and current_setting('extra_float_digits') = '1'
$$;

create function caudex_audit.record() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    plain boolean := caudex_audit.in_utc();
    old_row jsonb;
    new_row jsonb;
    unchanged jsonb;
    owner uuid;
    actor uuid;
    request text;
begin
    if tg_level = 'ROW' then
        old_row := case when plain then to_jsonb(old) else caudex_audit.as_json_in_utc(old) end;
        new_row := case when plain then to_jsonb(new) else caudex_audit.as_json_in_utc(new) end;
        owner := (coalesce(new_row, old_row) ->> '_owner')::uuid;
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
    end if;
    insert into caudex_audit.log
        (table_schema, table_name, record_id, operation, old_record, new_record,
         actor_id, request_id, app_key, owner_id)
    values (tg_table_schema, tg_table_name, coalesce(new_row, old_row) ->> 'id', tg_op,
            old_row, new_row, actor, request, tg_argv[0]::bigint, owner);
    return null;
end $$;

create function caudex_audit.record_all() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
    plain boolean := caudex_audit.in_utc();
    created boolean := tg_op = 'INSERT';
    started bigint := nextval('caudex_audit.log_id');
    actor uuid;
    request text;
begin
    -- The login of a worker could set these to anything; only the server's is believed.
    if pg_has_role(session_user, current_user, 'member') then
        actor := nullif(current_setting('caudex.actor_id', true), '')::uuid;
        request := nullif(current_setting('caudex.request_id', true), '');
    end if;
    -- Other sessions take ids meanwhile: the row before is known by its id, which is this session's last.
    insert into caudex_audit.log
        (id, follows, table_schema, table_name, record_id, operation, old_record, new_record,
         actor_id, request_id, app_key, owner_id)
    select place, case when before <> started and before >> 4 = place >> 4 then true end,
        tg_table_schema, tg_table_name, id, tg_op,
        case when not created then case when pg_column_size(r) > 1000000 then caudex_audit.shrunk(r) else r end end,
        case when created then case when pg_column_size(r) > 1000000 then caudex_audit.shrunk(r) else r end end,
        actor, request, tg_argv[0]::bigint, owner
    from (
        select currval('caudex_audit.log_id') as before, nextval('caudex_audit.log_id') as place,
            _r.id::text, _r._owner as owner,
            case when plain then to_jsonb(_r) else caudex_audit.as_json_in_utc(_r) end - caudex_audit.hidden() as r
        from changed as _r
        offset 0
    ) as s;
    return null;
end $$;

create function caudex_audit.switched(enabled boolean, since timestamptz) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    said text := case when enabled then 'TRAIL_RESUMED' else 'TRAIL_STOPPED' end;
    found record;
begin
    for found in
        select t.tgrelid::regclass as on_table, t.tgname as name
        from pg_trigger as t
        join pg_proc as p on p.oid = t.tgfoid join pg_class as c on c.oid = t.tgrelid
        where p.pronamespace = 'caudex_audit'::regnamespace and c.relnamespace <> 'caudex_audit'::regnamespace
        and not t.tgisinternal
    loop
        execute format('alter table %s %s trigger %I', found.on_table,
            case when enabled then 'enable' else 'disable' end, found.name);
    end loop;
    insert into caudex_audit.kinds (table_schema, table_name, operation)
        values ('core', 'audit', said) on conflict do nothing;
    insert into caudex_audit.log (table_schema, table_name, operation, new_record, app_key)
        values ('core', 'audit', said, case when enabled then jsonb_build_object('offSince', since) end, 0);
end $$;
revoke execute on all functions in schema caudex_audit from public;
