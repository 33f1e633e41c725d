alter table caudex_workers.apps rename column born to key;
alter table caudex_workers.apps alter column key drop default;
-- Apps from before `born` have a negative key (kernel's schema.sql).
update caudex_workers.apps as t set key = a.key from caudex_kernel.apps as a
    where a.app_id = t.app_id and t.key = 0 and a.key < 0;
