-- Only a running job has a lease, so its token says that it runs. Were the status asked for as well,
-- PostgreSQL would read all running jobs by their index and compare each with each outcome.

create or replace function caudex_jobs.settle(outcomes json)
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

create or replace function caudex_jobs.report(steps json)
returns void language sql
set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
    select set_config('synchronous_commit', 'off', true);
    update caudex_jobs.jobs as j
    set progress = s.value::json, updated_at = now()
    from json_to_recordset(steps) as s (id uuid, token uuid, value text)
    where j.id = s.id and j.lease_token = s.token
$$;

create or replace function caudex_jobs.renew(ids uuid[], tokens uuid[], lease interval)
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

-- Where nothing waits for its time there is no next one: `greatest` would make 0 of it.
create or replace function caudex_jobs.ripen(most integer)
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
