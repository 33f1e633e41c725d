-- The schema caudex_kernel as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- The ledger: the migrations that were applied. Who applies one locks the table; reading it does not wait.
create table caudex_kernel.migrations (
    plugin text not null,  -- The plugin, or `kernel`.
    name text not null,  -- The file.
    checksum text not null,  -- SHA-256 of its bytes: a file that was applied never changes.
    applied_at timestamptz not null default now(),  -- When.
    primary key (plugin, name)
);

-- How often each topic was notified of. A server compares it with what it heard, in case a notification was lost.
create table caudex_kernel.revisions (
    topic text not null,  -- The topic.
    revision bigint not null,  -- Counts its notifications.
    primary key (topic)
);

-- The keys that this database goes with: a server with another key does not start.
create table caudex_kernel.keys (
    name text not null,  -- What the key is for.
    fingerprint text not null,  -- A hash of the key.
    primary key (name)
);

-- One row.
create table caudex_kernel.channel (
    -- The channel of notifications. Every login may listen and notify, but only the server can read this name.
    name text not null
);

-- Which server process runs a task that only one may run (kernel/toolkit/tasks.py).
create table caudex_kernel.leases (
    name text not null,  -- The task, as `plugin.name`.
    holder text not null,  -- The server process.
    expires timestamptz not null,  -- Another process may take the task then.
    primary key (name)
);

-- The installed apps, `core`, which is the server itself, and `plugin:<name>` for plugins with jobs. Rows of plugins
-- reference app_id with `on delete cascade`, so that none outlives the installation that it belongs to.
create table caudex_kernel.apps (
    app_id text not null,  -- The app.
    -- The installation key: a later installation of the same app_id has another one. 0 is `core`.
    key bigint generated always as identity,
    primary key (app_id),
    unique (key)
);

-- Rows that transactions lock by name. They are rows because an advisory lock is open to every login of the database,
-- those of apps included: holding one would stop the server's own work.
create table caudex_kernel.locks (
    name text collate "C" not null,  -- The name; what follows a colon is one of 256 hashes.
    primary key (name)
);

-- Locks all names until the end of the transaction, in one order, so that two callers cannot block each other. What
-- follows a colon is hashed into one of 256 rows, which bounds the table. With `skip` the result is false at once when
-- another transaction holds one of them.
create function caudex_kernel.lock(names text[], skip boolean)
 returns boolean
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $$
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
end
$$;

-- Sets the settings that plugins add to a write; where there are none it gets null and is not called. It has no SET
-- clause: a plugin's `search_path` would end with it.
create function caudex_kernel.apply_settings(settings jsonb)
 returns bigint
 language sql
 strict
as $$
    select pg_catalog.count(pg_catalog.set_config(key, value, true)) from pg_catalog.jsonb_each_text(settings)
$$;

revoke execute on all functions in schema caudex_kernel from public;
