-- replaces: 0001_schema.sql
create table caudex_system.switches (
    plugin text primary key,
    enabled boolean not null,
    since timestamptz not null default now()
);

create table caudex_system.processes (
    id text primary key,
    plugins text[] not null,
    expires timestamptz not null
);
