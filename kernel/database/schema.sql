-- The kernel's own tables. The file runs again whenever its text has changed, so each statement
-- must leave what is already there as it is. It runs after the ledger is made (migrations.py).
create table if not exists caudex_kernel.revisions (
    topic text primary key,
    revision bigint not null
);
create table if not exists caudex_kernel.keys (
    name text primary key,
    fingerprint text not null
);
create table if not exists caudex_kernel.channel (name text not null);
insert into caudex_kernel.channel
    select 'caudex_' || gen_random_uuid() where not exists (select from caudex_kernel.channel);

-- Which server process runs a task that only one may run (kernel/toolkit/tasks.py).
create table if not exists caudex_kernel.leases (
    name text primary key,
    holder text not null,
    expires timestamptz not null
);

-- The installed apps, `core`, which is the server itself, and `plugin:<name>` for plugins with jobs. A later installation of the same
-- app_id has another key. Rows of plugins reference app_id with `on delete cascade`, so that none
-- outlives the installation that it belongs to.
create table if not exists caudex_kernel.apps (
    app_id text primary key,
    key bigint generated always as identity unique
);
insert into caudex_kernel.apps (app_id, key) overriding system value
    values ('core', 0) on conflict do nothing;

-- Adopts a database from before this table, once, before any plugin references it: its apps are in
-- the table of the plugin `apps`, which had `born` until then. That becomes the key, so that
-- plugins can compare it with what they noted; apps without one get a negative key.
-- Their adoptions delete rows of apps that were removed, or of a former app: with a smaller `born`.
do $$ begin
    if exists (select from pg_attribute where attname = 'born' and not attisdropped
            and attrelid = to_regclass('caudex_apps.apps')) then
        insert into caudex_kernel.apps (app_id, key) overriding system value
            select id, case born when 0 then -stamp else born end from caudex_apps.apps
            on conflict do nothing;
        perform setval('caudex_kernel.apps_key_seq', last_value) from caudex_apps.stamps;
    end if;
end $$;

-- Rows that transactions lock by name. They are rows because an advisory lock is open to every
-- login of the database, those of apps included: holding one would stop the server's own work.
create table if not exists caudex_kernel.locks (name text collate "C" primary key);

-- Locks all names until the end of the transaction, in one order, so that two callers cannot block
-- each other. What follows a colon is hashed into one of 256 rows, which bounds the table. With
-- `skip` the result is false at once when another transaction holds one of them.
create or replace function caudex_kernel.lock(names text[], skip boolean) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    wanted text;
    patience text := current_setting('lock_timeout');
begin
    for wanted in
        select distinct regexp_replace(n, ':.*', ':' || (hashtext(n) & 255)) collate "C"
        from unnest(names) as n order by 1
    loop
        loop
            if skip then
                perform from caudex_kernel.locks where name = wanted for update skip locked;
            else
                perform from caudex_kernel.locks where name = wanted for update;
            end if;
            exit when found;
            if skip and exists (select from caudex_kernel.locks where name = wanted) then
                return false;
            end if;
            begin
                -- Another transaction may have inserted the row and still be open.
                perform set_config('lock_timeout', '1ms', true) where skip;
                insert into caudex_kernel.locks values (wanted) on conflict do nothing;
                perform set_config('lock_timeout', patience, true);
            exception when lock_not_available then
                if skip then return false; end if;
                raise;
            end;
        end loop;
    end loop;
    return true;
end $$;
revoke execute on function caudex_kernel.lock(text[], boolean) from public;

-- Sets the settings that plugins add to a write; where there are none it gets null and is not called. It has no SET
-- clause: a plugin's `search_path` would end with it.
create or replace function caudex_kernel.apply_settings(settings jsonb) returns bigint
language sql strict as $$
    select pg_catalog.count(pg_catalog.set_config(key, value, true)) from pg_catalog.jsonb_each_text(settings)
$$;
revoke execute on function caudex_kernel.apply_settings(jsonb) from public;
