-- replaces: 0001_schema.sql 0002_ports.sql
create sequence caudex_workers.numbers as bigint;

create table caudex_workers.apps (
    app_id text primary key references caudex_kernel.apps (app_id) on delete cascade,
    number bigint not null unique default nextval('caudex_workers.numbers'),
    next_version integer not null default 1,
    version integer,
    wanted boolean not null default false,
    attempt bigint not null default 0,
    key bigint not null
);

create table caudex_workers.versions (
    app_id text not null references caudex_workers.apps (app_id) on delete cascade,
    version integer not null,
    digest text not null,
    size bigint not null,
    created_at timestamptz not null default now(),
    created_by uuid,
    primary key (app_id, version)
);

create table caudex_workers.chunks (
    app_id text not null,
    version integer not null,
    position integer not null,
    data bytea not null,
    primary key (app_id, version, position),
    foreign key (app_id, version) references caudex_workers.versions on delete cascade
);
alter table caudex_workers.chunks alter column data set storage external;

create table caudex_workers.replicas (
    server_id uuid not null,
    app_id text not null,
    state text not null,
    version integer,
    heartbeat timestamptz not null default now(),
    primary key (server_id, app_id)
);
create index replicas_app on caudex_workers.replicas (app_id);

create table caudex_workers.ports (
    app_id text primary key references caudex_kernel.apps (app_id) on delete cascade,
    ports integer[] not null
);
