-- replaces: 0001_schema.sql 0002_usage.sql
create table caudex_vault.master (
    only_row boolean primary key default true check (only_row),
    key_id text not null
);

create table caudex_vault.data_keys (
    id uuid primary key,
    scope text not null check (scope in ('app', 'platform')),
    app_id text not null,
    master_id text not null,
    sealed bytea not null,
    created_at timestamptz not null default now(),
    installed_app_id text generated always as (nullif(app_id, '')) stored
        references caudex_kernel.apps (app_id) on delete cascade,
    unique (scope, app_id)
);

create table caudex_vault.secrets (
    scope text not null check (scope in ('app', 'platform')),
    app_id text not null,
    key text not null,
    version bigint not null,
    data_key uuid not null references caudex_vault.data_keys (id) on delete cascade,
    sealed bytea not null,
    updated_at timestamptz not null default now(),
    used_at timestamptz,
    used_by text,
    primary key (scope, app_id, key)
);
