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

create table if not exists caudex_kernel.leases (
    name text primary key,
    holder text not null,
    expires timestamptz not null
);

create table if not exists caudex_kernel.apps (
    app_id text primary key,
    key bigint generated always as identity unique
);
insert into caudex_kernel.apps (app_id, key) overriding system value
    values ('core', 0) on conflict do nothing;

create table if not exists caudex_kernel.locks (name text collate "C" primary key);

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

create or replace function caudex_kernel.apply_settings(settings jsonb) returns bigint
language sql strict as $$
    select pg_catalog.count(pg_catalog.set_config(key, value, true)) from pg_catalog.jsonb_each_text(settings)
$$;
revoke execute on function caudex_kernel.apply_settings(jsonb) from public;

comment on table caudex_kernel.migrations is
'The ledger: the migrations that were applied. Who applies one locks the table; reading it does not wait.';
comment on column caudex_kernel.migrations.plugin is 'The plugin, or `kernel`.';
comment on column caudex_kernel.migrations.name is 'The file.';
comment on column caudex_kernel.migrations.checksum is 'SHA-256 of its bytes: a file that was applied never changes.';
comment on column caudex_kernel.migrations.applied_at is 'When.';
comment on table caudex_kernel.revisions is
'How often each topic was notified of. A server compares it with what it heard, in case a notification was lost.';
comment on column caudex_kernel.revisions.topic is 'The topic.';
comment on column caudex_kernel.revisions.revision is 'Counts its notifications.';
comment on table caudex_kernel.keys is 'The keys that this database goes with: a server with another key does not start.';
comment on column caudex_kernel.keys.name is 'What the key is for.';
comment on column caudex_kernel.keys.fingerprint is 'A hash of the key.';
comment on table caudex_kernel.channel is 'One row.';
comment on column caudex_kernel.channel.name is
'The channel of notifications. Every login may listen and notify, but only the server can read this name.';
comment on table caudex_kernel.leases is
'Which server process runs a task that only one may run (kernel/toolkit/tasks.py).';
comment on column caudex_kernel.leases.name is 'The task, as `plugin.name`.';
comment on column caudex_kernel.leases.holder is 'The server process.';
comment on column caudex_kernel.leases.expires is 'Another process may take the task then.';
comment on table caudex_kernel.apps is
'The installed apps, `core`, which is the server itself, and `plugin:<name>` for plugins with jobs. Rows of plugins '
'reference app_id with `on delete cascade`, so that none outlives the installation that it belongs to.';
comment on column caudex_kernel.apps.app_id is 'The app.';
comment on column caudex_kernel.apps.key is
'The installation key: a later installation of the same app_id has another one. 0 is `core`.';
comment on table caudex_kernel.locks is
'Rows that transactions lock by name. They are rows because an advisory lock is open to every login of the database, '
'those of apps included: holding one would stop the server''s own work.';
comment on column caudex_kernel.locks.name is 'The name; what follows a colon is one of 256 hashes.';
comment on function caudex_kernel.lock is
'Locks all names until the end of the transaction, in one order, so that two callers cannot block each other. What '
'follows a colon is hashed into one of 256 rows, which bounds the table. With `skip` the result is false at once when '
'another transaction holds one of them.';
comment on function caudex_kernel.apply_settings is
'Sets the settings that plugins add to a write; where there are none it gets null and is not called. It has no SET '
'clause: a plugin''s `search_path` would end with it.';
