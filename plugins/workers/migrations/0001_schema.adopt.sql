alter table caudex_workers.apps rename column born to key;
alter table caudex_workers.apps alter column key drop default;
-- Apps from before `born` have a negative key (kernel's schema.sql).
update caudex_workers.apps as t set key = a.key from caudex_kernel.apps as a
    where a.app_id = t.app_id and t.key = 0 and a.key < 0;
-- Apps that were uninstalled while the plugin was off.
delete from caudex_workers.apps as t where not exists (
    select from caudex_kernel.apps as a where (a.app_id, a.key) = (t.app_id, t.key));
alter table caudex_workers.apps add foreign key (app_id) references caudex_kernel.apps (app_id) on delete cascade;
-- The plugin `app_logins` has it now.
alter table caudex_workers.apps drop column login_password;
