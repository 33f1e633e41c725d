-- When the app was born whose crons these are. The server may have been without this plugin while one was
-- removed and another of its name installed. 0 are those that were here before.
alter table caudex_cron.apps add column born bigint not null default 0;
