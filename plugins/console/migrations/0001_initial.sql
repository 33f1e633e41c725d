-- replaces: 0001_schema.sql
create table caudex_console.instance (
    only_row boolean primary key default true check (only_row),
    id text not null default substr(md5(gen_random_uuid()::text), 1, 12)
);

insert into caudex_console.instance default values;

create table caudex_console.settings (
    user_id uuid not null,
    key text collate "C" not null,
    value jsonb not null,
    primary key (user_id, key)
);

create table caudex_console.views (
    id uuid primary key default gen_random_uuid(),
    app_id text collate "C" not null references caudex_kernel.apps (app_id) on delete cascade,
    entity text collate "C" not null,
    name text not null,
    role text,
    owner_id uuid not null,
    state jsonb not null,
    created_at timestamptz not null default now()
);
create index views_of_table on caudex_console.views (app_id, entity);
