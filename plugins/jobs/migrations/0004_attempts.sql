-- When the job was started last, and the attempts before that which ended without a result:
-- [{"started_at", "ended_at", "error"}], the last twenty.
alter table caudex_jobs.jobs add column started_at timestamptz, add column earlier jsonb not null default '[]';

-- A time as the API shows it.
create function caudex_jobs.shown_time(at timestamptz) returns text language sql stable as $$
    select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- A claim starts an attempt. One that makes the job pending again is kept, unless the worker never had it:
-- `attempts` is then lower. An expired lease leaves `error` as it was.
create function caudex_jobs.note_attempt() returns trigger language plpgsql set search_path = '' as $$
begin
    if new.status = 'running' then
        new.started_at := now();
    elsif new.attempts = old.attempts then
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
    when (old.status = 'pending' and new.status = 'running' or old.status = 'running' and new.status = 'pending')
    execute function caudex_jobs.note_attempt();
