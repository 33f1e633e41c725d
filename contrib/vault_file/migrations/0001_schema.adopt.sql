-- The apps that the folder's files belong to. Files of an app without a row are deleted at the next start: they are
-- of an app that was removed, or of a former app of the same name.
create table caudex_vault_file.apps (
    app_id text primary key references caudex_kernel.apps (app_id) on delete cascade
);
insert into caudex_vault_file.apps select a.app_id
    from caudex_kernel.apps as a left join caudex_vault_file.lives as l using (app_id)
    where a.key <> 0 and coalesce(l.born, 0) >= a.key;
drop table caudex_vault_file.lives;
