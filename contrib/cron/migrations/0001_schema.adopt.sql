delete from caudex_cron.apps as t where not exists (
    select from caudex_kernel.apps as a where a.app_id = t.app_id and t.born >= a.key);
alter table caudex_cron.apps drop column born,
    add foreign key (app_id) references caudex_kernel.apps (app_id) on delete cascade;
