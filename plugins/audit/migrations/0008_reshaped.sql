-- A value stays where the column of today takes it. What stands for a value over 1 MB stays as well.
create function caudex_audit.reshaped(empty anyelement, stored jsonb) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
    digests jsonb;
    plain jsonb;
    taken jsonb := '{}';
    present jsonb;
    item record;
begin
    if stored is null then
        return null;
    end if;
    select coalesce(jsonb_object_agg(key, value) filter (where is_digest), '{}'),
        coalesce(jsonb_object_agg(key, value) filter (where not is_digest), '{}')
    into digests, plain
    from (
        select key, value, jsonb_typeof(value) = 'object' and value ?& array['length', 'sha256']
            and value - array['length', 'sha256'] = '{}' as is_digest
        from jsonb_each(stored)
    ) as member;
    begin
        present := caudex_audit.as_json_in_utc(jsonb_populate_record(empty, plain));
    exception when others then
        for item in select key, value from jsonb_each(plain) loop
            begin
                perform jsonb_populate_record(empty, jsonb_build_object(item.key, item.value));
                taken := taken || jsonb_build_object(item.key, item.value);
            exception when others then
                continue;
            end;
        end loop;
        present := caudex_audit.as_json_in_utc(jsonb_populate_record(empty, taken));
    end;
    select coalesce(jsonb_object_agg(key, value), '{}') into digests
    from jsonb_each(digests) where present ? key;
    return (present - caudex_audit.hidden()) || digests;
end $$;
comment on function caudex_audit.reshaped is
'A record of before a change of its table, with the columns of today: what is gone is left out, what is new is null, and so '
'is a value that the type of today does not take.';
revoke execute on function caudex_audit.reshaped(anyelement, jsonb) from public;
