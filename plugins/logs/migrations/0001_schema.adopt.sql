delete from caudex_logs.lines as t where not exists (
    select from caudex_kernel.apps as a left join caudex_logs.lives as l using (app_id)
    where a.app_id = t.app_id and coalesce(l.born, 0) >= a.key);
alter table caudex_logs.lines add foreign key (app_id) references caudex_kernel.apps (app_id) on delete cascade;
drop table caudex_logs.turns, caudex_logs.lives;
