alter table caudex_vault.secrets drop constraint secrets_data_key_fkey,
    add foreign key (data_key) references caudex_vault.data_keys (id) on delete cascade;
delete from caudex_vault.data_keys as t where scope = 'app' and not exists (
    select from caudex_kernel.apps as a left join caudex_vault.lives as l using (app_id)
    where a.app_id = t.app_id and coalesce(l.born, 0) >= a.key);
alter table caudex_vault.data_keys add column
    installed_app_id text generated always as (nullif(app_id, '')) stored
        references caudex_kernel.apps (app_id) on delete cascade;
drop table caudex_vault.lives;
