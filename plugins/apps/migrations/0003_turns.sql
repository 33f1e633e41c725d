-- Rows that are only locked, each by whoever changes its app. An advisory lock is open to every login of the
-- database, those of apps among them, and who holds one for ever would stop the installs of others.
create table caudex_apps.turns (app_id text primary key);
