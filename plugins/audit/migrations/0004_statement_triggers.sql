-- Rows that a statement creates or deletes reach the trail by one statement too: for 1,000 rows that is half of the
-- work of a call for each. It is a trigger `after insert` or `after delete` that names its rows `changed`. The alias
-- `_r` of a whole row is a name that no field can have. An update stays with `record`: its old and new rows have no
-- key that pairs them, and a single one is what people write.
create function caudex_audit.record_all() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set extra_float_digits = 1 as $$
declare
    hidden constant text[] := '{_owner,_search,_search_1,_search_2,_search_3,_search_4,_search_5,_search_6,_search_7,'
        '_search_8,_search_9}';
    actor uuid;
    request text;
begin
    -- The login of a worker could set these to anything; only the server's is believed.
    if pg_has_role(session_user, current_user, 'member') then
        actor := nullif(current_setting('caudex.actor_id', true), '')::uuid;
        request := nullif(current_setting('caudex.request_id', true), '');
    end if;
    insert into caudex_audit.log
        (table_schema, table_name, record_id, operation, old_record, new_record,
         actor_id, request_id, app_key, owner_id)
    select tg_table_schema, tg_table_name, shown ->> 'id', tg_op,
        case tg_op when 'DELETE' then shown end, case tg_op when 'INSERT' then shown end,
        actor, request, tg_argv[0]::bigint, owner
    from (
        select owner, case when pg_column_size(kept) > 1000000 then caudex_audit.shrunk(kept) else kept end as shown
        from (
            select (whole ->> '_owner')::uuid as owner, whole - hidden as kept
            from (select to_jsonb(_r) as whole from changed as _r offset 0) as w offset 0
        ) as k offset 0
    ) as s;
    return null;
end $$;
revoke execute on function caudex_audit.record_all() from public;
