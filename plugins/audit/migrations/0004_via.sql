alter table caudex_audit.log add column via text collate "C";
comment on column caudex_audit.log.via is
    'What the request came through, and after a space the name of its client: `mcp some-agent`. Null for REST itself.';

create or replace function caudex_audit.record() returns trigger
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
    api_key uuid;
    door text;
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
        api_key := nullif(current_setting('caudex.key_id', true), '')::uuid;
        door := nullif(current_setting('caudex.via', true), '');
    end if;
    insert into caudex_audit.log
        (table_schema, table_name, record_id, operation, old_record, new_record,
         actor_id, request_id, key_id, app_key, owner_id, via)
    values (tg_table_schema, tg_table_name, coalesce(new_row, old_row) ->> 'id', tg_op,
            old_row, new_row, actor, request, api_key, tg_argv[0]::bigint, owner, door);
    return null;
end $$;

create or replace function caudex_audit.record_all() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
    plain boolean := caudex_audit.in_utc();
    created boolean := tg_op = 'INSERT';
    started bigint := nextval('caudex_audit.log_id');
    actor uuid;
    request text;
    api_key uuid;
    door text;
begin
    -- The login of a worker could set these to anything; only the server's is believed.
    if pg_has_role(session_user, current_user, 'member') then
        actor := nullif(current_setting('caudex.actor_id', true), '')::uuid;
        request := nullif(current_setting('caudex.request_id', true), '');
        api_key := nullif(current_setting('caudex.key_id', true), '')::uuid;
        door := nullif(current_setting('caudex.via', true), '');
    end if;
    -- Other sessions take ids meanwhile: the row before is known by its id, which is this session's last.
    insert into caudex_audit.log
        (id, follows, table_schema, table_name, record_id, operation, old_record, new_record,
         actor_id, request_id, key_id, app_key, owner_id, via)
    select place, case when before <> started and before >> 4 = place >> 4 then true end,
        tg_table_schema, tg_table_name, id, tg_op,
        case when not created then case when pg_column_size(r) > 1000000 then caudex_audit.shrunk(r) else r end end,
        case when created then case when pg_column_size(r) > 1000000 then caudex_audit.shrunk(r) else r end end,
        actor, request, api_key, tg_argv[0]::bigint, owner, door
    from (
        select currval('caudex_audit.log_id') as before, nextval('caudex_audit.log_id') as place,
            _r.id::text, _r._owner as owner,
            case when plain then to_jsonb(_r) else caudex_audit.as_json_in_utc(_r) end - caudex_audit.hidden() as r
        from changed as _r
        offset 0
    ) as s;
    return null;
end $$;
