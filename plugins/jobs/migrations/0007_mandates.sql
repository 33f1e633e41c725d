-- Until when the handlers of a job may act for its user, and by which mandate (`kernel.contracts.identity`). A job
-- that a worker enqueues takes over what the worker has; where users enqueue one themselves it begins when the job
-- is first claimed, however long it waits, and no later start makes it longer. At a full hour, so that jobs of the
-- same hour share their tokens; the eight days are MANDATE.
alter table caudex_jobs.jobs add column until timestamptz, add column mark text;

create or replace function caudex_jobs.claim(asked jsonb, token uuid, lease interval, patience interval)
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
