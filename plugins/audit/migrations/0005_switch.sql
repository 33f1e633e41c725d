-- Called where the plugin is switched off or on. While it is off its triggers are; the trail itself says from when to
-- when it recorded nothing.
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
revoke execute on function caudex_audit.switched(boolean, timestamptz) from public;
