-- replaces: 0001_schema.sql 0002_settle_plan.sql
create table caudex_jobs.jobs (
    id uuid primary key,
    app_id text not null references caudex_kernel.apps (app_id) on delete cascade,
    status text not null default 'pending'
        check (status in ('pending', 'running', 'completed', 'failed', 'cancelled')),
    due boolean not null,
    quarantined boolean not null default false,
    priority integer not null,
    attempts integer not null default 0,
    failures integer not null default 0,
    worker_crashes integer not null default 0,
    lease_expiries integer not null default 0,
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
    payload json not null,
    result json,
    progress json,
    delegation_ends timestamptz,
    delegation_epoch text,
    unavailable integer not null default 0,
    started_at timestamptz,
    earlier jsonb not null default '[]'
) with (
    fillfactor = 85,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.05
);

create index jobs_ready on caudex_jobs.jobs (app_id, quarantined, priority desc, run_at, id)
    where status = 'pending' and due;
create index jobs_scheduled on caudex_jobs.jobs (run_at) where status = 'pending' and not due;
create index jobs_running on caudex_jobs.jobs (id) where status = 'running';
create unique index jobs_key on caudex_jobs.jobs (app_id, key)
    where key is not null and status in ('pending', 'running');
create index jobs_listed on caudex_jobs.jobs (app_id, status, created_at, id);
create index jobs_of_user on caudex_jobs.jobs (app_id, user_id, status, created_at, id) where user_id is not null;
create index jobs_ended on caudex_jobs.jobs (ended_at) where ended_at is not null;

create function caudex_jobs.shown(j caudex_jobs.jobs) returns json language sql stable as $$
    select row_to_json(r) from (
        select j.id, j.app_id, j.status, j.payload, j.result, j.error, j.attempts,
            to_char(j.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as created_at,
            to_char(j.updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as updated_at,
            to_char(j.run_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as run_at,
            j.progress
    ) as r
$$;

create function caudex_jobs.claim(requests jsonb, token uuid, lease interval, patience interval)
returns setof json language plpgsql
set search_path = '' set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
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
            'delegation_epoch', coalesce(j.delegation_epoch, ''));
end $$;

create function caudex_jobs.settle(outcomes json)
returns void language plpgsql
set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_generic_plan as $$
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
end $$;

create function caudex_jobs.report(reports json)
returns void language sql
set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
    select set_config('synchronous_commit', 'off', true);
    update caudex_jobs.jobs as j
    set progress = r.value::json, updated_at = now()
    from json_to_recordset(reports) as r (id uuid, token uuid, value text)
    where j.id = r.id and j.lease_token = r.token
$$;

create function caudex_jobs.renew(ids uuid[], tokens uuid[], lease interval)
returns setof json language sql
set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
    select set_config('synchronous_commit', 'off', true);
    update caudex_jobs.jobs as j
    set lease_until = now() + lease
    from unnest(ids, tokens) as h (id, token)
    where j.id = h.id and j.lease_token = h.token
    returning json_build_object('id', j.id, 'cancelled', j.cancelled_at is not null)
$$;

create function caudex_jobs.release(tokens uuid[])
returns void language sql
set search_path = '' set enable_seqscan = off as $$
    update caudex_jobs.jobs as j
    set status = case when j.cancelled_at is null then 'pending' else 'cancelled' end,
        ended_at = case when j.cancelled_at is null then null else now() end,
        due = j.cancelled_at is null, attempts = j.attempts - 1,
        lease_token = null, lease_until = null, updated_at = now()
    where j.status = 'running' and j.lease_token = any(tokens)
$$;

create function caudex_jobs.promote_due(max_rows integer)
returns json language plpgsql
set search_path = '' set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
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
end $$;

create function caudex_jobs.expire(max_rows integer, max_expiries integer, failure text)
returns setof text language sql
set search_path = '' set enable_seqscan = off as $$
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

create function caudex_jobs.shown_time(at timestamptz) returns text language sql stable as $$
    select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

create function caudex_jobs.note_attempt() returns trigger language plpgsql set search_path = '' as $$
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
end $$;
create trigger note_attempt before update on caudex_jobs.jobs for each row
    when (old.status = 'running' and new.status = 'pending')
    execute function caudex_jobs.note_attempt();
