-- The schema caudex_vault as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- Which master key wraps the data keys: a server that does not hold it refuses to start.
create table caudex_vault.master (
    only_row boolean not null default true,  -- Always true: there is one row at most.
    key_id text not null,  -- The fingerprint of the key.
    primary key (only_row),
    check (only_row)
);

-- One data key for each scope, sealed by a master key.
--    master key (a file) --- seals ---> data key --- seals ---> secrets
create table caudex_vault.data_keys (
    id uuid not null,  -- Secrets name it.
    scope text not null,  -- An app, or the platform.
    app_id text not null,  -- The app; '' for the platform.
    master_id text not null,  -- The fingerprint of the master key that sealed it.
    sealed bytea not null,  -- The data key, encrypted.
    created_at timestamptz not null default now(),  -- When it was made.
    -- The app, null for the platform: the key goes with the app, and its secrets with it.
    installed_app_id text generated always as (nullif(app_id, '')) stored,
    primary key (id),
    unique (scope, app_id),
    check ((scope = any (array['app', 'platform']))),
    foreign key (installed_app_id) references caudex_kernel.apps(app_id) on delete cascade
);

-- Secrets, encrypted with the data key of their scope.
create table caudex_vault.secrets (
    scope text not null,  -- An app, or the platform.
    app_id text not null,  -- The app; '' for the platform.
    key text not null,  -- The name: that of an environment variable.
    version bigint not null,  -- Part of the associated data: an older value of the row does not decrypt in its place.
    data_key uuid not null,  -- The key that sealed it.
    sealed bytea not null,  -- The value, encrypted.
    updated_at timestamptz not null default now(),  -- When the value was set.
    used_at timestamptz,  -- When it was last given to a worker, to the minute.
    used_by text,  -- The app of that worker.
    primary key (scope, app_id, key),
    check ((scope = any (array['app', 'platform']))),
    foreign key (data_key) references caudex_vault.data_keys(id) on delete cascade
);
