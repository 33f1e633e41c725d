-- Which life of an app its files are of: its `born`. A server on which this plugin was off may have removed
-- the app meanwhile, and installed another one of its name.
create table caudex_vault_file.lives (app_id text primary key, born bigint not null);
