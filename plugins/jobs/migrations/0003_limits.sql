alter table caudex_jobs.jobs add column limits json;
comment on column caudex_jobs.jobs.limits is
'What narrows the rights of the user who enqueued the job: the limits of an API key. Null where nothing does.';

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
end $$;
