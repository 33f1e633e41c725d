-- `due` tells of a pending job that its time has come: so the index that claims read holds nothing
-- that a claim would have to pass over, however many jobs wait for later.
create table caudex_jobs.jobs (
    id uuid primary key,
    app_id text not null,
    status text not null default 'pending'
        check (status in ('pending', 'running', 'completed', 'failed', 'cancelled')),
    due boolean not null,
    -- In flight when a worker died: runs alone until it has ended in an orderly way.
    suspect boolean not null default false,
    priority integer not null,
    -- Starts, errors of the handler, and deliveries that were lost while it ran alone: with the
    -- worker, and with the server, which can have died of anything.
    attempts integer not null default 0,
    failures integer not null default 0,
    losses integer not null default 0,
    lapses integer not null default 0,
    max_attempts integer not null,
    timeout_s double precision not null,
    user_id uuid,
    key text,
    run_at timestamptz not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    cancelled_at timestamptz,
    ended_at timestamptz,
    lease_token uuid,
    lease_until timestamptz,
    error text,
    -- json, not jsonb: they are handed on as they were given.
    payload json not null,
    result json,
    progress json
) with (
    -- Room for heartbeats and progress beside the row; claims leave dead rows behind all the time.
    fillfactor = 85,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.05
);

create index jobs_ready on caudex_jobs.jobs (app_id, suspect, priority desc, run_at, id)
    where status = 'pending' and due;
create index jobs_scheduled on caudex_jobs.jobs (run_at) where status = 'pending' and not due;
-- The columns of the lease are in no index, so that a heartbeat touches none.
create index jobs_running on caudex_jobs.jobs (id) where status = 'running';
create unique index jobs_key on caudex_jobs.jobs (app_id, key)
    where key is not null and status in ('pending', 'running');
create index jobs_listed on caudex_jobs.jobs (app_id, status, created_at, id);
create index jobs_ended on caudex_jobs.jobs (ended_at) where ended_at is not null;
