-- The trail: one row for each change, append-only, partitioned by month (UTC).
-- No default for the months themselves: the server makes them ahead of time (store.py).

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
    primary key (id, changed_at)
) partition by range (changed_at);

alter sequence caudex_audit.log_id owned by caudex_audit.log.id;

-- Each search walks one of these from its newest end, so its cost does not grow with the trail. They
-- are ordered by `-id` and searched in that order, so that PostgreSQL never prefers the primary key:
-- it would walk the whole trail backwards, in the hope of rows that are rare or old.
create index log_kind on caudex_audit.log (table_schema, table_name, operation, (-id));
create index log_record on caudex_audit.log (record_id, (-id));
create index log_actor on caudex_audit.log (actor_id, (-id));

-- Which tables and operations the trail knows: a search for a part of (schema, table, operation)
-- looks the whole ones up here, and one index serves them all.
create table caudex_audit.kinds (
    table_schema text collate "C" not null,
    table_name text collate "C" not null,
    operation text collate "C" not null,
    primary key (table_schema, table_name, operation)
);

create function caudex_audit.refuse() returns trigger
language plpgsql set search_path = '' as $$
begin
    raise insufficient_privilege using message = 'the audit trail is append-only';
end
$$;

-- A value over 1 MB (10^6 bytes of text) stands as its length and SHA-256. The size of the whole
-- row is known without looking at its values, so an ordinary row costs one comparison.
create function caudex_audit.shrunk(whole jsonb) returns jsonb
language sql immutable strict set search_path = '' as $$
    select case when pg_column_size(whole) <= 1000000 then whole else (
        select jsonb_object_agg(key, case
            when octet_length(value #>> '{}') > 1000000 then jsonb_build_object(
                'length', octet_length(value #>> '{}'),
                'sha256', encode(sha256(convert_to(value #>> '{}', 'UTF8')), 'hex'))
            else value end)
        from jsonb_each(whole)
    ) end
$$;

-- Attached to every entity table. It runs as the server's own role, so whoever may write the table
-- needs no right on the trail, and has none. Timestamps in the rows are in UTC, whatever the session's.
create function caudex_audit.record() returns trigger
language plpgsql security definer set search_path = '' set timezone = 'UTC' as $$
declare
    old_row jsonb;
    new_row jsonb;
    actor uuid;
    request text;
begin
    if tg_level = 'ROW' then
        old_row := to_jsonb(old) - '_owner';
        new_row := to_jsonb(new) - '_owner';
        if pg_column_size(old_row) > 1000000 then old_row := caudex_audit.shrunk(old_row); end if;
        if pg_column_size(new_row) > 1000000 then new_row := caudex_audit.shrunk(new_row); end if;
    end if;
    -- A worker's login could set these to anything; only the server's is believed.
    if pg_has_role(session_user, current_user, 'member') then
        actor := nullif(current_setting('caudex.actor_id', true), '')::uuid;
        request := nullif(current_setting('caudex.request_id', true), '');
    end if;
    insert into caudex_audit.log
        (table_schema, table_name, record_id, operation, old_record, new_record,
         actor_id, request_id)
    values (tg_table_schema, tg_table_name, coalesce(new_row, old_row) ->> 'id', tg_op,
            old_row, new_row, actor, request);
    return null;
end
$$;

revoke execute on function caudex_audit.refuse(), caudex_audit.shrunk(jsonb), caudex_audit.record()
    from public;

-- What no month was made for; empty as long as a server runs now and then.
create table caudex_audit.log_default partition of caudex_audit.log default;

-- Statement triggers, on the trail and on each partition: they refuse even what matches no row,
-- and also in a session that switches ordinary triggers off.
create trigger refuse before update or delete or truncate on caudex_audit.log
    for each statement execute function caudex_audit.refuse();
alter table caudex_audit.log enable always trigger refuse;
revoke update, delete, truncate on caudex_audit.log from current_user;

create trigger refuse before update or delete or truncate on caudex_audit.log_default
    for each statement execute function caudex_audit.refuse();
alter table caudex_audit.log_default enable always trigger refuse;
revoke update, delete, truncate on caudex_audit.log_default from current_user;
