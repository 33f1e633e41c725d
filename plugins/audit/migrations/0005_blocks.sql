-- The rows of a statement differ in their records only, so not each needs an entry in the indexes of kinds, actors and
-- requests: that takes PostgreSQL an eighth of its time for a statement of a hundred. One is enough for the rows of a
-- statement in a block of 16 ids; those without one are marked by `follows`. A search looks for blocks and reads
-- them by the index on `id`.
alter table caudex_audit.log add column follows boolean;
drop index caudex_audit.log_kind, caudex_audit.log_actor, caudex_audit.log_request;
create index log_kind on caudex_audit.log
    (hashtextextended(table_schema || '.' || table_name || '.' || operation, 0), (id >> 4)) where follows is null;
create index log_actor on caudex_audit.log (actor_id, (id >> 4)) where follows is null;
create index log_request on caudex_audit.log (request_id) where request_id is not null and follows is null;
create or replace function caudex_audit.record_all() returns trigger
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
