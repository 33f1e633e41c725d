-- Which life of an app the secrets here are of: its `born`. A server on which this plugin was off may have
-- removed the app meanwhile, and installed another one of its name. 0 is what was here before.
create table caudex_vault.lives (app_id text primary key, born bigint not null);
insert into caudex_vault.lives select app_id, 0 from caudex_vault.data_keys where scope = 'app';
