-- replaces: 0001_jobs.sql 0002_functions.sql 0003_by_token.sql 0004_turns.sql 0005_room.sql 0006_lives.sql 0007_mandates.sql
-- `due` tells of a pending job that its time has come: so the index that claims read holds nothing
-- that a claim would have to pass over, however many jobs wait for later.
create table caudex_jobs.jobs (
    id uuid primary key,
    app_id text not null references caudex_kernel.apps (app_id) on delete cascade,
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
    progress json,
    -- Until when the handlers of a job may act for its user, and the epoch of the delegation
    -- (`kernel.contracts.identity`). A job that a worker enqueues inherits them from the worker's
    -- call. For a job that a user enqueues they begin when it is first claimed, however long it
    -- waits, and no later start extends them. They end at a full hour, so that jobs of the same
    -- hour share their tokens; the eight days are the lifetime of a delegation.
    until timestamptz,
    mark text
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

-- A job as others see it.
create function caudex_jobs.shown(j caudex_jobs.jobs) returns json language sql stable as $$
    select row_to_json(r) from (
        select j.id, j.app_id, j.status, j.payload, j.result, j.error, j.attempts,
            to_char(j.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as created_at,
            to_char(j.updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as updated_at,
            to_char(j.run_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as run_at,
            j.progress
    ) as r
$$;

-- What runs all the time is a function too, for the sake of its settings: PostgreSQL keeps the plan that
-- it made when the table was empty, and a sequential scan must not be in it when a million jobs wait.
-- Only a running job has a lease, so its token says that it runs. Were the status asked for as well,
-- PostgreSQL would read all running jobs by their index and compare each with each outcome.
-- None but `settle` waits for the disk: what a crash of PostgreSQL takes back of a claim or a heartbeat,
-- a lost lease would take back as well.

-- Claim jobs: for each app up to `free` of them, or one suspect alone where nothing else runs
-- (`idle`). While a suspect has waited for `patience`, a busy worker claims nothing more: where jobs take
-- hours, all others would wait for hours. After twelve times `patience` the suspect runs beside others,
-- and nothing new is claimed there until it has ended. Should it kill the worker, the next one is idle
-- when it starts, and takes it alone.
create function caudex_jobs.claim(asked jsonb, token uuid, lease interval, patience interval)
returns setof json language plpgsql
set search_path = '' set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
declare
    app record;
    found_ids uuid[];
    picked uuid[] := '{}';
begin
    perform set_config('synchronous_commit', 'off', true);
    for app in
        select a.app_id, a.free, a.idle
        from jsonb_to_recordset(asked) as a (app_id text, free integer, idle boolean)
    loop
        found_ids := null;
        if app.idle then
            select array_agg(s.id) into found_ids from (
                select j.id from caudex_jobs.jobs as j
                where j.app_id = app.app_id and j.status = 'pending' and j.due and j.suspect
                order by j.priority desc, j.run_at, j.id limit 1
                for update skip locked) as s;
        else
            select array_agg(s.id) into found_ids from (
                select j.id from caudex_jobs.jobs as j
                where j.app_id = app.app_id and j.status = 'pending' and j.due and j.suspect
                    and j.updated_at < now() - 12 * patience
                order by j.priority desc, j.run_at, j.id limit 1
                for update skip locked) as s;
            if found_ids is null then
                perform from caudex_jobs.jobs as j
                where j.app_id = app.app_id and j.status = 'pending' and j.due and j.suspect
                    and j.updated_at < now() - patience
                order by j.priority desc, j.run_at, j.id limit 1;
                continue when found;
            end if;
        end if;
        if found_ids is null then
            select array_agg(s.id) into found_ids from (
                select j.id from caudex_jobs.jobs as j
                where j.app_id = app.app_id and j.status = 'pending' and j.due and not j.suspect
                order by j.priority desc, j.run_at, j.id limit app.free
                for update skip locked) as s;
        end if;
        picked := picked || found_ids;
    end loop;
    if cardinality(picked) = 0 then
        return;
    end if;
    return query
        update caudex_jobs.jobs as j
        set status = 'running', due = false, attempts = j.attempts + 1, progress = null,
            lease_token = token, lease_until = now() + lease, updated_at = now(),
            until = coalesce(j.until, date_trunc('hour', now(), 'UTC') + interval '8 days')
        where j.id = any(picked)
        returning json_build_object('id', j.id, 'app_id', j.app_id, 'payload', j.payload,
            'user_id', j.user_id, 'timeout_s', j.timeout_s, 'failures', j.failures,
            'max_attempts', j.max_attempts, 'suspect', j.suspect, 'losses', j.losses,
            'priority', j.priority, 'run_at', extract(epoch from j.run_at),
            'until', extract(epoch from j.until), 'mark', coalesce(j.mark, ''));
end
$$;

-- Store what became of jobs that are still held under `token`. One that was cancelled while it ran
-- is cancelled, whatever its outcome. Pending with a `delay` (seconds) is a retry.
create function caudex_jobs.settle(outcomes json)
returns void language plpgsql
set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
begin
    update caudex_jobs.jobs as j
    set status = case when j.cancelled_at is null then o.status else 'cancelled' end,
        due = j.cancelled_at is null and o.status = 'pending' and o.delay = 0,
        run_at = case when o.delay = 0 then j.run_at else now() + make_interval(secs => o.delay) end,
        attempts = j.attempts - o.unstarted::int,
        failures = o.failures, losses = o.losses, suspect = o.suspect,
        result = o.result::json, error = o.error,
        lease_token = null, lease_until = null, updated_at = now(),
        ended_at = case when j.cancelled_at is null and o.status = 'pending' then null else now() end
    from json_to_recordset(outcomes) as o (id uuid, token uuid, status text, delay double precision,
        unstarted boolean, failures integer, losses integer, suspect boolean, result text,
        error text)
    where j.id = o.id and j.lease_token = o.token;
end
$$;

-- Store how far jobs are.
create function caudex_jobs.report(steps json)
returns void language sql
set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
    select set_config('synchronous_commit', 'off', true);
    update caudex_jobs.jobs as j
    set progress = s.value::json, updated_at = now()
    from json_to_recordset(steps) as s (id uuid, token uuid, value text)
    where j.id = s.id and j.lease_token = s.token
$$;

-- Renew leases; returns which of them still hold, and which of those jobs were cancelled.
create function caudex_jobs.renew(ids uuid[], tokens uuid[], lease interval)
returns setof json language sql
set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
    select set_config('synchronous_commit', 'off', true);
    update caudex_jobs.jobs as j
    set lease_until = now() + lease
    from unnest(ids, tokens) as h (id, token)
    where j.id = h.id and j.lease_token = h.token
    returning json_build_object('id', j.id, 'cancelled', j.cancelled_at is not null)
$$;

-- Release what was claimed by statements whose answers never came: no worker has started it.
create function caudex_jobs.unclaim(tokens uuid[])
returns void language sql
set search_path = '' set enable_seqscan = off
as $$
    update caudex_jobs.jobs as j
    set status = case when j.cancelled_at is null then 'pending' else 'cancelled' end,
        ended_at = case when j.cancelled_at is null then null else now() end,
        due = j.cancelled_at is null, attempts = j.attempts - 1,
        lease_token = null, lease_until = null, updated_at = now()
    where j.status = 'running' and j.lease_token = any(tokens)
$$;

-- Let jobs be claimed whose time has come. Returns their apps, and the seconds until the next time;
-- null where no job waits for its time, where `greatest` would make 0 of it.
create function caudex_jobs.ripen(most integer)
returns json language plpgsql
set search_path = '' set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
declare
    apps text[];
    next_at timestamptz;
begin
    perform set_config('synchronous_commit', 'off', true);
    with ripe as materialized (
        select j.id from caudex_jobs.jobs as j
        where j.status = 'pending' and not j.due and j.run_at <= now()
        order by j.run_at limit most for update skip locked
    ),
    made as (
        update caudex_jobs.jobs as j set due = true
        where j.id = any(array(select id from ripe)) returning j.app_id
    )
    select array_agg(distinct app_id) into apps from made;
    select j.run_at into next_at from caudex_jobs.jobs as j
    where j.status = 'pending' and not j.due
    order by j.run_at limit 1;
    return json_build_object('apps', coalesce(to_json(apps), '[]'::json),
        'next', case when next_at is not null then greatest(0, extract(epoch from next_at - now())) end);
end
$$;

-- in an adopted database as well:
-- Jobs whose lease has ended are lost deliveries; returns the app of each. Alone in the cluster.
create or replace function caudex_jobs.expire(most integer, lapses_allowed integer, why text)
returns setof text language plpgsql
set search_path = '' set enable_seqscan = off
as $$
begin
    if not caudex_kernel.lock(array['jobs.expire'], true) then
        return;
    end if;
    return query
        with lost as materialized (
            select j.id,
                case when j.cancelled_at is not null then 'cancelled'
                    when j.suspect and j.lapses + 1 >= lapses_allowed then 'failed'
                    else 'pending' end as status
            from caudex_jobs.jobs as j
            where j.status = 'running' and j.lease_until < now()
            limit most for update skip locked
        )
        update caudex_jobs.jobs as j
        set status = lost.status, due = lost.status = 'pending',
            ended_at = case when lost.status = 'pending' then null else now() end,
            lapses = j.lapses + j.suspect::int, suspect = lost.status = 'pending',
            error = case when lost.status = 'failed' then why else j.error end,
            lease_token = null, lease_until = null, updated_at = now()
        from lost where j.id = lost.id
        returning j.app_id;
end
$$;
