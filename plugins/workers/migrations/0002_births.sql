-- When the app was born whose worker this is. A server without this plugin may have removed the app meanwhile,
-- and installed another one of its name. 0 are those that were here before.
alter table caudex_workers.apps add column born bigint not null default 0;
