delete from caudex_jobs.jobs as t where not exists (
    select from caudex_kernel.apps as a left join caudex_jobs.lives as l using (app_id)
    where a.app_id = t.app_id and coalesce(l.born, 0) >= a.key);
alter table caudex_jobs.jobs add foreign key (app_id) references caudex_kernel.apps (app_id) on delete cascade;
drop table caudex_jobs.turns, caudex_jobs.lives;
alter table caudex_jobs.jobs rename column suspect to quarantined;
alter table caudex_jobs.jobs rename column losses to worker_crashes;
alter table caudex_jobs.jobs rename column lapses to lease_expiries;
alter table caudex_jobs.jobs rename column until to delegation_ends;
alter table caudex_jobs.jobs rename column mark to delegation_epoch;
drop function caudex_jobs.claim, caudex_jobs.settle, caudex_jobs.report, caudex_jobs.renew,
    caudex_jobs.unclaim, caudex_jobs.ripen, caudex_jobs.expire;
alter table caudex_jobs.jobs add column unavailable integer not null default 0, add column started_at timestamptz,
    add column earlier jsonb not null default '[]';
create index jobs_of_user on caudex_jobs.jobs (app_id, user_id, status, created_at, id) where user_id is not null;
