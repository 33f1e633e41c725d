-- Rows that are only locked, by whoever sweeps for all servers. An advisory lock is open to every login of
-- the database, those of apps among them, and who holds one for ever would end the sweeps.
create table caudex_jobs.turns (name text primary key);
insert into caudex_jobs.turns values ('expire'), ('prune');

create or replace function caudex_jobs.expire(most integer, lapses_allowed integer, why text)
returns setof text language plpgsql
set search_path = '' set enable_seqscan = off
as $$
begin
    perform from caudex_jobs.turns where name = 'expire' for update skip locked;
    if not found then
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
