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

-- None of them but `settle` waits for the disk: what a crash of PostgreSQL takes back of a claim or a
-- heartbeat, a lost lease would take back as well.

-- Claim jobs: for each app up to `free` of them, or one suspect alone where nothing else runs
-- (`idle`). While a suspect has waited for `patience`, a busy worker takes on nothing more.
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
            perform from caudex_jobs.jobs as j
            where j.app_id = app.app_id and j.status = 'pending' and j.due and j.suspect
                and j.updated_at < now() - patience
            order by j.priority desc, j.run_at, j.id limit 1;
            continue when found;
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
            lease_token = token, lease_until = now() + lease, updated_at = now()
        where j.id = any(picked)
        returning json_build_object('id', j.id, 'app_id', j.app_id, 'payload', j.payload,
            'user_id', j.user_id, 'timeout_s', j.timeout_s, 'failures', j.failures,
            'max_attempts', j.max_attempts, 'suspect', j.suspect, 'losses', j.losses,
            'priority', j.priority, 'run_at', extract(epoch from j.run_at));
end
$$;

-- Store what became of jobs that are still held under `token`. One that somebody cancelled while it
-- ran is cancelled, whatever it did. Pending with a `delay` (seconds) is a retry.
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
    where j.id = o.id and j.lease_token = o.token and j.status = 'running';
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
    where j.id = s.id and j.lease_token = s.token and j.status = 'running'
$$;

-- Renew leases; tells which of them still hold, and which of those jobs are not wanted any more.
create function caudex_jobs.renew(ids uuid[], tokens uuid[], lease interval)
returns setof json language sql
set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
    select set_config('synchronous_commit', 'off', true);
    update caudex_jobs.jobs as j
    set lease_until = now() + lease
    from unnest(ids, tokens) as h (id, token)
    where j.id = h.id and j.lease_token = h.token and j.status = 'running'
    returning json_build_object('id', j.id, 'cancelled', j.cancelled_at is not null)
$$;

-- Give back what was claimed by statements whose answers never came: nobody has started it.
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

-- Jobs whose lease has ended are lost deliveries; returns the app of each. Alone in the cluster.
create function caudex_jobs.expire(most integer, lapses_allowed integer, why text)
returns setof text language plpgsql
set search_path = '' set enable_seqscan = off
as $$
begin
    if not pg_try_advisory_xact_lock(hashtextextended('caudex_jobs sweep', 0)) then
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

-- Let jobs be claimed whose time has come. Returns their apps, and the seconds until the next time.
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
        'next', greatest(0, extract(epoch from next_at - now())));
end
$$;
