-- The words of a search are computed from other columns, so the trail leaves them out as it does the owner.
create or replace function caudex_audit.record() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set extra_float_digits = 1 as $$
declare
    hidden constant text[] := '{_owner,_search,_search_1,_search_2,_search_3,_search_4,_search_5,_search_6,_search_7,'
        '_search_8,_search_9}';
    old_row jsonb;
    new_row jsonb;
    unchanged jsonb;
    owner uuid;
    actor uuid;
    request text;
begin
    if tg_level = 'ROW' then
        old_row := to_jsonb(old);
        new_row := to_jsonb(new);
        owner := (coalesce(new_row, old_row) ->> '_owner')::uuid;
        old_row := old_row - hidden;
        new_row := new_row - hidden;
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
