-- Which life of an app the lines here are of: its `born`. A server on which this plugin was off may have
-- removed the app meanwhile, and installed another one of its name. 0 is what was here before.
create table caudex_logs.lives (app_id text primary key, born bigint not null);
insert into caudex_logs.lives
with recursive apps as (
    (select app_id from caudex_logs.lines order by app_id limit 1)
    union all
    select (
        select l.app_id from caudex_logs.lines l where l.app_id > apps.app_id order by l.app_id limit 1
    ) from apps where apps.app_id is not null
) select app_id, 0 from apps where app_id is not null;
