-- The schema caudex_jobs as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- Jobs of apps' workers, and of plugins that handle jobs of their own. A job runs at least once.
create table caudex_jobs.jobs (
    id uuid not null,  -- UUID of version 7: the time of the enqueue orders ids.
    app_id text not null,  -- The app, or `plugin:<name>`.
    -- One of five states; `due` and `quarantined` say more about a pending one.
    --              enqueue
    --                 |
    --                 v           claim                  settle
    --              pending -------------------> running --------> completed
    --               |   ^                        | | |
    --               |   '-------- again ---------' | '----------> failed
    --               |                              |
    --               |  cancel                      |  settle, where it was cancelled meanwhile
    --               '----------> cancelled <-------'
    -- It is pending again after an error with attempts left (`settle`), after a claim that no worker got (`release`),
    -- and when its lease expires (`expire`). It fails after its last attempt, and as a poison job. A retry by an admin
    -- makes a new job.
    status text not null default 'pending',
    -- The time of a pending job has come. So the index for claims holds no scheduled jobs, however many there are.
    --    pending, not due --- promote_due, at run_at ---> pending, due --- claim ---> running
    due boolean not null,
    -- It was running when a worker crashed or a lease expired: it runs alone until it ends regularly.
    --    false --- a crash, or `expire` ---> true --- it ends regularly ---> false
    --                                        |  ^
    --                                        '--' once more: `worker_crashes` or `lease_expiries` grows
    quarantined boolean not null default false,
    priority integer not null,  -- Jobs of a higher priority are claimed first.
    attempts integer not null default 0,  -- Starts.
    failures integer not null default 0,  -- Attempts that the handler ended with an error.
    worker_crashes integer not null default 0,  -- Crashes of the worker while the job ran alone.
    lease_expiries integer not null default 0,  -- Leases that expired while the job ran alone.
    max_attempts integer not null,  -- After so many failures the job fails.
    timeout_s double precision not null,  -- Seconds that one attempt may take.
    user_id uuid,  -- On whose behalf it runs; null for the server.
    key text,  -- Idempotency key: one pending or running job of the app has it.
    run_at timestamptz not null,  -- Not before this time.
    created_at timestamptz not null default now(),  -- When it was enqueued.
    updated_at timestamptz not null default now(),  -- The last change; a heartbeat changes nothing here.
    cancelled_at timestamptz,  -- When someone asked to cancel it; a running job ends later.
    ended_at timestamptz,  -- When it reached its last state.
    -- The claim that it runs under; null unless it is running. Who has no such token changes nothing of a running job.
    lease_token uuid,
    -- When the lease expires, unless a heartbeat renews it. No index has the columns of the lease.
    lease_until timestamptz,
    error text,  -- What the last attempt failed with.
    payload json not null,  -- What the handler gets: json, not jsonb, so the text is returned unchanged.
    result json,  -- What the handler returned.
    progress json,  -- What the running attempt reported last.
    -- The end of the delegation by which handlers act for the user. A job that a worker enqueues inherits it from the
    -- worker's call. Otherwise it begins with the first claim, and later starts do not extend it. It ends at a full
    -- hour, so that jobs of one hour share their tokens.
    delegation_ends timestamptz,
    delegation_epoch text,  -- The epoch of the user's account when the delegation began.
    -- Attempts in a row that ended because something was unavailable: they are no failures.
    unavailable integer not null default 0,
    started_at timestamptz,  -- When the job was started last.
    -- The attempts before that which ended without a result: [{"started_at", "ended_at", "error"}], the last twenty.
    earlier jsonb not null default '[]'::jsonb,
    -- What narrows the rights of the user who enqueued the job: the limits of an API key. Null where nothing does.
    limits json,
    request_id text,  -- The request that enqueued it (`X-Request-Id`), or the job whose worker did; null without one.
    primary key (id),
    check ((status = any (array['pending', 'running', 'completed', 'failed', 'cancelled']))),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
) with (fillfactor=85, autovacuum_vacuum_scale_factor=0.02, autovacuum_analyze_scale_factor=0.05);
-- The order of claims.
create index jobs_ready on caudex_jobs.jobs (app_id, quarantined, priority desc, run_at, id) where ((status = 'pending')
    and due);
create index jobs_scheduled on caudex_jobs.jobs (run_at) where ((status = 'pending') and (not due));
-- No index contains the columns of the lease: a heartbeat updates none.
create index jobs_running on caudex_jobs.jobs (id) where (status = 'running');
create unique index jobs_key on caudex_jobs.jobs (app_id, key) where ((key is not null)
    and (status = any (array['pending', 'running'])));
create index jobs_listed on caudex_jobs.jobs (app_id, status, created_at, id);
-- The jobs of one user, for callers that may see no others.
create index jobs_of_user on caudex_jobs.jobs (app_id, user_id, status, created_at, id) where (user_id is not null);
create index jobs_ended on caudex_jobs.jobs (ended_at) where (ended_at is not null);
-- For the trace of a request, which is read rarely: a B-tree would have a new entry for each claim and each outcome.
-- What this one has no summary of yet is read as it is: the rows since the last vacuum.
create index jobs_of_request on caudex_jobs.jobs using brin (request_id text_bloom_ops) with (pages_per_range='32');
create trigger note_attempt before update on caudex_jobs.jobs for each row when (((old.status = 'running')
    and (new.status = 'pending'))) execute function caudex_jobs.note_attempt();

-- A job as REST shows it.
create function caudex_jobs.shown(j caudex_jobs.jobs)
 returns json
 language sql
 stable
as $$
    select row_to_json(r) from (
        select j.id, j.app_id, j.status, j.payload, j.result, j.error, j.attempts,
            to_char(j.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as created_at,
            to_char(j.updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as updated_at,
            to_char(j.run_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as run_at,
            j.progress
    ) as r
$$;

-- Claim jobs: for each app up to `free` of them, or one quarantined job alone when no other runs (`idle`). While a
-- quarantined job has waited for `patience`, a busy worker claims nothing more. After twelve times `patience` it runs
-- beside others, since jobs may take hours, and nothing is claimed until it has ended. If it crashes the worker, the
-- next one is idle at its start and takes it alone. After a crash of PostgreSQL a lost claim is a lost lease, so it
-- does not wait for the disk.
create function caudex_jobs.claim(requests jsonb, token uuid, lease interval, patience interval)
 returns setof json
 language plpgsql
 set search_path to ''
 set enable_seqscan to 'off'
 set enable_bitmapscan to 'off'
 set enable_sort to 'off'
as $$
declare
    app record;
    found_ids uuid[];
    picked uuid[] := '{}';
begin
    perform set_config('synchronous_commit', 'off', true);
    for app in
        select r.app_id, r.free, r.idle
        from jsonb_to_recordset(requests) as r (app_id text, free integer, idle boolean)
    loop
        select array_agg(s.id) into found_ids from (
            select j.id from caudex_jobs.jobs as j
            where j.app_id = app.app_id and j.status = 'pending' and j.due and j.quarantined
                and (app.idle or j.updated_at < now() - 12 * patience)
            order by j.priority desc, j.run_at, j.id limit 1
            for update skip locked) as s;
        if found_ids is null and not app.idle then
            perform from caudex_jobs.jobs as j
            where j.app_id = app.app_id and j.status = 'pending' and j.due and j.quarantined
                and j.updated_at < now() - patience
            order by j.priority desc, j.run_at, j.id limit 1;
            continue when found;
        end if;
        if found_ids is null then
            select array_agg(s.id) into found_ids from (
                select j.id from caudex_jobs.jobs as j
                where j.app_id = app.app_id and j.status = 'pending' and j.due and not j.quarantined
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
            lease_token = token, lease_until = now() + lease, updated_at = now(), started_at = now(),
            delegation_ends =
                coalesce(j.delegation_ends, date_trunc('hour', now(), 'UTC') + interval '8 days')
        where j.id = any(picked)
        returning json_build_object('id', j.id, 'app_id', j.app_id, 'payload', j.payload,
            'user_id', j.user_id, 'timeout_s', j.timeout_s, 'failures', j.failures,
            'max_attempts', j.max_attempts, 'quarantined', j.quarantined,
            'worker_crashes', j.worker_crashes, 'unavailable', j.unavailable,
            'priority', j.priority,
            'run_at', extract(epoch from j.run_at),
            'delegation_ends', extract(epoch from j.delegation_ends),
            'delegation_epoch', coalesce(j.delegation_epoch, ''),
            'limits', j.limits);
end
$$;

-- Store the outcomes of jobs that `token` still leases. A job that was cancelled while it ran is cancelled, whatever
-- its outcome. Pending with a `delay` (seconds) is a retry. Functions find a running job by its lease token alone: with
-- the status in the condition, PostgreSQL would compare all running jobs with each outcome. PostgreSQL would plan the
-- update again for each batch, a tenth of its time for a job: both plans are a join by the primary key, so the generic
-- one is forced. It is the only one of these functions that waits for the disk.
create function caudex_jobs.settle(outcomes json)
 returns void
 language plpgsql
 set search_path to ''
 set enable_seqscan to 'off'
 set enable_hashjoin to 'off'
 set enable_mergejoin to 'off'
 set plan_cache_mode to 'force_generic_plan'
as $$
begin
    update caudex_jobs.jobs as j
    set status = case when j.cancelled_at is null then o.status else 'cancelled' end,
        due = j.cancelled_at is null and o.status = 'pending' and o.delay = 0,
        run_at = case when o.delay = 0 then j.run_at else now() + make_interval(secs => o.delay) end,
        attempts = j.attempts - o.unstarted::int,
        failures = o.failures, worker_crashes = o.worker_crashes, quarantined = o.quarantined,
        unavailable = coalesce(o.unavailable, 0), result = o.result::json, error = o.error,
        lease_token = null, lease_until = null, updated_at = now(),
        ended_at = case when j.cancelled_at is null and o.status = 'pending' then null else now() end
    from json_to_recordset(outcomes) as o (id uuid, token uuid, status text, delay double precision,
        unstarted boolean, failures integer, worker_crashes integer, unavailable integer,
        quarantined boolean, result text, error text)
    where j.id = o.id and j.lease_token = o.token;
end
$$;

-- Store the progress of jobs.
create function caudex_jobs.report(reports json)
 returns void
 language sql
 set search_path to ''
 set enable_seqscan to 'off'
 set enable_hashjoin to 'off'
 set enable_mergejoin to 'off'
as $$
    select set_config('synchronous_commit', 'off', true);
    update caudex_jobs.jobs as j
    set progress = r.value::json, updated_at = now()
    from json_to_recordset(reports) as r (id uuid, token uuid, value text)
    where j.id = r.id and j.lease_token = r.token
$$;

-- Renew leases; return those that still hold, and which of their jobs were cancelled.
create function caudex_jobs.renew(ids uuid[], tokens uuid[], lease interval)
 returns setof json
 language sql
 set search_path to ''
 set enable_seqscan to 'off'
 set enable_hashjoin to 'off'
 set enable_mergejoin to 'off'
as $$
    select set_config('synchronous_commit', 'off', true);
    update caudex_jobs.jobs as j
    set lease_until = now() + lease
    from unnest(ids, tokens) as h (id, token)
    where j.id = h.id and j.lease_token = h.token
    returning json_build_object('id', j.id, 'cancelled', j.cancelled_at is not null)
$$;

-- Release the jobs of claims whose answer was lost: no worker has started them.
create function caudex_jobs.release(tokens uuid[])
 returns void
 language sql
 set search_path to ''
 set enable_seqscan to 'off'
as $$
    update caudex_jobs.jobs as j
    set status = case when j.cancelled_at is null then 'pending' else 'cancelled' end,
        ended_at = case when j.cancelled_at is null then null else now() end,
        due = j.cancelled_at is null, attempts = j.attempts - 1,
        lease_token = null, lease_until = null, updated_at = now()
    where j.status = 'running' and j.lease_token = any(tokens)
$$;

-- Make scheduled jobs due whose time has come. Return their apps, and the seconds until the next time, null when no job
-- is scheduled.
create function caudex_jobs.promote_due(max_rows integer)
 returns json
 language plpgsql
 set search_path to ''
 set enable_seqscan to 'off'
 set enable_bitmapscan to 'off'
 set enable_sort to 'off'
as $$
declare
    apps text[];
    next_at timestamptz;
begin
    perform set_config('synchronous_commit', 'off', true);
    with found as materialized (
        select j.id from caudex_jobs.jobs as j
        where j.status = 'pending' and not j.due and j.run_at <= now()
        order by j.run_at limit max_rows for update skip locked
    ),
    promoted as (
        update caudex_jobs.jobs as j set due = true
        where j.id = any(array(select id from found)) returning j.app_id
    )
    select array_agg(distinct app_id) into apps from promoted;
    select j.run_at into next_at from caudex_jobs.jobs as j
    where j.status = 'pending' and not j.due
    order by j.run_at limit 1;
    return json_build_object('apps', coalesce(to_json(apps), '[]'::json),
        'next', case when next_at is not null then greatest(0, extract(epoch from next_at - now())) end);
end
$$;

-- Take back jobs whose lease has expired, and quarantine them; return the app of each.
create function caudex_jobs.expire(max_rows integer, max_expiries integer, failure text)
 returns setof text
 language sql
 set search_path to ''
 set enable_seqscan to 'off'
as $$
    with expired as materialized (
        select j.id,
            case when j.cancelled_at is not null then 'cancelled'
                when j.quarantined and j.lease_expiries + 1 >= max_expiries then 'failed'
                else 'pending' end as status
        from caudex_jobs.jobs as j
        where j.status = 'running' and j.lease_until < now()
        limit max_rows for update skip locked
    )
    update caudex_jobs.jobs as j
    set status = e.status, due = e.status = 'pending',
        ended_at = case when e.status = 'pending' then null else now() end,
        lease_expiries = j.lease_expiries + j.quarantined::int, quarantined = e.status = 'pending',
        error = case when e.status = 'failed' then failure else j.error end,
        lease_token = null, lease_until = null, updated_at = now()
    from expired as e where j.id = e.id
    returning j.app_id
$$;

-- A time as the API shows it.
create function caudex_jobs.shown_time(at timestamptz)
 returns text
 language sql
 stable
as $$
    select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- An attempt that makes the job pending again is kept, unless the worker never had it: `attempts` is then lower. An
-- expired lease leaves `error` as it was.
create function caudex_jobs.note_attempt()
 returns trigger
 language plpgsql
 set search_path to ''
as $$
begin
    if new.attempts = old.attempts then
        new.earlier := case when jsonb_array_length(old.earlier) < 20 then old.earlier else old.earlier - 0 end
            || jsonb_build_object('started_at', caudex_jobs.shown_time(old.started_at),
                'ended_at', caudex_jobs.shown_time(now()),
                'error', case when new.error is distinct from old.error then left(new.error, 2000) end);
    else
        new.started_at := null;
    end if;
    return new;
end
$$;

-- The jobs that a request enqueued. PostgreSQL takes a Bloom filter for as bad as reading the whole table, so it is
-- forbidden to do that.
create function caudex_jobs.of_request(request text, max_rows integer)
 returns json
 language sql
 stable
 set search_path to ''
 set enable_seqscan to 'off'
as $$
    select json_agg(json_build_object('app', n.app_id, 'id', n.id, 'state', n.status,
        'at', caudex_jobs.shown_time(n.created_at)) order by n.created_at, n.id)
    from (
        select j.app_id, j.id, j.status, j.created_at from caudex_jobs.jobs as j
        where j.request_id = request
        order by j.created_at, j.id limit max_rows
    ) as n
$$;
