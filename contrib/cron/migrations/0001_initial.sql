-- replaces: 0001_schema.sql
create table caudex_cron.apps (
    app_id text primary key references caudex_kernel.apps (app_id) on delete cascade,
    stamp bigint not null
);

create table caudex_cron.crons (
    id uuid primary key default gen_random_uuid(),
    app_id text not null references caudex_cron.apps on delete cascade,
    name text not null,
    place integer not null,
    schedule text not null,
    timezone text not null,
    overlap text not null check (overlap in ('skip', 'queue', 'allow')),
    payload json not null,
    enabled boolean not null,
    declared boolean not null,
    next_due timestamptz not null,
    last_job text,
    unique (app_id, name)
);
create index crons_due on caudex_cron.crons (next_due) where enabled;

create table caudex_cron.runs (
    id bigint generated always as identity primary key,
    cron_id uuid not null references caudex_cron.crons on delete cascade,
    due timestamptz not null,
    at timestamptz not null default now(),
    state text not null check (state in ('fired', 'waiting', 'skipped', 'missed', 'failed')),
    job_id text,
    missed integer not null default 0,
    detail text,
    triggered_by uuid
);
create unique index runs_once on caudex_cron.runs (cron_id, due) where triggered_by is null;
create index runs_listed on caudex_cron.runs (cron_id, id);
create index runs_waiting on caudex_cron.runs (cron_id, id) where state = 'waiting';

create function caudex_cron.shown(r caudex_cron.runs) returns json language sql stable as $$
    select row_to_json(s) from (
        select r.id, to_char(r.due at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as due,
            to_char(r.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at,
            r.state, r.job_id, r.missed, r.detail, r.triggered_by
    ) as s
$$;
