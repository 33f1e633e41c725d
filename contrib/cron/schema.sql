-- The schema caudex_cron as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- The apps whose manifests have schedules.
create table caudex_cron.apps (
    app_id text not null,  -- The app.
    -- The stamp of the manifest that was read: an older one never overwrites a newer one, when servers read them at the
    -- same time.
    stamp bigint not null,
    primary key (app_id),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);

-- The schedules.
create table caudex_cron.crons (
    id uuid not null default gen_random_uuid(),  -- Its runs name it.
    app_id text not null,  -- The app.
    name text not null,  -- Unique in the app.
    place integer not null,  -- Its place in the manifest.
    schedule text not null,  -- Five fields, as in crontab(5).
    timezone text not null,  -- The time zone of the schedule.
    -- What happens at a due time while the job of the last one is pending or runs: none, one more after it, or one
    -- beside it.
    overlap text not null,
    payload json not null,  -- The payload of its jobs.
    enabled boolean not null,  -- Whether it fires.
    declared boolean not null,  -- `enabled` in the latest manifest; admins may have changed `enabled` since.
    next_due timestamptz not null,  -- The next due time.
    last_job text,  -- The job of the last run that fired.
    primary key (id),
    unique (app_id, name),
    check ((overlap = any (array['skip', 'queue', 'allow']))),
    foreign key (app_id) references caudex_cron.apps(app_id) on delete cascade
);
create index crons_due on caudex_cron.crons (next_due) where enabled;

-- What became of due times.
create table caudex_cron.runs (
    id bigint generated always as identity,  -- Grows.
    cron_id uuid not null,  -- The schedule.
    due timestamptz not null,  -- The due time.
    at timestamptz not null default now(),  -- When the row got its state.
    -- How the due time was delivered.
    --    due time --- the queue takes a job ------------------------------> fired
    --       |                                                                ^
    --       |--- the last job is not over, overlap "queue" ---> waiting -----'  when it is over
    --       |                                                      |
    --       |                                                      '--------> failed
    --       |--- the last job is not over, overlap "skip" ------------------> skipped
    --       |--- no server ran at the time ---------------------------------> missed
    --       '--- the queue refuses the job ---------------------------------> failed
    state text not null,
    job_id text,  -- The job; null unless it fired.
    missed integer not null default 0,  -- The due times before `due` at which no server ran.
    detail text,  -- Why it did not fire.
    triggered_by uuid,  -- The user that triggered it by hand; null for a due time.
    primary key (id),
    check ((state = any (array['fired', 'waiting', 'skipped', 'missed', 'failed']))),
    foreign key (cron_id) references caudex_cron.crons(id) on delete cascade
);
-- A due time fires once: two runs of it cannot be stored.
create unique index runs_once on caudex_cron.runs (cron_id, due) where (triggered_by is null);
create index runs_listed on caudex_cron.runs (cron_id, id);
create index runs_waiting on caudex_cron.runs (cron_id, id) where (state = 'waiting');

-- A run as REST shows it.
create function caudex_cron.shown(r caudex_cron.runs)
 returns json
 language sql
 stable
as $$
    select row_to_json(s) from (
        select r.id, to_char(r.due at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as due,
            to_char(r.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at,
            r.state, r.job_id, r.missed, r.detail, r.triggered_by
    ) as s
$$;
