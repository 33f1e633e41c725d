-- Runs in a row that ended because something was unavailable: they are no failures.
alter table caudex_jobs.jobs add column unavailable integer not null default 0;

-- Claim jobs: for each app up to `free` of them, or one quarantined job alone when no other runs (`idle`).
-- While a quarantined job has waited for `patience`, a busy worker claims nothing more. After twelve times
-- `patience` it runs beside others, since jobs may take hours, and nothing is claimed until it has ended.
-- If it crashes the worker, the next one is idle at its start and takes it alone.
create or replace function caudex_jobs.claim(requests jsonb, token uuid, lease interval, patience interval)
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
            lease_token = token, lease_until = now() + lease, updated_at = now(),
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
-- Store the outcomes of jobs that `token` still leases. A job that was cancelled while it ran is cancelled,
-- whatever its outcome. Pending with a `delay` (seconds) is a retry.
create or replace function caudex_jobs.settle(outcomes json)
returns void language plpgsql
set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
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
